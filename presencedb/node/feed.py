"""The transition log: what changed, kept for a while, so that a reader that comes back misses nothing.

Transitions are cut into *chunks* of at most `FEED_FRAME_EVENTS_MAX`, numbered from 0 on; each is one `presence`
notification, encoded once for all who read it. A cursor names this run of the node and a number, that of the next chunk to
read: only the ends of chunks have names, and no cursor of another run, of the future or made up is taken for one of ours.

The ring of chunks is bounded in transitions and in bytes. While nobody reads, and for the last `FEED_LINGER_MS` nobody did,
nothing is kept or encoded; numbers then go on past what was dropped, so that a cursor from before it is a gap.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from typing import Final

from presencedb.engine import Engine
from presencedb.errors import GapError
from presencedb.limits import FEED_BYTES_MAX, FEED_EVENTS_MAX, FEED_FRAME_EVENTS_MAX
from presencedb.node.wall_time import WallTime
from presencedb.protocol.codec import encode_notification, encode_presence
from presencedb.transitions import Transitions

CHUNKS_PER_TURN: Final = 2
WAITING_SHARE: Final = 8
"""Chunks encoded in one turn of the loop, or an eighth of those that wait, if that is more: so the work never piles up."""
_CHUNK_OVERHEAD_BYTES: Final = 200
"""What a chunk costs beside its frame; a quiet node has many small ones."""


class Feed:
    """The log of one node."""

    def __init__(self, engine: Engine, wall_time: WallTime, run: str, linger_ticks: int) -> None:
        self.transitions = 0
        """Transitions taken from the engine, kept or not."""
        self.dropped_events = 0
        """Transitions that left the ring for newer ones."""
        self.gaps: Counter[str] = Counter()
        """Cursors refused and readers that lost their place, by reason."""
        self.first = 0
        """The oldest chunk that is there."""
        self.encoded_end = 0
        """One after the last chunk that can be sent."""
        self._engine = engine
        self._wall_time = wall_time
        self._run = run
        self._linger_ticks = linger_ticks
        self._frames: dict[int, tuple[bytes, int]] = {}
        self._waiting: deque[Transitions] = deque()
        self._event_count = 0
        self._bytes = 0
        self._reader_count = 0
        self._keep_until_tick = 0

    @property
    def end(self) -> int:
        """Where a reader begins who wants only what is to come."""
        return self.encoded_end + len(self._waiting)

    @property
    def event_count(self) -> int:
        return self._event_count

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def cursor_at(self, number: int) -> str:
        """The cursor after the chunks before this one."""
        return f"{self._run}.{number}"

    def gap_frame(self) -> bytes:
        """The notification to a reader that lost its place; it goes on at `end`."""
        return encode_notification("gap", (self.cursor_at(self.end), None))

    def frame(self, number: int) -> bytes:
        """A chunk as a notification; `first <= number < encoded_end`."""
        return self._frames[number][0]

    def add_reader(self, cursor: str | None, tick: int) -> int:
        """Admit a reader: after a cursor, or at the end, exactly behind everything that has happened by now.

        Returns:
            The number of its first chunk.

        Raises:
            GapError: what came after the cursor is not to be had.
        """
        self._collect(tick)
        number = self.end if cursor is None else self._number_of(cursor)
        self._reader_count += 1
        return number

    def remove_reader(self, tick: int) -> None:
        """A reader left; it may come back."""
        self._reader_count -= 1
        self._keep_until_tick = tick + self._linger_ticks

    def publish(self, tick: int) -> bool:
        """Take what the engine has and encode a turn's worth of it. Returns whether all is encoded."""
        self._collect(tick)
        self._encode(max(CHUNKS_PER_TURN, len(self._waiting) // WAITING_SHARE))
        return not self._waiting

    def cut(self) -> None:
        """Drop everything: whoever reads gets a gap, and no cursor from before is good any more."""
        self._forget(self.end + 1)

    def _collect(self, tick: int) -> None:
        if not self._reader_count and tick >= self._keep_until_tick:
            missed_count = self._engine.discard_transitions()
            self.transitions += missed_count
            # Where nothing was missed, the cursor of the end stays good.
            self._forget(self.end + (1 if missed_count else 0))
            return
        while self._engine.transitions_waiting:
            chunk = self._engine.drain_transitions(FEED_FRAME_EVENTS_MAX)
            self.transitions += len(chunk)
            self._event_count += len(chunk)
            self._waiting.append(chunk)

    def _forget(self, next_number: int) -> None:
        self._frames.clear()
        self._waiting.clear()
        self._event_count = 0
        self._bytes = 0
        self.encoded_end = self.first = next_number

    def _encode(self, chunk_count_max: int) -> None:
        for _ in range(min(chunk_count_max, len(self._waiting))):
            chunk = self._waiting.popleft()
            self.encoded_end += 1
            ms_at = self._wall_time.ms_at
            times_ms = array("q", [ms_at(tick) for tick in chunk.ticks])
            frame = encode_presence(self.cursor_at(self.encoded_end), chunk.ids, chunk.marks, times_ms)
            self._frames[self.encoded_end - 1] = (frame, len(chunk))
            self._bytes += len(frame) + _CHUNK_OVERHEAD_BYTES
        while self._frames and (self._event_count > FEED_EVENTS_MAX or self._bytes > FEED_BYTES_MAX):
            frame, event_count = self._frames.pop(self.first)
            self.first += 1
            self._bytes -= len(frame) + _CHUNK_OVERHEAD_BYTES
            self._event_count -= event_count
            self.dropped_events += event_count

    def _number_of(self, cursor: str) -> int:
        run, _, text = cursor.rpartition(".")
        if run != self._run or not (text.isascii() and text.isdigit()) or len(text) > 20 or text != str(int(text)):
            self.gaps["other_run"] += 1
            raise GapError("this cursor is not of this run of the node; read the state and follow anew")
        number = int(text)
        if number > self.end:
            self.gaps["future"] += 1
            raise GapError("this cursor is from the future; read the state and follow anew")
        if number < self.first:
            self.gaps["too_old"] += 1
            raise GapError("what came after this cursor is not kept any more; read the state and follow anew")
        return number

"""The transition log: what changed, kept for a while, so that a reader that comes back misses nothing.

Every transition of a run has a *number*, the count of those before it. A cursor names the run and a number: what was before
it is behind its reader. So every place between two transitions has its cursor, and no cursor of another run, of the future
or made up is taken for one of ours.

The log is a ring of chunks of columns, at most `FEED_FRAME_EVENTS_MAX` transitions each, as they were taken from the engine:

    dropped | first ............ told ............ end ......... now
              kept for readers    | not told yet    | still in the engine
              that come back      | (never dropped) |

What has been told is dropped, oldest first, when there is more than `FEED_EVENTS_MAX` transitions or `FEED_BYTES_MAX` bytes.
While nobody reads, and for the last `FEED_LINGER_MS` nobody did, nothing is kept; numbers go on, so that an older cursor is
a gap.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Final

from presencedb.errors import GapError
from presencedb.ids import IdBatch
from presencedb.limits import FEED_BYTES_MAX, FEED_EVENTS_MAX, FEED_FRAME_EVENTS_MAX
from presencedb.node.moments import moments_of
from presencedb.node.source import ChangeSource, MomentOfTick
from presencedb.protocol.codec import encode_presence
from presencedb.transitions import Transitions

_COLUMN_BYTES: Final = 13
"""Of a transition, beside its id: the mark, the tick, and the time in milliseconds."""
_CHUNK_OVERHEAD_BYTES: Final = 700
"""The objects of a chunk, and their share of the ring; a quiet node has many small ones."""
_FORGOTTEN_STARTS_MAX: Final = 1024
"""Starts of chunks that are gone wait for as many others, so that dropping one moves none of the rest."""


@dataclass(slots=True, eq=False)
class Chunk:
    """Transitions that follow each other.

    Attributes:
        start: the number of the first.
        end: one after that of the last.
        times_ms: when each became true, in Unix milliseconds (type code 'q').
        size_bytes: what it takes in memory.
    """

    start: int
    end: int
    transitions: Transitions
    times_ms: array[int]
    size_bytes: int


class Feed:
    """The log of one node."""

    def __init__(self, source: ChangeSource, wall_time: MomentOfTick, run: str, linger_ticks: int) -> None:
        self.transitions = 0
        """Transitions taken from the source, kept or not."""
        self.dropped_events = 0
        """Transitions that left the ring for newer ones."""
        self.gaps: Counter[str] = Counter()
        """Cursors refused and readers that lost their place, by reason."""
        self.first = 0
        """The number of the oldest transition that is there; `end` where none is."""
        self.end = 0
        """The number of the next transition that is taken from the source."""
        self._told = 0
        self._cut_end = 0  # places before it were cut off
        self._source = source
        self._wall_time = wall_time
        self._run = run
        self._linger_ticks = linger_ticks
        self._starts: list[int] = []
        self._forgotten_starts = 0  # at the front of `_starts`
        self._chunks: dict[int, Chunk] = {}
        self._bytes = 0
        self._reader_count = 0
        self._keep_until_tick = 0

    @property
    def now(self) -> int:
        """Where a reader begins who wants only what is to come: behind everything that has happened."""
        return self.end + self._source.transitions_waiting

    @property
    def told(self) -> int:
        """What is before it may be dropped."""
        return self._told

    @property
    def event_count(self) -> int:
        return self.end - self.first

    @property
    def size_bytes(self) -> int:
        return self._bytes

    @property
    def half_full(self) -> bool:
        """Whether something is dropped when as much comes as there is."""
        return 2 * self.event_count > FEED_EVENTS_MAX or 2 * self._bytes > FEED_BYTES_MAX

    def add_reader(self) -> None:
        """Somebody reads: keep what comes."""
        self._reader_count += 1

    def remove_reader(self, tick: int) -> None:
        """A reader left; it may come back."""
        self._reader_count -= 1
        self._keep_until_tick = tick + self._linger_ticks

    # --- cursors ---------------------------------------------------------------------------------------------------

    def cursor_at(self, number: int) -> str:
        """The cursor after the transitions before this one."""
        return f"{self._run}.{number}"

    def number_of(self, cursor: str) -> int:
        """The place that a cursor names, with all that came after it in the log or still in the engine.

        Raises:
            GapError: what came after the cursor is not to be had.
        """
        run, _, text = cursor.rpartition(".")
        if run != self._run or not (text.isascii() and text.isdigit()) or len(text) > 20 or text != str(int(text)):
            self.gaps["other_run"] += 1
            raise GapError("this cursor is not of this run of the node; read the state and follow anew")
        number = int(text)
        if number > self.now:
            self.gaps["future"] += 1
            raise GapError("this cursor is from the future; read the state and follow anew")
        if number < self.first:
            self.gaps["too_old"] += 1
            raise GapError("what came after this cursor is not kept any more; read the state and follow anew")
        return number

    def count_lost(self, number: int) -> None:
        """A reader has lost its place, this number."""
        self.gaps["warm_up" if number < self._cut_end else "overrun"] += 1

    # --- what comes in ---------------------------------------------------------------------------------------------

    def collect(self, tick: int) -> None:
        """Take all that waits in the engine; where nobody reads, drop it."""
        if not self._reader_count and tick >= self._keep_until_tick:
            missed_count = self._source.discard_transitions()
            self.transitions += missed_count
            self._forget(self.end + missed_count)
            return
        while transitions := self._source.drain_transitions(FEED_FRAME_EVENTS_MAX):
            self.transitions += len(transitions)
            self._starts.append(self.end)
            self._keep(self.end, transitions, moments_of(transitions.ticks, self._wall_time))
            self.end += len(transitions)

    def tell(self) -> Chunk | None:
        """The next chunk to tell, which counts as told from now on; None where all is told.

        What was taken from the engine in several small pieces is joined to one.
        """
        if self._told == self.end:
            return None
        index = self._index_of(self._told)
        end_index = index + 1
        while end_index < len(self._starts) and self._end_of(end_index) - self._told <= FEED_FRAME_EVENTS_MAX:
            end_index += 1
        chunk = self._chunks[self._told] if end_index == index + 1 else self._join(index, end_index)
        self._told = chunk.end
        return chunk

    def trim(self) -> None:
        """Drop what is too much of what has been told."""
        while self.first < self._told and (self.event_count > FEED_EVENTS_MAX or self._bytes > FEED_BYTES_MAX):
            chunk = self._chunks.pop(self.first)
            self._bytes -= chunk.size_bytes
            self.dropped_events += chunk.end - chunk.start
            self.first = chunk.end
            self._forgotten_starts += 1
        if self._forgotten_starts > _FORGOTTEN_STARTS_MAX and 2 * self._forgotten_starts > len(self._starts):
            del self._starts[: self._forgotten_starts]
            self._forgotten_starts = 0

    def cut(self) -> None:
        """Drop everything: whoever reads gets a gap, and no cursor from before is good any more."""
        missed_count = self._source.discard_transitions()
        self.transitions += missed_count
        self._forget(self.end + missed_count + 1)
        self._cut_end = self.end

    # --- what goes out ---------------------------------------------------------------------------------------------

    def chunk_at(self, number: int) -> Chunk:
        """The chunk with this transition; `first <= number < end`."""
        return self._chunks[self._starts[self._index_of(number)]]

    def changes_from(self, number: int) -> tuple[list[Transitions], int]:
        """All that is in the log from a number on, and where in the first of them that is; `first <= number <= end`."""
        if number == self.end:
            return [], 0
        starts = self._starts[self._index_of(number) :]
        return [self._chunks[start].transitions for start in starts], number - starts[0]

    def encode(self, chunk: Chunk, positions: array[int] | None = None) -> bytes:
        """A chunk as a notification, or those of its transitions that stand at these positions in it."""
        transitions = chunk.transitions
        return encode_presence(self.cursor_at(chunk.end), transitions.ids, transitions.marks, chunk.times_ms, positions)

    def encode_nothing(self, number: int) -> bytes:
        """A notification that says nothing but a cursor."""
        return encode_presence(self.cursor_at(number), IdBatch([]), b"", array("q"))

    # --- inside ----------------------------------------------------------------------------------------------------

    def _index_of(self, number: int) -> int:
        return bisect_right(self._starts, number, lo=self._forgotten_starts) - 1

    def _end_of(self, index: int) -> int:
        return self._starts[index + 1] if index + 1 < len(self._starts) else self.end

    def _keep(self, start: int, transitions: Transitions, times_ms: array[int]) -> None:
        count = len(transitions)
        size_bytes = _CHUNK_OVERHEAD_BYTES + count * _COLUMN_BYTES + transitions.ids.size_bytes
        self._chunks[start] = Chunk(start, start + count, transitions, times_ms, size_bytes)
        self._bytes += size_bytes

    def _join(self, index: int, end_index: int) -> Chunk:
        start = self._starts[index]
        chunks = [self._chunks.pop(chunk_start) for chunk_start in self._starts[index:end_index]]
        del self._starts[index + 1 : end_index]
        self._bytes -= sum(chunk.size_bytes for chunk in chunks)
        times_ms = array("q")
        ticks = array("I")
        for chunk in chunks:
            times_ms += chunk.times_ms
            ticks += chunk.transitions.ticks
        ids = IdBatch.of_canonical([user_id for chunk in chunks for user_id in chunk.transitions.ids])
        marks = b"".join(chunk.transitions.marks for chunk in chunks)
        self._keep(start, Transitions(ids, marks, ticks), times_ms)
        return self._chunks[start]

    def _forget(self, number: int) -> None:
        self._starts.clear()
        self._forgotten_starts = 0
        self._chunks.clear()
        self._bytes = 0
        self.first = self._told = self.end = number

"""How changes get out: who is told what of the log, and when.

A reader is *live* or *behind*. Those who are live are told each chunk as it is published: followers all of it, watchers what
the index picks for them, at most one notification each; the same notification is encoded once. So a publication costs what
the changes and the notifications cost, however many watch others. With many to tell it goes on in the next turn of the loop,
and the next chunk waits for its end.

A reader whose connection has no room falls behind: it keeps its place, and when there is room again it reads on in the log,
a chunk at a time, in turn with the others who do. If the log has dropped what comes after its place, it is told so (`gap`),
with the statuses of whom it watches, and is live again from that moment on. One without room for `SLOW_READER_MS` is cut.

Whoever is behind is either in the queue of those who read on, or held until the connection says that it has room.
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from presencedb.limits import FEED_PUSH_EVENTS, FEED_TURN_EVENTS_MAX, FEED_UNTOLD_EVENTS_MAX
from presencedb.node.feed import Chunk, Feed
from presencedb.node.reader import Reader, State
from presencedb.node.source import ChangeSource
from presencedb.protocol.codec import encode_gap
from presencedb.watching import WatchIndex

log = structlog.get_logger()

_NOWHERE: Final = -1
"""A place before every place in the log."""


class Delivery:
    """Tells the readers of one feed.

    Args:
        slow_ticks: how long a reader may be without room.
        call_soon: has the loop call something in its next turn.
    """

    def __init__(
        self,
        source: ChangeSource,
        feed: Feed,
        index: WatchIndex,
        slow_ticks: int,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.followers: dict[Reader, None] = {}
        self.watching: dict[int, Reader] = {}
        """By their number in the index."""
        self.cut_readers: Counter[str] = Counter()
        """Readers that were cut, by reason."""
        self._source = source
        self._feed = feed
        self._index = index
        self._slow_ticks = slow_ticks
        self._call_soon = call_soon
        self._scheduled = False
        self._tick = 0
        self._chunk: Chunk | None = None  # the one that is being told
        self._untold: dict[Reader, array[int] | None] = {}  # who is still to be told of it: of these positions, or all
        self._frames: dict[int, tuple[array[int] | None, bytes]] = {}  # of it, by the identity of the positions
        self._reading: OrderedDict[Reader, None] = OrderedDict()
        self._held: dict[Reader, int] = {}  # since which tick
        self._quiet: deque[Reader] = deque()  # who may need a newer cursor
        self._cursors_good_to = 0  # nobody's cursor is older than this
        self._look_again_at = 0  # when so much has been dropped, cursors are looked at

    @property
    def behind_count(self) -> int:
        """Readers that have not been told everything because they had no room for it, or began at an earlier place."""
        return len(self._reading) + len(self._held)

    def publish(self, tick: int) -> None:
        """Tell what is new. Once a tick at least."""
        self._tick = tick
        self._feed.collect(tick)
        self._tell()
        self._cut_slow()

    def has_room(self, reader: Reader) -> None:
        """The connection of a reader can take something again."""
        if self._held.pop(reader, None) is not None:
            self._read_on(reader)

    def settle(self, reader: Reader) -> int:
        """Send a reader that is live all there is for it in the log, or as much as it has room for; one that has lost its
        place is told so. Returns its place then: if there is no gap between that and the end of the log, it is live."""
        if reader in self._untold:
            self._tell_reader(reader, self._untold.pop(reader))
        if reader.state is State.LIVE:
            reader.position = max(reader.position, self._feed.told)
            while reader.position < self._feed.end and self._check_room(reader):
                self._send_chunk(reader)
        elif reader.position < self._feed.first:
            self._send_gap(reader)
        return reader.position

    def place(self, reader: Reader, position: int) -> None:
        """Let a reader go on from a place, with the cursor of which it was answered; it was settled, or is new."""
        reader.position = reader.cursor_number = position
        if reader.state is State.HELD:
            return
        self._reading.pop(reader, None)
        if position >= self._feed.told:
            reader.state = State.LIVE
        else:
            self._read_on(reader)

    def remove(self, reader: Reader) -> None:
        """Tell a reader nothing more."""
        reader.state = State.GONE
        self.followers.pop(reader, None)
        self._untold.pop(reader, None)
        self._reading.pop(reader, None)
        self._held.pop(reader, None)

    def cut(self, readers: Iterable[Reader]) -> None:
        """Drop the log: everybody has lost their place."""
        self._untold.clear()
        self._feed.cut()
        for reader in readers:
            if reader.state is State.LIVE:
                self._read_on(reader)

    def lose(self, readers: Iterable[Reader]) -> None:
        """What these are to be told has a hole: they are told so, and go on from now."""
        for reader in readers:
            self._untold.pop(reader, None)
            if reader.state is not State.HELD:
                reader.position = _NOWHERE
                self._read_on(reader)
            else:
                reader.position = _NOWHERE

    # --- those who are live ----------------------------------------------------------------------------------------

    def _tell(self) -> None:
        work = 0
        while work < FEED_TURN_EVENTS_MAX or self._feed.end - self._feed.told > FEED_UNTOLD_EVENTS_MAX:
            if self._untold:
                self._tell_reader(*self._untold.popitem())
                work += FEED_PUSH_EVENTS
                continue
            self._frames.clear()
            self._feed.trim()
            self._chunk = self._feed.tell()
            if self._chunk is None:
                self._refresh_cursors()
                return
            self._find_readers(self._chunk)
            work += self._chunk.end - self._chunk.start
        self._schedule()

    def _find_readers(self, chunk: Chunk) -> None:
        if self._index.watch_count:
            for watcher, positions in self._index.match(chunk.transitions.ids):
                reader = self.watching[watcher]
                if reader.state is State.LIVE and not reader.follows:
                    self._untold[reader] = positions
        for reader in self.followers:
            if reader.state is State.LIVE:
                self._untold[reader] = None

    def _tell_reader(self, reader: Reader, positions: array[int] | None) -> None:
        chunk = self._chunk
        assert chunk is not None
        ahead = reader.position - chunk.start
        if ahead > 0:
            # It came in the middle of the chunk.
            rest = range(ahead, chunk.end - chunk.start) if positions is None else [at for at in positions if at >= ahead]
            if not rest:
                return
            positions = array("I", rest)
        if not reader.connection.room:
            self._hold(reader, max(reader.position, chunk.start))
            return
        key = id(positions)
        if key not in self._frames:
            self._frames[key] = (positions, self._feed.encode(chunk, positions))
        reader.connection.push(self._frames[key][1])
        reader.cursor_number = chunk.end

    # --- those who are behind --------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._scheduled = False
        self._tell()
        work = 0
        while self._reading and work < FEED_TURN_EVENTS_MAX:
            reader, _ = self._reading.popitem(last=False)
            work += self._step(reader)
            if reader.state is State.READING:
                self._reading[reader] = None
        while self._quiet and work < FEED_TURN_EVENTS_MAX:
            self._refresh_cursor(self._quiet.popleft())
            work += FEED_PUSH_EVENTS
        if self._reading or self._quiet:
            self._schedule()

    def _step(self, reader: Reader) -> int:
        """Bring a reader one chunk further; returns what that cost, in transitions looked at."""
        if not self._check_room(reader):
            return FEED_PUSH_EVENTS
        if reader.position < self._feed.first:
            self._send_gap(reader)
            return FEED_PUSH_EVENTS
        if reader.position >= self._feed.told:
            reader.state = State.LIVE
            return FEED_PUSH_EVENTS
        before = reader.position
        self._send_chunk(reader)
        return reader.position - before + FEED_PUSH_EVENTS

    def _send_chunk(self, reader: Reader) -> None:
        """What a reader is to be told of the chunk at its place."""
        chunk = self._feed.chunk_at(reader.position)
        start = reader.position - chunk.start
        positions: array[int] | None
        if not reader.follows:
            assert reader.watcher is not None
            positions = self._index.select(reader.watcher, chunk.transitions.ids, start)
        else:
            positions = array("I", range(start, chunk.end - chunk.start)) if start else None
        if positions is None or positions:
            reader.connection.push(self._feed.encode(chunk, positions))
            reader.cursor_number = chunk.end
        reader.position = chunk.end

    def _send_gap(self, reader: Reader) -> None:
        self._reading.pop(reader, None)
        self._held.pop(reader, None)
        self._feed.count_lost(reader.position)
        reader.position = reader.cursor_number = self._feed.now
        reader.state = State.LIVE
        statuses = None if reader.watcher is None else self._source.status(self._index.watched(reader.watcher))
        reader.connection.push(encode_gap(self._feed.cursor_at(reader.position), statuses))

    def _check_room(self, reader: Reader) -> bool:
        if reader.connection.room:
            return True
        self._hold(reader, reader.position)
        return False

    def _hold(self, reader: Reader, position: int) -> None:
        reader.position = position
        reader.state = State.HELD
        self._held[reader] = self._tick

    def _read_on(self, reader: Reader) -> None:
        reader.state = State.READING
        self._reading[reader] = None
        self._schedule()

    def _cut_slow(self) -> None:
        while self._held:
            reader, since_tick = next(iter(self._held.items()))
            if self._tick - since_tick < self._slow_ticks:
                return
            # It is removed when the connection is gone; until then it is in no queue.
            del self._held[reader]
            self.cut_readers["slow"] += 1
            log.info("a reader that had no room for long was cut", peer=reader.connection.peer)
            reader.connection.abort()

    # --- those for whom nothing happens ----------------------------------------------------------------------------

    def _refresh_cursors(self) -> None:
        """Before the log drops what comes after the last cursor of a reader for whom nothing happened, give it a newer one.

        Else a connection that is lost could not be resumed, though nothing was missed. Everybody is looked at once while
        about a quarter of the log is dropped, and has a cursor of its newer half then.
        """
        feed = self._feed
        if not feed.half_full or feed.first < self._look_again_at:
            return
        self._cursors_good_to = (feed.first + feed.end) // 2
        self._look_again_at = (feed.first + self._cursors_good_to) // 2
        self._quiet = deque(
            reader
            for reader in self.watching.values()
            if reader.cursor_number < self._cursors_good_to and not reader.follows
        )
        if self._quiet:
            self._schedule()

    def _refresh_cursor(self, reader: Reader) -> None:
        if reader.state is not State.LIVE or reader in self._untold or reader.cursor_number >= self._cursors_good_to:
            return
        if reader.connection.room:
            reader.cursor_number = max(reader.position, self._feed.told)
            reader.connection.push(self._feed.encode_nothing(reader.cursor_number))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._turn)

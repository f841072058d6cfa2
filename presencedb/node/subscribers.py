"""Who is told of changes: the requests to watch, to follow and to be told no more, each one atomic step.

A connection that subscribes in any way is one reader with one place in the log, so one that watches and follows is told of
each change once. What is answered holds exactly at the place that the cursor in the answer names, and what is told after it
is what came after that place: the statuses of the moment, where that is now, or brought back to it over what the log says.
"""

from __future__ import annotations

from collections.abc import Callable

from presencedb.errors import TooLarge
from presencedb.ids import Id, IdBatch
from presencedb.limits import EVENTS_HIGH_WATER_BYTES, EVENTS_LOW_WATER_BYTES, WATCHED_IDS_MAX
from presencedb.node.delivery import Delivery
from presencedb.node.feed import Feed
from presencedb.node.reader import Reader
from presencedb.node.source import ChangeSource
from presencedb.transport.connection import Connection
from presencedb.watching import WatchIndex, create_watch_index, rewind


class Subscribers:
    """The connections that read one feed."""

    def __init__(
        self,
        source: ChangeSource,
        feed: Feed,
        seed: int,
        slow_ticks: int,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.index: WatchIndex = create_watch_index(seed)
        self.delivery = Delivery(source, feed, self.index, slow_ticks, call_soon)
        self._source = source
        self._feed = feed
        self._readers: dict[Connection, Reader] = {}

    @property
    def follower_count(self) -> int:
        return len(self.delivery.followers)

    @property
    def reader_count(self) -> int:
        """Connections that watch or follow."""
        return len(self._readers)

    def watched_ids(self) -> set[Id]:
        """All that anybody watches; at the cost of making an object of each."""
        return {user_id for watcher in self.delivery.watching for user_id in self.index.watched(watcher)}

    def watch(self, connection: Connection, ids: IdBatch, cursor: str | None, tick: int) -> tuple[str, bytes]:
        """Tell a connection of these users too, from now on or from a cursor on.

        One that is behind goes on from its own place, where that is earlier; whom it watched already it is told of anew from
        there.

        Returns:
            The cursor of that place, and a `Status` byte an id as it was there.

        Raises:
            GapError: what came after the cursor is not to be had; nothing was changed.
            TooLarge: more than `WATCHED_IDS_MAX` ids would be watched; nothing was changed.
        """
        reader = self._readers.get(connection)
        position = self._place_for(reader, cursor, tick)
        known = reader.watcher if reader is not None else None
        watcher = self.index.add_watcher() if known is None else known
        try:
            self.index.watch(watcher, ids, count_max=WATCHED_IDS_MAX)
        except TooLarge:
            if known is None:
                self.index.remove_watcher(watcher)
            raise
        statuses = self._statuses_at(position, ids, connection)
        if self.index.watched_count(watcher):
            reader = reader or self._admit(connection)
            reader.watcher = watcher
            self.delivery.watching[watcher] = reader
        else:
            self.index.remove_watcher(watcher)
        if reader is not None:
            self.delivery.place(reader, position)
        return self._feed.cursor_at(position), statuses

    def unwatch(self, connection: Connection, ids: IdBatch, tick: int) -> int:
        """Tell a connection of these users no more; returns how many of them, each counted once, it watched."""
        reader = self._readers.get(connection)
        if reader is None or reader.watcher is None:
            return 0
        # What has been picked for it, it is told now: nobody is told anything of an id after this was answered.
        self.delivery.settle(reader)
        count = self.index.unwatch(reader.watcher, ids)
        if not self.index.watched_count(reader.watcher):
            self._forget_watcher(reader)
            if not reader.follows:
                self.leave(connection, tick)
        return count

    def follow(self, connection: Connection, cursor: str | None, tick: int) -> str:
        """Tell a connection of every change, from now on or from a cursor on; placed as by `watch`.

        Returns:
            The cursor of its place.

        Raises:
            GapError: what came after the cursor is not to be had; nothing was changed.
        """
        reader = self._readers.get(connection)
        position = self._place_for(reader, cursor, tick)
        reader = reader or self._admit(connection)
        reader.follows = True
        self.delivery.followers[reader] = None
        self.delivery.place(reader, position)
        return self._feed.cursor_at(position)

    def leave(self, connection: Connection, tick: int) -> None:
        """Tell a connection nothing more, if it was told anything."""
        reader = self._readers.pop(connection, None)
        if reader is None:
            return
        if reader.watcher is not None:
            self._forget_watcher(reader)
        self.delivery.remove(reader)
        self._feed.remove_reader(tick)

    def has_room(self, connection: Connection) -> None:
        """A connection that had no room has some again."""
        reader = self._readers.get(connection)
        if reader is not None:
            self.delivery.has_room(reader)

    def publish(self, tick: int) -> None:
        """Tell what is new. Once a tick at least."""
        self.delivery.publish(tick)

    def cut(self) -> None:
        """Every place in the log so far is lost: everybody is told so, and of the statuses there are now."""
        self.delivery.cut(self._readers.values())

    def _place_for(self, reader: Reader | None, cursor: str | None, tick: int) -> int:
        if reader is None and cursor is None:
            return self._feed.now
        self._feed.collect(tick)
        asked = self._feed.end if cursor is None else self._feed.number_of(cursor)
        return asked if reader is None else min(asked, self.delivery.settle(reader))

    def _statuses_at(self, position: int, ids: IdBatch, connection: Connection) -> bytes:
        statuses = self._source.status(ids)
        if position >= self._feed.end:
            return statuses
        rewound = bytearray(statuses)
        rewind(ids, rewound, *self._feed.changes_from(position))
        connection.charge(self._feed.end - position)
        return bytes(rewound)

    def _admit(self, connection: Connection) -> Reader:
        reader = self._readers[connection] = Reader(connection)
        self._feed.add_reader()
        connection.limit_output(EVENTS_HIGH_WATER_BYTES, EVENTS_LOW_WATER_BYTES)
        return reader

    def _forget_watcher(self, reader: Reader) -> None:
        assert reader.watcher is not None
        self.index.remove_watcher(reader.watcher)
        del self.delivery.watching[reader.watcher]
        reader.watcher = None

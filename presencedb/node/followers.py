"""Who follows the feed, and how far each has got.

A follower is a position in the ring and nothing else: no queue of its own. It is written to while its connection has room,
and goes on from where it was when there is room again. If the ring has moved past it meanwhile, it is told so and goes on at
the end.
"""

from __future__ import annotations

from presencedb.node.feed import Feed
from presencedb.transport.connection import Connection


class Followers:
    """The connections that follow one feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._positions: dict[Connection, int] = {}
        self._pumped_end = 0

    def __len__(self) -> int:
        return len(self._positions)

    def follow(self, connection: Connection, cursor: str | None, tick: int) -> str:
        """Let a connection follow, from a cursor or from now on; one that follows already is placed anew.

        Returns:
            The cursor to answer with. Nothing is sent before `pump`.

        Raises:
            GapError: what came after the cursor is not to be had; a connection that follows goes on as it did.
        """
        position = self._feed.add_reader(cursor, tick)
        if connection in self._positions:
            self._feed.remove_reader(tick)
        self._positions[connection] = position
        return self._feed.cursor_at(position)

    def leave(self, connection: Connection, tick: int) -> None:
        """The connection follows no more, if it did."""
        if self._positions.pop(connection, None) is not None:
            self._feed.remove_reader(tick)

    def pump(self, connection: Connection) -> None:
        """Send a follower what is there for it and has room."""
        position = self._positions.get(connection)
        if position is None:
            return
        feed = self._feed
        if position < feed.first and connection.room:
            feed.gaps["overrun"] += 1
            connection.push(feed.gap_frame())
            position = feed.end
        while feed.first <= position < feed.encoded_end and connection.room:
            connection.push(feed.frame(position))
            position += 1
        self._positions[connection] = position

    def pump_all(self) -> None:
        """Send every follower what is new, if anything is."""
        if self._pumped_end == self._feed.encoded_end:
            return
        self._pumped_end = self._feed.encoded_end
        for connection in self._positions:
            self.pump(connection)

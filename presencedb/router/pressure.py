"""What a router has under way to nodes, for each connection and in all: it takes no more than it can pass on.

Replies that are owed bound the requests of a connection, but not how many ids are in them, and nothing of that kind bounds
notifications. So a connection with too many ids under way is held until half of them are done, and when all together have
too many, so is every one that brings more.
"""

from __future__ import annotations

from presencedb.limits import ROUTED_IDS_MAX, ROUTED_IDS_OF_ONE_MAX, TURN_REQUEST_IDS
from presencedb.transport.connection import Connection


class Pressure:
    """The requests under way, by their ids; each request counts as some ids more.

    Attributes:
        ids: of all connections, those that are gone included.
    """

    def __init__(self) -> None:
        self.ids = 0
        self._ids_of: dict[Connection, int] = {}
        self._held: dict[Connection, None] = {}  # in the order in which they were

    @property
    def held_count(self) -> int:
        """How many connections wait."""
        return len(self._held)

    def begin(self, connection: Connection, id_count: int) -> None:
        """A request is passed on."""
        weight = id_count + TURN_REQUEST_IDS
        self.ids += weight
        ids_of_one = self._ids_of[connection] = self._ids_of.get(connection, 0) + weight
        if ids_of_one > ROUTED_IDS_OF_ONE_MAX or self.ids > ROUTED_IDS_MAX:
            self._held[connection] = None
            connection.hold()

    def end(self, connection: Connection, id_count: int) -> None:
        """It has its answer."""
        weight = id_count + TURN_REQUEST_IDS
        was_too_much = self.ids > ROUTED_IDS_MAX
        self.ids -= weight
        if connection in self._ids_of:
            self._ids_of[connection] -= weight
        if not self._held or self.ids > ROUTED_IDS_MAX:
            return
        for held in list(self._held) if was_too_much else (connection,):
            if held in self._held and self._ids_of[held] <= ROUTED_IDS_OF_ONE_MAX // 2:
                del self._held[held]
                held.release()

    def forget(self, connection: Connection) -> None:
        """A connection is gone; what it has asked goes on."""
        self._ids_of.pop(connection, None)
        self._held.pop(connection, None)

"""What a router has under way to nodes, for each connection and in all: it takes no more than it can pass on.

Replies that are owed bound the requests of a connection, but not how many ids are in them, and nothing of that kind bounds
notifications. So a connection with too many ids under way is held until half of them are done, and when all together have
too many, so is every one that brings more.

A request that has to see what the ones before it have done, and to be done before the ones after it, is a *barrier*: it
waits until nothing of its connection is under way, and nothing more is taken meanwhile. All others have an order only where
they go the same way.
"""

from __future__ import annotations

from collections.abc import Callable

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
        self._barriers: dict[Connection, Callable[[], None] | None] = {}  # what is to be done; None: it is being done

    @property
    def held_count(self) -> int:
        """How many connections wait."""
        return len(self._held)

    def wait(self, connection: Connection, step: Callable[[], None]) -> None:
        """A barrier: do this once nothing of the connection is under way; nothing more is taken of it before `go_on`."""
        connection.hold()
        if self._ids_of.get(connection):
            self._barriers[connection] = step
        else:
            self._barriers[connection] = None
            step()

    def go_on(self, connection: Connection) -> None:
        """The barrier has its answer."""
        if connection in self._barriers:
            del self._barriers[connection]
            self._let_go(connection)

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
            if not self._ids_of[connection] and (step := self._barriers.get(connection)) is not None:
                self._barriers[connection] = None
                step()
        if not self._held or self.ids > ROUTED_IDS_MAX:
            return
        for held in list(self._held) if was_too_much else (connection,):
            if held in self._held and self._ids_of[held] <= ROUTED_IDS_OF_ONE_MAX // 2:
                del self._held[held]
                self._let_go(held)

    def forget(self, connection: Connection) -> None:
        """A connection is gone; what it has asked goes on."""
        self._ids_of.pop(connection, None)
        self._held.pop(connection, None)
        self._barriers.pop(connection, None)

    def _let_go(self, connection: Connection) -> None:
        if connection not in self._held and connection not in self._barriers:
            connection.release()

"""What stands behind a router's connections: each request goes to the fan-out, its answer back where the request came from.

Answers of nodes come in any order; the session gives them out in the order of the requests. So a slow node holds back those
who ask about its users, and nobody else, as long as there is room for what waits (see `pressure`).
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import Any, Final

import structlog

from presencedb.client.cluster.fanout import Fanout
from presencedb.errors import Error, Unavailable
from presencedb.protocol.greeting import greeting
from presencedb.protocol.messages import Request
from presencedb.router.feeds import RouterFeeds
from presencedb.router.pressure import Pressure
from presencedb.transport.connection import Connection
from presencedb.transport.doorkeeper import Doorkeeper

log = structlog.get_logger()

_FEEDS: Final = frozenset({"watch", "unwatch", "follow"})
_WRITES: Final = frozenset({"heartbeat", "offline"})


class RouterService:
    """Serves the requests of all connections of one router.

    Attributes:
        requests: how many there were.
        pressure: what is under way to nodes.
        stopping: requests are not served any more.
    """

    def __init__(self, fanout: Fanout, feeds: RouterFeeds, doorkeeper: Doorkeeper, router_id: str, run: str) -> None:
        self.requests = 0
        self.pressure = Pressure()
        self.stopping = False
        self._fanout = fanout
        self._feeds = feeds
        self._doorkeeper = doorkeeper
        self._router_id = router_id
        self._run = run

    def serve(self, connection: Connection, request: Request) -> None:
        """Take a request; it is answered at once or later."""
        self.requests += request.frame_count
        try:
            if self.stopping:
                raise Unavailable("the router is shutting down")
            self._doorkeeper.check(connection, request)
            if request.command.name == "hello":
                self._doorkeeper.admit(connection, request.options)
                connection.reply(request, self._greeting())
            elif request.command.name in _FEEDS:
                self._feeds.serve(connection, request)
            else:
                self._forward(connection, request)
        except Error as error:
            connection.fail(request, error)
        except Exception:
            log.exception("a request failed", command=request.command.name, peer=connection.peer)
            connection.fail(request, Unavailable("the router met an error of its own; its log says which"))

    def has_room(self, connection: Connection) -> None:
        """A connection that something was held back for can take some."""
        self._feeds.has_room(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self.pressure.forget(connection)
        self._feeds.closed(connection)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _greeting(self) -> dict[str, Any]:
        server = self._fanout.view.server
        if server is None:
            raise Unavailable("no node of the cluster can be reached yet")
        return greeting(
            node=self._router_id,
            run=self._run,
            ttl_ms=server.ttl_ms,
            tick_ms=server.tick_ms,
            retention=server.retention,
        )

    def _forward(self, connection: Connection, request: Request) -> None:
        method = request.command.name
        if request.run is not None and request.run.msgids and method in _WRITES:
            self._forward_frames(connection, request)
            return
        answer = _Answer(self.pressure, connection, request)
        self._fanout.ask(method, request.ids, request.options, answer, cursor=request.cursor, limit=request.limit)

    def _forward_frames(self, connection: Connection, request: Request) -> None:
        """Several writes that came as one request, each of which wants to know its own count."""
        assert request.run is not None
        ends = [0]
        for _, count in request.run.frames:
            ends.append(ends[-1] + count)
        answers = _Counts(self.pressure, connection, request, ends)
        for index, (start, end) in enumerate(pairwise(ends)):
            ids = request.ids.take(array("I", range(start, end)))
            self._fanout.ask(request.command.name, ids, request.options, _Count(answers, index))


class _Answer:
    """Where the answer to one request goes; the `Waiter` of the fan-out."""

    __slots__ = ("_connection", "_ended", "_pressure", "_request")

    def __init__(self, pressure: Pressure, connection: Connection, request: Request) -> None:
        self._pressure = pressure
        self._connection = connection
        self._request = request
        self._ended = False
        pressure.begin(connection, len(request.ids))

    def done(self) -> bool:
        """Whether it has been given."""
        return self._ended

    def set_result(self, result: Any, /) -> None:
        self._ended = True
        connection, request = self._connection, self._request
        method = request.command.name
        if method == "status":
            connection.reply_statuses(request, result)
        elif method == "last_seen":
            connection.reply_times(request, result)
        else:
            connection.reply(request, result)
        self._pressure.end(connection, len(request.ids))

    def set_exception(self, error: Exception, /) -> None:
        self._ended = True
        self._connection.fail(self._request, _as_told(error))
        self._pressure.end(self._connection, len(self._request.ids))


class _Counts:
    """The counts of several writes that are answered together."""

    def __init__(self, pressure: Pressure, connection: Connection, request: Request, ends: list[int]) -> None:
        self._pressure = pressure
        self._connection = connection
        self._request = request
        self._ends = ends
        self._marks = bytearray(ends[-1])
        self._left = len(ends) - 1
        self._error: Error | None = None
        pressure.begin(connection, ends[-1])

    def take(self, index: int, count: int, error: Error | None = None) -> None:
        """One of them has its count, or an error."""
        start, end = self._ends[index : index + 2]
        marked = min(count, end - start)
        self._marks[start : start + marked] = b"\1" * marked
        self._error = self._error or error
        self._left -= 1
        if self._left:
            return
        if self._error is not None:
            self._connection.fail(self._request, self._error)
        else:
            self._connection.reply_counts(self._request, self._marks)
        self._pressure.end(self._connection, self._ends[-1])


class _Count:
    """Where one count goes; the `Waiter` of the fan-out."""

    __slots__ = ("_counts", "_ended", "_index")

    def __init__(self, counts: _Counts, index: int) -> None:
        self._counts = counts
        self._index = index
        self._ended = False

    def done(self) -> bool:
        """Whether it has been given."""
        return self._ended

    def set_result(self, result: Any, /) -> None:
        self._ended = True
        self._counts.take(self._index, result)

    def set_exception(self, error: Exception, /) -> None:
        self._ended = True
        self._counts.take(self._index, 0, _as_told(error))


def _as_told(error: Exception) -> Error:
    """The error as it crosses the wire: one that arose between router and node is the cluster's."""
    if isinstance(error, Error) and error.code:
        return error
    return Unavailable(f"the cluster cannot answer: {error}")

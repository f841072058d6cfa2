"""What stands behind a router's connections: each request goes to the fan-out, its answer back where the request came from.

Answers of nodes come in any order; the session gives them out in the order of the requests. So a slow node holds back those
who ask about its users, and nobody else, as long as there is room for what waits (see `pressure`).
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from presencedb.client.cluster.fanout import Fanout
from presencedb.client.link import Waiter
from presencedb.errors import Error, Unavailable
from presencedb.ids import IdBatch
from presencedb.limits import GATHERED_IDS_MAX
from presencedb.protocol.greeting import greeting
from presencedb.protocol.messages import Request
from presencedb.router.feeds import RouterFeeds
from presencedb.router.pressure import Pressure
from presencedb.transport.connection import Connection
from presencedb.transport.doorkeeper import Doorkeeper

log = structlog.get_logger()

_FEEDS: Final = frozenset({"watch", "unwatch", "follow"})


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
        feeds.on_answered = self.pressure.go_on
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
                self.pressure.wait(connection, lambda: self._feeds.serve(connection, request))
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
        if request.run is not None and len(request.ids) > GATHERED_IDS_MAX:
            # Together they may be more than one frame to a node can hold.
            frames = request.ids_by_frame()
            answers = _Frames(self.pressure, connection, request, len(frames))
            for index, ids in enumerate(frames):
                self._ask(connection, request, ids, _Frame(answers, index))
        else:
            self._ask(connection, request, request.ids, _Answer(self.pressure, connection, request))

    def _ask(self, connection: Connection, request: Request, ids: IdBatch, waiter: Waiter) -> None:
        method = request.command.name
        if request.run is not None and method == "heartbeat":
            self._fanout.beat(ids, waiter, connection)
        else:
            self._fanout.ask(
                method, ids, request.options, waiter, cursor=request.cursor, limit=request.limit, origin=connection
            )


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
        elif request.run is not None:
            connection.reply_counts(request, result)
        else:
            connection.reply(request, result)
        self._pressure.end(connection, len(request.ids))

    def set_exception(self, error: Exception, /) -> None:
        self._ended = True
        self._connection.fail(self._request, _as_told(error))
        self._pressure.end(self._connection, len(self._request.ids))


class _Frames:
    """The answers to several frames that came as one request, and go to nodes one by one."""

    def __init__(self, pressure: Pressure, connection: Connection, request: Request, count: int) -> None:
        self._pressure = pressure
        self._connection = connection
        self._request = request
        self._answers: list[Error | int | bytes] = [0] * count
        self._left = count
        pressure.begin(connection, len(request.ids))

    def take(self, index: int, answer: Error | int | bytes) -> None:
        """One of them has its answer."""
        self._answers[index] = answer
        self._left -= 1
        if self._left == 0:
            self._connection.reply_frames(self._request, self._answers)
            self._pressure.end(self._connection, len(self._request.ids))

    def take_column(self, index: int, column: bytes) -> None:
        """The same of a byte for each id: a status, or a mark that is to be counted."""
        self.take(index, column if self._request.command.name == "status" else column.count(1))


class _Frame:
    """Where the answer to one of several frames goes; the `Waiter` of the fan-out."""

    __slots__ = ("_ended", "_frames", "_index")

    def __init__(self, frames: _Frames, index: int) -> None:
        self._frames = frames
        self._index = index
        self._ended = False

    def done(self) -> bool:
        """Whether it has been given."""
        return self._ended

    def set_result(self, result: bytes, /) -> None:
        self._ended = True
        self._frames.take_column(self._index, result)

    def set_exception(self, error: Exception, /) -> None:
        self._ended = True
        self._frames.take(self._index, _as_told(error))


def _as_told(error: Exception) -> Error:
    """The error as it crosses the wire: one that arose between router and node is the cluster's."""
    if isinstance(error, Error) and error.code:
        return error
    return Unavailable(f"the cluster cannot answer: {error}")

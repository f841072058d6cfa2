"""A service without a node behind it, and a listener in front of it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from presencedb.credentials import ALL_RIGHTS
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection
from presencedb.transport.hub import Hub
from presencedb.transport.listener import Listener

TIMEOUT_MS: Final = 20_000

Serve = Callable[[Connection, Request], None]


def answer_name(connection: Connection, request: Request) -> None:
    """Answer with the command's name."""
    connection.reply(request, request.command.name)


class StubService:
    """Does what it is told with each request, and remembers everything."""

    def __init__(self, serve: Serve = answer_name) -> None:
        self.requests: deque[tuple[Connection, Request]] = deque()
        self.served_count = 0
        self.has_room_calls: list[Connection] = []
        self.closed_connections: list[Connection] = []
        self.on_room: Callable[[Connection], None] = lambda _connection: None
        self._serve = serve

    def serve(self, connection: Connection, request: Request) -> None:
        self.served_count += request.frame_count
        self.requests.append((connection, request))
        self._serve(connection, request)

    def has_room(self, connection: Connection) -> None:
        self.has_room_calls.append(connection)
        self.on_room(connection)

    def closed(self, connection: Connection) -> None:
        self.closed_connections.append(connection)


class Served:
    """A running listener on a TCP port."""

    def __init__(self, hub: Hub, listener: Listener, address: tuple[str, int]) -> None:
        self.hub = hub
        self.listener = listener
        self.address = address


@contextlib.asynccontextmanager
async def served(service: StubService) -> AsyncIterator[Served]:
    """Serve on a free port while `async with` lasts."""
    hub = Hub()
    listener = Listener(hub, service, ALL_RIGHTS)
    address = await listener.listen_tcp("127.0.0.1", 0, None)
    try:
        yield Served(hub, listener, address)
    finally:
        listener.stop()
        await hub.close(TIMEOUT_MS)

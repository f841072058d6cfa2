"""A scripted server on real sockets, for what a real one does not do: wrong answers, silence, half frames, resets.

It speaks the protocol through `ServerSession`. Without a script it answers as a lone node would, with a set for a store.
`script[method]` replaces the answer to a method; a script may raise an `Error` to send it, return `SILENCE`, or do anything
with the `Peer`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Self, cast

from presencedb.client.values import ServerInfo
from presencedb.errors import Error
from presencedb.ids import Id
from presencedb.protocol.codec import encode_notification
from presencedb.protocol.messages import PROTOCOL_VERSION, Request
from presencedb.protocol.session import ServerSession
from tests.support.waiting import wait_until_async

SILENCE: Final = object()
"""What a script returns to leave a request without an answer for ever."""
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Script = Callable[["Peer", Request], Any]


class Peer(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.session = ServerSession()
        self.transport: asyncio.Transport
        self.seen: list[Request] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.peers.append(self)
        self.server.connection_count += 1

    def data_received(self, data: bytes) -> None:
        self.session.receive_data(data)
        while (request := self.session.next_request()) is not None:
            self.seen.append(request)
            self.server.requests.append(request)
            self.server.answer(self, request)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.peers.remove(self)

    def flush(self) -> None:
        """Send what the session has."""
        if data := self.session.data_to_send():
            self.transport.write(data)

    def tell(self, cursor: str, *events: tuple[Id, bool | None, int, str]) -> None:
        """Send a `presence` notification."""
        self.notify("presence", cursor, events)

    def notify(self, method: str, *params: object) -> None:
        """Send any notification."""
        self.session.push(encode_notification(method, params))
        self.flush()

    def reset(self) -> None:
        """Cut the connection with an RST."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()


class FakeServer:
    """Listens on a free port of 127.0.0.1, a given port, or a Unix socket, inside `async with`."""

    def __init__(
        self,
        *,
        port: int = 0,
        unix_path: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        heartbeat_interval_ms: int = 10_000,
    ) -> None:
        self.script: dict[str, Script] = {}
        self.peers: list[Peer] = []
        self.requests: list[Request] = []
        self.connection_count = 0
        """Connections accepted since the start."""
        self.online: set[Id] = set()
        self.run = "run-1"
        self.port = port
        self._unix_path = unix_path
        self._ssl_context = ssl_context
        self._heartbeat_interval_ms = heartbeat_interval_ms
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, after a `stop` on the same port again."""
        loop = asyncio.get_running_loop()
        if self._unix_path is not None:
            self._server = await loop.create_unix_server(lambda: Peer(self), self._unix_path)
            return
        self._server = await loop.create_server(lambda: Peer(self), "127.0.0.1", self.port, ssl=self._ssl_context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and cut every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await wait_until_async(lambda: not self.peers, what="the end of all connections")

    def cut(self) -> None:
        """Reset every connection."""
        for peer in list(self.peers):
            peer.reset()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        if self._unix_path is not None:
            return f"presence+unix://{self._unix_path}"
        return f"presence+tls://localhost:{self.port}" if self._ssl_context else f"presence://{self.address}"

    def seen(self, method: str) -> list[Request]:
        """The requests for a method, in order."""
        return [request for request in self.requests if request.command.name == method]

    @property
    def counts(self) -> Counter[str]:
        """How often each method was asked for."""
        return Counter(request.command.name for request in self.requests)

    def hello(self) -> dict[str, Any]:
        """What it answers to `hello`."""
        return {
            "protocol": PROTOCOL_VERSION,
            "version": "0.0-fake",
            "node": "fake",
            "run": self.run,
            "ttl_ms": 3 * self._heartbeat_interval_ms,
            "tick_ms": 100,
            "heartbeat_interval_ms": self._heartbeat_interval_ms,
            "retention": "online",
            "limits": {},
        }

    @property
    def info(self) -> ServerInfo:
        return ServerInfo.from_wire(self.hello())

    def answer(self, peer: Peer, request: Request) -> None:
        script = self.script.get(request.command.name)
        try:
            result = self.usual(request) if script is None else script(peer, request)
        except Error as error:
            peer.session.fail(request, error)
            return
        if result is not SILENCE:
            peer.session.reply(request, result)

    def usual(self, request: Request) -> Any:
        """What a node would answer."""
        ids = list(request.ids)
        match request.command.name:
            case "hello":
                return self.hello()
            case "ping":
                return "pong"
            case "heartbeat":
                came_online = len(set(ids) - self.online)
                self.online.update(ids)
                return came_online
            case "offline":
                went_offline = len(set(ids) & self.online)
                self.online.difference_update(ids)
                return went_offline
            case "status":
                return [user_id in self.online for user_id in ids]
            case "last_seen":
                return [1_700_000_000_123 if user_id in self.online else None for user_id in ids]
            case "count":
                return len(self.online)
            case "online":
                everybody = sorted(self.online, key=str)
                start = int(request.cursor or 0)
                end = start + request.limit
                return [str(end) if end < len(everybody) else None, everybody[start:end]]
            case "follow":
                return request.cursor or "start"
        return {}

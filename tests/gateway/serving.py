"""A gateway that really listens, in front of a real node in this process, and the ways to talk to it."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from queue import Queue
from typing import Any, Final

import aiohttp
from yarl import URL

from presencedb.client.aio import AsyncClient
from presencedb.clock import Clock
from presencedb.credentials import ALL_RIGHTS, Credentials, Principal, Right
from presencedb.gateway.gateway import Gateway
from presencedb.gateway.settings import GatewaySettings, JwtSettings
from presencedb.node.node import Node, NodeSettings
from tests.gateway.issuing import verification_key

SERVICE_KEY: Final = "service-key-of-the-tests"
READER_KEY: Final = "reader-key-of-the-tests"
WRITER_KEY: Final = "writer-key-of-the-tests"
ADMIN_KEY: Final = "admin-key-of-the-tests"
CREDENTIALS: Final = Credentials(
    [
        (SERVICE_KEY, Principal("service", frozenset({Right.READ, Right.WRITE}))),
        (READER_KEY, Principal("reader", frozenset({Right.READ}))),
        (WRITER_KEY, Principal("writer", frozenset({Right.WRITE}))),
        (ADMIN_KEY, Principal("admin", frozenset({Right.ADMIN}))),
    ]
)
JWT: Final = JwtSettings(key=verification_key("HS256"))
WITH_KEYS: Final = GatewaySettings(listen=("127.0.0.1", 0), credentials=CREDENTIALS, jwt=JWT)
WITHOUT_KEYS: Final = GatewaySettings(listen=("127.0.0.1", 0))
NODE: Final = NodeSettings(listen=None, seed=7)
_READ_BYTES: Final = 65536
_DEADLINE_S: Final = 30.0
_PATIENCE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int) -> Any:
        """The answer as a problem of that status; anything else fails the test."""
        assert self.status == status, self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        document = self.json
        assert set(document) == {"type", "title", "status", "code", "detail"}
        assert document["status"] == status
        assert document["detail"]
        assert "Traceback" not in document["detail"]
        return document


@dataclass(slots=True)
class Served:
    """What a test talks to: HTTP by `call` and `raw`, the node itself by `db`."""

    node: Node
    gateway: Gateway
    db: AsyncClient
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        host, port = self.gateway.http_address
        return f"http://{host}:{port}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        key: str | None = None,
        body: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """Send a request; the path goes out as it is written here. `body` is sent as JSON, `data` as it is."""
        sent = list(headers.items() if isinstance(headers, Mapping) else headers)
        if token is not None:
            sent.append(("Authorization", f"Bearer {token}"))
        if key is not None:
            sent.append(("X-API-Key", key))
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None and not any(name.lower() == "content-type" for name, _ in sent):
            sent.append(("Content-Type", "application/json"))
        url = URL(self.url + path, encoded=True)
        async with self.session.request(
            method, url, data=None if data is None else BytesIO(data), headers=sent, allow_redirects=False
        ) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def raw(self, data: bytes) -> bytes:
        """Send these bytes, and read whatever comes until the connection is closed."""
        reader, writer = await asyncio.open_connection(*self.gateway.http_address)
        try:
            writer.write(data)
            await writer.drain()
            received = bytearray()
            while chunk := await reader.read(_READ_BYTES):
                received += chunk
            return bytes(received)
        finally:
            writer.close()

    async def is_online(self, user_id: int | str) -> bool | None:
        return next(iter((await self.db.status([user_id])).values()))


def answer_of(data: bytes) -> Answer:
    """The one answer in what a raw connection gave."""
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *fields = head.decode().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    assert len(body) == int(headers["Content-Length"])
    return Answer(int(status_line.split()[1]), headers, body)


def client_of(node: Node, **options: Any) -> AsyncClient:
    """A client that the node takes from the inside, by a pair of sockets, as under `presencedb serve`."""

    async def connect() -> socket.socket:
        ours, theirs = socket.socketpair()
        node.accept(theirs, ALL_RIGHTS)
        ours.setblocking(False)
        return ours

    return AsyncClient(connect=connect, **options)


@asynccontextmanager
async def serving(
    settings: GatewaySettings = WITH_KEYS,
    *,
    node_settings: NodeSettings = NODE,
    clock: Clock | None = None,
    client_options: Mapping[str, Any] | None = None,
) -> AsyncIterator[Served]:
    """A node and a gateway that listen; `clock` is the node's."""
    node = Node(node_settings, clock=clock)
    await node.start()
    client = client_of(node, **(client_options or {}))
    gateway = Gateway(settings, client)
    await gateway.start()
    async with client_of(node) as db, aiohttp.ClientSession(auto_decompress=False) as session:
        try:
            yield Served(node, gateway, db, session)
        finally:
            await session.close()
            await gateway.stop()
            await client.close()
            await db.close()
            await node.stop()


@contextmanager
def serving_in_a_thread(settings: GatewaySettings = WITH_KEYS) -> Iterator[tuple[str, int]]:
    """The address of a gateway that serves in a loop of its own, for tests that are no coroutines."""
    started: Queue[tuple[str, int]] = Queue()
    loops: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def serve() -> None:
        async with serving(settings) as served:
            end = asyncio.Event()
            loops.put((asyncio.get_running_loop(), end))
            started.put(served.gateway.http_address)
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    address = started.get(timeout=_DEADLINE_S)
    try:
        yield address
    finally:
        loop, end = loops.get()
        loop.call_soon_threadsafe(end.set)
        thread.join()


def exchange(address: tuple[str, int], data: bytes, *, and_the_end: bool = False) -> bytes:
    """Send these bytes and read whatever comes until the connection is closed.

    With `and_the_end` the server learns, unless it answers soon, that nothing more will come.
    """
    with socket.create_connection(address, timeout=_DEADLINE_S) as sock:
        sock.sendall(data)
        if and_the_end and not select.select([sock], [], [], _PATIENCE_S)[0]:
            sock.shutdown(socket.SHUT_WR)
        received = bytearray()
        while chunk := sock.recv(_READ_BYTES):
            received += chunk
        return bytes(received)

"""A node without sockets: its connections end in paper transports, whose other end reads when and as much as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from presencedb.clock import ManualClock
from presencedb.node.node import Node
from presencedb.protocol.messages import Notification, Response
from presencedb.protocol.session import ClientSession
from presencedb.transport.connection import Connection
from presencedb.transport.hub import Hub
from tests.node.running import QUICK


class PaperTransport(asyncio.Transport):
    """What is written waits here until it is taken; what is sent waits until the connection wants to read."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.closed = False
        self.size_max = 0
        """The most that ever waited."""
        self._connection = connection
        self._written = bytearray()
        self._sent = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._pressed = False
        self._reading = True
        self._closing = False

    def send(self, data: bytes) -> None:
        """Bytes for the connection."""
        self._sent += data
        self._deliver()

    def take(self, count: int | None = None) -> bytes:
        """Read what has been written, or so many bytes of it."""
        size = len(self._written) if count is None else count
        data = bytes(self._written[:size])
        del self._written[:size]
        if self._pressed and len(self._written) <= self._low:
            self._pressed = False
            self._connection.resume_writing()
        if self._closing and not self._written:
            self._lose()
        return data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _NoSocket() if name == "socket" else default

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._written += data
        self.size_max = max(self.size_max, len(self._written))
        self._press()

    def get_write_buffer_size(self) -> int:
        return len(self._written)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        self._high, self._low = high, low
        self._press()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        asyncio.get_running_loop().call_soon(self._deliver)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self._closing = True
        if not self._written:
            self._lose()

    def abort(self) -> None:
        self._written.clear()
        self.close()

    def _press(self) -> None:
        if not self._pressed and len(self._written) > self._high:
            self._pressed = True
            self._connection.pause_writing()

    def _deliver(self) -> None:
        while self._sent and self._reading and not self._closing:
            buffer = self._connection.get_buffer(-1)
            size = min(len(buffer), len(self._sent))
            buffer[:size] = self._sent[:size]
            del self._sent[:size]
            self._connection.buffer_updated(size)

    def _lose(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)


class _NoSocket:
    """A socket without options to set."""

    family = None


class PaperWire:
    """The client's end of one connection. It reads only when it is told to."""

    def __init__(self, connection: Connection) -> None:
        self.transport = PaperTransport(connection)
        self.messages: deque[Response | Notification] = deque()
        """What has been read, in order."""
        self._session = ClientSession()
        connection.connection_made(self.transport)

    def send(self, method: str, *params: Any) -> int:
        """Send a request; returns its msgid."""
        msgid = self._session.request(method, params)
        self.transport.send(self._session.data_to_send())
        return msgid

    def read(self, count: int | None = None) -> None:
        """Read what is there, or so many bytes of it."""
        self._session.receive_data(self.transport.take(count))
        while (message := self._session.next_message()) is not None:
            self.messages.append(message)

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a request; whatever else is read meanwhile stays in `messages`."""
        msgid = self.send(method, *params)
        while True:
            self.read()
            for message in self.messages:
                if isinstance(message, Response) and message.msgid == msgid:
                    self.messages.remove(message)
                    if message.error is not None:
                        raise message.error
                    return message.result
            await asyncio.sleep(0)

    def notifications(self) -> list[tuple[str, list[Any]]]:
        """Read, and take what was told unasked so far."""
        self.read()
        told = [message for message in self.messages if isinstance(message, Notification)]
        for message in told:
            self.messages.remove(message)
        return [(message.method, message.params) for message in told]


class PaperNode:
    """A running node, and its parts for a look inside."""

    def __init__(self, node: Node) -> None:
        assert node._parts is not None
        self.node = node
        self.hub: Hub = node._parts.hub
        self.feed = node._parts._feed
        self.wall_time = node._parts._wall_time
        self.subscribers = node._parts._subscribers
        self._listener = node._parts.listener

    def connect(self) -> PaperWire:
        """A new connection."""
        return PaperWire(self._listener._make_connection())


@contextlib.asynccontextmanager
async def paper_node(clock: ManualClock, **settings: Any) -> AsyncIterator[PaperNode]:
    """A node on nothing but paper; settings that differ from `QUICK` by name. At the end its connections are cut."""
    node = Node(dataclasses.replace(QUICK, listen=None, **settings), clock=clock)
    await node.start()
    paper = PaperNode(node)
    try:
        yield paper
    finally:
        for connection in paper.hub.connections:
            connection.abort()
        await node.stop()


async def turns(count: int = 3) -> None:
    """Let the loop turn: what was sent is served, what was answered is written."""
    for _ in range(count):
        await asyncio.sleep(0)

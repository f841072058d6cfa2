"""A hostile TCP proxy between a client and a server: it cuts, stalls, splits, delays and forgets, as a test tells it to.

It runs in a thread of its own, so that blocking and async tests use it alike. All switches may be set at any time and
hold for the connections that are open as well as for those to come; what is done to connections is done to the open ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from enum import Flag, auto
from types import TracebackType
from typing import Any, Final, Self

READ_BYTES: Final = 65536
START_S: Final = 20.0
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Direction(Flag):
    """Which way bytes go."""

    TO_SERVER = auto()
    TO_CLIENT = auto()
    BOTH = TO_SERVER | TO_CLIENT


class _Connection:
    """One of a client, with the one to the server that was made for it.

    Attributes:
        pumps: the tasks that pass bytes on, one a direction.
        is_forgotten: nothing is passed on any more, not even an end.
        bytes_left: what is passed on before it is cut, where that was asked for.
        reset: how it is cut then.
    """

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)
        self.pumps: tuple[asyncio.Task[None], ...] = ()
        self.is_forgotten = False
        self.bytes_left: dict[Direction, int] = {}
        self.reset = True

    def end(self, *, reset: bool) -> None:
        for writer in self.writers:
            _end(writer, reset=reset)
        for pump in self.pumps:
            pump.cancel()


class HostileProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to `target`, (host, port), until told otherwise."""

    def __init__(self, target: tuple[str, int] | None) -> None:
        self.target = target
        """None: nobody is there, so that every new connection is cut at once."""
        self.address: tuple[str, int] = ("", 0)
        """Where a client connects instead; known once `with` is entered."""
        self._piece_bytes = READ_BYTES
        self._delay_s = 0.0
        self._refusing = False
        self._connections: set[_Connection] = set()
        self._errors: list[dict[str, Any]] = []
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hostile-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(START_S), "the proxy did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        if self._errors and error is None:
            raise AssertionError(f"the proxy itself failed: {self._errors}")

    @property
    def url(self) -> str:
        """For a client: `presence://127.0.0.1:41237`."""
        return f"presence://{self.address[0]}:{self.address[1]}"

    @property
    def connection_count(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def stall(self, direction: Direction = Direction.BOTH) -> None:
        """Pass nothing on in this direction, as a network that swallows packets; nobody is told."""
        self._do(self._set_gates(direction, open_=False))

    def resume(self, direction: Direction = Direction.BOTH) -> None:
        """End a stall; what waited goes on its way, as after a retransmission."""
        self._do(self._set_gates(direction, open_=True))

    def cut(self, *, reset: bool = True) -> None:
        """End all open connections on both sides, forgotten ones too, by RST, or by FIN with `reset=False`."""
        self._do(self._cut(reset=reset))

    def cut_after(self, byte_count: int, direction: Direction = Direction.TO_CLIENT, *, reset: bool = True) -> None:
        """Cut each open connection once so many more bytes, one at least, have gone this way: in the middle of a message.

        By FIN all of them arrive; by RST the last may be lost.
        """
        self._do(self._cut_after(byte_count, direction, reset=reset))

    def forget(self) -> None:
        """Pass nothing more on in the open connections, either way, and tell nobody, as a router that lost its table; new
        connections pass. They stay half open until `cut`."""
        self._do(self._forget())

    def refuse(self, refusing: bool = True) -> None:
        """Cut every new connection at once."""
        self._refusing = refusing

    def split(self, piece_bytes: int = 1) -> None:
        """Pass bytes on in pieces of at most this size, each its own packet as far as TCP lets one choose."""
        self._piece_bytes = piece_bytes

    def delay(self, delay_s: float) -> None:
        """Hold each piece back for this long before it goes on."""
        self._delay_s = delay_s

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _loop, context: self._errors.append(context))
        self._ending = asyncio.Event()
        self._gates = {Direction.TO_SERVER: asyncio.Event(), Direction.TO_CLIENT: asyncio.Event()}
        await self._set_gates(Direction.BOTH, open_=True)
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()[:2]
        self._started.set()
        await self._ending.wait()
        server.close()
        self._refusing = True
        await self._cut(reset=True)
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left)

    async def _set_gates(self, direction: Direction, *, open_: bool) -> None:
        for one in direction:
            if open_:
                self._gates[one].set()
            else:
                self._gates[one].clear()

    async def _cut(self, *, reset: bool) -> None:
        for connection in list(self._connections):
            connection.end(reset=reset)

    async def _cut_after(self, byte_count: int, direction: Direction, *, reset: bool) -> None:
        for connection in self._connections:
            connection.bytes_left = dict.fromkeys(direction, byte_count)
            connection.reset = reset

    async def _forget(self) -> None:
        for connection in self._connections:
            connection.is_forgotten = True

    async def _connected(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self.target is None:
            _end(client, reset=True)
            return
        try:
            server_reader, server = await asyncio.open_connection(*self.target)
        except OSError:
            _end(client, reset=True)
            return
        if self._refusing:
            for writer in (client, server):
                _end(writer, reset=True)
            return
        connection = _Connection(client, server)
        connection.pumps = (
            asyncio.create_task(self._pump(connection, client_reader, server, Direction.TO_SERVER)),
            asyncio.create_task(self._pump(connection, server_reader, client, Direction.TO_CLIENT)),
        )
        self._connections.add(connection)
        await asyncio.wait(connection.pumps)
        self._connections.remove(connection)
        for writer in connection.writers:
            _end(writer, reset=False)

    async def _pump(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                for piece in _pieces(data, self._piece_bytes):
                    await asyncio.sleep(self._delay_s)
                    await self._passage(connection, direction)
                    bytes_left = connection.bytes_left.get(direction, READ_BYTES)
                    writer.write(piece[:bytes_left])
                    await writer.drain()
                    if direction in connection.bytes_left:
                        connection.bytes_left[direction] = max(bytes_left - len(piece), 0)
                        if not connection.bytes_left[direction]:
                            connection.end(reset=connection.reset)
                            return
            await self._passage(connection, direction)
            writer.write_eof()
        except OSError:  # a side reset its connection, so the other side sees a reset too
            _end(writer, reset=True)

    async def _passage(self, connection: _Connection, direction: Direction) -> None:
        await self._gates[direction].wait()
        if connection.is_forgotten:
            await asyncio.Event().wait()  # until it is cut


def _pieces(data: bytes, piece_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(data), piece_bytes):
        yield data[start : start + piece_bytes]


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        raw: socket.socket = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()
    else:
        writer.close()

"""A raw, blocking connection for tests: it sends any bytes, and reads one MessagePack value at a time."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Any, Final, Self

import msgpack

DEADLINE_S: Final = 20.0
READ_BYTES: Final = 65536


class RawConnection:
    """One socket to a server, without any of the client's manners. `address` is (host, port), or a Unix socket's path."""

    def __init__(self, address: tuple[str, int] | str, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        self._msgid = 0
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(deadline_s)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=deadline_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.settimeout(self._deadline_s)
        self.socket.sendall(data)

    def send_message(self, message: object) -> None:
        """Send one value as MessagePack: `[0, 1, "ping", []]`."""
        self.send(msgpack.packb(message))

    def receive(self) -> Any:
        """The next MessagePack value.

        Raises:
            EOFError: the server closed the connection, or cut it.
            TimeoutError: none came within the deadline.
        """
        end = time.monotonic() + self._deadline_s
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                data = self._read(end)
                if not data:
                    raise EOFError("the server closed the connection") from None
                self._unpacker.feed(data)

    def receive_to_end(self) -> list[Any]:
        """All values until the server closes the connection.

        Raises:
            TimeoutError: it did not within the deadline.
        """
        values: list[Any] = []
        while True:
            try:
                values.append(self.receive())
            except EOFError:
                return values

    def call(self, method: str, *params: object) -> tuple[Any, Any]:
        """One request and its response, as `(error, result)`; notifications that come before it are passed over."""
        self._msgid += 1
        self.send_message([0, self._msgid, method, list(params)])
        while True:
            message = self.receive()
            if message[0] == 1:
                assert message[1] == self._msgid, f"asked with msgid {self._msgid}, answered {message!r}"
                return message[2], message[3]

    def notify(self, method: str, *params: object) -> None:
        self.send_message([2, method, list(params)])

    def _read(self, end: float) -> bytes:
        self.socket.settimeout(max(end - time.monotonic(), 0.001))
        try:
            return self.socket.recv(READ_BYTES)
        except ConnectionError:
            return b""

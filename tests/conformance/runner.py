"""Runs a case against whatever listens on an address, by plain blocking sockets and nothing of the code under test."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import msgpack

from tests.conformance import wire
from tests.conformance.case import Case, Exchange
from tests.conformance.patterns import Mismatch, check, with_kept

DEADLINE_S: Final = 30.0
READ_BYTES: Final = 65536


def run_case(case: Case, address: tuple[str, int], *, piece_bytes: int | None = None) -> None:
    """Run a case on a connection of its own.

    Args:
        piece_bytes: send at most so many bytes at a time; None: all that an exchange has.

    Raises:
        Mismatch: something else came than was expected, or less, or more.
    """
    kept: dict[str, Any] = {}
    with contextlib.closing(Connection(address)) as connection:
        for exchange in case.exchanges:
            connection.send(_bytes_of(exchange, kept), piece_bytes)
            for expected in exchange.answers:
                check(expected, *connection.receive(), kept)
        if not case.closes:
            connection.finish()
        if rest := connection.receive_to_end():
            raise Mismatch(f"after the last answer there came {rest.hex(' ')}")


class Connection:
    """One socket, and what came on it, message by message."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=DEADLINE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unpacker = msgpack.Unpacker(strict_map_key=False)
        self._data = b""
        self._taken = 0

    def send(self, data: bytes, piece_bytes: int | None) -> None:
        # A server that has refused the stream may close before it has read all.
        with contextlib.suppress(ConnectionError):
            for piece in _pieces(data, piece_bytes):
                self._socket.sendall(piece)

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def receive(self) -> tuple[bytes, Any]:
        """The next message, as it came and decoded.

        Raises:
            Mismatch: the connection was closed instead, or none came within the deadline.
        """
        while True:
            try:
                found = self._unpacker.unpack()
            except msgpack.OutOfData:
                if not self._read():
                    raise Mismatch(f"the server closed the connection after {self._data[self._taken :].hex(' ')}") from None
                continue
            start, self._taken = self._taken, self._unpacker.tell()
            return self._data[start : self._taken], found

    def receive_to_end(self) -> bytes:
        """What else came until the server closed the connection.

        Raises:
            Mismatch: it did not within the deadline.
        """
        while self._read():
            pass
        return self._data[self._taken :]

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> bool:
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionError:
            return False
        except TimeoutError:
            raise Mismatch(f"nothing came for {DEADLINE_S:g} s after {self._data[self._taken :].hex(' ')}") from None
        self._unpacker.feed(data)
        self._data += data
        return bool(data)


def _bytes_of(exchange: Exchange, kept: dict[str, Any]) -> bytes:
    if isinstance(exchange.sent, bytes):
        return exchange.sent
    return b"".join(wire.value(with_kept(message, kept)) for message in exchange.sent)


def _pieces(data: bytes, piece_bytes: int | None) -> Iterator[bytes]:
    size = piece_bytes or max(len(data), 1)
    for start in range(0, len(data), size):
        yield data[start : start + size]

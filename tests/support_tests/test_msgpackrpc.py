"""The raw connection, against a server that answers from a script."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import pytest

from tests.support.msgpackrpc import RawConnection


@contextmanager
def served(listener: socket.socket, script: Callable[[socket.socket], None]) -> Iterator[None]:
    """Run `script` on the first connection that `listener` gets, then close it."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            script(connection)

    thread = threading.Thread(target=serve)
    with listener:
        thread.start()
        yield
        thread.join()


def read_one(connection: socket.socket) -> object:
    unpacker = msgpack.Unpacker()
    while True:
        unpacker.feed(connection.recv(1))
        try:
            return unpacker.unpack()
        except msgpack.OutOfData:
            continue


def test_a_call_passes_over_notifications() -> None:
    def script(connection: socket.socket) -> None:
        assert read_one(connection) == [0, 1, "ping", []]
        connection.sendall(msgpack.packb([2, "presence", []]) + msgpack.packb([1, 1, None, "pong"]))

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with served(listener, script), RawConnection(address) as raw:
        assert raw.call("ping") == (None, "pong")


def test_all_values_to_the_end_over_a_unix_socket(tmp_path: Path) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(msgpack.packb(1) + msgpack.packb("two"))

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    with served(listener, script), RawConnection(str(tmp_path / "socket")) as raw:
        assert raw.receive_to_end() == [1, "two"]
        with pytest.raises(EOFError):
            raw.receive()


def test_silence_is_an_error_after_the_deadline() -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(b"\x92\x01")  # half a value
        assert connection.recv(1) == b""

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with served(listener, script), RawConnection(address, deadline_s=0.05) as raw, pytest.raises(TimeoutError):
        raw.receive()

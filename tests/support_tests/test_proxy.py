"""The hostile proxy, between a client and an echo server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.proxy import Direction, HostileProxy
from tests.support.waiting import wait_until


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets, one thread a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=_accept, args=(listener,))
        acceptor.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()


def _accept(listener: socket.socket) -> None:
    answering: list[threading.Thread] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            break
        answering.append(threading.Thread(target=_answer, args=(connection,)))
        answering[-1].start()
    for thread in answering:
        thread.join()


def _answer(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except ConnectionError:
            return


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[HostileProxy]:
    with HostileProxy(echo) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: HostileProxy) -> Iterator[socket.socket]:
    with socket.create_connection(proxy.address, timeout=20) as client:
        yield client


def received(client: socket.socket, byte_count: int) -> bytes:
    data = b""
    while len(data) < byte_count and (more := client.recv(byte_count - len(data))):
        data += more
    return data


def test_it_passes_everything_on(client: socket.socket) -> None:
    payload = bytes(range(256)) * 1000
    sender = threading.Thread(target=client.sendall, args=(payload,))
    sender.start()
    assert received(client, len(payload)) == payload
    sender.join()


def test_it_passes_an_end_on(client: socket.socket) -> None:
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert received(client, 4) == b"last"
    assert client.recv(1) == b""


def test_it_splits(proxy: HostileProxy, client: socket.socket) -> None:
    proxy.split(1)
    proxy.delay(0.001)
    client.sendall(b"one by one")
    assert received(client, 10) == b"one by one"


@pytest.mark.parametrize("direction", list(Direction.BOTH))
def test_a_stall_holds_back_and_a_resume_passes_on(proxy: HostileProxy, client: socket.socket, direction: Direction) -> None:
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    proxy.stall(direction)
    client.sendall(b"b")
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)
    proxy.resume(direction)
    client.settimeout(20)
    assert received(client, 1) == b"b"


def test_a_cut_by_reset_is_seen_and_a_new_connection_passes(proxy: HostileProxy, client: socket.socket) -> None:
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection(proxy.address, timeout=20) as second:
        second.sendall(b"again")
        assert received(second, 5) == b"again"


def test_a_cut_by_fin_is_an_orderly_end(proxy: HostileProxy, client: socket.socket) -> None:
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    proxy.cut(reset=False)
    assert client.recv(1) == b""


def test_a_cut_ends_a_stalled_connection_too(proxy: HostileProxy, client: socket.socket) -> None:
    wait_until(lambda: proxy.connection_count == 1)
    proxy.stall()
    client.sendall(b"never arrives")
    proxy.cut()
    wait_until(lambda: proxy.connection_count == 0)


@pytest.mark.parametrize("direction", list(Direction.BOTH))
@pytest.mark.parametrize("byte_count", [1, 3])
def test_a_cut_after_some_bytes_lets_so_many_pass(
    proxy: HostileProxy, client: socket.socket, direction: Direction, byte_count: int
) -> None:
    wait_until(lambda: proxy.connection_count == 1)
    proxy.cut_after(byte_count, direction, reset=False)
    client.sendall(b"12345")
    if direction is Direction.TO_CLIENT:
        assert received(client, 6) == b"12345"[:byte_count]
    else:
        assert received(client, 6) == b""  # what the server answers comes too late
    wait_until(lambda: proxy.connection_count == 0)
    with socket.create_connection(proxy.address, timeout=20) as second:
        second.sendall(b"again")
        assert received(second, 5) == b"again"


def test_a_cut_after_some_bytes_may_be_a_reset(proxy: HostileProxy, client: socket.socket) -> None:
    wait_until(lambda: proxy.connection_count == 1)
    proxy.cut_after(3)
    client.sendall(b"12345")
    with pytest.raises(ConnectionResetError):
        received(client, 6)


def test_what_is_forgotten_stays_silent_until_it_is_cut(proxy: HostileProxy, client: socket.socket) -> None:
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    proxy.forget()
    client.sendall(b"b")
    with socket.create_connection(proxy.address, timeout=20) as second:
        second.sendall(b"again")
        assert received(second, 5) == b"again"
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert proxy.connection_count >= 1
    proxy.cut()
    client.settimeout(20)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_it_refuses_until_told_otherwise(proxy: HostileProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError), socket.create_connection(proxy.address, timeout=20) as refused:
        refused.recv(1)
    proxy.refuse(False)
    with socket.create_connection(proxy.address, timeout=20) as client:
        client.sendall(b"a")
        assert received(client, 1) == b"a"


def test_without_a_target_a_client_is_reset_until_there_is_one(echo: tuple[str, int]) -> None:
    with HostileProxy(None) as proxy:
        with pytest.raises(ConnectionResetError), socket.create_connection(proxy.address, timeout=20) as early:
            early.recv(1)
        proxy.target = echo
        with socket.create_connection(proxy.address, timeout=20) as client:
            client.sendall(b"a")
            assert received(client, 1) == b"a"


def test_a_server_that_is_gone_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with (
        HostileProxy(address) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection(proxy.address, timeout=20) as client,
    ):
        client.recv(1)

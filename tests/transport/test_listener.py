"""The listener: addresses, Unix sockets, TLS, sockets handed over; what is said when it cannot listen."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import msgpack
import pytest

from presencedb.credentials import ALL_RIGHTS, Right
from presencedb.errors import ListenError
from presencedb.transport.hub import Hub
from presencedb.transport.listener import Listener
from tests.support.certificates import Certificate
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire
from tests.transport.stub import TIMEOUT_MS, StubService, served


async def test_a_taken_port_is_named() -> None:
    async with served(StubService()) as server:
        host, port = server.address
        listener = Listener(server.hub, StubService(), ALL_RIGHTS)
        with pytest.raises(ListenError, match=f"cannot listen on {host}:{port}: address already in use"):
            await listener.listen_tcp(host, port, None)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a..b", "x" * 300])
async def test_an_address_that_is_not_here_is_named(host: str) -> None:
    listener = Listener(Hub(), StubService(), ALL_RIGHTS)
    with pytest.raises(ListenError, match=r"cannot listen on .*:7411: \w"):
        await listener.listen_tcp(host, 7411, None)


async def test_a_port_is_free_again_after_a_stop() -> None:
    async with served(StubService()) as server:
        address = server.address
        async with Wire(address) as client:
            await client.call("ping")
    hub = Hub()
    listener = Listener(hub, StubService(), ALL_RIGHTS)
    assert await listener.listen_tcp(*address, None) == address
    listener.stop()


async def test_localhost_has_one_port_on_all_its_addresses() -> None:
    hub = Hub()
    listener = Listener(hub, StubService(), ALL_RIGHTS)
    _, port = await listener.listen_tcp("localhost", 0, None)
    infos = await hub.loop.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
    for host in {str(address[0]) for family, _, _, _, address in infos if family == socket.AF_INET}:
        async with Wire((host, port)) as client:
            assert await client.call("ping") == "ping"
    listener.stop()
    await hub.close(TIMEOUT_MS)


async def test_who_connects_has_the_rights_of_the_listener() -> None:
    service = StubService()
    async with served(service) as server:
        server.listener.rights = None
        async with Wire(server.address) as client:
            await client.call("ping")
            assert service.requests[0][0].rights is None


async def test_an_adopted_socket_is_served_with_rights_of_its_own() -> None:
    service = StubService()
    hub = Hub()
    listener = Listener(hub, service, None)
    ours, theirs = socket.socketpair()
    with ours:
        await listener.adopt(theirs, frozenset({Right.READ}))
        ours.setblocking(False)
        await hub.loop.sock_sendall(ours, msgpack.packb([0, 5, "ping", []]))
        assert msgpack.unpackb(await hub.loop.sock_recv(ours, 1000)) == [1, 5, None, "ping"]
        connection = service.requests[0][0]
        assert connection.rights == frozenset({Right.READ})
        assert connection.own_rights
        assert connection.peer == "unix"
    await hub.close(TIMEOUT_MS)


class TestUnixSockets:
    async def test_it_serves_and_is_removed_at_the_stop(self, tmp_path: Path) -> None:
        path = tmp_path / "presencedb.sock"
        hub = Hub()
        listener = Listener(hub, StubService(), ALL_RIGHTS)
        await listener.listen_unix(str(path))
        async with Wire(str(path)) as client:
            assert await client.call("ping") == "ping"
        listener.stop()
        await hub.close(TIMEOUT_MS)
        assert not path.exists()

    async def test_a_stale_socket_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "presencedb.sock"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
        hub = Hub()
        listener = Listener(hub, StubService(), ALL_RIGHTS)
        await listener.listen_unix(str(path))
        async with Wire(str(path)) as client:
            assert await client.call("ping") == "ping"
        listener.stop()
        await hub.close(TIMEOUT_MS)

    async def test_a_socket_in_use_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "presencedb.sock"
        with socket.socket(socket.AF_UNIX) as in_use:
            in_use.bind(str(path))
            in_use.listen()
            with pytest.raises(ListenError, match=f"cannot listen on {path}: address already in use"):
                await Listener(Hub(), StubService(), ALL_RIGHTS).listen_unix(str(path))
            assert path.exists()

    async def test_another_file_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("keep me")
        with pytest.raises(ListenError, match="not a socket"):
            await Listener(Hub(), StubService(), ALL_RIGHTS).listen_unix(str(path))
        assert path.read_text() == "keep me"

    async def test_no_folder_and_a_path_too_long(self, tmp_path: Path) -> None:
        listener = Listener(Hub(), StubService(), ALL_RIGHTS)
        with pytest.raises(ListenError, match="no such file or directory"):
            await listener.listen_unix(str(tmp_path / "nowhere" / "presencedb.sock"))
        with pytest.raises(ListenError, match="too long"):
            await listener.listen_unix(str(tmp_path / ("x" * 120)))

    async def test_the_socket_of_a_successor_is_not_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "presencedb.sock"
        hub = Hub()
        listener = Listener(hub, StubService(), ALL_RIGHTS)
        await listener.listen_unix(str(path))
        path.rename(tmp_path / "moved.sock")
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
            listener.stop()
            assert path.exists()


class TestTls:
    async def test_it_serves(self, tmp_path: Path) -> None:
        certificate = Certificate(tmp_path)
        hub = Hub()
        listener = Listener(hub, StubService(), ALL_RIGHTS)
        address = await listener.listen_tcp("127.0.0.1", 0, certificate.server_context())
        async with Wire(address, ssl_context=certificate.client_context()) as client:
            msgids = [client.send("ping") for _ in range(1000)]
            assert [await client.answer(msgid) for msgid in msgids] == ["ping"] * 1000
        listener.stop()
        await hub.close(TIMEOUT_MS)

    async def test_a_client_without_tls_gets_nowhere(self, tmp_path: Path) -> None:
        certificate = Certificate(tmp_path)
        service = StubService()
        hub = Hub()
        listener = Listener(hub, service, ALL_RIGHTS)
        address = await listener.listen_tcp("127.0.0.1", 0, certificate.server_context())
        with socket.create_connection(address) as sock:
            sock.setblocking(False)
            await hub.loop.sock_sendall(sock, msgpack.packb([0, 1, "ping", []]) * 1000)
            try:
                while await hub.loop.sock_recv(sock, 1000):
                    pass
            except ConnectionResetError:
                pass
        async with Wire(address, ssl_context=certificate.client_context()) as client:
            assert await client.call("ping") == "ping"
        assert service.served_count == 1
        listener.stop()
        await hub.close(TIMEOUT_MS)

    async def test_a_client_that_trusts_nobody_stays_away(self, tmp_path: Path) -> None:
        certificate = Certificate(tmp_path)
        hub = Hub()
        listener = Listener(hub, StubService(), ALL_RIGHTS)
        host, port = await listener.listen_tcp("127.0.0.1", 0, certificate.server_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
        listener.stop()
        await wait_until_async(lambda: hub.connection_count == 0)

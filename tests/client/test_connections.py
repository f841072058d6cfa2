"""How a client gets to its server: TLS, Unix sockets, given sockets, tokens, settings that are refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from presencedb import AsyncClient, ConfigError, ConnectError, ConnectionState, Denied, ProtocolError, Unauthenticated
from presencedb.client.link import Link
from presencedb.credentials import ALL_RIGHTS, Credentials, Principal, Right
from presencedb.limits import READ_BUFFER_BYTES
from tests.client.fake_server import SILENCE, FakeServer
from tests.client.running import ANY_PORT, open_fd_count, running_node, self_signed, turn, url_of
from tests.support.waiting import wait_until_async

READER = Principal("reader", frozenset({Right.READ}))


async def test_tls(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path)
    async with running_node(ssl_context=server) as node:
        assert node.tcp_address is not None
        url = f"presence+tls://localhost:{node.tcp_address[1]}"
        async with AsyncClient(url, ssl_context=client, timeout_s=20) as db:
            await db.heartbeat(*range(20_000))
            assert set((await db.status(range(20_000))).values()) == {True}
        with pytest.raises(ConnectError, match="the certificate is not accepted: self-signed certificate"):
            await AsyncClient(url).connect()
        # Without TLS: the server hangs up on what is no handshake.
        with pytest.raises(ConnectError, match=r"closed the connection; if it serves TLS, .* presence\+tls://$"):
            await AsyncClient(url_of(node)).connect()


async def test_tls_to_a_server_without_it(tmp_path: Path) -> None:
    _, client = self_signed(tmp_path)
    async with running_node() as node:
        assert node.tcp_address is not None
        url = f"presence+tls://localhost:{node.tcp_address[1]}"
        with pytest.raises(
            ConnectError, match=r"the connection was cut; if it serves no TLS, the URL begins with presence://$"
        ):
            await AsyncClient(url, ssl_context=client).connect()


async def test_a_handshake_that_never_ends_is_bounded_and_leaves_nothing_open(tmp_path: Path) -> None:
    _, client = self_signed(tmp_path)
    async with FakeServer() as server:  # it takes the handshake for a frame that never ends
        server.script["hello"] = lambda peer, request: SILENCE
        await turn(3)
        before = open_fd_count()
        db = AsyncClient(f"presence+tls://{server.address}", ssl_context=client, connect_timeout_s=0.2)
        with pytest.raises(ConnectError, match=r"no TLS handshake within 0\.2 s; if it serves no TLS, "):
            await db.connect()
        await db.close()
        await wait_until_async(lambda: open_fd_count() == before, what="the number of open files of before")


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "presence.sock")
    async with running_node(listen=None, unix_path=path), AsyncClient(f"presence+unix://{path}") as db:
        await db.heartbeat(1)
        assert await db.count() == 1
    with pytest.raises(ConnectError, match="no such file or directory") as caught:
        await AsyncClient(f"presence+unix://{path}").connect()
    assert caught.value.address == f"presence+unix://{path}"


async def test_sockets_that_are_given() -> None:
    async with running_node(credentials=Credentials([("some-secret", READER)])) as node:
        given = 0

        async def connect() -> socket.socket:
            nonlocal given
            given += 1
            ours, theirs = socket.socketpair()
            node.accept(theirs, ALL_RIGHTS)
            return ours

        async with AsyncClient(connect=connect) as db:
            await db.heartbeat(1)
            assert await db.count() == 1
            assert (await db.info())["online"] == 1
        assert given == 1


async def test_sockets_that_cannot_be_given() -> None:
    async def connect() -> socket.socket:
        raise ConnectionRefusedError("not started yet")

    with pytest.raises(ConnectError, match="cannot reach the given socket: not started yet"):
        await AsyncClient(connect=connect).connect()


async def test_whatever_goes_wrong_where_sockets_are_made_is_told() -> None:
    async def connect() -> socket.socket:
        raise LookupError("a bug")

    db = AsyncClient(connect=connect, timeout_s=60)
    calls: list[Coroutine[Any, Any, object]] = [
        db.connect(),
        db.count(),
        db.status([1]),
        db.heartbeat(1),
        db.heartbeat_batch([1]),
        db.offline(1),
        db.keep_online(1).__aenter__(),
        db.follow().__aenter__(),
        anext(db.follow()),
    ]
    async with asyncio.timeout(20):
        told = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(error) for error in told if isinstance(error, LookupError)] == ["a bug"] * len(calls)
    await db.close()


async def test_a_socket_whose_making_was_cancelled_is_one_that_cannot_be_had() -> None:
    async def connect() -> socket.socket:
        raise asyncio.CancelledError

    db = AsyncClient(connect=connect, timeout_s=0.2)
    async with asyncio.timeout(20):
        for call in (db.connect(), db.count(), db.heartbeat(1)):
            with pytest.raises(ConnectError):
                await call
    await db.close()


async def test_a_feed_that_failed_in_any_way_is_at_its_end() -> None:
    async def connect() -> socket.socket:
        raise LookupError("a bug")

    db = AsyncClient(connect=connect)
    changes = db.follow()
    with pytest.raises(LookupError):
        await anext(changes)
    with pytest.raises(StopAsyncIteration):
        await anext(changes)
    await db.close()


async def test_an_http_server_is_no_presencedb() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProtocolError, match=f"presence://127.0.0.1:{port} is an HTTP port; .* usually port 7411"):
            await AsyncClient(f"presence://127.0.0.1:{port}").connect()
        with pytest.raises(ConnectError, match="no TLS: wrong version number; if it serves no TLS, the URL begins with"):
            await AsyncClient(f"presence+tls://127.0.0.1:{port}").connect()
    finally:
        server.close()
        await turn(3)


async def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Credentials([("the-readers-token", READER), ("another-token", Principal("all", ALL_RIGHTS))])
    async with running_node(credentials=credentials) as node:
        url = url_of(node)
        async with AsyncClient(url, token="the-readers-token") as db:
            assert await db.count() == 0
            with pytest.raises(Denied):
                await db.heartbeat(1)
            with pytest.raises(Denied):
                await db.info()
        async with AsyncClient(url) as db:
            with pytest.raises(Unauthenticated):
                await db.count()
        with pytest.raises(Unauthenticated):
            await AsyncClient(url, token="not-a-token").connect()
        file = tmp_path / "token"
        file.write_text("# ours\nme:another-token:read,write\n")
        async with AsyncClient(url, token_file=file) as db:
            await db.info()
        monkeypatch.setenv("PRESENCEDB_TOKEN", "another-token")
        async with AsyncClient(url) as db:
            await db.info()
        async with AsyncClient(url, token="the-readers-token") as db:  # the argument wins
            with pytest.raises(Denied):
                await db.info()


async def test_the_client_introduces_itself_and_never_shows_its_token() -> None:
    async with FakeServer() as server, AsyncClient(server.url, client_name="web-7", token="very-secret") as db:
        (hello,) = server.seen("hello")
        assert (hello.options.client, hello.options.token) == ("web-7", "very-secret")
        assert hello.options.version
        assert "very-secret" not in repr(db._settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": "presence://"}, "names no host"),
        ({"url": None}, "give a URL"),
        ({"url": "presence://r1", "connect": lambda: None}, "not both"),
        ({"token": "x", "token_file": "y"}, "not both"),
        ({"token_file": "/does/not/exist"}, "cannot read"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"connect_timeout_s": -1.0}, "connect_timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"ssl_context": ssl.create_default_context()}, r"ssl_context is for presence\+tls"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AsyncClient(**settings)


async def test_states_are_told_in_order() -> None:
    states: list[ConnectionState] = []
    async with FakeServer() as server:
        async with AsyncClient(server.url, on_state=states.append) as db:
            server.cut()
            await wait_until_async(lambda: db.state is ConnectionState.IDLE)
            await db.count()
        await turn()
    connecting, connected = ConnectionState.CONNECTING, ConnectionState.CONNECTED
    assert states == [connecting, connected, ConnectionState.IDLE, connecting, connected, ConnectionState.CLOSED]


async def test_a_peer_that_does_not_read_holds_its_callers_back() -> None:
    """What waits to be sent is bounded: callers wait instead."""
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=60) as db:
        await db.ping()
        peer = server.peers[0]
        peer.transport.pause_reading()
        texts = [f"{number:x>250}" for number in range(4_000)]  # 1 MB a frame
        calls = [asyncio.create_task(db.status(texts)) for _ in range(50)]
        link = db._bound().connector.link
        assert isinstance(link, Link)
        assert link._transport is not None
        await wait_until_async(lambda: not link._writable)
        await turn(50)
        assert link._transport.get_write_buffer_size() < 10 * READ_BUFFER_BYTES
        peer.transport.resume_reading()
        answers = await asyncio.gather(*calls)
        assert all(len(answer) == len(texts) for answer in answers)


async def test_more_calls_than_a_server_takes_at_once_wait_for_their_turn() -> None:
    async with running_node(listen=ANY_PORT) as node, AsyncClient(url_of(node), timeout_s=60) as db:
        answers = await asyncio.gather(*(db.status([number]) for number in range(5_000)))
        assert len(answers) == 5_000
        assert (await db.info())["online"] == 0

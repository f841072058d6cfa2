"""Users who are kept online: by one shared beat, whatever happens to connection and server."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from presencedb import AsyncClient, BadRequest, Busy, ConnectError, Denied, Id
from presencedb.protocol.messages import Request
from tests.client.fake_server import FakeServer, Peer
from tests.client.running import node_and_client, running_node, turn, url_of
from tests.support.proxy import HostileProxy
from tests.support.waiting import wait_until_async

INTERVAL_MS = 60


def beats_of(server: FakeServer, user_id: Id) -> int:
    return sum(user_id in list(request.ids) for request in server.seen("heartbeat"))


async def test_users_are_online_inside_the_block_for_many_ttls() -> None:
    async with node_and_client(ttl_ms=600, tick_ms=50) as db, db.follow() as changes:
        async with db.keep_online(1, "a"):
            assert await db.status([1, "a"]) == {1: True, "a": True}
            await asyncio.sleep(1.8)  # the time under test
            assert await db.status([1, "a"]) == {1: True, "a": True}
        reasons = [(await anext(changes)).reason for _ in range(4)]
        assert reasons == ["heartbeat", "heartbeat", "timeout", "timeout"]


async def test_the_beat_keeps_to_the_interval_that_the_server_asks_for() -> None:
    async with FakeServer(heartbeat_interval_ms=INTERVAL_MS) as server, AsyncClient(server.url) as db:
        loop = asyncio.get_running_loop()
        async with db.keep_online(1):
            began = loop.time()
            await wait_until_async(lambda: beats_of(server, 1) >= 11)
            assert loop.time() - began >= 10 * 0.9 * INTERVAL_MS / 1000 - 0.02


async def test_blocks_that_come_and_go_leave_one_beat() -> None:
    async with FakeServer(heartbeat_interval_ms=INTERVAL_MS) as server, AsyncClient(server.url) as db:
        async with db.keep_online("stays"):
            for number in range(1_000):
                async with db.keep_online(number, "stays"):
                    pass
            tasks = [task for task in asyncio.all_tasks() if task.get_name() == "presencedb-keep-online"]
            assert len(tasks) == 1
            server.requests.clear()
            await wait_until_async(lambda: len(server.seen("heartbeat")) >= 5)
            assert {user_id for request in server.seen("heartbeat") for user_id in request.ids} == {"stays"}
        await turn(3)
        server.requests.clear()
        await asyncio.sleep(4 * INTERVAL_MS / 1000)  # in which nothing may come
        assert not server.seen("heartbeat")


async def test_two_blocks_of_one_user() -> None:
    async with FakeServer(heartbeat_interval_ms=INTERVAL_MS) as server, AsyncClient(server.url) as db, db.keep_online(1):
        async with db.keep_online(1, 1, 2):
            await wait_until_async(lambda: beats_of(server, 2) >= 3)
        server.requests.clear()
        await wait_until_async(lambda: beats_of(server, 1) >= 3)
        assert beats_of(server, 2) <= 1  # one may have been on its way


async def test_leaving_does_not_sign_off_unless_asked() -> None:
    async with node_and_client() as db:
        async with db.keep_online(1):
            pass
        assert await db.status([1]) == {1: True}
        async with db.keep_online(1, sign_off=True, grace_ms=60_000):
            pass
        assert await db.status([1]) == {1: True}
        async with db.keep_online(1, sign_off=True):
            pass
        assert await db.status([1]) == {1: False}


async def test_nobody_to_keep() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        async with db.keep_online(sign_off=True):
            pass
        assert server.counts == {"hello": 1}


async def test_entering_fails_as_the_first_beat_does() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=0.3) as db:

        def deny(peer: Peer, request: Request) -> None:
            raise Denied("read only")

        server.script["heartbeat"] = deny
        with pytest.raises(Denied):
            async with db.keep_online(1):
                raise AssertionError("entered")
        await server.stop()
        with pytest.raises(ConnectError):
            async with db.keep_online(1):
                raise AssertionError("entered")
        with pytest.raises(BadRequest):
            db.keep_online(1, grace_ms=-1)


async def test_after_a_lost_connection_it_beats_at_once() -> None:
    """Not an interval later: on another server the users would be offline meanwhile."""
    async with FakeServer(heartbeat_interval_ms=60_000) as server, AsyncClient(server.url) as db, db.keep_online(1):
        server.run = "run-2"
        server.cut()
        await wait_until_async(lambda: beats_of(server, 1) == 2)


async def test_it_survives_a_restart_of_the_server() -> None:
    async with running_node(ttl_ms=3_000) as node:
        address = node.tcp_address
        db = AsyncClient(url_of(node), timeout_s=1)
        block = db.keep_online(1)
        await block.__aenter__()
    async with running_node(listen=address, ttl_ms=3_000) as node, AsyncClient(url_of(node)) as reader:

        async def is_online() -> bool:
            return (await reader.status([1]))[1] is True

        await wait_until_async(is_online)
    await block.__aexit__(None, None, None)
    await db.close()


async def test_it_goes_on_whatever_the_server_says_and_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeServer(heartbeat_interval_ms=INTERVAL_MS) as server, AsyncClient(server.url, timeout_s=0.1) as db:
        async with db.keep_online(1):
            refused = 0

            def refuse(peer: Peer, request: Request) -> None:
                nonlocal refused
                refused += 1
                raise Busy("full") if refused % 2 else Denied("no more")

            server.script["heartbeat"] = refuse
            await wait_until_async(lambda: refused >= 6)
            del server.script["heartbeat"]
            server.requests.clear()
            await wait_until_async(lambda: beats_of(server, 1) >= 2)
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == 1
        assert "a beat for 1 users failed" in warnings[0].getMessage()


async def test_it_goes_on_whatever_goes_wrong_where_sockets_are_made() -> None:
    async with FakeServer(heartbeat_interval_ms=INTERVAL_MS) as server:
        is_broken = False
        failures = 0

        async def connect() -> socket.socket:
            nonlocal failures
            if is_broken:
                failures += 1
                raise LookupError("a bug")
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.setblocking(False)
            return sock

        async with AsyncClient(connect=connect) as db, db.keep_online(1):
            is_broken = True
            server.cut()
            await wait_until_async(lambda: failures >= 3)
            is_broken = False
            server.requests.clear()
            await wait_until_async(lambda: beats_of(server, 1) >= 2)


async def test_through_a_network_that_cuts_all_the_time() -> None:
    async with running_node(ttl_ms=1_500, tick_ms=50) as node:
        assert node.tcp_address is not None
        with HostileProxy(node.tcp_address) as proxy:
            async with AsyncClient(url_of(node)) as watcher, watcher.follow() as changes, AsyncClient(proxy.url) as db:
                async with db.keep_online(1):
                    assert (await anext(changes)).online is True
                    for _ in range(15):
                        await asyncio.to_thread(proxy.cut)
                        await asyncio.sleep(0.2)  # three seconds in all, twice the ttl
                change = await anext(changes)
                assert change.reason == "timeout"
                assert await watcher.status([1]) == {1: False}


async def test_what_happened_in_the_block_is_not_hidden_by_a_sign_off_that_fails() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=0.3) as db:

        def deny(peer: Peer, request: Request) -> None:
            raise Denied("no")

        server.script["offline"] = deny
        with pytest.raises(LookupError):
            async with db.keep_online(1, sign_off=True):
                raise LookupError
        with pytest.raises(Denied):
            async with db.keep_online(1, sign_off=True):
                pass


async def test_closing_the_client_inside_the_block() -> None:
    async with FakeServer(heartbeat_interval_ms=INTERVAL_MS) as server:
        db = AsyncClient(server.url)
        async with db.keep_online(1):
            await wait_until_async(lambda: beats_of(server, 1) >= 2)
            await db.close()

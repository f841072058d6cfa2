"""Lost connections, slow and full servers: calls are tried again within their timeout, and writes say how old they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from presencedb import AsyncClient, Busy, CallTimeout, ConnectError, Denied, Unauthenticated, Unavailable
from presencedb.errors import Error
from presencedb.protocol.messages import Request
from tests.client.fake_server import SILENCE, FakeServer, Peer, Script
from tests.client.running import running_node, url_of
from tests.support.proxy import Direction, HostileProxy
from tests.support.waiting import wait_until_async


def first_time(server: FakeServer, do: Callable[[Peer], Any], times: int = 1) -> Script:
    """A script that does something at the first requests, and then answers as usual."""
    left = times

    def script(peer: Peer, request: Request) -> Any:
        nonlocal left
        if left:
            left -= 1
            return do(peer)
        return server.usual(request)

    return script


def reset(peer: Peer) -> object:
    peer.reset()
    return SILENCE


def refuse_with(error: Error) -> Callable[[Peer], Any]:
    def refuse(peer: Peer) -> Any:
        raise error

    return refuse


async def test_a_connection_that_is_lost_in_the_middle_of_a_call_is_made_again() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        for method, call in [("status", db.status([1])), ("count", db.count()), ("heartbeat", db.heartbeat(1))]:
            server.script[method] = first_time(server, reset)
            await call
            assert server.counts[method] == 2
        assert server.connection_count == 4
        assert server.online == {1}


async def test_only_writes_that_are_tried_again_carry_the_time_since_their_call() -> None:
    async with FakeServer() as server, AsyncClient(server.url, random=Random(3)) as db:
        busy = refuse_with(Busy("full"))
        server.script["heartbeat"] = first_time(server, busy, times=3)
        server.script["offline"] = first_time(server, busy)
        server.script["status"] = first_time(server, busy)
        await db.heartbeat(1)
        ages = [request.options.age_ms for request in server.seen("heartbeat")]
        assert len(ages) == 4
        assert ages[0] == 0
        assert ages == sorted(ages)
        assert 0 < ages[-1] < 5_000
        await db.offline(1, age_ms=50, grace_ms=70)
        first, second = (request.options for request in server.seen("offline"))
        assert (first.age_ms, first.grace_ms) == (50, 70)
        assert second.age_ms > 50
        assert second.grace_ms == 70
        assert await db.status([1]) == {1: False}
        assert [request.options.age_ms for request in server.seen("status")] == [0, 0]


async def test_a_write_that_waited_for_its_connection_says_so() -> None:
    async with FakeServer() as server:
        await server.stop()
        db = AsyncClient(server.url)
        beat = asyncio.create_task(db.heartbeat(1))
        await asyncio.sleep(0.3)  # the age under test
        await server.start()
        await beat
        (request,) = server.seen("heartbeat")
        assert request.options.age_ms >= 300
        await db.close()


@pytest.mark.parametrize("error", [Busy("full"), Unavailable("going down")])
async def test_a_server_that_stays_full_is_told_about_in_the_end(error: Error) -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=0.5) as db:
        server.script["count"] = first_time(server, refuse_with(error), times=10**6)
        with pytest.raises(type(error), match=error.message):
            await db.count()
        assert 1 < server.counts["count"] < 40


async def test_a_server_that_is_full_and_then_silent_for_the_rest_of_a_call_is_full() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=0.5) as db:
        refuse = refuse_with(Busy("full"))
        server.script["count"] = lambda peer, request: SILENCE if server.counts["count"] > 1 else refuse(peer)
        with pytest.raises(Busy, match="full"):
            await db.count()
        assert server.counts["count"] == 2


async def test_what_stays_wrong_is_asked_once() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        server.script["count"] = first_time(server, refuse_with(Denied("no")), times=10**6)
        with pytest.raises(Denied):
            await db.count()
        assert server.counts["count"] == 1


async def test_silence_is_a_timeout_which_is_a_builtin_one_too() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=0.3) as db:
        server.script["count"] = lambda peer, request: SILENCE
        with pytest.raises(CallTimeout, match=r"did not answer count within \d+\.\d s") as caught:
            await db.count()
        assert isinstance(caught.value, TimeoutError)
        server.script.clear()
        assert await db.count() == 0


async def test_a_silent_connection_is_left_for_another_within_the_call() -> None:
    """An attempt lasts half a heartbeat interval, so a call outlives a server that stopped answering."""
    async with FakeServer(heartbeat_interval_ms=600) as server, AsyncClient(server.url, timeout_s=20) as db:
        server.script["count"] = first_time(server, lambda peer: SILENCE)
        assert await db.count() == 0
        assert server.counts["count"] >= 2  # once more, perhaps, while the silent one has its last chance
        assert server.connection_count == 2


async def test_a_slow_server_that_is_heard_keeps_its_connection() -> None:
    async with FakeServer(heartbeat_interval_ms=600) as server, AsyncClient(server.url, timeout_s=20) as db:
        talking: list[asyncio.Task[None]] = []

        async def talk(peer: Peer) -> None:
            while True:
                peer.notify("news")
                await asyncio.sleep(0.02)

        def stay_silent(peer: Peer) -> object:
            talking.append(asyncio.create_task(talk(peer)))
            return SILENCE

        def refuse(peer: Peer, request: Request) -> object:
            # Answers go out in order: what was left without one is answered now.
            talking[0].cancel()
            for earlier in server.seen("count")[:-1]:
                peer.session.reply(earlier, 5)
            return 7

        server.script["count"] = first_time(server, stay_silent)
        original = server.script["count"]
        server.script["count"] = lambda peer, request: refuse(peer, request) if talking else original(peer, request)
        assert await db.count() == 7
        assert server.connection_count == 1


async def test_nobody_listens() -> None:
    async with FakeServer() as server:
        address = server.url
    with pytest.raises(ConnectError, match="connection refused") as caught:
        async with AsyncClient(address):
            raise AssertionError("connected to nobody")
    assert isinstance(caught.value, ConnectionError)
    assert (caught.value.address, caught.value.reason) == (address, "connection refused")
    assert caught.value.message == f"cannot reach {address}: connection refused"


async def test_a_call_waits_for_a_server_as_long_as_its_timeout() -> None:
    async with FakeServer() as server:
        address = server.url
    db = AsyncClient(address, timeout_s=0.4)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(ConnectError, match="connection refused"):
        await db.count()
    assert loop.time() - began >= 0.35
    await db.close()


async def test_calls_survive_a_restart_of_the_server_on_the_same_port() -> None:
    async with running_node() as node:
        url, address = url_of(node), node.tcp_address
        db = AsyncClient(url, timeout_s=30)
        await db.heartbeat(1)
        first_run = (await db.hello()).run
    waiting = [asyncio.create_task(db.count()) for _ in range(20)]
    async with running_node(listen=address):
        assert await asyncio.gather(*waiting) == [0] * 20
        await db.heartbeat(2)
        assert await db.status([1, 2]) == {1: False, 2: True}
        assert (await db.hello()).run != first_run
        await db.close()


async def test_many_calls_on_a_dead_server_make_one_stream_of_attempts() -> None:
    async with FakeServer() as server:
        server.script["hello"] = lambda peer, request: reset(peer)
        db = AsyncClient(server.url, timeout_s=0.5)
        outcomes = await asyncio.gather(*(db.status([number]) for number in range(500)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ConnectError}
        assert server.connection_count < 40
        await db.close()


async def test_a_hello_without_answer_is_bounded_by_the_connect_timeout() -> None:
    async with FakeServer() as server:
        server.script["hello"] = lambda peer, request: SILENCE
        db = AsyncClient(server.url, connect_timeout_s=0.2)
        with pytest.raises(ConnectError, match=r"no answer to hello within 0\.2 s"):
            await db.connect()
        await wait_until_async(lambda: not server.peers)
        await db.close()


@pytest.mark.parametrize("error", [Unauthenticated("no token"), Denied("not you")])
async def test_a_refused_hello_is_final(error: Error) -> None:
    async with FakeServer() as server:
        server.script["hello"] = first_time(server, refuse_with(error), times=10**6)
        db = AsyncClient(server.url)
        for call in (db.connect(), db.count(), db.heartbeat(1)):
            with pytest.raises(type(error), match=error.message):
                await call
        assert server.connection_count == 3
        await db.close()


async def test_the_next_address_is_tried() -> None:
    async with FakeServer() as dead:
        nobody = dead.address
    async with FakeServer() as first, FakeServer() as second:
        url = f"presence://{nobody},{first.address},{second.address}"
        async with AsyncClient(url) as db:
            await db.count()
            assert (first.counts["count"], second.counts["count"]) == (1, 0)
            await first.stop()
            await db.count()
            assert second.counts["count"] == 1
            await first.start()
            await second.stop()
            await db.count()
            assert first.counts["count"] == 2


async def test_an_address_that_takes_nobody_now_is_passed_over() -> None:
    async with FakeServer() as first, FakeServer() as second:
        first.script["hello"] = first_time(first, refuse_with(Unavailable("going down")), times=10**6)
        async with AsyncClient(f"presence://{first.address},{second.address}") as db:
            assert await db.count() == 0
            assert second.counts["count"] == 1


async def test_all_addresses_are_named_when_none_can_be_reached() -> None:
    async with FakeServer() as one, FakeServer() as two:
        addresses = (one.address, two.address)
    with pytest.raises(ConnectError) as caught:
        await AsyncClient(f"presence://{','.join(addresses)}").connect()
    for address in addresses:
        assert address in caught.value.address
        assert f"{address}: connection refused" in caught.value.message


async def test_a_host_without_an_address() -> None:
    with pytest.raises(ConnectError, match="name"):
        await AsyncClient("presence://does-not-exist.invalid", connect_timeout_s=20).connect()


async def test_through_a_proxy_that_cuts_and_splits() -> None:
    async with running_node() as node:
        assert node.tcp_address is not None
        with HostileProxy(node.tcp_address) as proxy:
            async with AsyncClient(proxy.url, timeout_s=30) as db:
                proxy.split(1)
                await db.heartbeat(*range(50))
                for reset_it in (True, False):
                    await asyncio.to_thread(proxy.cut, reset=reset_it)
                    assert set((await db.status(range(50))).values()) == {True}


async def test_a_half_open_connection_is_noticed_by_a_call() -> None:
    async with running_node(ttl_ms=1_800) as node:  # attempts of 0.3 s
        assert node.tcp_address is not None
        with HostileProxy(node.tcp_address) as proxy:
            async with AsyncClient(proxy.url, timeout_s=30) as db:
                await db.heartbeat(1)
                await asyncio.to_thread(proxy.stall, Direction.BOTH)
                beat = asyncio.create_task(db.heartbeat(2))
                lost = asyncio.create_task(wait_until_async(lambda: db.state.value != "connected"))
                await lost
                await asyncio.to_thread(proxy.resume)
                await beat
                assert (await db.status([2]))[2] is True


async def test_a_half_open_connection_is_noticed_while_nothing_is_asked() -> None:
    async with running_node(ttl_ms=1_800) as node:  # pings after 0.6 s of silence
        assert node.tcp_address is not None
        with HostileProxy(node.tcp_address) as proxy:
            async with AsyncClient(proxy.url) as db:
                await asyncio.to_thread(proxy.stall, Direction.TO_CLIENT)
                await wait_until_async(lambda: db.state.value == "idle")
                await asyncio.to_thread(proxy.resume)


async def test_an_idle_connection_is_kept_by_pings() -> None:
    async with FakeServer(heartbeat_interval_ms=400) as server, AsyncClient(server.url) as db:
        await wait_until_async(lambda: server.counts["ping"] >= 3)
        assert server.connection_count == 1
        assert db.state.value == "connected"

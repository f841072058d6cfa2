"""`AsyncClient` of a whole cluster, on real sockets: how it finds the members, and what it makes of accidents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from presencedb import (
    AsyncClient,
    Client,
    ClientClosed,
    ConfigError,
    ConnectError,
    ConnectionState,
    Unauthenticated,
    Unavailable,
)
from presencedb.credentials import Credentials
from presencedb.errors import ProtocolError
from presencedb.placement import Member, Topology
from tests.client.fake_server import SILENCE, FakeServer
from tests.client.running import open_fd_count, running_node, self_signed, url_of
from tests.router.running import SEED, Routed, running_router
from tests.support.waiting import wait_until_async

NOBODY = "127.0.0.1:1"


def cluster_url(*addresses: str, tls: bool = False) -> str:
    return f"presence+cluster{'+tls' if tls else ''}://{','.join(addresses)}"


@asynccontextmanager
async def cluster_and_client(*, timeout_s: float = 20, **settings: Any) -> AsyncIterator[tuple[Routed, AsyncClient]]:
    async with (
        running_router(**settings) as routed,
        AsyncClient(cluster_url(routed.url.removeprefix("presence://")), timeout_s=timeout_s) as db,
    ):
        yield routed, db


def member(name: str, server: FakeServer) -> Member:
    return Member(name, server.address)


async def test_a_lone_node_is_a_cluster_of_one() -> None:
    async with running_node() as node, AsyncClient(cluster_url(url_of(node).removeprefix("presence://"))) as db:
        await db.heartbeat(1)
        assert await db.status([1, 2]) == {1: True, 2: False}
        assert (await db.info())["nodes"].keys() == {"n1"}


async def test_the_next_seed_is_asked_where_one_is_away() -> None:
    async with running_router() as routed, AsyncClient(cluster_url(NOBODY, routed.url.removeprefix("presence://"))) as db:
        assert await db.heartbeat_batch(range(100)) == 100
        members = (await db.topology())["members"]
        assert [one["id"] for one in members] == ["n1", "n2", "n3"]
        assert {one["state"] for one in members} == {"up"}


async def test_requests_go_to_the_nodes_and_not_through_the_seed() -> None:
    async with cluster_and_client() as (routed, db):
        await routed.router.stop()
        assert await db.heartbeat_batch(range(100)) == 100
        assert await db.count() == 100


async def test_nobody_is_there() -> None:
    with pytest.raises(ConnectError, match="cannot reach"):
        async with AsyncClient(cluster_url(NOBODY)):
            pass
    db = AsyncClient(cluster_url(NOBODY), timeout_s=0.3)
    with pytest.raises(ConnectError, match="cannot reach"):
        await db.status([1])
    await db.close()
    await db.close()


async def test_the_members_are_away_although_the_seed_is_there() -> None:
    async with FakeServer() as seed:
        seed.script["topology"] = lambda *_: Topology(1, SEED, 1, (Member("n1", NOBODY),)).to_wire()
        with pytest.raises(ConnectError, match=NOBODY):
            async with AsyncClient(cluster_url(seed.address)):
                pass
        seed.script["topology"] = lambda *_: Topology(1, SEED, 1, ()).to_wire()
        with pytest.raises(Unavailable, match="no members"):
            async with AsyncClient(cluster_url(seed.address)):
                pass


async def test_what_the_seed_tells_is_no_topology() -> None:
    async with FakeServer() as seed:
        seed.script["topology"] = lambda *_: {"members": 7}
        with pytest.raises(ProtocolError, match="topology"):
            async with AsyncClient(cluster_url(seed.address)):
                pass


async def test_a_seed_that_does_not_answer_is_not_waited_for_longer_than_a_call() -> None:
    async with FakeServer() as seed:
        seed.script["topology"] = lambda *_: SILENCE
        with pytest.raises(ConnectError, match="topology"):
            async with AsyncClient(cluster_url(seed.address), timeout_s=0.3):
                pass


async def test_a_call_waits_for_a_cluster_that_comes() -> None:
    async with FakeServer() as server:
        port = server.port
    db = AsyncClient(cluster_url(f"127.0.0.1:{port}"), timeout_s=20)
    asking = asyncio.ensure_future(db.status([1]))
    await asyncio.sleep(0.05)
    async with running_node(listen=("127.0.0.1", port)):
        assert await asking == {1: False}
        await db.close()


async def test_a_token_that_a_member_does_not_know() -> None:
    async with running_node(credentials=Credentials([])) as node:
        with pytest.raises(Unauthenticated):
            async with AsyncClient(cluster_url(url_of(node).removeprefix("presence://")), token="wrong"):
                pass


async def test_inside_tls(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path)
    async with running_node(ssl_context=server) as node:
        address = url_of(node).removeprefix("presence://")
        async with AsyncClient(cluster_url(address, tls=True), ssl_context=client) as db:
            await db.heartbeat(1)
            assert await db.status([1]) == {1: True}


async def test_a_node_that_is_lost_is_made_up_for_by_the_others_and_state_says_what_is() -> None:
    states: list[ConnectionState] = []
    async with running_router() as routed:
        url = cluster_url(routed.url.removeprefix("presence://"))
        async with AsyncClient(url, timeout_s=20, on_state=states.append) as db:
            await db.heartbeat_batch(range(100))
            await routed.nodes[0].stop()
            assert set((await db.status(range(100))).values()) == {True}
            assert await db.count() == 100
            assert states[-1] is ConnectionState.CONNECTED
            for node in routed.nodes[1:]:
                await node.stop()
            await wait_until_async(lambda: db.state is ConnectionState.CONNECTING)
            assert set((await db.status(range(100))).values()) == {None}
            assert db.stats().connections_lost == 3
    await wait_until_async(lambda: len(states) == 4)
    assert states == [
        ConnectionState.CONNECTING,
        ConnectionState.CONNECTED,
        ConnectionState.CONNECTING,
        ConnectionState.CLOSED,
    ]


async def test_a_write_that_no_node_takes_is_tried_until_its_time_is_over() -> None:
    async with cluster_and_client(timeout_s=0.5) as (routed, db):
        for node in routed.nodes:
            await node.stop()
        with pytest.raises(Unavailable, match="can be reached"):
            await db.heartbeat(1)
        assert db.stats().retries > 0


async def test_writes_of_one_turn_share_their_frames() -> None:
    async with cluster_and_client(node_count=1, replicas=1) as (_, db):
        before = db.stats().frames_sent
        await asyncio.gather(*(db.heartbeat(number) for number in range(500)))
        assert db.stats().frames_sent - before < 10
        assert await db.count() == 500


async def test_users_are_kept_online() -> None:
    async with cluster_and_client(ttl_ms=600, tick_ms=50) as (_, db):
        async with db.keep_online(1, 2, sign_off=True):
            await asyncio.sleep(1.5)
            assert await db.status([1, 2, 3]) == {1: True, 2: True, 3: False}
        assert await db.status([1, 2]) == {1: False, 2: False}


async def test_calls_that_wait_when_it_is_closed_are_told_and_nothing_is_left() -> None:
    async with FakeServer() as one, FakeServer() as other:
        fds = open_fd_count()
        topology = Topology(1, SEED, 1, (member("n1", one), member("n2", other)))
        for server in (one, other):
            server.script |= {"status": lambda *_: SILENCE, "topology": lambda *_: topology.to_wire()}
        db = AsyncClient(cluster_url(one.address), timeout_s=20)
        await db.connect()
        asking = [asyncio.ensure_future(db.status(range(100))), asyncio.ensure_future(db.heartbeat(1))]
        await asyncio.sleep(0)
        await db.close()
        for task in asking:
            with pytest.raises(ClientClosed):
                await task
        with pytest.raises(ClientClosed):
            await db.count()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await wait_until_async(lambda: not one.peers and not other.peers)
        assert open_fd_count() == fds


async def test_a_close_while_it_connects_ends_the_attempt() -> None:
    async with FakeServer() as seed:
        seed.script["topology"] = lambda *_: SILENCE
        db = AsyncClient(cluster_url(seed.address), timeout_s=20)
        asking = asyncio.ensure_future(db.status([1]))
        await wait_until_async(lambda: seed.seen("topology"))
        await db.close()
        with pytest.raises(ClientClosed):
            await asking
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_when_all_members_have_moved_the_seeds_know_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presencedb.client.cluster.fanout._TOPOLOGY_S", 0.1)
    async with FakeServer() as seed, running_node(seed=SEED) as later:
        async with running_node(seed=SEED) as before:
            address = url_of(before).removeprefix("presence://")
            seed.script["topology"] = lambda *_: Topology(1, SEED, 1, (Member("n1", address),)).to_wire()
            db = AsyncClient(cluster_url(seed.address), timeout_s=20)
            await db.heartbeat(1)
        address = url_of(later).removeprefix("presence://")
        seed.script["topology"] = lambda *_: Topology(2, SEED, 1, (Member("n1", address),)).to_wire()
        await db.heartbeat(2)
        assert await db.count() == 1
        await db.close()


def test_the_blocking_client_names_routers() -> None:
    with pytest.raises(ConfigError, match="router"):
        Client(cluster_url("127.0.0.1:7411"))

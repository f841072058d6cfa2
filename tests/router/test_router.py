"""A router on real sockets, over real nodes or scripted ones: what it passes on, what it answers itself, and its bounds."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from presencedb import AsyncClient
from presencedb.credentials import Credentials, parse_secrets
from presencedb.errors import Busy, ConfigError, Denied, Unauthenticated, Unavailable, UnknownMethod
from presencedb.limits import GATHERED_IDS_MAX, ROUTED_IDS_MAX, ROUTED_IDS_OF_ONE_MAX, RUN_IDS_MAX
from presencedb.placement import Member, Topology
from presencedb.protocol.messages import Request
from presencedb.router.pressure import Pressure
from presencedb.router.router import Router
from presencedb.router.settings import RouterSettings
from presencedb.transport.connection import Connection
from tests.client.fake_server import SILENCE, FakeServer, Peer
from tests.router.running import ANY_PORT, SEED, dialling, running_router
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire

TOKENS = """\
test:reading-token:read
test:looking-token:admin
test:joining-token:read,write,admin,cluster
"""


def request(msgid: int, method: str, *params: Any) -> bytes:
    return bytes(msgpack.packb([0, msgid, method, params]))


def notification(method: str, *params: Any) -> bytes:
    return bytes(msgpack.packb([2, method, params]))


@asynccontextmanager
async def router_over(*servers: FakeServer, **settings: Any) -> AsyncIterator[Router]:
    """A router over scripted nodes."""
    members = tuple(Member(f"n{index + 1}", server.address) for index, server in enumerate(servers))
    router = Router(RouterSettings(topology=Topology(1, SEED, 1, members), dialling=dialling(), listen=ANY_PORT, **settings))
    await router.start()
    try:
        yield router
    finally:
        await router.stop()


def address_of(router: Router) -> tuple[str, int]:
    assert router.tcp_address is not None
    return router.tcp_address


def service_of(router: Router) -> Any:
    assert router._parts is not None
    return router._parts.service


# --- what it answers ---------------------------------------------------------------------------------------------------


async def test_it_says_who_it_is_and_what_its_nodes_promise() -> None:
    west = running_router(router={"router_id": "west"}, ttl_ms=6_000, tick_ms=200)
    async with west as routed, AsyncClient(routed.url) as db:
        hello = await db.hello()
        assert (hello.node, hello.ttl_ms, hello.tick_ms, hello.retention) == ("west", 6_000, 200, "online")
        assert hello.run not in {one["run"] for one in (await db.info())["nodes"].values()}


async def test_info_has_the_counters_of_each_node_and_topology_all_members() -> None:
    async with running_router() as routed, AsyncClient(routed.url) as db:
        await db.heartbeat_batch(range(100))
        info = await db.info()
        assert info["epoch"] == 1
        assert sum(one["online"] for one in info["nodes"].values()) == 200
        topology = await db.topology()
        assert [(one["id"], one["state"]) for one in topology["members"]] == [("n1", "up"), ("n2", "up"), ("n3", "up")]
        assert (topology["epoch"], topology["seed"], topology["replicas"]) == (1, SEED, 2)
        await routed.nodes[0].stop()
        assert (await db.info())["nodes"]["n1"] is None


@pytest.mark.parametrize("call", [("slots",), ("ages", [1]), ("pages_out", None, 10), ("missed", "n1")])
async def test_what_members_ask_each_other_is_not_asked_of_a_router(call: tuple[Any, ...]) -> None:
    async with running_router(node_count=1, replicas=1) as routed, Wire(routed.address) as wire:
        with pytest.raises(UnknownMethod):
            await wire.call(*call)


async def test_it_answers_numbers_although_marks_were_asked_for() -> None:
    async with running_router() as routed, Wire(routed.address) as wire:
        assert await wire.call("heartbeat", [1, 2, 1], {"each": True}) == 2


async def test_rights_are_those_of_its_own_tokens() -> None:
    credentials = Credentials(parse_secrets(TOKENS, "tokens"))
    async with running_router(router={"credentials": credentials}) as routed, Wire(routed.address) as wire:
        with pytest.raises(Unauthenticated):
            await wire.call("status", [1])
        with pytest.raises(Unauthenticated):
            await wire.call("hello", {"token": "none"})
        assert await wire.call("ping") == "pong"
        await wire.call("hello", {"token": "reading-token"})
        assert await wire.call("status", [1]) == [False]
        with pytest.raises(Denied):
            await wire.call("heartbeat", [1])
        await wire.call("hello", {"token": "looking-token"})
        assert (await wire.call("info"))["nodes"].keys() == {"n1", "n2", "n3"}
        with pytest.raises(Denied):
            await wire.call("status", [1])
        await wire.call("hello", {"token": "joining-token"})
        assert await wire.call("heartbeat", [1], {"forwarded": True}) == 1
        routed.router.set_credentials(Credentials(parse_secrets("test:other-token:read\n", "tokens")))
        await wire.read_to_end()


# --- frames that come together -----------------------------------------------------------------------------------------


async def test_each_of_many_frames_has_its_own_answer() -> None:
    async with running_router() as routed, Wire(routed.address) as wire:
        calls = [("heartbeat", [number, number + 1]) for number in range(0, 600, 3)]
        msgids = wire.send_together(*calls, ("heartbeat", [0, 2, 3]), *(("status", [number]) for number in range(600)))
        answers = [await wire.answer(msgid) for msgid in msgids]
        assert answers[:200] == [2] * 200
        assert answers[200] == 1
        assert answers[201:] == [[number % 3 != 2 or number == 2] for number in range(600)]


async def test_notifications_among_requests_count_too() -> None:
    async with running_router() as routed, Wire(routed.address) as wire:
        wire.send_bytes(
            notification("heartbeat", [1, 2])
            + request(0, "heartbeat", [2, 3])
            + notification("heartbeat", [4])
            + request(1, "heartbeat", [4, 5, 6])
            + request(2, "status", [1, 2, 3, 4, 5, 6, 7])
        )
        assert [await wire.answer(msgid) for msgid in range(3)] == [1, 2, [True] * 6 + [False]]


async def test_frames_that_are_too_many_ids_together_go_one_by_one() -> None:
    size = GATHERED_IDS_MAX // 2 + 1
    frames = 2 * RUN_IDS_MAX // size
    async with running_router() as routed, Wire(routed.address) as wire:
        ids = [list(range(number * 1_000, number * 1_000 + size)) for number in range(frames)]
        msgids = wire.send_together(*(("heartbeat", one) for one in ids), *(("status", one) for one in [*ids, [10**6]]))
        answers = [await wire.answer(msgid) for msgid in msgids]
        assert answers[:frames] == [size, *[1_000] * (frames - 1)]
        assert answers[frames:-1] == [[True] * size] * frames
        assert answers[-1] == [False]


async def test_the_largest_batch_goes_through() -> None:
    async with running_router() as routed, AsyncClient(routed.url) as db:
        ids = array("Q", range(100_000))
        assert await db.heartbeat_batch(ids) == 100_000
        assert (await db.status_array(ids)).count(1) == 100_000
        assert min(await db.last_seen_array(ids)) > 0
        assert await db.offline_batch(ids) == 100_000


# --- accidents ---------------------------------------------------------------------------------------------------------


async def test_without_a_node_nobody_is_known_and_nothing_is_taken() -> None:
    async with running_router() as routed, Wire(routed.address) as wire:
        await wire.call("hello")
        for node in routed.nodes:
            await node.stop()
        await wait_until_async(lambda: not routed.router.ready)
        assert await wire.call("status", [1, 2]) == [None, None]
        for call in (("heartbeat", [1]), ("offline", [1]), ("count",), ("online", None, 10)):
            with pytest.raises(Unavailable):
                await wire.call(*call)
        with pytest.raises(Unavailable):
            await wire.answer(wire.send_together(("heartbeat", [1]), ("heartbeat", [2]))[1])


async def test_a_router_that_starts_before_its_nodes_serves_once_they_are_there() -> None:
    async with FakeServer() as server:
        port = server.port
    server = FakeServer(port=port)
    async with router_over(server) as router, Wire(address_of(router)) as wire:
        assert not router.ready
        with pytest.raises(Unavailable):
            await wire.call("hello")
        async with server:
            await wait_until_async(lambda: router.ready)
            assert (await wire.call("hello"))["node"] == "r1"
            assert await wire.call("heartbeat", [1]) == 1


async def test_a_node_that_is_slow_holds_back_only_those_who_ask_about_its_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presencedb.client.cluster.member._LATE_S", 60.0)
    held: list[tuple[Peer, Request]] = []

    def hold(peer: Peer, request: Request) -> Any:
        held.append((peer, request))
        return SILENCE

    async with FakeServer() as slow, FakeServer() as quick, router_over(slow, quick) as router:
        slow.script["status"] = hold
        async with Wire(address_of(router)) as one, Wire(address_of(router)) as other:
            waiting = one.send("status", list(range(100)))
            await wait_until_async(lambda: held and quick.seen("status"))
            of_quick = [user_id for request in quick.seen("status") for user_id in request.ids]
            for user_id in of_quick:
                assert await other.call("status", [user_id]) == [False]
            for peer, request_held in held:
                peer.session.reply(request_held, [True] * len(request_held.ids))
                peer.flush()
            assert (await one.answer(waiting)).count(True) == 100 - len(of_quick)


async def test_a_stop_answers_what_has_come_and_refuses_what_comes_after() -> None:
    async with running_router() as routed, Wire(routed.address) as wire:
        msgids = wire.send_together(*(("heartbeat", list(range(1_000))) for _ in range(20)))
        await wire.answer(msgids[0])
        stopping = asyncio.create_task(routed.router.stop())
        assert [await wire.answer(msgid) for msgid in msgids[1:]] == [0] * 19
        await stopping
        assert not routed.router.ready
        await routed.router.stop()


async def test_a_newer_topology_is_gone_by() -> None:
    async with running_router(node_count=2, replicas=1) as routed, AsyncClient(routed.url) as db:
        await db.heartbeat_batch(range(100))
        only = Topology(2, SEED, 1, routed.topology.members[:1])
        assert routed.router.set_topology(only)
        assert not routed.router.set_topology(routed.topology)
        assert await db.heartbeat_batch(range(100)) > 0
        assert [one["id"] for one in (await db.topology())["members"]] == ["n1"]


async def test_what_is_asked_of_a_router_that_has_not_started() -> None:
    router = Router(RouterSettings(topology=Topology(1, SEED, 1, ()), dialling=dialling(), listen=ANY_PORT))
    assert router.tcp_address is None
    assert not router.ready
    with pytest.raises(RuntimeError):
        router.set_credentials(None)
    await router.stop()
    with pytest.raises(ConfigError, match="drain"):
        RouterSettings(topology=Topology(1, SEED, 1, ()), dialling=dialling(), drain_timeout_ms=-1)


# --- pressure ----------------------------------------------------------------------------------------------------------


async def test_a_flood_of_notifications_waits_outside_while_a_node_does_not_keep_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presencedb.client.cluster.member._LATE_S", 60.0)
    held: list[tuple[Peer, Request]] = []

    def hold(peer: Peer, request: Request) -> Any:
        held.append((peer, request))
        return SILENCE

    async with FakeServer() as node:
        node.script["heartbeat"] = hold
        async with router_over(node) as router:
            pressure = service_of(router).pressure
            frame = notification("heartbeat", list(range(1_000)))
            async with Wire(address_of(router)) as flooder:
                flooder.send_bytes(frame * 2_000)
                await wait_until_async(lambda: pressure.held_count)
                async with Wire(address_of(router)) as other:
                    for _ in range(50):
                        assert await other.call("ping") == "pong"
                assert pressure.ids <= ROUTED_IDS_OF_ONE_MAX + 2 * RUN_IDS_MAX
                taken = sum(len(request_held.ids) for _, request_held in held)
                assert taken <= pressure.ids
                node.script.clear()
                for peer, request_held in held:
                    peer.session.reply(request_held, 0)
                    peer.flush()
                await wait_until_async(lambda: not pressure.held_count)
            await wait_until_async(lambda: pressure.ids == 0)


class _Held:
    """Stands for a connection."""

    def __init__(self) -> None:
        self.is_held = False

    def hold(self) -> None:
        self.is_held = True

    def release(self) -> None:
        self.is_held = False


def connections(count: int) -> list[Any]:
    made: list[Connection | _Held] = [_Held() for _ in range(count)]
    return made


def test_one_is_held_until_half_of_what_it_may_have_is_done() -> None:
    pressure = Pressure()
    one, other = connections(2)
    for _ in range(10):
        pressure.begin(one, ROUTED_IDS_OF_ONE_MAX // 8)
    pressure.begin(other, 1)
    assert (one.is_held, other.is_held, pressure.held_count) == (True, False, 1)
    for _ in range(6):
        pressure.end(one, ROUTED_IDS_OF_ONE_MAX // 8)
    assert one.is_held
    pressure.end(one, ROUTED_IDS_OF_ONE_MAX // 8)
    assert not one.is_held
    for _ in range(3):
        pressure.end(one, ROUTED_IDS_OF_ONE_MAX // 8)
    pressure.end(other, 1)
    assert (pressure.ids, pressure.held_count) == (0, 0)


def test_with_too_much_in_all_everybody_who_brings_more_is_held_until_there_is_less() -> None:
    pressure = Pressure()
    many = connections(40)
    share = ROUTED_IDS_MAX // 30
    for one in many:
        pressure.begin(one, share)
    held = [one for one in many if one.is_held]
    assert 0 < len(held) < len(many)
    pressure.end(held[0], share)
    assert held[0].is_held
    for one in many[:15]:
        pressure.end(one, share)
    assert not any(one.is_held for one in many)


def test_a_connection_that_is_gone_holds_nobody() -> None:
    pressure = Pressure()
    one, other = connections(2)
    pressure.begin(one, 10 * ROUTED_IDS_MAX)
    pressure.begin(other, 1)
    assert other.is_held
    pressure.forget(one)
    pressure.forget(one)
    pressure.end(one, 10 * ROUTED_IDS_MAX)
    assert not other.is_held
    pressure.end(other, 1)
    assert pressure.ids == 0


def test_a_barrier_waits_for_what_is_under_way_and_holds_what_comes_after() -> None:
    pressure = Pressure()
    (one,) = connections(1)
    done: list[int] = []
    pressure.begin(one, 5)
    pressure.begin(one, 5)
    pressure.wait(one, lambda: done.append(1))
    pressure.end(one, 5)
    assert (one.is_held, done) == (True, [])
    pressure.end(one, 5)
    assert (one.is_held, done) == (True, [1])
    pressure.go_on(one)
    pressure.go_on(one)
    assert not one.is_held
    pressure.wait(one, lambda: pressure.go_on(one))
    assert not one.is_held


def test_a_barrier_and_too_much_under_way_hold_each_for_itself() -> None:
    pressure = Pressure()
    one, gone = connections(2)
    pressure.begin(one, ROUTED_IDS_OF_ONE_MAX)
    pressure.wait(one, lambda: None)
    pressure.end(one, ROUTED_IDS_OF_ONE_MAX)
    assert one.is_held
    pressure.begin(one, ROUTED_IDS_OF_ONE_MAX)
    pressure.go_on(one)
    assert one.is_held
    pressure.end(one, ROUTED_IDS_OF_ONE_MAX)
    assert not one.is_held
    done: list[int] = []
    pressure.begin(gone, 1)
    pressure.wait(gone, lambda: done.append(1))
    pressure.forget(gone)
    pressure.end(gone, 1)
    pressure.go_on(gone)
    assert done == []


async def test_a_node_that_is_full_says_so_through_the_router() -> None:
    def refuse(*_: Any) -> Any:
        raise Busy("no memory left")

    async with FakeServer() as node:
        node.script["heartbeat"] = refuse
        async with router_over(node) as router, Wire(address_of(router)) as wire:
            with pytest.raises(Busy, match="no memory left"):
                await wire.call("heartbeat", [1])

"""The simulated world itself: a node and a client in it behave as on real machines, accidents included."""

from __future__ import annotations

import dataclasses
import socket
from random import Random

import pytest

from presencedb.client.aio import AsyncClient
from presencedb.client.values import Change
from presencedb.credentials import ALL_RIGHTS
from presencedb.errors import ConnectError
from presencedb.node.node import Node, NodeSettings
from tests.simulation.network import SimulatedSocket
from tests.simulation.process import Process
from tests.simulation.world import World

SETTINGS = NodeSettings(listen=None, ttl_ms=3_000, tick_ms=100, seed=7)


def start_node(world: World, name: str = "node", **changes: object) -> tuple[Process, Node]:
    process = world.process(name)
    node = Node(dataclasses.replace(SETTINGS, **changes), clock=process.clock)  # type: ignore[arg-type]
    world.result_of(process, node.start())

    def accept(sock: SimulatedSocket) -> None:
        node.accept(sock, ALL_RIGHTS)  # type: ignore[arg-type]

    world.network.listen(process, accept)
    return process, node


def client_in(world: World, process: Process, name: str = "node", timeout_s: float = 5.0) -> AsyncClient:
    async def connect() -> socket.socket:
        return await world.network.connect(process, name)

    return AsyncClient(connect=connect, timeout_s=timeout_s, random=Random(world.random.random()))


def test_a_user_goes_offline_on_time() -> None:
    with World(1) as world:
        start_node(world)
        process = world.process("client")
        client = client_in(world, process)
        world.result_of(process, client.heartbeat(42))
        world.run_for(2.9)
        assert world.result_of(process, client.status([42])) == {42: True}
        world.run_for(0.4)
        assert world.result_of(process, client.status([42])) == {42: False}
        assert not world.failures


def test_a_follower_is_told_in_simulated_time() -> None:
    with World(2) as world:
        start_node(world)
        process = world.process("client")
        client = client_in(world, process)
        told: list[Change] = []

        async def follow() -> None:
            async for change in client.follow():
                told.append(change)  # noqa: PERF401 - it never ends

        process.start(follow())
        world.run_for(0.5)
        world.result_of(process, client.heartbeat(1, 2))
        world.run_until(lambda: len(told) == 4, 5)
        assert [(one.id, one.online, one.reason) for one in told[:2]] == [(1, True, "heartbeat"), (2, True, "heartbeat")]
        assert sorted((one.id, one.online, one.reason) for one in told[2:]) == [(1, False, "timeout"), (2, False, "timeout")]


def test_a_paused_node_does_not_blame_its_users() -> None:
    with World(3) as world:
        node, _ = start_node(world)
        process = world.process("client")
        client = client_in(world, process, timeout_s=30)
        world.result_of(process, client.heartbeat(42))
        node.pause()
        beat = process.start(client.heartbeat(42))
        world.run_for(9)
        node.resume()
        world.run_until(beat.done, 30)
        assert world.result_of(process, client.status([42])) == {42: True}


def test_a_killed_node_is_refused_and_comes_back() -> None:
    with World(4) as world:
        node, _ = start_node(world)
        process = world.process("client")
        client = client_in(world, process, timeout_s=1)
        world.result_of(process, client.heartbeat(42))
        node.kill()
        with pytest.raises(ConnectError):
            world.result_of(process, client.status([42]))
        start_node(world)
        assert world.result_of(process, client.status([42])) == {42: False}


def test_a_cut_link_loses_nothing_once_it_is_mended() -> None:
    with World(5) as world:
        node, _ = start_node(world)
        process = world.process("client")
        client = client_in(world, process, timeout_s=20)
        world.result_of(process, client.ping())
        link = world.network.link(node, process)
        link.is_cut = True
        beat = process.start(client.heartbeat(42))
        world.run_for(0.7)
        assert not beat.done()
        link.is_cut = False
        world.run_until(beat.done, 10)
        assert world.result_of(process, client.status([42])) == {42: True}


def test_the_same_seed_tells_the_same_story() -> None:
    def story(seed: int) -> list[int]:
        with World(seed) as world:
            start_node(world)
            process = world.process("client")
            client = client_in(world, process)
            moments = []
            for user_id in range(20):
                world.result_of(process, client.heartbeat(user_id))
                moments.append(world.now_ns)
            return moments

    assert story(6) == story(6)
    assert story(6) != story(7)

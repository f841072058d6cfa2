"""A cluster of real processes, many users who beat, and accidents: none of them is ever answered false or told offline."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from presencedb.client.aio import AsyncClient
from presencedb.client.values import Change
from presencedb.errors import Error
from presencedb.states import Status
from tests.cluster.processes import TTL_S, ClusterProcesses
from tests.support.proxy import HostileProxy
from tests.support.waiting import wait_until_async

INTERVAL_S: Final = 1.0
FRESH_S: Final = TTL_S - INTERVAL_S
"""A read says something about a user whose last beat was acknowledged no longer ago than this."""
WATCHED: Final = 200
DEADLINE_S: Final = 40.0
SIZES: Final = [pytest.param(2_000, id="2,000"), pytest.param(20_000, id="20,000", marks=pytest.mark.heavy)]


class Crowd:
    """Users who beat through a router, and readers who ask and watch all the time.

    Attributes:
        reads: how many answers were held against the truth.
        told: what a watcher of some of the users was told.
    """

    def __init__(self, writer: AsyncClient, readers: list[AsyncClient], user_count: int) -> None:
        self.reads = 0
        self.false_answers: list[str] = []
        self.unknown = 0
        self.told: list[Change] = []
        self._writer = writer
        self._readers = readers
        self.users = array("Q", range(1, user_count + 1))
        self._acknowledged_s = -TTL_S

    async def beat(self) -> None:
        """Beat for everybody once an interval."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                await self._writer.heartbeat_batch(self.users)
                self._acknowledged_s = began_s
            except Error:
                pass  # it is not acknowledged: nothing can be said of it
            await asyncio.sleep(max(0, began_s + INTERVAL_S - loop.time()))

    async def ask(self, reader: AsyncClient) -> None:
        """Ask about everybody, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                statuses = await reader.status_array(self.users)
            except Error:
                await asyncio.sleep(0.05)
                continue
            if loop.time() - self._acknowledged_s < FRESH_S:
                self.reads += 1
                self.unknown = statuses.count(Status.UNKNOWN)
                if false := statuses.count(Status.OFFLINE):
                    self.false_answers.append(f"{false} at {loop.time():.3f}")
            await asyncio.sleep(0.05)

    async def watch(self, reader: AsyncClient) -> None:
        """Watch some of the users."""
        async for change in reader.watch(self.users[:WATCHED], on_gap="resync"):
            self.told.append(change)

    async def reads_go_on(self) -> None:
        """Wait until everybody was found online in answers that came from now on."""
        reads = self.reads
        await wait_until_async(lambda: self.reads > reads + 4 and not self.unknown, DEADLINE_S)

    def check(self) -> None:
        """Nobody was ever said to be offline."""
        assert not self.false_answers
        assert not [change for change in self.told if change.online is False]


@asynccontextmanager
async def crowd_of(cluster: ClusterProcesses, user_count: int, *router_urls: str) -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as stack:
        writer, *readers = [
            await stack.enter_async_context(AsyncClient(url, timeout_s=5)) for url in (router_urls[0], *router_urls)
        ]
        await writer.heartbeat_batch([1])
        for name in cluster.names:
            await until_synced(cluster, name)
        crowd = Crowd(writer, readers, user_count)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(crowd.beat()), *(group.create_task(crowd.ask(reader)) for reader in readers)]
            await crowd.reads_go_on()
            tasks += [group.create_task(crowd.watch(reader)) for reader in readers]
            yield crowd
            for task in tasks:
                task.cancel()
        crowd.check()


async def until_synced(cluster: ClusterProcesses, name: str) -> None:
    """Wait until a node knows everything about its slots."""
    host, port = cluster.address(name)
    async with AsyncClient(f"presence://{host}:{port}") as node:

        async def is_synced() -> bool:
            info = await node.info()
            return bool(info["slots_synced"] == info["slots_owned"])

        await wait_until_async(is_synced, DEADLINE_S)


@pytest.mark.deadline(240)
@pytest.mark.parametrize("user_count", SIZES)
async def test_a_node_that_is_killed_or_stopped_takes_nobody_offline(tmp_path: Path, user_count: int) -> None:
    with ClusterProcesses(tmp_path) as cluster:
        router = cluster.router()
        async with crowd_of(cluster, user_count, router.url) as crowd:
            cluster.kill("n1")
            await crowd.reads_go_on()
            await asyncio.to_thread(cluster.start, "n1")
            await until_synced(cluster, "n1")
            await crowd.reads_go_on()
            await asyncio.to_thread(cluster.nodes["n2"].sigstop)
            await asyncio.sleep(2 * TTL_S)  # that long it is to be stopped
            await crowd.reads_go_on()
            cluster.nodes["n2"].sigcont()
            await until_synced(cluster, "n2")
            await crowd.reads_go_on()


@pytest.mark.heavy
@pytest.mark.deadline(240)
@pytest.mark.parametrize("user_count", SIZES)
async def test_a_link_that_is_cut_takes_nobody_offline(tmp_path: Path, user_count: int) -> None:
    with ClusterProcesses(tmp_path) as cluster, HostileProxy(cluster.address("n1")) as proxy:
        routers = [cluster.router(over={"n1": proxy}), cluster.router()]
        async with crowd_of(cluster, user_count, *(router.url for router in routers)) as crowd:
            proxy.stall()
            await asyncio.sleep(TTL_S + 1)  # that long it is to be cut
            await crowd.reads_go_on()
            proxy.resume()
            await crowd.reads_go_on()


@pytest.mark.deadline(120)
async def test_who_stops_is_told_offline_while_a_node_is_gone(tmp_path: Path) -> None:
    with ClusterProcesses(tmp_path) as cluster:
        router = cluster.router()
        async with AsyncClient(router.url) as db:
            for name in cluster.names:
                await until_synced(cluster, name)
            async with db.watch(range(100)) as watch:
                await db.heartbeat(*range(100))
                cluster.kill("n3")
                left = set(range(100))
                while left:
                    change = await anext(watch)
                    left -= {change.id} if change.online is False else set()
            assert set((await db.status(range(100))).values()) == {False}

"""Watch and follow through a router: one stream of the cluster, in which each change comes once, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from presencedb.client.aio import AsyncClient
from presencedb.client.subscription import OnGap
from presencedb.client.values import Change
from presencedb.client.watch import AsyncWatch
from presencedb.errors import GapError
from presencedb.ids import Id
from tests.simulation.cluster import Cluster, Shape
from tests.simulation.process import Process
from tests.simulation.world import World

TTL_S = 1.5
USERS = list(range(1, 13))


class Reader:
    """Somebody who watches through a router, and what came."""

    def __init__(self, play: Playing, router: str, ids: list[int], on_gap: OnGap = "raise") -> None:
        self.process: Process = play.world.process(f"reader-{play.count()}")
        self.client: AsyncClient = play.cluster.client_of(self.process, router, timeout_s=5)
        self.first: dict[Id, bool | None] = {}
        self.changes: list[Change] = []
        self.error: Exception | None = None
        self.cursor: str | None = None
        self._ids = ids
        self._on_gap = on_gap
        self._watch: AsyncWatch | None = None
        self.task = self.process.start(self._run())

    async def _run(self) -> None:
        try:
            async with self.client.watch(self._ids, on_gap=self._on_gap) as self._watch:
                self.first = dict(self._watch.statuses)
                async for change in self._watch:
                    self.changes.append(change)
                    self.cursor = self._watch.cursor
        except GapError as error:
            self.error = error

    def statuses(self) -> dict[Id, bool | None]:
        """What the changes lead to; no status comes twice in a row."""
        statuses = dict(self.first)
        for change in self.changes:
            assert statuses[change.id] is not change.online, f"{change.id} was told twice to be {change.online}"
            statuses[change.id] = change.online
        return statuses


class Playing:
    """A cluster with routers, and an application that beats."""

    def __init__(self, world: World, folder: Path, *, replicas: int, routers: int) -> None:
        self.world = world
        shape = Shape(nodes=3, replicas=replicas, routers=routers, ttl_ms=int(TTL_S * 1_000))
        self.cluster = Cluster(world, shape, folder)
        self._count = 0
        for name in shape.node_names:
            self.cluster.start_node(name, anew=False)
        for name in shape.router_names:
            self.cluster.start_router(name)
        world.run_for(2)
        self.application = world.process("application")
        self.db = self.cluster.client_of(self.application, *shape.router_names, timeout_s=5)
        self._beating: set[int] = set()
        self.application.start(self._beat())

    def count(self) -> int:
        self._count += 1
        return self._count

    def beat(self, *users: int) -> None:
        """Keep these online from now on, and nobody else."""
        self._beating = set(users)
        self.world.run_for(TTL_S / 4)

    async def _beat(self) -> None:
        while True:
            if self._beating:
                await self.db.heartbeat(*self._beating)
            await asyncio.sleep(TTL_S / 6)

    def watch(self, router: str = "r1", ids: list[int] = USERS, on_gap: OnGap = "raise") -> Reader:
        reader = Reader(self, router, ids, on_gap)
        self.world.run_until(lambda: reader.first or reader.error)
        return reader


@contextmanager
def playing(folder: Path, *, replicas: int = 2, routers: int = 1, seed: int = 1) -> Iterator[Playing]:
    with World(seed) as world:
        yield Playing(world, folder, replicas=replicas, routers=routers)
        assert not world.failures


def test_each_change_comes_once(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        reader = play.watch()
        assert set(reader.first.values()) == {False}
        play.beat(*USERS)
        play.world.run_for(1)
        assert sorted((change.id, change.online, change.reason) for change in reader.changes) == [
            (user, True, "heartbeat") for user in USERS
        ]
        play.beat(*USERS[:6])
        play.world.run_for(TTL_S + 1)
        assert sorted((change.id, change.online, change.reason) for change in reader.changes[len(USERS) :]) == [
            (user, False, "timeout") for user in USERS[6:]
        ]


def test_who_is_watched_by_others_already_is_known_at_once(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        play.beat(1, 2)
        play.watch()
        second = play.watch(ids=[1, 5])
        assert second.first == {1: True, 5: False}


@pytest.mark.parametrize("accident", ["kill", "pause", "cut"])
def test_nobody_is_told_anything_of_users_who_beat_when_a_node_is_lost(tmp_path: Path, accident: str) -> None:
    with playing(tmp_path) as play:
        play.beat(*USERS)
        readers = [play.watch(), play.watch(ids=USERS[:3])]
        for name in ("n1", "n2", "n3"):
            if accident == "kill":
                play.cluster.kill(name)
            elif accident == "pause":
                play.cluster.running[name].pause()
            else:
                play.cluster.link("r1", name).is_cut = True
            play.world.run_for(2 * TTL_S)
            if accident == "kill":
                play.cluster.start_node(name, anew=True)
            elif accident == "pause":
                play.cluster.running[name].resume()
            else:
                play.cluster.link("r1", name).is_cut = False
            play.world.run_for(2 * TTL_S + 2)
        assert [reader.changes for reader in readers] == [[], []]
        play.beat(1)
        play.world.run_for(TTL_S + 2)
        assert readers[0].statuses() == {user: user == 1 for user in USERS}
        assert all(reader.error is None for reader in readers)


def test_what_changed_while_a_node_was_lost_is_told(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        play.beat(*USERS)
        reader = play.watch()
        play.cluster.kill("n1")
        play.beat(*USERS[:4])
        play.world.run_for(2 * TTL_S + 2)
        play.cluster.start_node("n1", anew=True)
        play.world.run_for(2 * TTL_S + 3)
        assert reader.statuses() == {user: user in USERS[:4] for user in USERS}


def test_one_replica_that_is_lost_makes_its_users_unknown_until_they_are_known_again(tmp_path: Path) -> None:
    with playing(tmp_path, replicas=1) as play:
        play.beat(*USERS)
        reader = play.watch()
        lost = [user for user in USERS if play.cluster.owners_of(user) == ["n2"]]
        assert lost
        play.cluster.kill("n2")
        play.world.run_for(0.5)
        assert {change.id: (change.online, change.reason) for change in reader.changes} == dict.fromkeys(
            lost, (None, "unknown")
        )
        play.cluster.start_node("n2", anew=True)
        play.world.run_for(2 * TTL_S + 2)
        assert reader.statuses() == dict.fromkeys(USERS, True)


def test_a_cursor_is_good_at_its_router_and_a_gap_at_another(tmp_path: Path) -> None:
    with playing(tmp_path, routers=2) as play:
        reader = play.watch()
        play.beat(1)
        play.world.run_for(0.5)
        cursor = reader.cursor
        assert cursor is not None
        reader.process.kill()
        play.beat(1, 2)
        play.world.run_for(0.5)
        process = play.world.process("returning")
        told: list[Change] = []

        async def resume(router: str) -> None:
            async with play.cluster.client_of(process, router).watch(USERS, cursor) as watch:
                told.append(await anext(watch))

        play.world.result_of(process, resume("r1"))
        assert [(change.id, change.online, change.reason) for change in told] == [(2, True, "heartbeat")]
        with pytest.raises(GapError):
            play.world.result_of(process, resume("r2"))


def test_who_follows_is_told_of_a_hole_when_a_node_is_lost(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        process = play.world.process("follower")
        db = play.cluster.client_of(process, "r1")
        changes: list[Change] = []

        async def follow() -> None:
            async for change in db.follow():
                changes.append(change)  # noqa: PERF401 - it never ends well

        task = process.start(follow())
        play.world.run_for(0.5)
        play.beat(*USERS)
        play.world.run_for(0.5)
        assert sorted((change.id, change.online) for change in changes) == [(user, True) for user in USERS]
        for name in ("n1", "n2"):
            if not task.done():
                play.cluster.kill(name)
                play.world.run_for(0.5)
        assert isinstance(task.exception(), GapError)


def test_requests_of_one_connection_are_done_in_their_order(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        process = play.world.process("hasty")
        db = play.cluster.client_of(process, "r1")

        async def ask() -> list[object]:
            driver = db._bound()
            link = await driver.connector.connect()
            asked = [link.send("watch", ([1, 2],)), link.send("unwatch", ([1],)), link.send("unwatch", ([1, 2],))]
            answers = await asyncio.gather(*asked)
            return [answers[0][1], *answers[1:]]

        assert play.world.result_of(process, ask()) == [[False, False], 1, 1]

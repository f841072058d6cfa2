"""Members of a cluster in a simulated world: what each knows after a start, a restart, a pause, a cut; who is asked before a
timeout; and that nobody who beats is ever called offline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from presencedb.client.cluster.fanout import Fanout
from presencedb.node.cluster.role import ClusterRole
from presencedb.placement import ALL_SLOTS
from tests.simulation.cluster import AsClusterClient, Cluster, Shape
from tests.simulation.world import World

TTL_S = 1.5
USERS = range(40)


class Playing:
    """A cluster of two or three members, and an application that uses it."""

    def __init__(self, world: World, folder: Path, *, nodes: int = 3, replicas: int = 2) -> None:
        self.world = world
        self.cluster = Cluster(world, Shape(nodes=nodes, replicas=replicas, ttl_ms=int(TTL_S * 1_000)), folder)
        for name in self.cluster.shape.node_names:
            self.cluster.start_node(name, anew=False)
        self.application = world.process("application")
        self.asker = world.result_of(self.application, self._ask_as())

    async def _ask_as(self) -> AsClusterClient:
        fanout = Fanout(self.cluster.topology, self.cluster.dialling(self.application), self.world.random)
        await fanout.tried()
        return AsClusterClient(fanout)

    def role(self, name: str) -> ClusterRole:
        parts = self.cluster.nodes[name]._parts
        assert parts is not None
        assert parts.cluster is not None
        return parts.cluster

    def wait_until_synced(self, *names: str, deadline_s: float = 10) -> None:
        self.world.run_until(lambda: all(self.role(name).ready for name in names or self.cluster.nodes), deadline_s)

    def beat(self, *users: int) -> None:
        for user in users:
            self.world.result_of(self.application, self.asker.heartbeat(user))

    def status(self, *users: int) -> list[bool | None]:
        return self.world.result_of(self.application, self.asker.status(list(users)))

    def beat_for(self, duration_s: float, *users: int) -> None:
        """Beat five times a ttl, and hold every answer against it."""
        end_ns = self.world.now_ns + int(duration_s * 1e9)
        while self.world.now_ns < end_ns:
            self.beat(*users)
            assert False not in self.status(*users)
            self.world.run_for(TTL_S / 5)


@contextmanager
def playing(folder: Path, *, nodes: int = 3, replicas: int = 2, seed: int = 1) -> Iterator[Playing]:
    with World(seed) as world:
        yield Playing(world, folder, nodes=nodes, replicas=replicas)
        assert not world.failures


def test_a_cluster_that_is_founded_knows_at_once_that_nobody_is_there(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        play.wait_until_synced(deadline_s=TTL_S / 2)
        assert set(play.status(*USERS)) == {False}
        slots = [play.role(name).own for name in ("n1", "n2", "n3")]
        assert slots[0] | slots[1] | slots[2] == ALL_SLOTS
        assert sum(map(len, slots)) == 2 * len(ALL_SLOTS)


def test_a_cluster_of_one_replica_is_founded_too(tmp_path: Path) -> None:
    with playing(tmp_path, replicas=1) as play:
        play.wait_until_synced(deadline_s=TTL_S / 2)
        assert set(play.status(*USERS)) == {False}


def test_a_member_that_was_restarted_pulls_and_then_knows(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        play.cluster.kill("n1")
        play.world.run_for(0.2)
        assert set(play.status(*USERS)) == {True}
        play.cluster.start_node("n1", anew=True)
        assert set(play.status(*USERS, 1_000_000)) <= {True, None, False}
        assert set(play.status(*USERS)) == {True}
        play.wait_until_synced("n1", deadline_s=TTL_S / 2)
        assert play.role("n1").sync.registers > 0
        assert set(play.status(*USERS)) == {True}
        assert play.status(1_000_000) == [False]


def test_one_replica_that_was_restarted_does_not_know_for_a_ttl(tmp_path: Path) -> None:
    with playing(tmp_path, replicas=1) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        lost = [user for user in USERS if play.cluster.owners_of(user) == ["n1"]]
        assert lost
        play.cluster.kill("n1")
        assert set(play.status(*lost)) == {None}
        play.cluster.start_node("n1", anew=True)
        play.world.run_for(0.3)
        assert set(play.status(*lost)) == {None}
        play.beat(*lost[1:])
        assert play.status(lost[0], lost[1]) == [None, True]
        play.wait_until_synced("n1", deadline_s=2 * TTL_S)
        assert play.status(lost[0]) == [False]


@pytest.mark.parametrize("pause_s", [0.4, 0.9 * TTL_S, 3 * TTL_S])
def test_a_member_that_was_paused_blames_nobody(tmp_path: Path, pause_s: float) -> None:
    with playing(tmp_path) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        node = play.cluster.running["n2"]
        node.pause()
        play.beat_for(pause_s, *USERS)
        node.resume()
        play.beat_for(2 * TTL_S, *USERS)
        play.wait_until_synced()
        assert set(play.status(*USERS)) == {True}


@pytest.mark.parametrize("ends", [("application", "n1"), ("n1", "n2")])
def test_a_link_that_is_cut_makes_nobody_offline(tmp_path: Path, ends: tuple[str, str]) -> None:
    with playing(tmp_path) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        link = play.cluster.link(*ends)
        link.is_cut = True
        play.beat_for(3 * TTL_S, *USERS)
        link.is_cut = False
        play.beat_for(2 * TTL_S, *USERS)
        play.wait_until_synced()
        assert set(play.status(*USERS)) == {True}


def test_who_stops_is_offline_on_time_while_a_member_is_gone(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        play.cluster.kill("n3")
        play.world.run_for(TTL_S + 2)
        assert set(play.status(*USERS)) == {False}


def test_who_stops_is_unknown_while_a_member_does_not_answer_and_offline_when_it_does(tmp_path: Path) -> None:
    with playing(tmp_path, nodes=2) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        node = play.cluster.running["n2"]
        node.pause()
        play.world.run_for(TTL_S + 2)
        assert set(play.status(*USERS)) == {None}
        assert play.role("n1").agreement.held_slots > 0
        node.resume()
        play.world.run_until(lambda: set(play.status(*USERS)) == {False}, 2 * TTL_S + 2)
        assert play.role("n1").agreement.held_slots == 0


def test_a_sign_off_holds_when_a_replica_did_not_get_it(tmp_path: Path) -> None:
    with playing(tmp_path, nodes=2) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        link = play.cluster.link("application", "n2")
        link.is_cut = True
        for user in USERS:
            play.world.result_of(play.application, play.asker.offline(user))
        link.is_cut = False
        play.wait_until_synced()
        play.world.run_for(0.3)
        assert set(play.status(*USERS)) == {False}
        play.cluster.kill("n1")
        play.world.run_for(0.1)
        assert set(play.status(*USERS)) == {False}


def test_copies_back_and_forth_change_nothing(tmp_path: Path) -> None:
    with playing(tmp_path, nodes=2) as play:
        play.wait_until_synced()
        play.beat(*USERS)
        for user in list(USERS)[:10]:
            play.world.result_of(play.application, play.asker.offline(user))
        roles = [play.role(name) for name in ("n1", "n2")]
        before = [role.pages_out(None, 10_000, None)[1:] for role in roles]
        for turn in range(200):
            # Each believes by turns that it has missed everything.
            roles[turn % 2].owed.note(f"n{2 - turn % 2}", ALL_SLOTS)
            play.world.run_for(0.005)
        assert roles[0].sync.pulls + roles[1].sync.pulls > 2
        play.world.run_for(0.3)
        for role, (ids, ages_ms, signed_off) in zip(roles, before, strict=True):
            now_ids, now_ages_ms, now_signed_off = role.pages_out(None, 10_000, None)[1:]
            assert (now_ids, now_signed_off) == (ids, signed_off)
            grown = {now - then for now, then in zip(now_ages_ms, ages_ms, strict=True)}
            assert len(grown) == 1, "every register is as much older as time has gone by"


def test_the_restart_of_another_member_is_no_reason_to_doubt(tmp_path: Path) -> None:
    with playing(tmp_path) as play:
        play.wait_until_synced()
        play.cluster.kill("n1")
        play.world.run_for(0.3)
        play.cluster.start_node("n1", anew=True)
        for _ in range(100):
            play.world.run_for(0.01)
            assert play.role("n2").ready
            assert play.role("n3").ready
        assert play.role("n1").ready

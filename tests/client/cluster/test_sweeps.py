"""Counting and listing everybody over several nodes: real ones, in a simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any, Self

import pytest

from presencedb.client.cluster.fanout import Fanout
from presencedb.client.cluster.member import MemberState
from presencedb.errors import BadRequest, Denied, ProtocolError, Unavailable
from presencedb.ids import Id, IdBatch
from presencedb.placement import ALL_SLOTS, NO_SLOTS
from presencedb.protocol.messages import Request
from presencedb.protocol.params import Options
from tests.client.cluster.bed import NAMES, SEED, SILENCE, Bed, dialling, topology_of
from tests.simulation.process import Process
from tests.simulation.test_world import start_node
from tests.simulation.world import World

IDS: list[Id] = [*range(300), *(f"user-{number}" for number in range(300)), *(2**40 + number for number in range(100))]
UUIDS: list[Id] = [f"123e4567-e89b-42d3-a456-4266141740{number:02x}" for number in range(100)]


class Nodes:
    """Real nodes that know nothing of each other, and a fan-out over them."""

    def __init__(self, *, replicas: int = 2) -> None:
        self.world = World(1)
        self.nodes: dict[str, Process] = {name: start_node(self.world, name, ttl_ms=60_000, seed=SEED)[0] for name in NAMES}
        self.observer = self.world.process("observer")
        self.replicas = replicas
        self.fanout = self.another_observer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert not self.world.failures
        self.world.__exit__(None, None, None)

    def another_observer(self) -> Fanout:
        """One that has the same topology and knows nothing else."""

        async def begin() -> Fanout:
            fanout = Fanout(topology_of(replicas=self.replicas), dialling(self.world, self.observer), Random(1))
            await fanout.tried()
            return fanout

        return self.world.result_of(self.observer, begin())

    def ask(self, method: str, ids: Iterable[Id] = (), *, by: Fanout | None = None, **rest: Any) -> Any:
        """Ask, and wait for the answer."""

        async def ask() -> Any:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            options = rest.pop("options", Options())
            (by or self.fanout).ask(method, IdBatch(list(ids)), options, answer, **rest)
            return await answer

        return self.world.result_of(self.observer, ask())

    def scan(self, limit: int) -> list[Id]:
        """Everybody, page by page."""
        found: list[Id] = []
        cursor = None
        while True:
            cursor, page = self.ask("online", cursor=cursor, limit=limit)
            assert len(page) <= limit
            found += page
            if cursor is None:
                return found


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_nobody_is_counted_or_listed_twice(replicas: int) -> None:
    with Nodes(replicas=replicas) as nodes:
        assert nodes.ask("count") == 0
        assert nodes.scan(10) == []
        nodes.ask("heartbeat", [*IDS, *UUIDS])
        assert nodes.ask("count") == len(IDS) + len(UUIDS)
        for limit in (1_000, 64):
            assert sorted(map(str, nodes.scan(limit))) == sorted(map(str, [*IDS, *UUIDS]))


@pytest.mark.parametrize("limit", [1, 2])
def test_a_page_of_a_few_goes_on(limit: int) -> None:
    with Nodes() as nodes:
        nodes.ask("heartbeat", IDS[:20])
        assert sorted(map(str, nodes.scan(limit))) == sorted(map(str, IDS[:20]))


@pytest.mark.parametrize("accident", ["kill", "pause"])
def test_who_is_online_all_along_is_listed_once_though_a_node_is_lost_on_the_way(accident: str) -> None:
    with Nodes() as nodes:
        nodes.ask("heartbeat", IDS)
        found: list[Id] = []
        cursor = None
        for page_number in range(1_000):
            if page_number == 4:
                getattr(nodes.nodes["n2"], accident)()
            cursor, page = nodes.ask("online", cursor=cursor, limit=40)
            found += page
            if cursor is None:
                break
        assert sorted(map(str, found)) == sorted(map(str, IDS))
        assert nodes.ask("count") == len(IDS)


def test_a_scan_goes_on_with_another_observer() -> None:
    with Nodes() as nodes:
        nodes.ask("heartbeat", IDS)
        cursor, found = nodes.ask("online", cursor=None, limit=100)
        another = nodes.another_observer()
        while cursor is not None:
            cursor, page = nodes.ask("online", cursor=cursor, limit=100, by=another)
            found += page
        assert sorted(map(str, found)) == sorted(map(str, IDS))


def test_some_slots_are_asked_about_alone() -> None:
    with Nodes() as nodes:
        nodes.ask("heartbeat", IDS)
        halves = [tuple(range(8_192)), tuple(range(8_192, 16_384))]
        assert sum(nodes.ask("count", options=Options(slots=half)) for half in halves) == len(IDS)
        assert nodes.ask("count", options=Options(slots=())) == 0
        first, second = (nodes.ask("online", options=Options(slots=half), cursor=None, limit=1_000)[1] for half in halves)
        assert sorted(map(str, [*first, *second])) == sorted(map(str, IDS))


def test_a_cursor_that_is_none_is_told() -> None:
    with Nodes() as nodes, pytest.raises(BadRequest):
        nodes.ask("online", cursor="nonsense", limit=10)


def test_without_an_owner_up_a_number_would_be_a_lie() -> None:
    with Nodes(replicas=1) as nodes:
        nodes.ask("heartbeat", IDS)
        nodes.nodes["n1"].kill()
        with pytest.raises(Unavailable, match="slots can be reached"):
            nodes.ask("count")


# --- scripted members --------------------------------------------------------------------------------------------------


def slots_asked(bed: Bed, method: str = "count") -> dict[str, set[int]]:
    return {
        name: {slot for request in member.asked(method) for slot in request.options.slots or ()}
        for name, member in bed.members.items()
    }


def test_a_slot_is_asked_of_the_first_owner_that_is_synced_in_it() -> None:
    with Bed() as bed:
        bed.members["n1"].synced = NO_SLOTS
        bed.world.run_for(1.5)
        bed.forget_requests()
        bed.ask("count")
        asked = slots_asked(bed)
        assert not asked["n1"]
        assert asked["n2"] | asked["n3"] == set(ALL_SLOTS)
        assert not asked["n2"] & asked["n3"]


def test_a_member_that_comes_back_is_asked_first_which_slots_it_is_synced_in() -> None:
    with Bed() as bed:
        bed.set_online(range(100))
        bed.members["n1"].process.kill()
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.DOWN, 1)
        anew = bed.add("n1", bed.topology)
        anew.synced = NO_SLOTS
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.UP, 2)
        assert bed.ask("count") == 100
        bed.world.run_for(0.1)
        assert bed.ask("count") == 100


def test_slots_that_nobody_is_synced_in_are_asked_of_an_owner_all_the_same() -> None:
    with Bed() as bed:
        bed.set_online(range(100))
        for member in bed.members.values():
            member.synced = NO_SLOTS
        bed.world.run_for(1.5)
        assert bed.ask("count") == 100


@pytest.mark.parametrize("answer", [None, -1, "5", [5], True])
def test_a_count_that_is_none(answer: Any) -> None:
    with Bed() as bed:
        bed.members["n1"].script["count"] = lambda _: answer
        with pytest.raises(ProtocolError):
            bed.ask("count")


@pytest.mark.parametrize("answer", [None, [], [None], ["zz", [1]], [None, [1.5]], [None, 7], ["-1", [1]], ["", []]])
def test_a_page_that_is_none(answer: Any) -> None:
    with Bed() as bed:
        bed.members["n1"].script["online"] = lambda _: answer
        for name in ("n2", "n3"):
            bed.members[name].script["online"] = lambda _: [None, []]
        with pytest.raises(ProtocolError):
            bed.ask("online")


def test_what_is_refused_is_told() -> None:
    def refuse(_: Request) -> Any:
        raise Denied("no")

    with Bed() as bed:
        bed.members["n1"].script["count"] = refuse
        with pytest.raises(Denied):
            bed.ask("count")


def test_a_count_of_which_nobody_waits_for_the_end() -> None:
    with Bed() as bed:
        for member in bed.members.values():
            member.script["count"] = lambda _: SILENCE
        counting = bed.begin("count")
        bed.world.run_for(0.1)
        bed.run_now(counting.cancel)
        for member in bed.members.values():
            member.answer_held()
        bed.world.run_for(1)
        assert counting.cancelled()


def test_info_tells_of_each_member_and_of_those_that_are_away_nothing() -> None:
    with Bed() as bed:
        bed.members["n1"].process.kill()
        bed.members["n2"].process.pause()
        answer = bed.ask("info")
        assert answer == {"epoch": 1, "nodes": {"n1": None, "n2": None, "n3": {"node": "n3"}}}
        assert bed.ask("info") == answer


def test_the_topology_tells_who_is_up() -> None:
    with Bed() as bed:
        bed.members["n1"].process.kill()
        bed.world.run_for(0.1)
        states = {member["id"]: member["state"] for member in bed.ask("topology")["members"]}
        assert states == {"n1": "down", "n2": "up", "n3": "up"}
        assert bed.ask("ping") == "pong"

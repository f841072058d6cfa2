"""One member, as an observer sees it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.errors import ClientClosed, ConnectError, Error, Unauthenticated
from presencedb.limits import MEMBER_IDS_IN_FLIGHT_MAX, MEMBER_LATE_MS, REQUESTS_IN_FLIGHT_MAX
from presencedb.placement import Member
from presencedb.protocol.messages import Request
from tests.client.cluster.bed import SILENCE, Bed, ScriptedMember, dialling, topology_of
from tests.simulation.world import World


class Asked:
    """A question whose end is written down."""

    def __init__(self) -> None:
        self.result: Any = None
        self.error: Error | None = None
        self.ended = 0

    def answered(self, result: Any) -> None:
        self.result = result
        self.ended += 1

    def failed(self, error: Error) -> None:
        self.error = error
        self.ended += 1


def ask(bed: Bed, name: str = "n1", method: str = "ping", *, count: int = 1, id_count: int = 0) -> list[Asked]:
    """Ask a member something so many times."""
    asked = [Asked() for _ in range(count)]

    def step() -> None:
        for one in asked:
            bed.connection(name).ask(one, method, (), id_count)

    bed.run_now(step)
    return asked


def test_what_is_asked_in_one_turn_is_answered_in_order() -> None:
    with Bed() as bed:
        asked = ask(bed, count=100)
        bed.world.run_until(lambda: all(one.ended for one in asked), 1)
        assert {one.result for one in asked} == {"pong"}


def test_all_that_a_silent_member_was_asked_fails_at_once_and_only_once() -> None:
    with Bed() as bed:
        bed.members["n1"].process.pause()
        first = ask(bed)
        bed.world.run_for(0.4)
        later = ask(bed, count=10)
        bed.world.run_for(0.11)
        assert [one.ended for one in first + later] == [1] * 11
        assert bed.connection("n1").state is MemberState.SILENT
        bed.members["n1"].process.resume()
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.UP, 1)
        assert [one.ended for one in first + later] == [1] * 11
        assert bed.connection("n1").failures == 1


def test_a_silent_member_that_is_asked_all_the_same_is_not_waited_for() -> None:
    with Bed() as bed:
        bed.members["n1"].process.pause()
        ask(bed)
        bed.world.run_for(1)
        (asked,) = ask(bed)
        bed.world.run_for(1)
        assert isinstance(asked.error, ConnectError)


def test_a_member_that_answers_is_not_blamed_for_how_much_it_is_asked() -> None:
    with Bed() as bed:
        member = bed.members["n1"]
        member.script["ping"] = lambda _: SILENCE
        asked = ask(bed, count=3 * REQUESTS_IN_FLIGHT_MAX)
        for _ in range(4):
            bed.world.run_for(0.3)
            assert len(member.held) <= REQUESTS_IN_FLIGHT_MAX
            assert not bed.connection("n1").keeps_up or all(one.ended for one in asked) or member.held
            member.answer_held()
        bed.world.run_until(lambda: all(one.ended for one in asked), 1)
        assert {one.result for one in asked} == {"pong"}
        assert bed.connection("n1").failures == 0
        assert bed.connection("n1").keeps_up


def test_ids_in_flight_are_bounded_and_one_large_question_always_goes() -> None:
    with Bed() as bed:
        member = bed.members["n1"]
        member.script["ping"] = lambda _: SILENCE
        room: list[bool] = []
        bed.fanout.view.on_room = lambda: room.append(True)
        asked = ask(bed, count=5, id_count=MEMBER_IDS_IN_FLIGHT_MAX + 1)
        while not room:
            bed.world.run_for(0.05)
            assert len(member.held) <= 1
            assert sum(one.ended == 0 for one in asked) >= len(member.held)
            member.answer_held()
        bed.world.run_until(lambda: all(one.result for one in asked), 1)
        assert bed.connection("n1").failures == 0


def test_a_member_that_reads_nothing_takes_a_bounded_share_of_memory_and_fails_in_time() -> None:
    with Bed() as bed:
        bed.members["n1"].process.pause()
        asked = [Asked() for _ in range(100)]

        def step() -> None:
            for one in asked:
                bed.connection("n1").ask(one, "status", (b"x" * 1_000_000,), 10_000)

        bed.run_now(step)
        link = bed.connection("n1").link
        assert link is not None
        assert link.traffic.bytes_sent < 40_000_000
        bed.world.run_for(MEMBER_LATE_MS / 1_000 + 0.01)
        assert all(one.ended == 1 for one in asked)
        assert bed.connection("n1").keeps_up


def test_an_observer_that_was_away_itself_blames_nobody_and_then_judges_again() -> None:
    with Bed() as bed:
        member = bed.members["n1"]
        (asked,) = ask(bed)
        bed.observer.pause()
        bed.world.run_for(5)
        bed.observer.resume()
        bed.world.run_for(0.1)
        assert asked.result == "pong"
        assert bed.connection("n1").failures == 0
        member.process.pause()
        (asked,) = ask(bed)
        bed.observer.pause()
        bed.world.run_for(5)
        bed.observer.resume()
        bed.world.run_for(0.3)
        assert not asked.ended
        bed.world.run_for(0.5)
        assert asked.ended


def test_a_member_comes_back_under_the_same_address() -> None:
    with Bed() as bed:
        bed.members["n1"].process.kill()
        bed.world.run_until(lambda: bed.connection("n1").refused, 1)
        assert bed.connection("n1").state is MemberState.DOWN
        bed.world.run_for(30)
        bed.add("n1", bed.topology)
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.UP, 1.1)
        assert not bed.connection("n1").refused
        assert bed.connection("n1").error is None


def test_a_member_that_takes_connections_only_to_drop_them_is_not_hammered() -> None:
    with World(1) as world:
        accepted = []
        process = world.process("n1")
        world.network.listen(process, lambda sock: (accepted.append(sock), sock.vanish()))  # type: ignore[arg-type, func-returns-value]
        observer = world.process("observer")
        world.result_of(observer, _connection(world, observer))
        world.run_for(10)
        assert 9 <= len(accepted) <= 30


def test_a_member_that_refuses_the_token_is_down_and_says_why() -> None:
    def refuse(_: Request) -> Any:
        raise Unauthenticated("this token is not known")

    with World(1) as world:
        ScriptedMember(world, "n1", topology_of(["n1"])).script["hello"] = refuse
        observer = world.process("observer")
        connection = world.result_of(observer, _connection(world, observer))
        assert connection.state is MemberState.DOWN
        assert isinstance(connection.error, Unauthenticated)
        assert not connection.refused


def test_a_new_member_is_waited_for_a_moment() -> None:
    with Bed(meet=False) as bed:
        assert bed.connection("n1").state is MemberState.NEW
        (asked,) = ask(bed)
        bed.world.run_until(lambda: asked.ended, 0.1)
        assert asked.result == "pong"


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_new_member_that_cannot_be_reached_is_not_waited_for_long(is_cut: bool) -> None:
    with World(1) as world:
        if is_cut:
            ScriptedMember(world, "n1", topology_of(["n1"]))
            world.network.between("observer", "n1").is_cut = True
        observer = world.process("observer")
        asked = Asked()

        async def begin() -> MemberConnection:
            connection = MemberConnection(Member("n1", "n1:7411"), dialling(world, observer), Random(1))
            connection.ask(asked, "ping", ())
            return connection

        connection = world.result_of(observer, begin())
        assert not asked.ended
        world.run_until(lambda: asked.ended, 0.51)
        assert isinstance(asked.error, ConnectError)
        assert connection.state is MemberState.DOWN
        world.network.between("observer", "n1").is_cut = False
        if is_cut:
            world.run_until(lambda: connection.state is MemberState.UP, 3)


@pytest.mark.parametrize("polite", [True, False])
def test_what_is_under_way_when_all_is_closed_fails(polite: bool) -> None:
    with Bed() as bed:
        bed.members["n1"].script["ping"] = lambda _: SILENCE
        asked = ask(bed, count=2 * REQUESTS_IN_FLIGHT_MAX)
        reading = bed.begin("status", range(100))
        writing = bed.begin("heartbeat", range(100))
        counting = bed.begin("count")
        if polite:
            bed.world.result_of(bed.observer, bed.fanout.close())
        else:
            bed.run_now(bed.fanout.drop)
        bed.world.run_for(1)
        assert all(isinstance(one.error, ClientClosed) and one.ended == 1 for one in asked)
        for task in (reading, writing, counting):
            assert isinstance(task.exception(), ClientClosed)
        (late,) = ask(bed)
        assert late.error is not None
        bed.world.result_of(bed.observer, bed.fanout.close())
        assert _tasks_left(bed) == set()


def _tasks_left(bed: Bed) -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks(bed.observer.loop)}


async def _connection(world: World, observer: Any) -> MemberConnection:
    connection = MemberConnection(Member("n1", "n1:7411"), dialling(world, observer), Random(1))
    await connection.tried()
    return connection

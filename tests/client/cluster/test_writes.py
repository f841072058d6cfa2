"""Writes over several members: every owner is told, or somebody who is told of it; the count is that of one node."""

from __future__ import annotations

from typing import Any

import pytest

from presencedb.client.cluster.member import MemberState
from presencedb.errors import BadRequest, Busy, Denied, ProtocolError, Unavailable
from presencedb.ids import Id
from presencedb.limits import MEMBER_LATE_MS, REPLICAS_MAX
from presencedb.protocol.messages import Request
from tests.client.cluster.bed import SILENCE, Bed, ScriptedMember, topology_of

IDS = list(range(200))
MANY = [f"m{number:02}" for number in range(REPLICAS_MAX + 6)]


def named(member: ScriptedMember, user_id: Id, method: str = "heartbeat") -> set[str]:
    """Whom a member was told of as missed, with a user."""
    return {name for request in member.asked(method) if user_id in list(request.ids) for name in request.options.missed}


def judge(bed: Bed, ids: list[Id], method: str = "heartbeat") -> None:
    """Every owner that is up has been told of each, and every other one was named to one that was."""
    for user_id in ids:
        owners = bed.owners(user_id)
        up = [name for name in owners if bed.members[name].process.alive and not bed.members[name].process.paused]
        told = [name for name in up if user_id in bed.members[name].ids_asked(method)]
        assert told == up
        for name in set(owners) - set(up):
            assert any(name in named(bed.members[one], user_id, method) for one in told)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_each_owner_is_told_once_and_nobody_is_counted_twice(replicas: int) -> None:
    with Bed(replicas=replicas) as bed:
        assert bed.ask("heartbeat", IDS) == len(IDS)
        assert bed.ask("heartbeat", [*IDS, 1000]) == 1
        assert bed.ask("offline", IDS[:50]) == 50
        assert bed.ask("heartbeat", []) == 0
        judge(bed, list(IDS))
        for name, member in bed.members.items():
            assert sorted(member.ids_asked("offline")) == [one for one in IDS[:50] if name in bed.owners(one)]
            assert not any(request.options.missed for request in member.requests)


def test_a_member_that_is_down_is_named_and_its_co_owner_is_told_once() -> None:
    with Bed() as bed:
        bed.members["n1"].process.kill()
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.DOWN, 1)
        assert bed.ask("heartbeat", IDS) == len(IDS)
        judge(bed, list(IDS))
        for name in ("n2", "n3"):
            asked = bed.members[name].ids_asked("heartbeat")
            assert sorted(asked) == [one for one in IDS if name in bed.owners(one)]


def test_a_member_that_dies_with_a_frame_in_flight_is_named_with_the_age() -> None:
    with Bed() as bed:
        member = bed.members["n1"]
        member.script["heartbeat"] = lambda _: SILENCE
        writing = bed.begin("heartbeat", IDS, age_ms=1_000)
        bed.world.run_for(0.3)
        assert not writing.done()
        member.process.kill()
        bed.world.run_until(writing.done, 1)
        judge(bed, list(IDS))
        resent = [
            request for name in ("n2", "n3") for request in bed.members[name].asked("heartbeat") if request.options.missed
        ]
        assert resent
        assert all(1_300 <= request.options.age_ms <= 1_310 for request in resent)


def test_a_member_that_is_paused_is_named_after_its_delay_and_from_then_on_at_once() -> None:
    with Bed() as bed:
        bed.members["n1"].process.pause()
        began_ns = bed.world.now_ns
        bed.ask("heartbeat", IDS)
        assert bed.world.now_ns - began_ns >= MEMBER_LATE_MS * 1_000_000
        judge(bed, list(IDS))
        bed.forget_requests()
        began_ns = bed.world.now_ns
        assert bed.ask("heartbeat", IDS) == 0
        assert bed.world.now_ns - began_ns < MEMBER_LATE_MS * 100_000
        judge(bed, list(IDS))


def test_a_write_that_nobody_waits_for_any_more_is_told_to_the_end() -> None:
    with Bed() as bed:
        bed.members["n1"].process.pause()
        writing = bed.begin("heartbeat", IDS)
        bed.world.run_for(0.1)
        bed.run_now(writing.cancel)
        bed.world.run_for(1)
        assert writing.cancelled()
        judge(bed, list(IDS))


def test_with_no_owner_up_it_fails_and_the_others_users_are_written() -> None:
    with Bed(replicas=1) as bed:
        bed.members["n1"].process.kill()
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.DOWN, 1)
        with pytest.raises(Unavailable, match="can be reached"):
            bed.ask("heartbeat", IDS)
        bed.world.run_for(0.1)
        for name in ("n2", "n3"):
            assert bed.members[name].online == {one for one in IDS if bed.owners(one) == [name]}


def test_more_members_are_down_than_a_frame_can_name() -> None:
    with Bed(names=MANY, replicas=2) as bed:
        down = MANY[: REPLICAS_MAX + 4]
        for name in down:
            bed.members[name].process.kill()
        bed.world.run_for(0.1)
        ids = [one for one in range(2_000) if set(bed.owners(one)) - set(down)]
        assert bed.ask("heartbeat", ids) == len(ids)
        judge(bed, list(ids))
        assert all(len(request.options.missed) <= REPLICAS_MAX for one in bed.members.values() for request in one.requests)


@pytest.mark.parametrize("error", [BadRequest("no"), Denied("no"), Busy("no")])
def test_what_every_owner_would_refuse_is_told(error: Any) -> None:
    def refuse(_: Request) -> Any:
        raise error

    with Bed() as bed:
        bed.members["n1"].script["heartbeat"] = refuse
        with pytest.raises(type(error)):
            bed.ask("heartbeat", IDS)


def test_an_owner_that_cannot_serve_is_named_to_the_other() -> None:
    def refuse(_: Request) -> Any:
        raise Unavailable("it stops")

    with Bed() as bed:
        bed.members["n1"].script["heartbeat"] = refuse
        bed.ask("heartbeat", IDS)
        for user_id in IDS:
            owners = bed.owners(user_id)
            if "n1" in owners:
                owners.remove("n1")
                assert "n1" in named(bed.members[owners[0]], user_id)


@pytest.mark.parametrize("answer", [None, -1, "1", [1], True, 1.0])
def test_an_owner_whose_answer_makes_no_sense_has_not_taken_it(answer: Any) -> None:
    with Bed() as bed:
        user_id = bed.users_of("n1", "n2", count=1)[0]
        bed.members["n1"].script["heartbeat"] = lambda _: answer
        bed.ask("heartbeat", [user_id])
        assert named(bed.members["n2"], user_id) == {"n1"}
        bed.members["n2"].process.kill()
        with pytest.raises(ProtocolError):
            bed.ask("heartbeat", [user_id])


def test_options_go_with_every_frame() -> None:
    with Bed() as bed:
        bed.members["n3"].process.kill()
        bed.world.run_for(0.1)
        bed.ask("offline", IDS, grace_ms=700, age_ms=20)
        for name in ("n1", "n2"):
            (request, *_) = bed.members[name].asked("offline")
            assert (request.options.grace_ms, request.options.age_ms, request.options.missed) == (700, 20, ("n3",))


def test_a_write_that_had_to_wait_for_its_turn_says_its_age() -> None:
    with Bed(names=["n1"], replicas=1) as bed:
        bed.members["n1"].script["heartbeat"] = lambda request: (
            SILENCE if len(request.ids) > 1 else bed.members["n1"].usual(request)
        )
        large = [bed.begin("heartbeat", range(number, number + 100_000)) for number in (0, 200_000)]
        small = bed.begin("heartbeat", [7])
        bed.world.run_for(0.3)
        assert not small.done()
        assert not bed.fanout.view.keeps_up
        bed.members["n1"].answer_held()
        bed.world.run_until(lambda: small.done() and all(one.done() for one in large), 1)
        assert 300 <= bed.members["n1"].asked("heartbeat")[-1].options.age_ms < 320
        assert bed.fanout.view.keeps_up


def test_a_member_that_left_need_not_be_told() -> None:
    with Bed() as bed:
        bed.members["n1"].process.pause()
        writing = bed.begin("heartbeat", IDS)
        bed.world.run_for(0.1)
        bed.run_now(lambda: bed.fanout.view.update(topology_of(["n2", "n3"], replicas=2, epoch=2)))
        bed.world.run_until(writing.done, 0.2)
        for user_id in IDS:
            assert all(user_id in bed.members[name].online for name in bed.owners(user_id) if name != "n1")

"""Reads over several members: whatever happens to some of them, who is online is told, and who is not known is nil."""

from __future__ import annotations

from typing import Any

import pytest

from presencedb.client.cluster.member import MemberState
from presencedb.errors import BadRequest, Moved, Unavailable, UnknownMethod
from presencedb.limits import MEMBER_LATE_MS
from presencedb.placement import SlotSet
from presencedb.protocol.messages import Request
from tests.client.cluster.bed import SEEN_MS, SILENCE, Bed, ScriptedMember, times_of, topology_of

IDS = list(range(200))
ONLINE = IDS[::3]
TRUTH = [user_id in ONLINE for user_id in IDS]
LATE_NS = MEMBER_LATE_MS * 1_000_000


def bed_with_users(seed: int = 1, **how: Any) -> Bed:
    bed = Bed(seed, **how)
    bed.set_online(ONLINE)
    return bed


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_answers_come_in_the_order_asked_from_the_first_owners(replicas: int) -> None:
    with bed_with_users(replicas=replicas) as bed:
        assert bed.statuses(IDS) == TRUTH
        for name, member in bed.members.items():
            assert member.ids_asked("status") == [user_id for user_id in IDS if bed.owners(user_id)[0] == name]
        assert bed.statuses([5, 5, 3, 5]) == [False, False, True, False]
        assert bed.statuses([]) == []


def test_last_seen_is_the_latest_that_any_owner_knows() -> None:
    with Bed() as bed:
        first, second = bed.users_of("n1", "n2", count=2)
        bed.members["n2"].online.add(first)
        assert times_of(bed.ask("last_seen", [first, second, first])) == [SEEN_MS, -1, SEEN_MS]


def test_a_member_that_is_down_is_passed_over_without_waiting() -> None:
    with bed_with_users() as bed:
        bed.members["n1"].process.kill()
        assert bed.statuses(IDS) == TRUTH
        began_ns = bed.world.now_ns
        assert bed.statuses(IDS) == TRUTH
        assert bed.world.now_ns - began_ns < LATE_NS / 10


def test_without_another_owner_who_is_kept_by_a_member_that_is_down_is_unknown() -> None:
    with bed_with_users(replicas=1) as bed:
        bed.members["n1"].process.kill()
        expected = [None if bed.owners(user_id) == ["n1"] else user_id in ONLINE for user_id in IDS]
        assert bed.statuses(IDS) == expected
        assert times_of(bed.ask("last_seen", [IDS[0]] * 3)) in ([SEEN_MS] * 3, [-1] * 3)


def test_with_nobody_up_everybody_is_unknown() -> None:
    with bed_with_users() as bed:
        for member in bed.members.values():
            member.process.kill()
        assert bed.statuses(IDS) == [None] * len(IDS)


def test_a_member_that_is_paused_costs_its_delay_once() -> None:
    with bed_with_users() as bed:
        bed.members["n1"].process.pause()
        began_ns = bed.world.now_ns
        assert bed.statuses(IDS) == TRUTH
        assert LATE_NS <= bed.world.now_ns - began_ns < 2 * LATE_NS
        assert bed.connection("n1").state is MemberState.SILENT
        began_ns = bed.world.now_ns
        assert bed.statuses(IDS) == TRUTH
        assert bed.world.now_ns - began_ns < LATE_NS / 10


def test_a_member_that_goes_on_is_asked_again() -> None:
    with bed_with_users() as bed:
        process = bed.members["n1"].process
        process.pause()
        bed.statuses(IDS)
        process.resume()
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.UP, 1)
        bed.forget_requests()
        assert bed.statuses(IDS) == TRUTH
        assert bed.members["n1"].asked("status")


def test_an_answer_that_comes_late_does_no_harm() -> None:
    with bed_with_users() as bed:
        bed.members["n1"].script["status"] = lambda _: SILENCE
        assert bed.statuses(IDS) == TRUTH
        bed.members["n1"].script.clear()
        bed.members["n1"].answer_held()
        bed.world.run_until(lambda: bed.connection("n1").state is MemberState.UP, 1)
        assert bed.statuses(IDS) == TRUTH


def test_what_a_member_does_not_know_the_next_owner_is_asked() -> None:
    with bed_with_users() as bed:
        bed.members["n1"].script["status"] = lambda request: [None] * len(request.ids)
        assert bed.statuses(IDS) == TRUTH
        bed.members["n2"].script["status"] = lambda request: [None] * len(request.ids)
        expected = [None if set(bed.owners(one)) == {"n1", "n2"} else one in ONLINE for one in IDS]
        assert bed.statuses(IDS) == expected


def test_a_member_that_knows_some_is_believed_for_those() -> None:
    with Bed() as bed:
        known, other = bed.users_of("n1", "n2", count=2)
        bed.members["n1"].script["status"] = lambda request: [True if one == known else None for one in request.ids]
        bed.members["n2"].script["status"] = lambda request: [False for _ in request.ids]
        assert bed.statuses([known, other]) == [True, False]
        assert bed.members["n2"].ids_asked("status") == [other]


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: [True] * (len(request.ids) + 1),
        lambda request: [True] * (len(request.ids) - 1),
        lambda request: ["yes"] * len(request.ids),
        lambda request: [[]] * len(request.ids),
        lambda _: [],
        lambda _: None,
        lambda _: "pong",
        lambda _: 7,
        lambda _: {},
    ],
)
@pytest.mark.parametrize("method", ["status", "last_seen"])
def test_an_answer_that_makes_no_sense_is_none(method: str, answer: Any) -> None:
    with Bed() as bed:
        first, second = bed.users_of("n1", "n2", count=2)
        bed.members["n2"].online.add(second)
        bed.members["n1"].script[method] = answer
        expected = [0, 1, 0] if method == "status" else [-1, SEEN_MS, -1]
        assert list(bed.ask(method, [first, second, first])) == expected
        assert bed.connection("n1").failures == 1
        bed.members["n2"].process.kill()
        expected = [2, 2, 2] if method == "status" else [-1, -1, -1]
        assert list(bed.ask(method, [first, second, first])) == expected


@pytest.mark.parametrize("error", [Unavailable("it stops"), Moved("it has no say")])
def test_a_member_that_cannot_serve_is_passed_over(error: Any) -> None:
    def refuse(_: Request) -> Any:
        raise error

    with bed_with_users() as bed:
        bed.members["n1"].script["status"] = refuse
        assert bed.statuses(IDS) == TRUTH


def test_what_is_wrong_with_a_request_is_told() -> None:
    def refuse(_: Request) -> Any:
        raise BadRequest("that is no id")

    with bed_with_users() as bed:
        bed.members["n1"].script["status"] = refuse
        with pytest.raises(BadRequest, match="that is no id"):
            bed.statuses(IDS)
        with pytest.raises(UnknownMethod):
            bed.ask("ages", IDS)


def test_users_that_have_moved_are_found_by_the_newer_topology() -> None:
    with bed_with_users(replicas=1) as bed:
        newer = topology_of(["n1", "n2", "n3", "n4"], replicas=1, epoch=2)
        bed.add("n4", newer)
        _move(bed, newer)
        assert bed.statuses(IDS) == TRUTH
        assert bed.fanout.view.topology == newer
        assert bed.members["n4"].asked("status")
        bed.world.run_for(2)
        assert bed.statuses(IDS) == TRUTH


def test_a_member_that_leaves_hands_its_questions_to_the_others() -> None:
    with bed_with_users() as bed:
        bed.members["n1"].script["status"] = lambda _: SILENCE
        reading = bed.begin("status", IDS)
        bed.world.run_for(0.1)
        newer = topology_of(["n2", "n3"], replicas=2, epoch=2)
        for member in bed.members.values():
            member.online.update(ONLINE)
        bed.run_now(lambda: bed.fanout.view.update(newer))
        bed.world.run_until(reading.done, 0.2)
        assert list(reading.result()) == TRUTH


def test_an_answer_of_moved_without_a_newer_topology_is_none() -> None:
    def refuse(_: Request) -> Any:
        raise Moved("epoch 0")

    with bed_with_users(replicas=1) as bed:
        bed.members["n1"].script["status"] = refuse
        expected = [None if bed.owners(user_id) == ["n1"] else user_id in ONLINE for user_id in IDS]
        assert bed.statuses(IDS) == expected


def test_a_member_that_moves_its_users_and_falls_silent_holds_nothing_up() -> None:
    def refuse(_: Request) -> Any:
        raise Moved("epoch 2")

    with bed_with_users() as bed:
        bed.members["n1"].script |= {"status": refuse, "topology": lambda _: SILENCE}
        assert bed.statuses(IDS) == TRUTH


def test_the_epoch_goes_only_to_members_that_are_not_known_to_go_by_it() -> None:
    with Bed() as bed:
        user_id = bed.users_of("n1", "n2", count=1)[0]
        bed.statuses([user_id])
        assert bed.members["n1"].asked("status")[-1].options.epoch is None
        newer = topology_of(epoch=5)
        bed.run_now(lambda: bed.fanout.view.update(newer))
        bed.statuses([user_id])
        assert bed.members["n1"].asked("status")[-1].options.epoch == 5
        for member in bed.members.values():
            member.topology, member.epoch = newer, 5
        bed.world.run_for(1.5)
        bed.statuses([user_id])
        assert bed.members["n1"].asked("status")[-1].options.epoch is None


def test_an_observer_that_was_paused_itself_blames_nobody() -> None:
    with bed_with_users() as bed:
        reading = bed.begin("status", IDS)
        bed.world.run_until(lambda: any(member.asked("status") for member in bed.members.values()), 1)
        bed.observer.pause()
        bed.world.run_for(30)
        bed.observer.resume()
        bed.world.run_until(reading.done, 1)
        assert list(reading.result()) == TRUTH
        assert [one.failures for one in bed.fanout.view.members] == [0, 0, 0]


def _move(bed: Bed, newer: Any) -> None:
    """Let the members go by another topology: they hand over their users, and answer `moved` for those they do not keep."""
    for name, member in bed.members.items():
        member.topology = newer
        member.online = {user_id for user_id in ONLINE if name in bed.owners(user_id, newer)}
        member.script["status"] = _keeper(bed, member, newer)


def _keeper(bed: Bed, member: ScriptedMember, newer: Any) -> Any:
    def status(request: Request) -> Any:
        if any(member.name not in bed.owners(user_id, newer) for user_id in request.ids):
            raise Moved(f"epoch {newer.epoch}")
        return member.usual(request)

    return status


def test_a_topology_of_another_cluster_is_not_gone_by() -> None:
    with bed_with_users() as bed:
        before = bed.fanout.view.topology
        for member in bed.members.values():
            member.epoch = 9
            member.script["topology"] = lambda _: {**before.to_wire(), "epoch": 9, "seed": 8}
            member.synced = SlotSet([1, 2, 3])
        bed.world.run_for(10)
        assert bed.fanout.view.topology == before
        assert bed.statuses(IDS) == TRUTH

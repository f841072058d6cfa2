"""Requests of one turn go to members together: fewer frames, and the same answers as if each had gone alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from presencedb.errors import Busy, Denied, Unavailable
from presencedb.ids import IdBatch
from presencedb.limits import GATHERED_IDS_MAX
from presencedb.protocol.messages import Request
from presencedb.protocol.params import Options
from tests.client.cluster.bed import SILENCE, Bed


def results(bed: Bed, answers: list[asyncio.Future[Any]]) -> list[Any]:
    """What came of each: a result, or an exception."""
    bed.world.run_until(lambda: all(answer.done() for answer in answers), 30)
    return [answer.exception() or answer.result() for answer in answers]


def test_questions_of_one_turn_are_one_frame_a_member() -> None:
    with Bed() as bed:
        bed.set_online(range(0, 90, 3))
        answers = bed.begin_all(*(("status", [number, number + 1, 1_000], number) for number in range(90)))
        for number, answer in enumerate(results(bed, answers)):
            assert list(answer) == [number % 3 == 0, (number + 1) % 3 == 0 and number + 1 < 90, 0]
        assert [len(member.asked("status")) for member in bed.members.values()] == [1, 1, 1]


@pytest.mark.parametrize("replicas", [1, 2])
def test_heartbeats_of_one_turn_are_one_frame_an_owner_and_each_has_its_count(replicas: int) -> None:
    with Bed(replicas=replicas) as bed:
        batches = [[1, 2, 3], [], [3, 4], [5], [5, 5, 6], list(range(100, 200)), [1]]
        answers = bed.begin_all(*(("heartbeat", ids, None) for ids in batches))
        assert results(bed, answers) == [3, 0, 1, 1, 1, 100, 0]
        for member in bed.members.values():
            assert len(member.asked("heartbeat")) == 1
            assert {one for one in (1, 2, 3, 4, 5, 6) if member.name in bed.owners(one)} <= member.online


def test_who_asks_after_it_has_beaten_is_told_the_truth() -> None:
    with Bed() as bed:
        answers = bed.begin_all(
            ("status", [1], "one"),
            ("heartbeat", [1], "one"),
            ("status", [1], "one"),
            ("offline", [1], "one"),
            ("status", [1], "one"),
            ("heartbeat", [1], "one"),
            ("last_seen", [1], "one"),
            ("status", [1], "one"),
        )
        before, came, online, left, gone, again, seen, online_again = results(bed, answers)
        assert (list(before), came, list(online), left, list(gone), again) == ([0], 1, [1], 1, [0], 1)
        assert seen[0] > 0
        assert list(online_again) == [1]


def test_questions_and_heartbeats_of_different_origins_need_not_split_each_other() -> None:
    with Bed() as bed:
        requests = [("heartbeat" if number % 2 else "status", [number], number) for number in range(100)]
        results(bed, bed.begin_all(*requests))
        assert all(len(member.asked("heartbeat")) <= 1 for member in bed.members.values())
        assert all(len(member.asked("status")) <= 1 for member in bed.members.values())


def test_what_goes_together_is_bounded_and_a_large_batch_goes_alone() -> None:
    with Bed(names=["n1"], replicas=1) as bed:
        size = GATHERED_IDS_MAX // 2
        answers = bed.begin_all(*(("status", range(size), number) for number in range(5)))
        assert {len(answer) for answer in results(bed, answers)} == {size}
        assert [len(request.ids) for request in bed.members["n1"].asked("status")] == [2 * size, 2 * size, size]
        answers = bed.begin_all(("heartbeat", range(5), 1), ("heartbeat", range(50_000), 2), ("status", range(60_000), 2))
        came, many, statuses = results(bed, answers)
        assert (came, many, statuses.count(1)) == (5, 49_995, 50_000)


def test_who_has_stopped_waiting_does_not_spoil_it_for_the_others() -> None:
    with Bed() as bed:
        answers = bed.begin_all(*((method, [7], None) for method in ("heartbeat", "heartbeat", "status", "status")))
        bed.run_now(answers[0].cancel)
        bed.run_now(answers[2].cancel)
        bed.world.run_until(answers[3].done, 1)
        assert answers[1].result() == 0
        assert list(answers[3].result()) == [1]


def test_a_member_that_is_down_fails_the_heartbeats_of_its_own_users_only() -> None:
    with Bed(replicas=1) as bed:
        bed.members["n1"].process.kill()
        bed.world.run_for(0.1)
        of_n1, of_n2 = bed.users_of("n1", count=1), bed.users_of("n2", count=2)
        answers = bed.begin_all(("heartbeat", of_n2, 1), ("heartbeat", of_n1, 2), ("heartbeat", [*of_n2, *of_n1], 3))
        fine, lost, both = results(bed, answers)
        assert fine == 2
        assert isinstance(lost, Unavailable)
        assert isinstance(both, Unavailable)


def test_a_member_that_is_full_is_told_of_to_those_it_concerns() -> None:
    def refuse(_: Request) -> Any:
        raise Busy("no memory left")

    with Bed(replicas=1) as bed:
        bed.members["n1"].script["heartbeat"] = refuse
        answers = bed.begin_all(("heartbeat", bed.users_of("n2"), 1), ("heartbeat", bed.users_of("n1"), 2))
        fine, full = results(bed, answers)
        assert fine == 5
        assert isinstance(full, Busy)


def test_what_is_refused_is_told_to_all_who_asked_in_an_error_of_their_own() -> None:
    def refuse(_: Request) -> Any:
        raise Denied("no")

    with Bed(names=["n1"], replicas=1) as bed:
        bed.members["n1"].script["status"] = refuse
        first, second = results(bed, bed.begin_all(("status", [1], 1), ("status", [2], 2)))
        assert isinstance(first, Denied)
        assert isinstance(second, Denied)
        assert first is not second


def test_heartbeats_sent_again_say_their_age_and_the_count_is_that_of_the_owner_that_took_them() -> None:
    with Bed() as bed:
        bed.members["n1"].process.pause()
        user_ids = bed.users_of("n1", "n2")
        answers = bed.begin_all(("heartbeat", user_ids, 1), ("heartbeat", user_ids[:1], 2))
        assert results(bed, answers) == [5, 0]
        again = bed.members["n2"].asked("heartbeat")[-1]
        assert again.options.missed == ("n1",)
        assert again.options.age_ms >= 500
        assert not again.options.each


@pytest.mark.parametrize("answer", [None, 6, -1, b"", b"\1\1\1\1\1\1", b"\1\1\1\1\2", "\1" * 5, [1] * 5])
def test_an_owner_whose_marks_make_no_sense_has_not_taken_them(answer: Any) -> None:
    with Bed() as bed:
        user_ids = bed.users_of("n1", "n2")
        bed.members["n1"].script["heartbeat"] = lambda _: answer
        bed.members["n2"].script["heartbeat"] = lambda request: SILENCE if not request.options.missed else len(request.ids)
        bed.begin_all(("heartbeat", user_ids, 1))
        bed.world.run_for(0.1)
        assert [request.options.missed for request in bed.members["n2"].asked("heartbeat")] == [(), ("n1",)]


def test_a_number_where_marks_were_asked_for_is_told_of_the_first() -> None:
    with Bed(names=["n1"], replicas=1) as bed:
        bed.members["n1"].script["heartbeat"] = lambda _: 3
        assert results(bed, bed.begin_all(("heartbeat", [1, 2], 1), ("heartbeat", [3, 4], 2))) == [2, 1]


def test_marks_come_as_they_are_to_who_asks_for_them() -> None:
    with Bed() as bed:
        bed.set_online([2])

        async def beat() -> bytes:
            answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            bed.fanout.beat(IdBatch([1, 2, 3, 1]), answer, None)
            return await answer

        assert bed.world.result_of(bed.observer, beat()) == b"\1\0\1\0"


def test_heartbeats_of_an_earlier_moment_go_alone() -> None:
    with Bed(names=["n1"], replicas=1) as bed:
        assert bed.ask("heartbeat", [1, 2], age_ms=5) == 2
        (request,) = bed.members["n1"].asked("heartbeat")
        assert request.options == Options(age_ms=5, epoch=request.options.epoch)

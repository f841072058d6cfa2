"""What a member passes on: writes of users whom it does not own, and writes that an owner did not get from the writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from presencedb.errors import Unavailable
from presencedb.limits import MEMBER_LATE_MS
from presencedb.placement import NO_SLOTS
from tests.node.cluster.asking import members

SOON_S = MEMBER_LATE_MS / 1_000 + 0.1


# --- users of others -------------------------------------------------------------------------------------------------


def test_a_write_goes_on_to_every_owner_and_is_counted_once(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2") + play.users_of("n2", "n1")
        assert play.ask("n3", "heartbeat", users) == 10
        for owner in ("n1", "n2"):
            assert all(play.knows(owner, users))
            assert play.status(owner, users) == [True] * 10
        assert not any(play.knows("n3", users))
        assert play.ask("n3", "heartbeat", users) == 0
        assert play.ask("n3", "offline", users) == 10
        for owner in ("n1", "n2"):
            assert play.status(owner, users) == [False] * 10
        assert play.info("n3")["forwarded_writes"] == 3 * 20
        assert play.info("n1")["forwarded_writes"] == 0


def test_a_write_of_own_and_other_users_is_one(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        own, others = play.users_of("n3", "n1") + play.users_of("n2", "n3"), play.users_of("n1", "n2")
        mixed = [user for pair in zip(own, others, strict=False) for user in pair] + own[5:]
        assert play.ask("n3", "heartbeat", mixed) == 15
        assert play.knows("n3", own + others) == [True] * 10 + [False] * 5
        assert play.knows("n1", others) == play.knows("n2", others) == [True] * 5
        # The owners beside this one get it from the writer, not from here.
        assert not any(play.knows("n1", own))
        assert play.ask("n3", "heartbeat", mixed[::-1] * 2) == 0


def test_each_of_many_frames_gets_its_own_count(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        own, others = play.users_of("n3", "n1"), play.users_of("n1", "n2")
        frames = [own[:1], others[:2], [], others[:3] + own[:3], others + own, own]
        answers = play.ask_all("n3", [("heartbeat", ids) for ids in frames])
        assert [answer() for answer in answers] == [1, 2, 0, 3, 4, 0]


def test_answers_keep_the_order_of_the_requests(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        calls = [("heartbeat", users), ("ping",), ("count",), ("heartbeat", users)]
        assert [answer() for answer in play.ask_all("n3", calls)] == [5, "pong", 0, 0]


def test_a_notification_goes_on_too(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        play.notify("n3", "heartbeat", users)
        play.world.run_for(0.1)
        assert all(play.knows("n1", users))
        assert all(play.knows("n2", users))


def test_age_and_grace_go_on_too(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        assert play.ask("n3", "heartbeat", users, {"age_ms": 20_000}) == 5
        ages, _ = play.ask("n1", "ages", users)
        assert all(20_000 <= age_ms < 20_200 for age_ms in ages)
        assert play.ask("n3", "offline", users, {"grace_ms": 1_000}) == 0
        assert play.status("n2", users) == [True] * 5
        play.world.run_for(1.3)
        assert play.status("n2", users) == [False] * 5


def test_an_owner_that_is_gone_is_owed_by_the_other(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        play.cluster.kill("n1")
        play.world.run_for(0.1)
        assert play.ask("n3", "heartbeat", users) == 5
        assert all(play.knows("n2", users))
        assert play.owed("n2", "n1") == play.slots_of(users)
        assert play.owed("n3", "n1") == NO_SLOTS


def test_an_owner_that_falls_silent_on_the_way_is_owed_by_the_other(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        play.cluster.running["n1"].pause()
        began_ns = play.world.now_ns
        # The other owner knew of it by then, so the count is lost with the first one; the write is not.
        assert play.ask("n3", "heartbeat", users) == 0
        assert play.world.now_ns - began_ns < 2 * SOON_S * 1e9
        assert all(play.knows("n2", users))
        assert play.owed("n2", "n1") == play.slots_of(users)
        began_ns = play.world.now_ns
        assert play.ask("n3", "offline", users) == 5
        assert play.world.now_ns - began_ns < 0.1 * 1e9


def test_a_write_that_no_owner_can_take_fails(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        for name in ("n1", "n2"):
            play.cluster.kill(name)
        play.world.run_for(0.1)
        with pytest.raises(Unavailable, match="no member that keeps some of these users can be reached"):
            play.ask("n3", "heartbeat", users)
        own = play.users_of("n3", "n1")
        assert play.ask("n3", "heartbeat", own) == 5
        first, second = play.ask_all("n3", [("heartbeat", own), ("heartbeat", own + users)])
        assert first() == 0
        with pytest.raises(Unavailable):
            second()


def test_a_write_fails_when_its_last_owner_falls_silent(tmp_path: Path) -> None:
    with members(tmp_path, replicas=1) as play:
        users = play.users_of("n1")
        play.cluster.running["n1"].pause()
        with pytest.raises(Unavailable, match="no member that keeps some of these users can be reached any more"):
            play.ask("n3", "heartbeat", users)


# --- owners that were missed -----------------------------------------------------------------------------------------


def test_an_owner_that_was_missed_has_it_before_the_writer_is_answered(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2") + play.users_of("n2", "n1")
        assert play.ask("n1", "heartbeat", users, {"missed": ["n2"]}) == 10
        assert all(play.knows("n2", users))
        assert play.owed("n1", "n2") == NO_SLOTS
        assert play.ask("n1", "offline", users, {"missed": ["n2"]}) == 10
        assert play.status("n2", users) == [False] * 10


def test_an_owner_that_was_missed_gets_only_what_it_owns(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        shared, others = play.users_of("n1", "n2"), play.users_of("n1", "n3")
        assert play.ask("n1", "heartbeat", shared + others, {"missed": ["n2"]}) == 10
        assert play.knows("n2", shared + others) == [True] * 5 + [False] * 5
        play.cluster.kill("n2")
        play.world.run_for(0.1)
        assert play.ask("n1", "heartbeat", shared + others, {"missed": ["n2"]}) == 0
        assert play.owed("n1", "n2") == play.slots_of(shared)


def test_several_that_were_missed(tmp_path: Path) -> None:
    with members(tmp_path, nodes=4, replicas=3) as play:
        users = play.users_of("n1", "n2", "n3") + play.users_of("n3", "n1", "n2")
        play.cluster.kill("n3")
        play.world.run_for(0.1)
        assert play.ask("n1", "heartbeat", users, {"missed": ["n2", "n3"]}) == len(users) > 0
        assert all(play.knows("n2", users))
        assert play.owed("n1", "n3") == play.slots_of(users)
        assert play.owed("n1", "n2") == NO_SLOTS


def test_an_owner_that_was_missed_and_is_silent_is_owed_within_the_time_of_an_answer(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        play.cluster.running["n2"].pause()
        began_ns = play.world.now_ns
        assert play.ask("n1", "heartbeat", users, {"missed": ["n2"]}) == 5
        assert play.world.now_ns - began_ns < SOON_S * 1e9
        assert play.owed("n1", "n2") == play.slots_of(users)


def test_what_is_owed_is_pulled_and_then_forgotten(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        play.cluster.link("n1", "n2").is_cut = True
        play.world.run_for(1)
        assert play.ask("n1", "heartbeat", users, {"missed": ["n2"]}) == 5
        assert not any(play.knows("n2", users))
        play.cluster.link("n1", "n2").is_cut = False
        play.world.run_until(lambda: all(play.knows("n2", users)), 5)
        play.world.run_until(lambda: play.owed("n1", "n2") == NO_SLOTS, 2)


@pytest.mark.parametrize("missed", [[], ["n1"], ["n3"], ["nobody"], ["n1", "nobody", "n3"]])
def test_names_of_those_who_own_none_of_the_users(tmp_path: Path, missed: list[str]) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        assert play.ask("n1", "heartbeat", users, {"missed": missed}) == 5
        assert play.info("n1")["forwarded_writes"] == 0
        for name in ("n1", "n2", "n3", "nobody"):
            assert play.owed("n1", name) == NO_SLOTS


def test_who_goes_by_a_newer_epoch_may_name_owners_that_are_not_known_here(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        assert play.ask("n1", "heartbeat", users, {"missed": ["n3"], "epoch": 7}) == 5
        assert play.owed("n1", "n3") == play.slots_of(users)


# --- what was forwarded ----------------------------------------------------------------------------------------------


def test_what_was_forwarded_is_applied_and_goes_no_further(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        assert play.ask("n3", "heartbeat", users, {"forwarded": True}) == 5
        assert all(play.knows("n3", users))
        assert not any(play.knows("n1", users) + play.knows("n2", users))
        assert play.ask("n1", "heartbeat", users, {"forwarded": True, "missed": ["n2", "n3"]}) == 5
        assert not any(play.knows("n2", users))
        assert play.owed("n1", "n2") == play.slots_of(users)
        assert play.owed("n1", "n3") == NO_SLOTS
        assert play.info("n1")["forwarded_writes"] == play.info("n3")["forwarded_writes"] == 0


def test_nobody_has_lost_track_when_a_writer_goes_away(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        play.cluster.running["n1"].pause()
        play.notify("n3", "heartbeat", users)
        link = play.connect("n3")

        async def write_and_leave() -> None:
            link.send("heartbeat", (users,)).cancel()
            link.send("heartbeat", (users, {"missed": ["n1"]})).cancel()

        play.world.result_of(play.caller, write_and_leave())
        play.world.run_for(0.01)
        play.caller.kill()
        play.world.run_for(2)
        assert play.role("n2").owed.answer("n1", NO_SLOTS) == play.slots_of(users)


def test_every_owner_that_cannot_be_reached_is_owed_however_many_they_are(tmp_path: Path) -> None:
    with members(tmp_path, nodes=12) as play:
        gone = [f"n{number}" for number in range(3, 13)]
        users = {name: play.users_of("n1", name, count=3) + play.users_of(name, "n1", count=3) for name in gone}
        assert all(users.values())
        for name in gone:
            play.cluster.kill(name)
        play.world.run_for(0.1)
        everybody = [user for some in users.values() for user in some]
        assert play.ask("n2", "heartbeat", everybody) == len(everybody)
        assert all(play.knows("n1", everybody))
        for name in gone:
            assert play.owed("n1", name) == play.slots_of(users[name])

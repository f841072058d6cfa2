"""The judge itself: what it blames, and what it has to let pass."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from presencedb.client.values import Change
from tests.simulation.cluster import Shape
from tests.simulation.invariants import KNOWN_MS, LATE_MS, NS_PER_MS, SETTLE_MS, SOON_MS, Judge

SHAPE = Shape(ttl_ms=1_000, tick_ms=50, replicas=2)
USER = 7


class Court:
    """A judge, and the time."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.judge = Judge(SHAPE, lambda: self.now_ms * NS_PER_MS)

    def beat(self, begin_ms: int, end_ms: int, *, acknowledged: bool = True) -> None:
        self.now_ms = begin_ms
        began_ns = self.judge.beat_begins(USER)
        self.now_ms = end_ms
        self.judge.beat_ends(USER, began_ns, acknowledged=acknowledged)

    def sign_off(self, begin_ms: int, end_ms: int) -> None:
        self.now_ms = begin_ms
        self.judge.sign_off_begins(USER)
        self.now_ms = end_ms
        self.judge.sign_off_ends(USER, acknowledged=True)

    def blames(self, asked_ms: int, answered_ms: int, online: bool | None) -> bool:
        self.now_ms = answered_ms
        self.judge.answered("somebody", USER, asked_ms * NS_PER_MS, online)
        blamed = bool(self.judge.violations)
        self.judge.violations.clear()
        return blamed

    def blames_event(self, at_ms: int, online: bool | None, reason: str, away_ms: int = 0) -> bool:
        self.now_ms = at_ms
        self.judge.told("n1", Change(USER, online, datetime.now(UTC), reason), away_ms * NS_PER_MS)
        blamed = bool(self.judge.violations)
        self.judge.violations.clear()
        return blamed


@pytest.fixture
def court() -> Court:
    return Court()


def test_nobody_who_beats_is_offline(court: Court) -> None:
    court.beat(1_000, 1_010)
    assert court.blames(1_020, 1_030, False)
    assert court.blames(1_850, 1_870, False)
    assert not court.blames(1_005, 1_030, False)  # it was asked before the heartbeat was acknowledged
    assert not court.blames(1_850, 1_990, False)  # at the end of the question it might have been over
    assert not court.blames(1_020, 1_030, None)
    assert not court.blames(1_020, 1_030, True)


def test_a_chain_of_heartbeats_is_one_safe_time(court: Court) -> None:
    court.beat(1_000, 1_010)
    court.beat(1_500, 1_510)
    assert court.blames(1_050, 2_300, False)


def test_what_was_not_acknowledged_proves_nothing(court: Court) -> None:
    court.beat(1_000, 1_010, acknowledged=False)
    assert not court.blames(1_020, 1_030, False)


def test_a_heartbeat_that_crosses_a_sign_off_proves_nothing(court: Court) -> None:
    court.now_ms = 1_000
    began_ns = court.judge.beat_begins(USER)
    court.sign_off(1_005, 1_010)
    court.now_ms = 1_020
    court.judge.beat_ends(USER, began_ns, acknowledged=True)
    assert not court.blames(1_030, 1_040, False)
    court.beat(1_050, 1_060)
    assert court.blames(1_070, 1_080, False)


def change(court: Court, at_ms: int, *, calm: bool, all_alive: bool = True, holding: bool = False) -> None:
    court.now_ms = at_ms
    court.judge.changed(calm=calm, all_alive=all_alive, holding=holding)


@pytest.mark.parametrize("all_alive", [True, False])
def test_who_is_gone_is_offline_in_time(court: Court, *, all_alive: bool) -> None:
    change(court, 0, calm=True, all_alive=all_alive)
    court.beat(1_000, 1_010)
    latest_ms = 1_010 + SHAPE.ttl_ms + (SOON_MS if all_alive else LATE_MS)
    assert not court.blames(latest_ms, latest_ms + 1, True)
    assert court.blames(latest_ms + 1, latest_ms + 2, True)
    change(court, latest_ms, calm=False)
    assert not court.blames(latest_ms + 1, latest_ms + 2, True)


def test_what_was_late_counts_from_when_it_came(court: Court) -> None:
    court.beat(1_000, 1_010)
    change(court, 1_100, calm=False, holding=True)
    change(court, 9_000, calm=True)
    latest_ms = 9_000 + SHAPE.ttl_ms + SOON_MS
    assert not court.blames(latest_ms, latest_ms + 1, True)
    assert court.blames(latest_ms + 1, latest_ms + 2, True)


def test_a_restart_makes_nobody_younger(court: Court) -> None:
    court.beat(1_000, 1_010)
    change(court, 1_200, calm=True, all_alive=False)
    change(court, 2_000, calm=True)
    latest_ms = 2_000 + SETTLE_MS
    assert not court.blames(latest_ms, latest_ms + 1, True)
    assert court.blames(latest_ms + 1, latest_ms + 2, True)


@pytest.mark.parametrize("strict", [True, False])
def test_a_sign_off_that_may_come_late_proves_nothing_against_heartbeats_after_it(court: Court, *, strict: bool) -> None:
    court.judge.strict = strict
    change(court, 900, calm=False, holding=True)
    court.sign_off(1_000, 1_010)
    court.beat(1_500, 1_510)
    assert court.blames(1_600, 1_610, False) is strict
    change(court, 2_000, calm=True)
    court.beat(2_100, 2_110)
    assert court.blames(2_200, 2_210, False) is strict
    court.beat(2_100 + SETTLE_MS, 2_110 + SETTLE_MS)
    assert court.blames(2_200 + SETTLE_MS, 2_210 + SETTLE_MS, False)


@pytest.mark.parametrize("strict", [True, False])
def test_a_heartbeat_that_may_come_late_proves_nothing_against_a_sign_off_after_it(court: Court, *, strict: bool) -> None:
    court.judge.strict = strict
    change(court, 900, calm=False, holding=True)
    court.beat(1_000, 1_010)
    court.sign_off(1_100, 1_110)
    change(court, 1_200, calm=True)
    asked_ms = 1_201 + LATE_MS
    assert court.blames(asked_ms, asked_ms + 1, True) is (strict or asked_ms > 1_200 + SHAPE.ttl_ms + SOON_MS)
    court.judge.violations.clear()
    court.beat(5_000, 5_010)
    court.sign_off(5_100, 5_110)
    assert court.blames(5_200, 5_201, True)


def test_a_feed_says_in_time_that_somebody_is_gone(court: Court) -> None:
    court.beat(1_000, 1_010)
    court.blames_event(1_050, True, "heartbeat")
    court.now_ms = 1_010 + SHAPE.ttl_ms + SOON_MS
    court.judge.look(["n1"])
    assert not court.judge.violations
    court.now_ms += 100
    court.judge.look(["n2"])
    assert not court.judge.violations
    court.judge.look(["n1"])
    assert court.judge.violations


def test_a_sign_off_in_calm_is_true_at_once(court: Court) -> None:
    court.beat(5_000, 5_010)
    court.sign_off(5_500, 5_510)
    assert not court.blames(5_505, 5_520, True)
    assert court.blames(5_511, 5_520, True)


def test_a_sign_off_during_an_accident_is_true_when_it_is_over(court: Court) -> None:
    change(court, 1_400, calm=False)
    court.sign_off(1_500, 1_510)
    change(court, 2_000, calm=True)
    assert not court.blames(2_100, 2_101, True)
    assert court.blames(2_001 + LATE_MS, 2_002 + LATE_MS, True)


def test_calm_is_known(court: Court) -> None:
    change(court, 5_000, calm=True)
    assert not court.blames(5_000 + KNOWN_MS, 5_001 + KNOWN_MS, None)
    assert court.blames(5_001 + KNOWN_MS, 5_002 + KNOWN_MS, None)
    court.judge.failed("somebody", (5_001 + KNOWN_MS) * NS_PER_MS, TimeoutError())
    assert court.judge.violations


def test_each_change_is_told_once(court: Court) -> None:
    assert not court.blames_event(1_000, True, "heartbeat")
    assert court.blames_event(1_100, True, "heartbeat")
    assert not court.blames_event(1_200, False, "timeout")
    assert not court.blames_event(1_300, False, "known")
    court.judge.forget_feed("n1")
    assert not court.blames_event(1_400, False, "timeout")


def test_nobody_who_beats_is_announced_offline(court: Court) -> None:
    court.beat(1_000, 1_010)
    assert not court.blames_event(1_050, False, "timeout")  # it may have happened before the heartbeat
    assert court.blames_event(1_500, False, "known")
    assert not court.blames_event(1_500, False, "known", away_ms=600)


def test_after_healing_owners_and_feeds_agree_with_the_truth(court: Court) -> None:
    court.judge.holds_at_the_end("n1", USER, True, is_online=True)
    assert not court.judge.violations
    court.judge.holds_at_the_end("n1", USER, None, is_online=False)
    assert court.judge.violations
    court.judge.violations.clear()
    court.blames_event(1_000, True, "heartbeat")
    court.judge.holds_at_the_end("n1", USER, False, is_online=False)
    assert court.judge.violations

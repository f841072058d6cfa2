"""Sign-offs with a grace: they spare the other devices of a user, and take effect only if nothing came after them."""

from __future__ import annotations

import pytest

from presencedb.engine import RETENTION_ONLINE, Copy, Engine, EngineConfig
from tests.engine.implementations import MakeEngine
from tests.engine.tools import (
    OFFLINE,
    ONLINE,
    TTL,
    T,
    advance,
    batch,
    came,
    drained,
    last_seen,
    merge,
    pull,
    signed_off,
    slot_of,
    status,
    timed_out,
)


@pytest.fixture(params=[RETENTION_ONLINE, None, 5 * TTL], ids=["online", "forever", "five ttl"])
def engine(make_engine: MakeEngine, request: pytest.FixtureRequest) -> Engine:
    """An engine in which alice came at T."""
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=request.param), tick=T)
    engine.heartbeat(batch("alice"), T)
    engine.discard_transitions()
    return engine


def pending(engine: Engine) -> int:
    return engine.stats().pending_sign_offs


def test_it_takes_effect_at_the_end_of_the_grace(engine: Engine) -> None:
    assert engine.sign_off(batch("alice"), T + 1, grace_ticks=5) == 0
    assert pending(engine) == 1
    assert advance(engine, T + 5) == []
    assert status(engine, "alice") is ONLINE
    assert advance(engine, T + 6) == [signed_off("alice", T + 6)]
    assert pending(engine) == 0
    assert status(engine, "alice") is OFFLINE
    assert advance(engine, T + 5 * TTL) == []


def test_the_transition_has_the_end_of_the_grace_however_late_it_is_applied(engine: Engine) -> None:
    engine.sign_off(batch("alice"), T + 1, grace_ticks=5)
    assert advance(engine, T + 100 * TTL) == [signed_off("alice", T + 6)]


def test_the_register_has_the_request(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=None), tick=T)
    engine.heartbeat(batch("alice"), T)
    engine.sign_off(batch("alice"), T + 2, grace_ticks=5)
    assert last_seen(engine, "alice") == T
    assert pull(engine, [slot_of(engine, "alice")], T + 3) == [Copy("alice", 3, False)]
    advance(engine, T + 7)
    assert last_seen(engine, "alice") == T + 2
    assert pull(engine, [slot_of(engine, "alice")], T + 7) == [Copy("alice", 5, True)]
    assert engine.heartbeat(batch("alice"), T + 7, age_ticks=5) == 0
    assert engine.heartbeat(batch("alice"), T + 7, age_ticks=4) == 1
    assert drained(engine)[-1] == came("alice", T + 7)


@pytest.mark.parametrize("tick", [T + 1, T + 2, T + 6])
def test_a_heartbeat_after_it_drops_it(engine: Engine, tick: int) -> None:
    engine.sign_off(batch("alice"), T + 1, grace_ticks=5)
    assert engine.heartbeat(batch("alice"), tick) == 0
    assert pending(engine) == 0
    assert advance(engine, tick + TTL) == []
    assert advance(engine, tick + TTL + 1) == [timed_out("alice", tick + TTL + 1)]


def test_a_late_heartbeat_drops_it_only_if_it_is_later_than_the_request(engine: Engine) -> None:
    engine.sign_off(batch("alice"), T + 4, grace_ticks=5)
    engine.heartbeat(batch("alice"), T + 6, age_ticks=3)
    engine.heartbeat(batch("alice"), T + 6, age_ticks=2)
    assert last_seen(engine, "alice") == T + 4
    assert pending(engine) == 1
    engine.heartbeat(batch("alice"), T + 6, age_ticks=1)
    assert pending(engine) == 0
    assert advance(engine, T + 5 + TTL) == []
    assert status(engine, "alice") is ONLINE


def test_late_heartbeats_before_the_request_do_not_keep_it_from_its_effect(engine: Engine) -> None:
    engine.sign_off(batch("alice"), T + 4, grace_ticks=5)
    engine.heartbeat(batch("alice"), T + 6, age_ticks=2)
    assert advance(engine, T + 9) == [signed_off("alice", T + 9)]


def test_a_request_older_than_the_last_heartbeat_says_nothing(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T + 3)
    assert engine.sign_off(batch("alice"), T + 4, age_ticks=2, grace_ticks=3) == 0
    assert pending(engine) == 0


def test_a_late_request_ends_a_grace_after_it_arrived(engine: Engine) -> None:
    engine.sign_off(batch("alice"), T + 4, age_ticks=2, grace_ticks=3)
    assert advance(engine, T + 6) == []
    assert advance(engine, T + 7) == [signed_off("alice", T + 7)]


@pytest.mark.parametrize(("grace", "by_timeout"), [(TTL - 1, False), (TTL, True), (TTL + 1, True), (100 * TTL, True)])
def test_a_timeout_that_is_not_later_than_the_end_does_the_work(engine: Engine, grace: int, by_timeout: bool) -> None:
    engine.sign_off(batch("alice"), T + 1, grace_ticks=grace)
    wanted = timed_out("alice", T + TTL + 1) if by_timeout else signed_off("alice", T + TTL)
    assert advance(engine, T + 1000 * TTL) == [wanted]
    assert pending(engine) == 0


def test_a_timeout_drops_a_request_that_waits_for_longer(engine: Engine) -> None:
    engine.sign_off(batch("alice"), T + 1, grace_ticks=100 * TTL)
    assert advance(engine, T + TTL + 1) == [timed_out("alice", T + TTL + 1)]
    assert pending(engine) == 0
    engine.heartbeat(batch("alice"), T + 100 * TTL)
    assert advance(engine, T + 101 * TTL) == [came("alice", T + 100 * TTL)]


class TestAgain:
    """A request while one waits: the earlier end, and the later tick of request."""

    def test_a_later_end_does_not_postpone(self, engine: Engine) -> None:
        engine.sign_off(batch("alice"), T + 1, grace_ticks=4)
        engine.sign_off(batch("alice"), T + 3, grace_ticks=6)
        assert pending(engine) == 1
        assert advance(engine, T + 5) == [signed_off("alice", T + 5)]

    def test_an_earlier_end_counts(self, engine: Engine) -> None:
        engine.sign_off(batch("alice"), T + 1, grace_ticks=8)
        engine.sign_off(batch("alice"), T + 2, grace_ticks=1)
        assert advance(engine, T + 3) == [signed_off("alice", T + 3)]
        assert advance(engine, T + 9) == []

    def test_the_later_request_withstands_a_late_heartbeat_between_them(self, engine: Engine) -> None:
        engine.sign_off(batch("alice"), T + 1, grace_ticks=6)
        engine.sign_off(batch("alice"), T + 4, grace_ticks=6)
        engine.heartbeat(batch("alice"), T + 5, age_ticks=2)
        assert pending(engine) == 1
        assert advance(engine, T + 7) == [signed_off("alice", T + 7)]

    def test_in_one_batch(self, engine: Engine) -> None:
        engine.sign_off(batch("alice", "alice"), T + 1, grace_ticks=2)
        assert pending(engine) == 1
        assert advance(engine, T + 3) == [signed_off("alice", T + 3)]

    def test_after_it_was_dropped_it_is_a_new_one(self, engine: Engine) -> None:
        engine.sign_off(batch("alice"), T + 1, grace_ticks=4)
        engine.heartbeat(batch("alice"), T + 2)
        engine.sign_off(batch("alice"), T + 3, grace_ticks=6)
        assert advance(engine, T + 8) == []
        assert advance(engine, T + 9) == [signed_off("alice", T + 9)]


class TestWithoutGrace:
    def test_a_sign_off_drops_one_that_waits(self, engine: Engine) -> None:
        engine.sign_off(batch("alice"), T + 1, grace_ticks=5)
        assert engine.sign_off(batch("alice"), T + 2) == 1
        assert pending(engine) == 0
        engine.heartbeat(batch("alice"), T + 3)
        assert advance(engine, T + 3 + TTL) == [signed_off("alice", T + 2), came("alice", T + 3)]

    def test_one_older_than_the_last_heartbeat_does_not(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T + 2)
        engine.sign_off(batch("alice"), T + 3, grace_ticks=4)
        assert engine.sign_off(batch("alice"), T + 4, age_ticks=3) == 0
        assert pending(engine) == 1


def test_of_somebody_unknown_nothing_waits(engine: Engine) -> None:
    assert engine.sign_off(batch("bob"), T + 1, grace_ticks=5) == 0
    assert pending(engine) == 0


def test_in_an_unsynced_slot_it_waits_for_somebody_unknown_too(engine: Engine) -> None:
    engine.set_synced(range(16384), False)
    engine.sign_off(batch("bob", "carol"), T + 1, grace_ticks=5)
    assert pending(engine) == 2
    # A copy older than the request brings the user online meanwhile, as it is for the other owners.
    merge(engine, [Copy("bob", 1, False)], T + 2)
    assert status(engine, "bob") is ONLINE
    assert advance(engine, T + 6) == []
    assert status(engine, "bob") is not ONLINE
    assert pull(engine, [slot_of(engine, "carol")], T + 6) == [Copy("carol", 5, True)]


def test_a_slot_that_was_synced_meanwhile_keeps_nothing_of_somebody_unknown(engine: Engine) -> None:
    engine.set_synced(range(16384), False)
    engine.sign_off(batch("bob"), T + 1, grace_ticks=5)
    engine.set_synced(range(16384), True)
    assert advance(engine, T + 6) == []
    assert pending(engine) == 0
    assert pull(engine, [slot_of(engine, "bob")], T + 6) == []


def test_a_copy_of_a_later_heartbeat_drops_it(engine: Engine) -> None:
    engine.sign_off(batch("alice"), T + 2, grace_ticks=5)
    merge(engine, [Copy("alice", 1, False)], T + 3)
    assert pending(engine) == 1
    merge(engine, [Copy("alice", 0, False)], T + 3)
    assert pending(engine) == 0


def test_it_ends_while_timeouts_are_held(engine: Engine) -> None:
    engine.hold_timeouts(T + 100)
    engine.sign_off(batch("alice"), T + 1, grace_ticks=50)
    assert advance(engine, T + 51) == [signed_off("alice", T + 51)]


def test_a_grace_that_ends_with_the_hold_is_left_to_the_timeout(engine: Engine) -> None:
    engine.hold_timeouts(T + 51)
    engine.sign_off(batch("alice"), T + 1, grace_ticks=50)
    assert advance(engine, T + 51) == [timed_out("alice", T + 51)]


def test_requests_of_the_same_tick_as_a_heartbeat_stamped_ahead(engine: Engine) -> None:
    engine.sign_off(batch("alice"), T)
    engine.heartbeat(batch("alice"), T)
    engine.sign_off(batch("alice"), T, grace_ticks=3)
    assert pending(engine) == 1
    assert advance(engine, T + 3)[-1] == signed_off("alice", T + 3)


def test_graces_count_towards_the_bound_of_an_advance(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    ids = batch(*range(300))
    engine.heartbeat(ids, T)
    engine.sign_off(ids, T, grace_ticks=1)
    assert not engine.advance(T + 1, expiry_count_max=1)
    assert 0 < engine.count() < 300
    while not engine.advance(T + 1, expiry_count_max=7):
        pass
    assert engine.count() == 0
    assert sorted(t.tick for t in drained(engine)) == [T] * 300 + [T + 1] * 300

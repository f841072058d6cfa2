"""Heartbeats: who comes online by one, from when to when, and what news that come late can do."""

from __future__ import annotations

import pytest

from presencedb.engine import RETENTION_ONLINE, Engine, EngineConfig, TickWentBack
from presencedb.ids import Id
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL
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
    signed_off,
    status,
    timed_out,
)


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine(EngineConfig(ttl_ticks=TTL), tick=T)


def test_a_user_that_never_came_is_offline(engine: Engine) -> None:
    assert status(engine, "alice") is OFFLINE
    assert engine.count() == 0
    assert advance(engine, T + 1000) == []


@pytest.mark.parametrize("user_id", POOL)
def test_a_heartbeat_brings_online_until_the_ttl_is_over(engine: Engine, user_id: Id) -> None:
    assert engine.heartbeat(batch(user_id), T) == 1
    assert status(engine, user_id) is ONLINE
    assert advance(engine, T + TTL) == [came(user_id, T)]
    assert status(engine, user_id) is ONLINE
    assert advance(engine, T + TTL + 1) == [timed_out(user_id, T + TTL + 1)]
    assert status(engine, user_id) is OFFLINE
    assert advance(engine, T + 5 * TTL) == []


def test_a_heartbeat_of_somebody_online_prolongs_and_says_nothing(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    assert engine.heartbeat(batch("alice"), T + TTL) == 0
    assert advance(engine, T + 2 * TTL) == [came("alice", T)]
    assert advance(engine, T + 2 * TTL + 1) == [timed_out("alice", T + 2 * TTL + 1)]


def test_a_heartbeat_before_the_timeout_is_emitted_prolongs_however_late(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    assert engine.heartbeat(batch("alice"), T + 100 * TTL) == 0
    assert advance(engine, T + 100 * TTL) == [came("alice", T)]
    assert status(engine, "alice") is ONLINE


def test_after_a_timeout_a_heartbeat_brings_online_again(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    advance(engine, T + TTL + 1)
    assert engine.heartbeat(batch("alice"), T + TTL + 1) == 1
    assert drained(engine) == [came("alice", T + TTL + 1)]


def test_a_batch_counts_who_came_online_and_applies_a_repeated_id_each_time(engine: Engine) -> None:
    engine.heartbeat(batch(1), T)
    assert engine.heartbeat(batch(1, 2, "two", 2, 3), T) == 3
    assert engine.status(batch(2, 1, 2, 4)) == bytes([ONLINE, ONLINE, ONLINE, OFFLINE])
    assert drained(engine) == [came(1, T), came(2, T), came("two", T), came(3, T)]


def test_an_empty_batch_is_fine(engine: Engine) -> None:
    assert engine.heartbeat(batch(), T) == 0
    assert engine.sign_off(batch(), T) == 0
    assert engine.status(batch()) == b""
    assert len(engine.last_seen(batch())) == 0
    assert merge(engine, [], T) == 0


def test_decimal_text_and_integer_are_one_user_and_near_decimals_are_not(engine: Engine) -> None:
    engine.heartbeat(batch("42"), T)
    assert engine.status(batch(42, "42", "042", "+42", " 42")) == bytes([ONLINE, ONLINE, OFFLINE, OFFLINE, OFFLINE])


def test_transitions_are_drained_once(engine: Engine) -> None:
    engine.heartbeat(batch("alice", "bob"), T)
    assert engine.discard_transitions() == 2
    assert engine.discard_transitions() == 0
    assert drained(engine) == []


class TestLateHeartbeats:
    """A heartbeat with an age is a write at its own time."""

    def test_it_counts_from_when_it_was_sent(self, engine: Engine) -> None:
        assert engine.heartbeat(batch("alice"), T + 4, age_ticks=3) == 1
        assert last_seen(engine, "alice") == T + 1
        assert advance(engine, T + 1 + TTL) == [came("alice", T + 1)]
        assert advance(engine, T + 2 + TTL) == [timed_out("alice", T + 2 + TTL)]

    def test_it_never_shortens(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T + 5)
        engine.heartbeat(batch("alice"), T + 5, age_ticks=4)
        assert last_seen(engine, "alice") == T + 5

    def test_it_prolongs_up_to_its_own_time(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        assert engine.heartbeat(batch("alice"), T + 9, age_ticks=4) == 0
        assert last_seen(engine, "alice") == T + 5
        assert advance(engine, T + 5 + TTL) == [came("alice", T)]

    def test_one_that_is_over_already_brings_nobody_online(self, engine: Engine) -> None:
        advance(engine, T + 50)
        assert engine.heartbeat(batch("alice"), T + 50, age_ticks=TTL + 1) == 0
        assert status(engine, "alice") is OFFLINE
        assert engine.heartbeat(batch("bob"), T + 50, age_ticks=TTL) == 1
        assert advance(engine, T + 51) == [came("bob", T + 50), timed_out("bob", T + 51)]

    def test_what_has_been_expired_is_measured_by_the_last_advance(self, engine: Engine) -> None:
        advance(engine, T + 5)
        assert engine.heartbeat(batch("alice"), T + 50, age_ticks=50 - TTL) == 1
        assert advance(engine, T + 50) == [came("alice", T + TTL), timed_out("alice", T + 2 * TTL + 1)]

    def test_a_new_engine_has_expired_what_was_over_when_it_began(self, engine: Engine) -> None:
        assert engine.heartbeat(batch("alice"), T, age_ticks=TTL + 1) == 0
        assert engine.heartbeat(batch("bob"), T, age_ticks=TTL) == 1

    def test_news_older_than_a_timeout_do_not_undo_it(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        advance(engine, T + TTL + 1)
        assert engine.heartbeat(batch("alice"), T + TTL + 1, age_ticks=TTL + 1) == 0
        assert status(engine, "alice") is OFFLINE

    def test_news_that_come_after_the_timeout_bring_online_at_the_moment_they_come(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        assert advance(engine, T + TTL + 1) == [came("alice", T), timed_out("alice", T + TTL + 1)]
        assert engine.heartbeat(batch("alice"), T + TTL + 1, age_ticks=3) == 1
        assert last_seen(engine, "alice") == T + TTL - 2
        # The ticks of a user's transitions never go back, so this one is not the heartbeat's own.
        assert drained(engine) == [came("alice", T + TTL + 1)]

    def test_not_during_an_expiry_that_is_not_finished_either(self, engine: Engine) -> None:
        engine.heartbeat(batch(*range(200)), T)
        tick = T + 5 * TTL
        assert not engine.advance(tick, expiry_count_max=1)
        assert engine.heartbeat(batch("alice"), tick, age_ticks=TTL + 1) == 0
        assert status(engine, "alice") is OFFLINE


class TestTheBeginningOfTime:
    """Ticks below 0 saturate to 0, and nobody is online by a heartbeat at 0."""

    @pytest.mark.parametrize("age", [5, 6, 7, 10**9, 2**53])
    @pytest.mark.parametrize("retention", [RETENTION_ONLINE, None, 100])
    def test_a_heartbeat_from_before_it_is_never_online(
        self, make_engine: MakeEngine, age: int, retention: int | None
    ) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=retention), tick=0)
        assert engine.heartbeat(batch("alice"), 5, age_ticks=age) == 0
        assert status(engine, "alice") is OFFLINE
        assert last_seen(engine, "alice") == (-1 if retention == RETENTION_ONLINE else 0)
        assert advance(engine, 5 + 2 * TTL) == []

    def test_a_heartbeat_at_it_is_never_online(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=0)
        assert engine.heartbeat(batch("alice"), 0) == 0
        assert engine.heartbeat(batch("alice"), 1) == 1
        assert advance(engine, TTL + 2) == [came("alice", 1), timed_out("alice", TTL + 2)]

    def test_somebody_online_stays_online(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=0)
        engine.heartbeat(batch("alice"), 1)
        engine.heartbeat(batch("alice"), 2, age_ticks=99)
        assert last_seen(engine, "alice") == 1

    def test_a_sign_off_from_before_it_is_older_than_everything(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=0)
        engine.heartbeat(batch("alice"), 1)
        assert engine.sign_off(batch("alice"), 1, age_ticks=99) == 0
        assert engine.sign_off(batch("alice"), 1) == 1
        assert drained(engine) == [came("alice", 1), signed_off("alice", 1)]


def test_a_heartbeat_of_each_tells_who_came_online_by_it(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    assert engine.heartbeat_each(batch("alice", "bob", 7, "bob"), T) == bytearray([0, 1, 1, 0])
    assert engine.heartbeat_each(batch(), T) == bytearray()
    assert engine.count() == 3
    engine.sign_off(batch(7), T)
    assert engine.heartbeat_each(batch(7, 7), T) == bytearray([1, 0])
    with pytest.raises(TickWentBack):
        engine.heartbeat_each(batch("carol"), T - 1)
    assert status(engine, "carol") is OFFLINE

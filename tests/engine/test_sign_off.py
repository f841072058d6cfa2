"""Sign-offs: they take effect at once, withstand older news, and give way to what comes after them."""

from __future__ import annotations

import pytest

from presencedb.engine import RETENTION_ONLINE, Engine, EngineConfig
from tests.engine.implementations import MakeEngine
from tests.engine.tools import (
    OFFLINE,
    ONLINE,
    TTL,
    UNKNOWN,
    T,
    advance,
    batch,
    came,
    drained,
    last_seen,
    pull,
    signed_off,
    slot_of,
    status,
    timed_out,
)


@pytest.fixture(params=[RETENTION_ONLINE, None, TTL, 10 * TTL], ids=["online", "forever", "ttl", "ten ttl"])
def engine(make_engine: MakeEngine, request: pytest.FixtureRequest) -> Engine:
    return make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=request.param), tick=T)


def test_it_takes_effect_at_once_and_there_is_no_timeout_after_it(engine: Engine) -> None:
    engine.heartbeat(batch("alice", "bob"), T)
    assert engine.sign_off(batch("alice"), T + 3) == 1
    assert engine.status(batch("alice", "bob")) == bytes([OFFLINE, ONLINE])
    assert engine.count() == 1
    said = advance(engine, T + 3 * TTL)
    assert [t for t in said if t.id == "alice"] == [came("alice", T), signed_off("alice", T + 3)]


def test_a_repeated_id_and_whoever_is_offline_count_for_nothing(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    assert engine.sign_off(batch("alice", "bob", "alice"), T) == 1
    assert engine.sign_off(batch("alice"), T + 1) == 0
    assert drained(engine) == [came("alice", T), signed_off("alice", T)]


def test_a_later_heartbeat_clears_it(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    engine.sign_off(batch("alice"), T + 1)
    assert engine.heartbeat(batch("alice"), T + 2) == 1
    assert advance(engine, T + 2 + TTL) == [came("alice", T), signed_off("alice", T + 1), came("alice", T + 2)]
    assert advance(engine, T + 3 + TTL) == [timed_out("alice", T + 3 + TTL)]


def test_of_somebody_unknown_in_a_synced_slot_nothing_is_written(engine: Engine) -> None:
    assert engine.sign_off(batch("alice"), T + 5) == 0
    assert engine.stats().users == 0
    assert pull(engine, [slot_of(engine, "alice")], T + 5) == []
    assert engine.heartbeat(batch("alice"), T + 5, age_ticks=1) == 1


def test_of_somebody_unknown_in_an_unsynced_slot_it_withstands_older_news(engine: Engine) -> None:
    engine.set_synced(range(16384), False)
    assert engine.sign_off(batch("alice"), T + 5) == 0
    assert engine.heartbeat(batch("alice"), T + 5, age_ticks=1) == 0
    assert status(engine, "alice") is UNKNOWN
    assert engine.heartbeat(batch("alice"), T + 6) == 1


class TestAtTheSameTick:
    """On this node arrival decides."""

    def test_heartbeat_then_sign_off(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        assert engine.sign_off(batch("alice"), T) == 1
        assert drained(engine) == [came("alice", T), signed_off("alice", T)]

    def test_sign_off_then_heartbeat_is_stamped_one_tick_later(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        engine.sign_off(batch("alice"), T)
        assert engine.heartbeat(batch("alice"), T) == 1
        assert last_seen(engine, "alice") == T + 1
        assert advance(engine, T + 1 + TTL) == [came("alice", T), signed_off("alice", T), came("alice", T + 1)]
        assert advance(engine, T + 2 + TTL) == [timed_out("alice", T + 2 + TTL)]

    def test_any_number_of_turns_never_leads_further_than_one_tick_ahead(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        for _ in range(50):
            assert engine.sign_off(batch("alice"), T) == 1
            assert status(engine, "alice") is OFFLINE
            assert engine.heartbeat(batch("alice"), T) == 1
            assert status(engine, "alice") is ONLINE
            assert last_seen(engine, "alice") <= T + 1
        ticks = [transition.tick for transition in drained(engine)]
        assert ticks == sorted(ticks)
        assert ticks[-1] == T + 1

    def test_a_further_heartbeat_changes_nothing(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        engine.sign_off(batch("alice"), T)
        engine.heartbeat(batch("alice"), T)
        assert engine.heartbeat(batch("alice"), T) == 0
        assert engine.heartbeat(batch("alice"), T + 1) == 0
        assert last_seen(engine, "alice") == T + 1

    def test_in_one_batch_a_sign_off_of_the_next_tick_finds_the_heartbeat_there(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T)
        engine.sign_off(batch("alice"), T)
        engine.heartbeat(batch("alice"), T)
        assert engine.sign_off(batch("alice"), T + 1) == 1
        assert engine.heartbeat(batch("alice"), T + 1) == 1
        assert last_seen(engine, "alice") == T + 2


class TestLateSignOffs:
    """A sign-off with an age is a write at its own time; it was true then, and nothing can make it younger."""

    def test_one_older_than_the_last_heartbeat_does_nothing(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T + 5)
        assert engine.sign_off(batch("alice"), T + 6, age_ticks=2) == 0
        assert status(engine, "alice") is ONLINE
        assert last_seen(engine, "alice") == T + 5

    def test_at_the_tick_of_the_last_heartbeat_it_wins(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T + 5)
        assert engine.sign_off(batch("alice"), T + 6, age_ticks=1) == 1
        assert drained(engine) == [came("alice", T + 5), signed_off("alice", T + 5)]

    def test_a_late_heartbeat_at_its_tick_does_not_overcome_it(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T + 1)
        engine.sign_off(batch("alice"), T + 5)
        assert engine.heartbeat(batch("alice"), T + 6, age_ticks=1) == 0
        assert engine.heartbeat(batch("alice"), T + 6, age_ticks=2) == 0
        assert status(engine, "alice") is OFFLINE

    def test_a_late_heartbeat_after_it_overcomes_it(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice"), T + 1)
        engine.sign_off(batch("alice"), T + 5)
        assert engine.heartbeat(batch("alice"), T + 8, age_ticks=2) == 1
        assert last_seen(engine, "alice") == T + 6

    def test_the_order_of_arrival_of_late_news_does_not_matter(self, engine: Engine) -> None:
        engine.heartbeat(batch("alice", "bob"), T + 1)
        engine.heartbeat(batch("alice"), T + 9, age_ticks=2)
        engine.sign_off(batch("alice"), T + 9, age_ticks=3)
        engine.sign_off(batch("bob"), T + 9, age_ticks=3)
        engine.heartbeat(batch("bob"), T + 9, age_ticks=2)
        assert status(engine, "alice") is status(engine, "bob") is ONLINE
        assert last_seen(engine, "alice") == last_seen(engine, "bob") == T + 7


def test_in_online_retention_it_withstands_older_news_for_a_ttl_and_then_leaves_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    engine.sign_off(batch("alice"), T + 2)
    for tick in range(T + 2, T + 3 + TTL):
        advance(engine, tick)
        assert engine.heartbeat(batch("alice"), tick, age_ticks=tick - (T + 1)) == 0
        assert engine.stats().users == 1
    assert advance(engine, T + 3 + TTL) == []
    assert engine.stats().users == 0
    assert engine.heartbeat(batch("alice"), T + 3 + TTL, age_ticks=TTL + 2) == 0


def test_while_timeouts_are_held_a_sign_off_is_not_forgotten_early(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    engine.sign_off(batch("alice"), T + 5)
    engine.hold_timeouts(T + 100)
    advance(engine, T + 50)
    assert engine.heartbeat(batch("alice"), T + 50, age_ticks=46) == 0
    assert status(engine, "alice") is OFFLINE

"""Last seen, and how long it is remembered: it is the last heartbeat or sign-off, never the moment of the timeout."""

from __future__ import annotations

import pytest

from presencedb.engine import RETENTION_ONLINE, Copy, Engine, EngineConfig
from tests.engine.implementations import MakeEngine
from tests.engine.tools import TTL, T, advance, batch, last_seen, merge, pull, slot_of

RETENTION = 100


@pytest.fixture(params=[RETENTION_ONLINE, RETENTION, None], ids=["online", "duration", "forever"])
def engine(make_engine: MakeEngine, request: pytest.FixtureRequest) -> Engine:
    return make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=request.param), tick=T)


def remembers(engine: Engine) -> bool:
    return engine.config.retention_ticks != RETENTION_ONLINE


def test_never_seen(engine: Engine) -> None:
    assert list(engine.last_seen(batch("alice", 42))) == [-1, -1]


def test_in_the_order_asked_with_repeats(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    engine.heartbeat(batch("bob"), T + 1)
    seen = engine.last_seen(batch("bob", "carol", "alice", "bob"))
    assert seen.typecode == "q"
    assert list(seen) == [T + 1, -1, T, T + 1]


def test_of_whoever_is_online_it_is_the_last_heartbeat(engine: Engine) -> None:
    for tick in (T, T + 3, T + 3 + TTL):
        engine.heartbeat(batch("alice"), tick)
        assert last_seen(engine, "alice") == tick


def test_after_a_timeout_it_is_still_the_last_heartbeat(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T + 2)
    advance(engine, T + 50)
    assert last_seen(engine, "alice") == (T + 2 if remembers(engine) else -1)


def test_after_a_sign_off_it_is_the_sign_off(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    engine.sign_off(batch("alice"), T + 3)
    advance(engine, T + 4)
    assert last_seen(engine, "alice") == (T + 3 if remembers(engine) else -1)


def test_news_of_a_user_who_is_offline_count_too(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T)
    advance(engine, T + 50)
    engine.heartbeat(batch("alice"), T + 50, age_ticks=20)
    assert last_seen(engine, "alice") == (T + 30 if remembers(engine) else -1)
    engine.heartbeat(batch("alice"), T + 50, age_ticks=30)
    assert last_seen(engine, "alice") == (T + 30 if remembers(engine) else -1)
    assert engine.count() == 0


def test_news_of_somebody_unknown_that_are_over_already(engine: Engine) -> None:
    engine.heartbeat(batch("alice"), T, age_ticks=TTL + 5)
    engine.heartbeat(batch("bob"), T, age_ticks=RETENTION + 1)
    assert last_seen(engine, "alice") == (T - TTL - 5 if remembers(engine) else -1)
    assert last_seen(engine, "bob") == (T - RETENTION - 1 if engine.config.retention_ticks is None else -1)


def test_it_never_goes_back(engine: Engine) -> None:
    highest = -1
    for step in range(200):
        tick = T + step
        if step % 23 == 0:
            advance(engine, tick)
        if step % 31 == 7:
            engine.sign_off(batch("alice"), tick, age_ticks=step % 5)
        if step % 3 == 0 and step % 60 < 30:
            engine.heartbeat(batch("alice"), tick, age_ticks=step % 13)
        if step % 11 == 0:
            merge(engine, [Copy("alice", step % 40, step % 2 == 0)], tick)
        seen = last_seen(engine, "alice")
        assert seen >= highest or not remembers(engine)
        highest = max(seen, highest)


@pytest.mark.parametrize("leaves", ["by timeout", "by sign-off"])
def test_it_is_remembered_for_exactly_the_retention(make_engine: MakeEngine, leaves: str) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=RETENTION), tick=T)
    engine.heartbeat(batch("alice"), T)
    if leaves == "by sign-off":
        engine.sign_off(batch("alice"), T)
    advance(engine, T + RETENTION)
    assert last_seen(engine, "alice") == T
    # Time may be told by anything, and not by an advance alone.
    engine.heartbeat(batch("bob"), T + RETENTION + 1)
    assert last_seen(engine, "alice") == -1
    advance(engine, T + RETENTION + 1)
    assert engine.stats().users == 1


def test_whoever_is_online_is_remembered_beyond_the_retention(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    engine.hold_timeouts(T + 10 * TTL)
    advance(engine, T + 5 * TTL)
    assert last_seen(engine, "alice") == T


def test_a_retention_as_short_as_the_ttl(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    advance(engine, T + TTL)
    assert last_seen(engine, "alice") == T
    advance(engine, T + TTL + 1)
    assert last_seen(engine, "alice") == -1
    assert engine.stats().users == 0


def test_forever_is_for_ever(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=None), tick=T)
    engine.heartbeat(batch("alice"), T)
    advance(engine, 2_000_000_000)
    assert last_seen(engine, "alice") == T
    assert pull(engine, [slot_of(engine, "alice")], 2_000_000_000) == [Copy("alice", 2_000_000_000 - T, False)]


def test_copies_of_two_ages(engine: Engine) -> None:
    merge(engine, [Copy("alice", 4, False), Copy("alice", 2, False), Copy("alice", 3, True)], T)
    assert last_seen(engine, "alice") == T - 2
    merge(engine, [Copy("alice", 1, True)], T)
    assert last_seen(engine, "alice") == (T - 1 if remembers(engine) else -1)

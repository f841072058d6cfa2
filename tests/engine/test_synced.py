"""Slots that are not synced: whoever is not online there is unknown, and nothing is said of anybody."""

from __future__ import annotations

import pytest

from presencedb.engine import Copy, Engine, EngineConfig
from presencedb.limits import SLOT_COUNT
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL
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
    merge,
    pull,
    slot_of,
    status,
    timed_out,
)


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    """An engine of which nothing is synced."""
    return make_engine(EngineConfig(ttl_ticks=TTL, synced=False), tick=T)


def test_a_new_engine_has_all_slots_synced_or_none(make_engine: MakeEngine, engine: Engine) -> None:
    assert engine.synced_count == 0
    assert make_engine(EngineConfig(ttl_ticks=TTL), tick=T).synced_count == SLOT_COUNT


@pytest.mark.parametrize("user_id", POOL)
def test_unknown_is_never_offline(engine: Engine, user_id: int | str) -> None:
    assert status(engine, user_id) is UNKNOWN
    assert engine.heartbeat(batch(user_id), T) == 1
    assert status(engine, user_id) is ONLINE
    assert engine.count() == engine.count([slot_of(engine, user_id)]) == 1
    assert engine.scan(0, 10) == (None, [user_id])
    assert advance(engine, T + TTL + 1) == []
    assert status(engine, user_id) is UNKNOWN
    assert engine.count() == 0


def test_nothing_is_said_whatever_happens(engine: Engine) -> None:
    engine.heartbeat(batch("a", "b", "c"), T)
    assert engine.sign_off(batch("a"), T + 1) == 1
    engine.sign_off(batch("b"), T + 1, grace_ticks=2)
    merge(engine, [Copy("d", 0, False), Copy("c", 0, True)], T + 2)
    assert advance(engine, T + 100) == []
    assert engine.discard_transitions() == 0
    stats = engine.stats()
    assert stats.timeouts == 0
    assert sum(stats.lateness_ticks) == 0


def test_each_slot_is_told_apart(engine: Engine) -> None:
    engine.set_synced([slot_of(engine, "alice")], True)
    assert engine.synced_count == 1
    assert engine.status(batch("alice", "bob")) == bytes([OFFLINE, UNKNOWN])
    engine.heartbeat(batch("alice", "bob"), T)
    assert advance(engine, T + TTL + 1) == [came("alice", T), timed_out("alice", T + TTL + 1)]
    assert engine.status(batch("alice", "bob")) == bytes([OFFLINE, UNKNOWN])


def test_becoming_synced_or_unsynced_says_nothing_by_itself(engine: Engine) -> None:
    engine.heartbeat(batch("alice", "bob"), T)
    engine.set_synced(range(SLOT_COUNT), True)
    assert engine.synced_count == SLOT_COUNT
    assert drained(engine) == []
    assert engine.status(batch("alice", "carol")) == bytes([ONLINE, OFFLINE])
    engine.set_synced(range(SLOT_COUNT), False)
    assert drained(engine) == []
    assert engine.status(batch("alice", "carol")) == bytes([ONLINE, UNKNOWN])


def test_what_was_said_before_is_still_to_be_drained(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    engine.set_synced(range(SLOT_COUNT), False)
    assert drained(engine) == [came("alice", T)]


def test_told_twice_it_counts_once(engine: Engine) -> None:
    engine.set_synced([1, 2, 2, 3], True)
    engine.set_synced([3, 4], True)
    assert engine.synced_count == 4
    engine.set_synced(iter([1, 1, 9]), False)
    assert engine.synced_count == 3


def test_a_pull_into_an_unsynced_slot_says_nothing_and_then_all_agree(make_engine: MakeEngine, engine: Engine) -> None:
    owner = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    owner.heartbeat(batch(*POOL), T)
    owner.sign_off(batch("alice", 42), T + 1)
    merge(engine, pull(owner, range(SLOT_COUNT), T + 2, 4), T + 2)
    assert drained(engine) == []
    engine.set_synced(range(SLOT_COUNT), True)
    assert engine.status(batch(*POOL)) == owner.status(batch(*POOL))
    assert drained(engine) == []


@pytest.mark.parametrize("wrong", [-1, SLOT_COUNT, 10**9])
def test_a_slot_that_does_not_exist_is_refused_and_nothing_is_changed(engine: Engine, wrong: int) -> None:
    with pytest.raises(ValueError, match=str(wrong)):
        engine.set_synced([1, wrong, 2], True)
    assert engine.synced_count == 0

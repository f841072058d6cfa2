"""What an engine refuses: time that goes back, and numbers out of range. Whatever is refused changes nothing."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

import pytest

from presencedb.engine import RETENTION_ONLINE, Copies, Copy, Engine, EngineConfig, TickWentBack
from presencedb.limits import SLOT_COUNT, TICK_MAX, TICK_MS_MIN, TTL_MS_MAX
from tests.engine.implementations import MakeEngine
from tests.engine.tools import TTL, T, advance, batch, came, merge, slot_of, timed_out

NOW: Final = T + 5
Call = Callable[[Engine, int], object]
CALLS_WITH_A_TICK: Final[dict[str, Call]] = {
    "heartbeat": lambda engine, tick: engine.heartbeat(batch("alice", "bob"), tick),
    "heartbeat of each": lambda engine, tick: engine.heartbeat_each(batch("alice", "bob"), tick),
    "late heartbeat": lambda engine, tick: engine.heartbeat(batch("alice", "bob"), tick, age_ticks=1),
    "sign_off": lambda engine, tick: engine.sign_off(batch("alice", "bob"), tick),
    "sign_off with grace": lambda engine, tick: engine.sign_off(batch("alice", "bob"), tick, grace_ticks=1),
    "merge": lambda engine, tick: merge(engine, [Copy("alice", 0, True), Copy("bob", 0, False)], tick),
    "export_slots": lambda engine, tick: engine.export_slots([slot_of(engine, "alice")], tick, count_max=1),
    "export": lambda engine, tick: engine.export(batch("alice"), tick),
    "advance": lambda engine, tick: engine.advance(tick, expiry_count_max=1),
}
WRONG_CALLS: Final[dict[str, Call]] = {
    "age of a heartbeat": lambda engine, tick: engine.heartbeat(batch("alice", "bob"), tick, age_ticks=-1),
    "age of a sign-off": lambda engine, tick: engine.sign_off(batch("alice", "bob"), tick, age_ticks=-1),
    "grace": lambda engine, tick: engine.sign_off(batch("alice", "bob"), tick, grace_ticks=-1),
    "too few ages": lambda engine, tick: engine.merge(Copies(batch("alice", "bob"), array("I", [0]), bytes(2)), tick),
    "too many ages": lambda engine, tick: engine.merge(Copies(batch("alice"), array("I", [0, 0]), bytes(1)), tick),
    "too few signs": lambda engine, tick: engine.merge(Copies(batch("alice", "bob"), array("I", [0, 0]), bytes(1)), tick),
    "slot of an export": lambda engine, tick: engine.export_slots([SLOT_COUNT], tick, count_max=1),
    "slot of an export below 0": lambda engine, tick: engine.export_slots([-1], tick, count_max=1),
    "bound of an export": lambda engine, tick: engine.export_slots([0], tick, count_max=0),
    "slots shared": lambda engine, tick: engine.set_shared([1, SLOT_COUNT], True),
    "slots of who is overdue": lambda engine, tick: engine.overdue([-1, 3]),
    "slots agreed on": lambda engine, tick: engine.agree([SLOT_COUNT], T),
    "an agreement on what has not been": lambda engine, tick: engine.agree([slot_of(engine, "alice")], NOW + 1),
    "slots dropped": lambda engine, tick: engine.drop_slots([0, SLOT_COUNT]),
    "a synced slot dropped": lambda engine, tick: engine.drop_slots([slot_of(engine, "alice")]),
    "bound of an advance": lambda engine, tick: engine.advance(tick, expiry_count_max=0),
    "slots of a count": lambda engine, tick: engine.count([0, SLOT_COUNT]),
    "slots of a scan": lambda engine, tick: engine.scan(0, 1, [-1]),
    "limit of a scan": lambda engine, tick: engine.scan(0, 0),
    "bound of a drain": lambda engine, tick: engine.drain_transitions(0),
    "bound of a drain below 0": lambda engine, tick: engine.drain_transitions(-1),
}


@pytest.fixture(params=[RETENTION_ONLINE, None])
def engine(make_engine: MakeEngine, request: pytest.FixtureRequest) -> Engine:
    """An engine at NOW, in which alice came at T, and a sign-off of carol waits."""
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=request.param), tick=T)
    engine.heartbeat(batch("alice", "carol"), T)
    engine.sign_off(batch("carol"), T, grace_ticks=8)
    engine.advance(NOW, expiry_count_max=1)
    return engine


def seen(engine: Engine) -> object:
    """All that can be seen of an engine without changing it."""
    ids = batch("alice", "bob", "carol")
    written = engine.tick, engine.status(ids), engine.last_seen(ids), engine.transitions_waiting
    return *written, engine.count(), engine.scan(0, 9), engine.stats()


@pytest.mark.parametrize("name", CALLS_WITH_A_TICK)
@pytest.mark.parametrize("tick", [NOW - 1, T, 0, -1, -(10**9)])
def test_a_tick_that_goes_back_is_refused_and_nothing_is_changed(engine: Engine, name: str, tick: int) -> None:
    before = seen(engine)
    with pytest.raises(TickWentBack, match=rf"from {NOW} to {tick}"):
        CALLS_WITH_A_TICK[name](engine, tick)
    assert seen(engine) == before
    assert engine.discard_transitions() == 2
    said = advance(engine, T + TTL + 1)
    assert timed_out("alice", T + TTL + 1) in said


@pytest.mark.parametrize("name", CALLS_WITH_A_TICK)
def test_the_tick_may_stay_the_same(engine: Engine, name: str) -> None:
    CALLS_WITH_A_TICK[name](engine, NOW)
    CALLS_WITH_A_TICK[name](engine, NOW)
    assert engine.tick == NOW


@pytest.mark.parametrize("name", CALLS_WITH_A_TICK)
@pytest.mark.parametrize("tick", [TICK_MAX, TICK_MAX + 1, 2**63])
def test_a_tick_that_a_register_cannot_hold_is_refused(engine: Engine, name: str, tick: int) -> None:
    before = seen(engine)
    with pytest.raises(ValueError, match=str(tick)):
        CALLS_WITH_A_TICK[name](engine, tick)
    assert seen(engine) == before


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_number_out_of_range_is_refused_and_nothing_is_changed(engine: Engine, name: str) -> None:
    before = seen(engine)
    with pytest.raises(ValueError, match=r"-?\d"):
        WRONG_CALLS[name](engine, NOW + 1)
    assert seen(engine) == before


@pytest.mark.parametrize("tick", [-1, TICK_MAX])
def test_an_engine_begins_at_a_tick_there_is(make_engine: MakeEngine, tick: int) -> None:
    with pytest.raises(ValueError, match=str(tick)):
        make_engine(EngineConfig(ttl_ticks=TTL), tick=tick)


def test_up_to_the_last_tick_there_is(make_engine: MakeEngine) -> None:
    last = TICK_MAX - 1
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=None), tick=last - TTL - 1)
    engine.heartbeat(batch("alice"), last - TTL - 1)
    engine.heartbeat(batch("bob"), last)
    engine.sign_off(batch("bob"), last)
    assert engine.heartbeat(batch("bob"), last) == 1
    assert list(engine.last_seen(batch("bob"))) == [TICK_MAX]
    assert engine.sign_off(batch("bob"), last) == 1
    engine.heartbeat(batch("carol"), last)
    engine.sign_off(batch("carol"), last, grace_ticks=2**31)
    assert advance(engine, last)[-1] == timed_out("alice", last)
    assert came("carol", last) not in advance(engine, last)
    assert engine.count() == 1


@pytest.mark.parametrize("age", [TICK_MAX, 2**31, 2**32, 2**53])
def test_any_age_and_grace_that_the_wire_can_carry(make_engine: MakeEngine, age: int) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    assert engine.heartbeat(batch("alice", "bob"), T, age_ticks=age) == 0
    assert engine.sign_off(batch("alice", "bob"), T, age_ticks=age) == 0
    assert engine.sign_off(batch("alice"), T, age_ticks=age, grace_ticks=age) == 0
    assert engine.sign_off(batch("alice"), T, grace_ticks=age) == 0
    assert merge(engine, [Copy("alice", age, True)], T) == 0
    engine.hold_timeouts(0)
    assert advance(engine, T + TTL + 1) == [came("alice", T), timed_out("alice", T + TTL + 1)]


@pytest.mark.parametrize("ttl", [0, -1, TTL_MS_MAX // TICK_MS_MIN + 1])
def test_a_ttl_out_of_range(ttl: int) -> None:
    with pytest.raises(ValueError, match=str(ttl)):
        EngineConfig(ttl_ticks=ttl)


@pytest.mark.parametrize("retention", [-1, 1, TTL - 1])
def test_a_retention_shorter_than_the_ttl(retention: int) -> None:
    with pytest.raises(ValueError, match=str(retention)):
        EngineConfig(ttl_ticks=TTL, retention_ticks=retention)


@pytest.mark.parametrize("doubt", [-1, -20])
def test_a_doubt_before_anybody_is_overdue(doubt: int) -> None:
    with pytest.raises(ValueError, match=str(doubt)):
        EngineConfig(ttl_ticks=TTL, doubt_ticks=doubt)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range(seed: int) -> None:
    with pytest.raises(ValueError, match=str(seed)):
        EngineConfig(ttl_ticks=TTL, seed=seed)


def test_the_config_can_be_read_back(make_engine: MakeEngine) -> None:
    config = EngineConfig(ttl_ticks=TTL, retention_ticks=None, seed=2**64 - 1, synced=False)
    assert make_engine(config, tick=T).config == config
    assert make_engine(config, tick=T).tick == T

"""Slots that are dropped: they are another node's now."""

from __future__ import annotations

import pytest

from presencedb.engine import RETENTION_ONLINE, Engine, EngineConfig
from presencedb.ids import IdBatch
from presencedb.limits import SLOT_COUNT
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL
from tests.engine.tools import (
    EVERYBODY,
    ONLINE,
    TTL,
    UNKNOWN,
    T,
    advance,
    batch,
    drained,
    pull,
    scan_all,
    slot_of,
)

DUE = T + TTL + 1
"""When whoever beat at T and not again is past the deadline."""
DOUBT = 20
ALL = range(SLOT_COUNT)


def make(make_engine: MakeEngine, retention: int | None = RETENTION_ONLINE) -> Engine:
    """An engine that shares every slot, and where everybody of the pool beat at T."""
    config = EngineConfig(ttl_ticks=TTL, retention_ticks=retention, doubt_ticks=DOUBT)
    engine = make_engine(config, tick=T)
    engine.set_shared(ALL, True)
    engine.heartbeat(batch(*POOL), T)
    engine.discard_transitions()
    return engine


def overdue(engine: Engine) -> set[int | str]:
    """Everybody overdue, asked as a node asks."""
    return set(engine.overdue(engine.overdue_slots()))


def agree(engine: Engine, tick: int) -> None:
    """The others have nothing to say of whoever is overdue by this tick."""
    engine.agree(engine.overdue_slots(), tick)


class TestDropped:
    def test_a_slot_that_went_elsewhere_leaves_nothing(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine, None)
        engine.sign_off(batch("alice", 42), T, grace_ticks=30)
        slots = [slot_of(engine, "alice"), slot_of(engine, 0)]
        advance(engine, DUE)
        with pytest.raises(ValueError, match="synced"):
            engine.drop_slots(slots)
        assert engine.count() == len(POOL)
        engine.set_synced(slots, False)
        engine.drop_slots(slots)
        assert engine.count() == engine.stats().users == len(POOL) - 2
        assert (engine.count(slots), pull(engine, slots, DUE), engine.stats().pending_sign_offs) == (0, [], 1)
        assert engine.status(batch("alice", 0, 42)) == bytes([UNKNOWN, UNKNOWN, ONLINE])
        assert overdue(engine) == {*POOL} - {"alice", 0}
        assert engine.heartbeat(batch("alice"), DUE) == 1
        assert drained(engine) == []

    def test_crowded_slots(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL, synced=False), tick=T)
        empty = engine.stats().bytes
        engine.heartbeat(IdBatch([*range(9_000), *(f"user {number}" for number in range(9_000))]), T)
        engine.sign_off(IdBatch(range(0, 9_000, 7)), T, grace_ticks=5)
        engine.drop_slots(range(0, SLOT_COUNT, 2))
        left = [user_id for user_id in scan_all(engine, EVERYBODY) if slot_of(engine, user_id) % 2 == 0]
        assert left == []
        assert 8_000 < engine.count() == engine.stats().users < 10_000
        engine.drop_slots(ALL)
        assert (engine.count(), engine.stats().users, engine.stats().pending_sign_offs) == (0, 0, 0)
        advance(engine, T + 1)
        assert engine.stats().bytes < empty + 50_000
        assert engine.heartbeat(IdBatch(range(9_000)), T + 1) == 9_000

"""Memory follows the users who are there: whoever leaves for good leaves nothing behind, and toggling piles up nothing."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable
from typing import Final

import pytest

from presencedb.engine import RETENTION_ONLINE, Engine, EngineConfig
from presencedb.ids import IdBatch
from tests.engine.implementations import MakeEngine
from tests.engine.tools import EVERYBODY, TTL, T, advance, batch

ROUNDS: Final = 60
CROWD: Final = 500


Churn = Callable[[Engine, int], None]


def in_use(engine: Engine) -> int:
    """Bytes: what the interpreter counts, and what the engine says of itself."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0] + engine.stats().bytes


def memory_of_rounds(engine: Engine, churn: Churn) -> tuple[int, int]:
    """Bytes in use after a few rounds and after many."""

    tracemalloc.start()
    try:
        for number in range(ROUNDS // 4):
            churn(engine, number)
        early = in_use(engine)
        for number in range(ROUNDS // 4, ROUNDS):
            churn(engine, number)
        return early, in_use(engine)
    finally:
        tracemalloc.stop()


def text_id(generator: random.Random) -> str:
    return f"session-{generator.getrandbits(64):016x}"


def random_ids_never_seen_again(engine: Engine, number: int) -> None:
    generator = random.Random(number)
    tick = T + number * TTL // 3
    engine.heartbeat(IdBatch([generator.getrandbits(64) for _ in range(CROWD)]), tick)
    engine.heartbeat(IdBatch([text_id(generator) for _ in range(CROWD)]), tick)
    leaving = [text_id(generator) for _ in range(CROWD // 10)]
    engine.heartbeat(IdBatch(leaving), tick)
    engine.sign_off(IdBatch(leaving), tick)
    engine.sign_off(IdBatch([generator.getrandbits(60) for _ in range(CROWD // 10)]), tick, grace_ticks=100)
    engine.advance(tick, expiry_count_max=EVERYBODY)
    engine.discard_transitions()


def one_user_toggles(engine: Engine, number: int) -> None:
    for turn in range(200):
        tick = T + number * 3 + turn // 70
        engine.heartbeat(batch("toggles"), tick)
        engine.sign_off(batch("toggles"), tick, grace_ticks=turn % 3 * 10_000)
    engine.advance(tick, expiry_count_max=EVERYBODY)
    engine.discard_transitions()


def requests_with_ever_other_graces(engine: Engine, number: int) -> None:
    for turn in range(200):
        tick = T + number * 200 + turn
        engine.heartbeat(batch("toggles"), tick)
        engine.sign_off(batch("toggles"), tick, grace_ticks=1_000_000 - turn)
        engine.sign_off(batch("toggles"), tick, grace_ticks=1)
        engine.advance(tick, expiry_count_max=EVERYBODY)
    engine.discard_transitions()


@pytest.mark.parametrize("churn", [random_ids_never_seen_again, one_user_toggles, requests_with_ever_other_graces])
def test_memory_stays_flat(make_engine: MakeEngine, churn: Churn) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    early, late = memory_of_rounds(engine, churn)
    assert late < early * 1.25 + 20_000


@pytest.mark.parametrize("retention", [RETENTION_ONLINE, 3 * TTL])
def test_ids_never_seen_again_leave_nothing_behind(make_engine: MakeEngine, retention: int) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=retention), tick=T)
    for number in range(ROUNDS):
        random_ids_never_seen_again(engine, number)
    advance(engine, engine.tick + 5 * TTL)
    stats = engine.stats()
    assert (stats.users, stats.online, stats.pending_sign_offs) == (0, 0, 0)
    assert engine.count() == 0
    assert engine.scan(0, 10) == (None, [])
    empty = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=retention), tick=T).stats().bytes
    assert stats.bytes < empty + 20_000


def test_a_crowd_leaves_by_itself_and_a_few_remain(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    crowd = [IdBatch(range(first, first + 1_000)) for first in range(0, 40_000, 1_000)]
    tracemalloc.start()
    try:
        before = in_use(engine)
        for part in crowd:
            engine.heartbeat(part, T)
        engine.discard_transitions()
        full = in_use(engine) - before
        for tick in range(T + 1, T + 4 * TTL):
            engine.heartbeat(batch("alice", "bob"), tick)
            engine.advance(tick, expiry_count_max=100)
        while not engine.advance(T + 4 * TTL, expiry_count_max=EVERYBODY):
            pass
        engine.discard_transitions()
        left = in_use(engine) - before
    finally:
        tracemalloc.stop()
    assert engine.count() == 2
    assert left < full / 10

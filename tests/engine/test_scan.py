"""Counting and listing who is online: by slot, page by page, while they come and go."""

from __future__ import annotations

import random
from typing import Final

import pytest

from presencedb.engine import Engine, EngineConfig
from presencedb.ids import Hasher, Id
from presencedb.ids.hashing import WIDTH_BITS
from presencedb.limits import SLOT_COUNT
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL
from tests.engine.tools import TTL, T, advance, batch, scan_all, slot_of

SEED: Final = 0x5EED
USERS: Final[list[Id]] = [*POOL, *range(1000, 1200), *(f"user-{i}" for i in range(100)), *(2**40 + i for i in range(50))]


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    engine = make_engine(EngineConfig(ttl_ticks=TTL, seed=SEED, retention_ticks=None), tick=T)
    engine.heartbeat(batch(*USERS), T)
    engine.heartbeat(batch("gone", "gone too"), T)
    engine.sign_off(batch("gone", "gone too"), T)
    return engine


def position(user_id: Id) -> int:
    slot, kind, hash_value = Hasher(SEED).place(user_id)
    return slot << 130 | kind << 128 | hash_value << (128 - WIDTH_BITS[kind])


def test_everybody_in_one_page_in_the_order_of_places(engine: Engine) -> None:
    assert engine.scan(0, len(USERS)) == (None, sorted(USERS, key=position))
    assert engine.scan(0, 10**9) == (None, sorted(USERS, key=position))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100, 359, 360, 361])
def test_pages_of_any_size_make_up_the_whole(engine: Engine, limit: int) -> None:
    assert scan_all(engine, limit) == sorted(USERS, key=position)


def test_nobody(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    assert engine.scan(0, 5) == (None, [])
    assert engine.scan(0, 5, range(100)) == (None, [])


def test_a_cursor_is_the_first_position_looked_at(engine: Engine) -> None:
    ordered = sorted(USERS, key=position)
    for index in (0, 1, 100, len(ordered) - 1):
        _, page = engine.scan(position(ordered[index]), 3)
        assert page == ordered[index : index + 3]
        _, page = engine.scan(position(ordered[index]) + 1, 3)
        assert page == ordered[index + 1 : index + 4]


@pytest.mark.parametrize("cursor", [-(2**200), -1, SLOT_COUNT << 130, 2**200])
def test_any_cursor_is_legal(engine: Engine, cursor: int) -> None:
    following, page = engine.scan(cursor, 5)
    assert page == (sorted(USERS, key=position)[:5] if cursor < 0 else [])
    assert (following is None) == (cursor > 0)


def test_by_slots(engine: Engine) -> None:
    ordered = sorted(USERS, key=position)
    slots = sorted({slot_of(engine, user_id) for user_id in USERS})
    some = slots[::3]
    wanted = [user_id for user_id in ordered if slot_of(engine, user_id) in some]
    assert engine.scan(0, 1000, some) == (None, wanted)
    assert engine.scan(0, 1000, reversed(some)) == (None, wanted)
    assert engine.scan(0, 1000, [*some, *some]) == (None, wanted)
    assert engine.scan(0, 1000, []) == (None, [])
    cursor, page = engine.scan(0, 5, some)
    assert cursor is not None
    assert page + engine.scan(cursor, 1000, some)[1] == wanted


def test_count_by_slots(engine: Engine) -> None:
    assert engine.count() == engine.count(range(SLOT_COUNT)) == len(USERS)
    assert sum(engine.count([slot]) for slot in range(SLOT_COUNT)) == len(USERS)
    slot = slot_of(engine, "alice")
    assert engine.count([slot]) == engine.count([slot, slot]) == len(engine.scan(0, 1000, [slot])[1])
    assert engine.count([]) == 0
    advance(engine, T + TTL + 1)
    assert engine.count() == engine.count(range(SLOT_COUNT)) == engine.count([slot]) == 0


@pytest.mark.parametrize("limit", [1, 4, 50])
def test_whoever_is_online_all_along_appears_exactly_once(make_engine: MakeEngine, limit: int) -> None:
    generator = random.Random(limit)
    engine = make_engine(EngineConfig(ttl_ticks=100, seed=SEED), tick=T)
    stay, change = USERS[::2], USERS[1::2]
    engine.heartbeat(batch(*stay, *change), T)
    found: list[Id] = []
    cursor: int | None = 0
    while cursor is not None:
        cursor, page = engine.scan(cursor, limit)
        found += page
        engine.sign_off(batch(*generator.sample(change, 20)), T)
        engine.heartbeat(batch(*generator.sample(change, 20)), T)
        if len(found) < 100:
            engine.heartbeat(batch(*(generator.getrandbits(32) for _ in range(10))), T)
    assert len(found) == len(set(found))
    assert set(stay) <= set(found)


def test_a_cursor_survives_the_user_it_stands_at(engine: Engine) -> None:
    ordered = sorted(USERS, key=position)
    cursor, page = engine.scan(0, 10)
    assert cursor is not None
    engine.sign_off(batch(*ordered[5:15]), T)
    assert page + engine.scan(cursor, 1000)[1] == ordered[:10] + ordered[15:]


def test_many_users_in_one_slot(make_engine: MakeEngine) -> None:
    hasher = Hasher(SEED)
    crowded = [hasher.unmix32(77 << 18 | rest) for rest in range(0, 1 << 18, 97)]
    engine = make_engine(EngineConfig(ttl_ticks=TTL, seed=SEED), tick=T)
    engine.heartbeat(batch(*crowded), T)
    assert engine.count([77]) == engine.count() == len(crowded)
    assert scan_all(engine, 1000) == crowded
    advance(engine, T + TTL + 1)
    assert engine.count([77]) == 0

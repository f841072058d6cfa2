"""Transitions wait until they are taken, in pieces of any size, and are columns when they are."""

from __future__ import annotations

from array import array
from contextlib import suppress
from itertools import cycle
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.engine import Engine, EngineConfig, Transition, Transitions
from presencedb.ids import Id, IdBatch
from tests.engine.implementations import IMPLEMENTATIONS, MakeEngine
from tests.engine.operations import POOL, Operation, stories
from tests.engine.tools import OFFLINE, ONLINE, TTL, T, advance, batch, came, drained, signed_off, timed_out

CROWD: Final = 20_000
BYTES_A_CROWD_WAITS_MIN: Final = 20 * CROWD
BYTES_KEPT_MAX: Final = 40_000
"""What an engine may keep for transitions to come."""


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine(EngineConfig(ttl_ticks=TTL), tick=T)


def crowd(kind: str) -> IdBatch:
    return IdBatch([f"user {number}" if kind == "text" else number for number in range(CROWD)])


def drained_by(engine: Engine, count_max: int) -> list[Transition]:
    """All that waits, taken in pieces."""
    taken: list[Transition] = []
    while engine.transitions_waiting:
        taken += engine.drain_transitions(count_max)
    return taken


def test_nothing_waits_in_a_new_engine(engine: Engine) -> None:
    assert engine.transitions_waiting == 0
    taken = engine.drain_transitions(1)
    assert (list(taken.ids), taken.marks, taken.ticks) == ([], b"", array("I"))
    assert engine.discard_transitions() == 0


def test_a_piece_is_taken_from_the_front_and_the_rest_waits(engine: Engine) -> None:
    engine.heartbeat(batch(*POOL), T)
    assert engine.transitions_waiting == len(POOL)
    assert list(engine.drain_transitions(3)) == [came(user_id, T) for user_id in POOL[:3]]
    assert engine.transitions_waiting == len(POOL) - 3
    assert list(engine.drain_transitions(1)) == [came(POOL[3], T)]
    assert list(engine.drain_transitions(len(POOL))) == [came(user_id, T) for user_id in POOL[4:]]
    assert engine.transitions_waiting == 0
    assert len(engine.drain_transitions(1)) == 0


def test_exactly_as_many_as_there_are(engine: Engine) -> None:
    engine.heartbeat(batch(*POOL), T)
    assert list(engine.drain_transitions(len(POOL))) == [came(user_id, T) for user_id in POOL]
    assert engine.transitions_waiting == 0


@pytest.mark.parametrize("count_max", [2**31, 2**32, 2**63, 2**100])
def test_any_bound_however_large(engine: Engine, count_max: int) -> None:
    engine.heartbeat(batch("alice", 42), T)
    assert list(engine.drain_transitions(count_max)) == [came("alice", T), came(42, T)]


@pytest.mark.parametrize("count_max", [0, -1, -(2**63)])
def test_a_drain_of_nothing_is_refused_and_all_goes_on_waiting(engine: Engine, count_max: int) -> None:
    engine.heartbeat(batch("alice", "bob"), T)
    with pytest.raises(ValueError, match=str(count_max)):
        engine.drain_transitions(count_max)
    assert engine.transitions_waiting == 2
    assert drained(engine) == [came("alice", T), came("bob", T)]


def test_what_comes_later_waits_behind_the_rest(engine: Engine) -> None:
    engine.heartbeat(batch("alice", 42), T)
    assert list(engine.drain_transitions(1)) == [came("alice", T)]
    engine.sign_off(batch("alice"), T + 1)
    engine.heartbeat(batch("bob"), T + 1)
    assert engine.transitions_waiting == 3
    assert list(engine.drain_transitions(2)) == [came(42, T), signed_off("alice", T + 1)]
    assert advance(engine, T + TTL + 1) == [came("bob", T + 1), timed_out(42, T + TTL + 1)]


def test_a_discard_after_a_piece_counts_only_the_rest(engine: Engine) -> None:
    engine.heartbeat(batch(*POOL), T)
    engine.drain_transitions(4)
    assert engine.discard_transitions() == len(POOL) - 4
    assert engine.transitions_waiting == engine.discard_transitions() == 0
    engine.sign_off(batch("alice", 42), T + 1)
    assert drained(engine) == [signed_off("alice", T + 1), signed_off(42, T + 1)]


def test_what_was_taken_is_columns_and_stays_as_it_is(engine: Engine) -> None:
    engine.heartbeat(batch(*POOL), T)
    engine.sign_off(batch(*POOL[::2]), T + 1)
    changes = [*(came(user_id, T) for user_id in POOL), *(signed_off(user_id, T + 1) for user_id in POOL[::2])]
    taken, same = engine.drain_transitions(len(changes)), Transitions.of(changes)
    engine.heartbeat(batch("dora", *POOL), T + 2)
    advance(engine, T + 3 * TTL)
    assert (list(taken.ids), taken.marks, taken.ticks) == (list(same.ids), same.marks, same.ticks)
    assert (taken.ticks.typecode, taken.ticks.itemsize) == ("I", 4)


def test_the_ids_that_were_taken_are_a_batch_like_any_other(engine: Engine) -> None:
    engine.heartbeat(batch(*POOL), T)
    engine.drain_transitions(2)
    ids = engine.drain_transitions(len(POOL)).ids
    assert list(ids) == [*POOL[2:]]
    assert engine.status(ids) == bytes([ONLINE] * len(ids))
    assert engine.sign_off(ids, T + 1) == len(ids)
    assert engine.status(batch(*POOL)) == bytes([ONLINE] * 2 + [OFFLINE] * len(ids))


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
@given(story=stories(TTL), drain_counts=st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_pieces_between_writes_are_the_same_as_all_at_once(
    name: str, story: list[Operation], drain_counts: list[int]
) -> None:
    listened, left = (IMPLEMENTATIONS[name](EngineConfig(ttl_ticks=TTL), tick=T) for _ in range(2))
    taken: list[Transition] = []
    for operation, count_max in zip(story, cycle(drain_counts), strict=False):
        step = max(operation.step, 0)
        for engine in (listened, left):
            with suppress(ValueError):  # both refuse the same, and are as they were
                operation.apply(engine, engine.tick + step)
        if count_max:
            taken += listened.drain_transitions(count_max)
        assert len(taken) + listened.transitions_waiting == left.transitions_waiting
    assert taken + drained_by(listened, 2) == drained(left)


@pytest.mark.parametrize("kind", ["integer", "text"])
@pytest.mark.parametrize("count_max", [7, 4096, CROWD])
def test_a_log_that_is_emptied_gives_its_memory_back(make_engine: MakeEngine, kind: str, count_max: int) -> None:
    waiting, discarded = (make_engine(EngineConfig(ttl_ticks=TTL), tick=T) for _ in range(2))
    for one in (waiting, discarded):
        one.heartbeat(crowd(kind), T)
    discarded.discard_transitions()
    assert waiting.stats().bytes > discarded.stats().bytes + BYTES_A_CROWD_WAITS_MIN
    assert drained_by(waiting, count_max) == [came(user_id, T) for user_id in crowd(kind)]
    assert waiting.stats().bytes < discarded.stats().bytes + BYTES_KEPT_MAX


@pytest.mark.parametrize("kind", ["integer", "text"])
def test_a_log_that_is_never_quite_emptied_takes_no_more_than_what_waits(engine: Engine, kind: str) -> None:
    users = IdBatch([*crowd(kind)][:100])
    engine.heartbeat(users, T)
    engine.discard_transitions()
    before = engine.stats().bytes
    expected: list[Id] = []
    for tick in range(T + 1, T + 600, 2):
        engine.sign_off(users, tick)
        engine.heartbeat(users, tick + 1)
        expected += [*users, *users]
        taken = engine.drain_transitions(len(expected) - 150)
        assert list(taken.ids) == expected[: len(taken)]
        del expected[: len(taken)]
        assert engine.transitions_waiting == len(expected) == 150
    assert engine.stats().bytes < before + 2 * BYTES_KEPT_MAX

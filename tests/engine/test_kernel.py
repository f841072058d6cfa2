"""What only the kernel can get wrong: pages that grow, split, shrink and merge, and the memory behind them.

The comparison with the reference is that of every engine; the stories here are about crowds in a few slots. The kernel's
own rules (see `check.h`) are asked for after every step.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from itertools import count, islice
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from presencedb.engine import IMPLEMENTATION, Copy, EngineConfig, Transitions
from presencedb.engine.reference import ReferenceEngine
from presencedb.ids import Hasher, Id, IdBatch, IdKind
from presencedb.ids.hashing import WIDTH_BITS
from presencedb.implementation import COMPILED
from presencedb.limits import SLOT_BITS, SLOT_COUNT
from presencedb.states import Reason
from tests.engine.differential import Case, compare, drains
from tests.engine.operations import (
    Advance,
    AdvanceAndAgree,
    Drop,
    Export,
    ExportIds,
    Heartbeat,
    Merge,
    Operation,
    Overdue,
    Scan,
    Share,
    SignOff,
    Sync,
)
from tests.engine.test_differential import cases
from tests.engine.tools import drained
from tests.support.process import clean_environment
from tests.support.strategies import distances

_kernel = pytest.importorskip("presencedb.engine._kernel", reason="the compiled parts are not built")
pytestmark = pytest.mark.skipif(IMPLEMENTATION != COMPILED, reason="the twins in Python are what runs")

SEED: Final = 7
CROWDED_SLOT: Final = 4711
CROWD_TEXTS: Final = 24
TTL: Final = 5
EVERYBODY: Final = 1_000_000


class CheckedEngine(_kernel.KernelEngine):  # type: ignore[misc, name-defined]  # a module that may be missing
    """A kernel that is held against its own rules whenever somebody looks what happened."""

    def drain_transitions(self, count_max: int) -> Transitions:
        _kernel.check(self)
        taken: Transitions = super().drain_transitions(count_max)
        return taken


@cache
def crowd(size: int) -> tuple[Id, ...]:
    """So many ids of each kind that a hash can be chosen for, and some texts, all in one slot."""
    hasher = Hasher(SEED)
    chosen: list[Id] = []
    for kind in (IdKind.INT32, IdKind.INT64, IdKind.UUID):
        behind = WIDTH_BITS[kind] - SLOT_BITS
        first = CROWDED_SLOT << behind
        chosen += [hasher.id_of(kind, first + index * (1 << behind) // size) for index in range(size)]
    texts = (f"user {number}" for number in count())
    found = islice((text for text in texts if hasher.place(text).slot == CROWDED_SLOT), CROWD_TEXTS if size > 1 else 1)
    return tuple(IdBatch([*chosen, *found]))


def parts(ids: tuple[Id, ...]) -> SearchStrategy[tuple[Id, ...]]:
    """The whole crowd, a run of it, or every n-th."""
    size = len(ids)
    runs = st.tuples(st.integers(0, size), st.integers(0, size)).map(lambda ends: ids[min(ends) : max(ends)])
    combs = st.tuples(st.integers(0, 9), st.integers(2, 50)).map(lambda comb: ids[comb[0] :: comb[1]])
    return st.one_of(st.just(ids), runs, combs)


def copies(ids: tuple[Id, ...]) -> SearchStrategy[tuple[Copy, ...]]:
    def made(some: tuple[Id, ...], age: int, signed_off: bool) -> tuple[Copy, ...]:
        return tuple(Copy(user_id, age + index % 2, signed_off) for index, user_id in enumerate(some))

    return st.builds(made, parts(ids), st.integers(0, 2 * TTL), st.booleans())


def crowded_stories(ids: tuple[Id, ...]) -> SearchStrategy[list[Operation]]:
    some, ages = parts(ids), st.one_of(st.just(0), distances(TTL))
    steps = st.one_of(st.sampled_from([0, 1]), distances(TTL))
    return st.lists(
        st.one_of(
            st.builds(Heartbeat, steps, some, st.just(0)),
            st.builds(Heartbeat, steps, some, ages),
            st.builds(SignOff, steps, some, ages, st.one_of(st.just(0), distances(TTL))),
            st.builds(Advance, steps, st.sampled_from([1, 100, EVERYBODY])),
            st.builds(Advance, steps, st.sampled_from([1, 100, EVERYBODY])),
            st.builds(Merge, steps, copies(ids)),
            st.builds(Export, steps, st.just(ids[:1]), st.sampled_from([7, 100, EVERYBODY])),
            st.builds(ExportIds, steps, some),
            st.builds(Scan, st.just(0), st.sampled_from([1, 100, EVERYBODY]), st.none()),
            st.one_of(st.builds(Sync, st.just(ids[:1]), st.booleans()), st.builds(Drop, st.just(ids[:1]))),
            st.builds(Share, st.just(ids[:1]), st.sampled_from([True, True, False])),
            st.builds(AdvanceAndAgree, steps, st.just(ids[:1]), st.integers(0, 3)),
            st.builds(Overdue, st.just(ids[:1])),
        ),
        max_size=12,
    )


def compare_crowds(ids: tuple[Id, ...], data: st.DataObject, retention: int | None) -> None:
    config = EngineConfig(ttl_ticks=TTL, retention_ticks=retention, seed=SEED)
    drain_counts = data.draw(drains(st.sampled_from([1, 100, 1_000])))
    compare(ReferenceEngine, CheckedEngine, Case(config, 1_000, data.draw(crowded_stories(ids)), drain_counts))


@pytest.mark.parametrize("size", [1, 30, 400])
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data(), retention=st.sampled_from([0, None, TTL, 3 * TTL]))
def test_a_crowd_in_one_slot(size: int, data: st.DataObject, retention: int | None) -> None:
    compare_crowds(crowd(size), data, retention)


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(data=st.data(), retention=st.sampled_from([0, None, 3 * TTL]))
def test_pages_split_and_merge(data: st.DataObject, retention: int | None) -> None:
    compare_crowds(crowd(4_000), data, retention)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@settings(max_examples=20_000, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_twenty_thousand_stories(case: Case) -> None:
    compare(ReferenceEngine, CheckedEngine, case)


def test_a_slot_that_held_pages_by_the_dozen_is_empty_again() -> None:
    everybody = crowd(20_000)
    engine = CheckedEngine(EngineConfig(ttl_ticks=TTL, seed=SEED), tick=0)
    before = engine.stats().bytes
    for tick in range(1, 4):
        assert engine.heartbeat(IdBatch(everybody[tick::3]), tick) == len(everybody[tick::3])
    assert {change.id for change in drained(engine)} == {*everybody[1:]}
    for tick in range(4, 4 + 2 * TTL):
        while not engine.advance(tick, expiry_count_max=500):
            _kernel.check(engine)
        drained(engine)
    assert engine.stats().users == 0
    assert engine.stats().bytes < before + 100_000


def two_pages_of_one_slot() -> tuple[CheckedEngine, IdBatch, IdBatch, IdBatch]:
    """An engine at 1,018 with a slot of two pages, the second of which is small already.

    All of the first page were to be forgotten a little later than those of the second, so that they are there still. What
    is returned are some of the first page with a deadline at 1,019 and at 1,021, and some of the second with one at 1,020.
    """
    behind = WIDTH_BITS[IdKind.INT64] - SLOT_BITS
    hasher, size = Hasher(SEED), 1_600
    ids = [hasher.id_of(IdKind.INT64, (CROWDED_SLOT << behind) + index * (1 << behind) // size) for index in range(size)]
    first, second = ids[: size // 2], ids[size // 2 :]
    engine = CheckedEngine(EngineConfig(ttl_ticks=TTL, retention_ticks=3 * TTL, seed=SEED), tick=1_000)
    engine.heartbeat(IdBatch(second), 1_000)
    engine.heartbeat(IdBatch(first), 1_003)
    early, middle, late = IdBatch(first[:9]), IdBatch(second[:9]), IdBatch(first[9:18])
    for tick, batch in ((1_013, early), (1_014, middle), (1_015, late)):
        engine.advance(tick, expiry_count_max=EVERYBODY)
        engine.heartbeat(batch, tick)
    for tick in range(1_016, 1_019):
        engine.advance(tick, expiry_count_max=EVERYBODY)
    assert len(drained(engine)) == 2 * size + 27
    assert engine.stats().users == size // 2 + 9
    return engine, early, middle, late


def test_a_page_does_not_merge_with_one_that_is_due() -> None:
    engine, early, middle, late = two_pages_of_one_slot()
    assert engine.advance(1_022, expiry_count_max=EVERYBODY)
    said = drained(engine)
    assert engine.count() == 0
    assert engine.stats().users == 27
    assert sorted(change.tick for change in said) == [1_019] * 9 + [1_020] * 9 + [1_021] * 9
    assert {change.id for change in said} == {*early, *middle, *late}


def test_pages_where_somebody_is_overdue_may_merge() -> None:
    engine, early, middle, late = two_pages_of_one_slot()
    engine.set_shared([CROWDED_SLOT], True)
    assert engine.advance(1_019, expiry_count_max=EVERYBODY)
    engine.agree([CROWDED_SLOT], 1_019)
    assert engine.advance(1_022, expiry_count_max=EVERYBODY)
    assert {change.id for change in drained(engine)} == {*early}
    assert set(engine.overdue(engine.overdue_slots())) == {*middle, *late}
    assert engine.heartbeat(IdBatch([*middle][:1]), 1_022) == 0
    _kernel.check(engine)
    engine.agree([CROWDED_SLOT], 1_022)
    assert engine.advance(1_022, expiry_count_max=EVERYBODY)
    assert {change.id for change in drained(engine)} == {*list(middle)[1:], *late}
    assert (engine.count(), engine.stats().users) == (1, 27)


def test_a_page_where_nobody_is_overdue_any_more_and_somebody_is_to_be_forgotten() -> None:
    engine = CheckedEngine(EngineConfig(ttl_ticks=TTL, seed=SEED), tick=1_000)
    engine.set_shared(range(SLOT_COUNT), True)
    engine.heartbeat(IdBatch([0]), 1_000)
    engine.advance(1_001 + TTL, expiry_count_max=EVERYBODY)
    assert list(engine.overdue(engine.overdue_slots())) == [0]
    engine.sign_off(IdBatch([0]), 1_001 + TTL, grace_ticks=1)
    engine.advance(1_002 + 2 * TTL, expiry_count_max=EVERYBODY)
    assert len(engine.overdue(engine.overdue_slots())) == 0
    assert [change.reason for change in drained(engine)] == [Reason.HEARTBEAT, Reason.SIGN_OFF]
    assert engine.advance(1_002 + 2 * TTL, expiry_count_max=EVERYBODY)
    _kernel.check(engine)
    assert engine.stats().users == 0


@pytest.mark.parametrize(
    ("wanted", "engine", "ids"), [("c", "KernelEngine", "_batch"), ("python", "ReferenceEngine", "batch_python")]
)
def test_the_one_that_was_asked_for_is_what_runs(wanted: str, engine: str, ids: str) -> None:
    program = (
        "from presencedb import engine, ids;"
        "made = engine.create_engine(engine.EngineConfig(ttl_ticks=1), tick=0);"
        "print(engine.IMPLEMENTATION, type(made).__name__, ids.IdBatch.__module__)"
    )
    environment = {**clean_environment(), "PRESENCEDB_IMPL": wanted}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [wanted, engine, f"presencedb.ids.{ids}"]


def test_a_batch_of_the_other_kind_is_refused() -> None:
    from presencedb.ids.batch_python import IdBatch as PythonIdBatch

    engine = _kernel.KernelEngine(EngineConfig(ttl_ticks=1), tick=0)
    with pytest.raises(TypeError):
        engine.status(PythonIdBatch([1]))

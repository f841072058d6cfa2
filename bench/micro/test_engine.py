"""Ids a second of the kernel alone. `pytest bench/micro`; one kind or size: `-k "int64 and 10M"`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.population import BATCH, KINDS, TICK, UNKNOWN_FROM, batches, empty_engine, populated, scattered
from presencedb.engine._kernel import KernelEngine
from presencedb.ids import IdBatch
from presencedb.limits import SLOT_COUNT

USERS: Final = {"1M": 1_000_000, "10M": 10_000_000}
BATCHES: Final = 500
"""Of known and of unknown users: half a million of each, far more than a cache holds."""
EXPORT: Final = 10_000
ALL_SLOTS: Final = range(SLOT_COUNT)


class Population(NamedTuple):
    kind: str
    users: int
    engine: KernelEngine
    known: list[IdBatch]
    unknown: list[IdBatch]


@pytest.fixture(scope="module", params=[(kind, size) for size in USERS for kind in KINDS], ids="-".join)
def population(request: pytest.FixtureRequest) -> Population:
    kind, size = request.param
    users = USERS[size]
    engine = populated(kind, users)
    known, unknown = scattered(kind, 0, users, BATCHES), scattered(kind, UNKNOWN_FROM, users, BATCHES)
    for batch in (*known, *unknown):
        engine.status(batch)  # hashes it
    return Population(kind, users, engine, known, unknown)


def measure(benchmark: BenchmarkFixture, ids: int, call: Callable[..., None], **how: Any) -> None:
    benchmark.pedantic(call, **how)  # type: ignore[no-untyped-call]  # the package leaves it untyped
    assert benchmark.stats is not None
    benchmark.extra_info["million_ids_a_second"] = round(ids / benchmark.stats.stats.min / 1e6, 1)


def run(benchmark: BenchmarkFixture, call: Callable[[IdBatch], object], given: list[IdBatch]) -> None:
    """Time a pass over all batches, so that none is in a cache when it comes again."""

    def every() -> None:
        for batch in given:
            call(batch)

    measure(benchmark, len(given) * BATCH, every, rounds=5, warmup_rounds=1)


def test_heartbeat(benchmark: BenchmarkFixture, population: Population) -> None:
    run(benchmark, lambda batch: population.engine.heartbeat(batch, TICK + 1), population.known)


def test_status_of_known(benchmark: BenchmarkFixture, population: Population) -> None:
    run(benchmark, population.engine.status, population.known)


def test_status_of_unknown(benchmark: BenchmarkFixture, population: Population) -> None:
    run(benchmark, population.engine.status, population.unknown)


def test_first_heartbeat(benchmark: BenchmarkFixture, population: Population) -> None:
    """Users who come online for the first time, beside those who are there."""
    fresh = iter(
        [list(batches(population.kind, 2 * UNKNOWN_FROM // 3 + turn * 50 * BATCH, 50 * BATCH)) for turn in range(4)]
    )

    def come(given: list[IdBatch]) -> None:
        for batch in given:
            population.engine.heartbeat(batch, TICK + 1)
        population.engine.discard_transitions()

    measure(benchmark, 50 * BATCH, come, rounds=4, setup=lambda: ((next(fresh),), {}))


def test_export(benchmark: BenchmarkFixture, population: Population) -> None:
    """Every register of the population, ten thousand at a time."""

    def every() -> None:
        cursor: int | None = 0
        while cursor is not None:
            cursor, _ = population.engine.export_slots(ALL_SLOTS, TICK + 1, count_max=EXPORT, cursor=cursor)

    measure(benchmark, population.users, every, rounds=2)


def test_export_of_ids(benchmark: BenchmarkFixture, population: Population) -> None:
    run(benchmark, lambda batch: population.engine.export(batch, TICK + 1), population.known)


def test_merge(benchmark: BenchmarkFixture, population: Population) -> None:
    """Copies into an engine that knows none of these users."""
    copies = [population.engine.export(batch, TICK + 1) for batch in population.known]

    def into(engine: KernelEngine) -> None:
        for one in copies:
            engine.merge(one, TICK + 1)
            engine.discard_transitions()

    measure(benchmark, len(copies) * BATCH, into, rounds=3, setup=lambda: ((empty_engine(),), {}))

"""A batch by owner and the answers back: ns an id. `pytest bench/micro/test_placement.py`; one case: `-k "100-members"`."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from presencedb.ids import IdBatch
from presencedb.placement import (
    ALL_SLOTS,
    Member,
    OwnerTable,
    Part,
    Topology,
    merge_statuses,
    positions_outside,
    split_reads,
    split_writes,
)
from presencedb.states import Status

SEED: Final = 7
MEMBERS: Final = (1, 3, 100)
COUNTS: Final = (1, 100, 10_000)
ROUNDS: Final = 200


class Case(NamedTuple):
    table: OwnerTable
    size: int
    values: array[int]

    def batch(self) -> IdBatch:
        """A new one, that is not hashed yet."""
        return IdBatch(self.values)


@pytest.fixture(
    scope="module",
    params=[(members, count) for members in MEMBERS for count in COUNTS],
    ids=lambda pair: f"{pair[0]}-members-{pair[1]}-ids",
)
def case(request: pytest.FixtureRequest) -> Case:
    members, count = request.param
    whole = Topology(1, SEED, 2, tuple(Member(f"n{index:03}", "localhost:7411") for index in range(members)))
    values = array("Q", [random.Random(SEED + index).getrandbits(32) for index in range(count)])
    return Case(whole.owners, count, values)


def measure(benchmark: BenchmarkFixture, ids: int, call: Callable[..., object], **how: Any) -> None:
    benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=3, **how)  # type: ignore[no-untyped-call]  # the package is untyped
    assert benchmark.stats is not None
    benchmark.extra_info["ns_an_id"] = round(benchmark.stats.stats.median * 1e9 / ids, 1)


def answers(parts: list[Part]) -> list[tuple[array[int], bytes]]:
    return [(part.positions, bytes([Status.ONLINE]) * len(part.ids)) for part in parts]


def merge(into: bytearray, answered: list[tuple[array[int], bytes]]) -> None:
    for positions, part in answered:
        merge_statuses(into, positions, part)


def test_split_reads(benchmark: BenchmarkFixture, case: Case) -> None:
    """With the hashing of the ids."""
    measure(benchmark, case.size, split_reads, setup=lambda: ((case.batch(), SEED, case.table), {}))


def test_all_ids_are_owned(benchmark: BenchmarkFixture, case: Case) -> None:
    """What a member of a cluster looks at in each request, of ids that are hashed: it needs them hashed anyway."""
    batch, everything = case.batch(), ALL_SLOTS.to_bitmap()
    positions_outside(batch, SEED, everything)
    measure(benchmark, case.size, positions_outside, setup=lambda: ((batch, SEED, everything), {}))


def test_split_writes(benchmark: BenchmarkFixture, case: Case) -> None:
    """To two owners each, with the hashing of the ids."""
    measure(benchmark, case.size, split_writes, setup=lambda: ((case.batch(), SEED, case.table), {}))


def test_merge(benchmark: BenchmarkFixture, case: Case) -> None:
    answered = answers(split_reads(case.batch(), SEED, case.table))
    unknown = bytes([Status.UNKNOWN]) * case.size
    measure(benchmark, case.size, merge, setup=lambda: ((bytearray(unknown), answered), {}))

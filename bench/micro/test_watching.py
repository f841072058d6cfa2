"""The compiled index of watchers alone: a full chunk of transitions matched, and a watch that comes and goes.

`pytest bench/micro/test_watching.py`. `nanoseconds` is that of one transition, or of one watch; `bytes_a_watch` what the
index says it holds (a test holds that to the resident bytes).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.population import UNKNOWN_FROM
from presencedb.ids import IdBatch
from presencedb.limits import FEED_FRAME_EVENTS_MAX
from presencedb.watching._index import CompiledWatchIndex

WATCHERS: Final = 1_000
IDS_EACH: Final = 1_000
IDS: Final = WATCHERS * IDS_EACH
FANS: Final = 10_000
STEP: Final = 7_368_787
"""A prime: the ids of a chunk come from all over, in no order that a cache could know."""


def chunk(first: int) -> list[int]:
    return [(first + index * STEP) % IDS for index in range(FEED_FRAME_EVENTS_MAX)]


def nobodys(ids: int) -> list[int]:
    return [UNKNOWN_FROM + index * STEP for index in range(ids)]


def run(benchmark: BenchmarkFixture, parts: int, call: Callable[..., object], **how: Any) -> None:
    benchmark.pedantic(call, rounds=50, warmup_rounds=1, **how)  # type: ignore[no-untyped-call]  # it leaves it untyped
    assert benchmark.stats is not None
    benchmark.extra_info["nanoseconds"] = round(benchmark.stats.stats.min / parts * 1e9, 1)


def run_match(benchmark: BenchmarkFixture, index: CompiledWatchIndex, chunks: Sequence[list[int]]) -> None:
    batches = [IdBatch(array("Q", ids)) for ids in chunks]
    turns = count()
    run(benchmark, FEED_FRAME_EVENTS_MAX, lambda: index.match(batches[next(turns) % len(batches)]))


def watched_by(spread: int) -> CompiledWatchIndex:
    """A million watches by a thousand watchers, of so many ids: each is watched equally often."""
    index = CompiledWatchIndex(1)
    for first in range(0, IDS, IDS_EACH):
        index.watch(
            index.add_watcher(), IdBatch(array("Q", range(first % spread, first % spread + IDS_EACH))), count_max=IDS
        )
    return index


@pytest.fixture(scope="module")
def each_once() -> CompiledWatchIndex:
    return watched_by(IDS)


def test_match_where_nobody_is_watched(benchmark: BenchmarkFixture, each_once: CompiledWatchIndex) -> None:
    run_match(benchmark, each_once, [nobodys(FEED_FRAME_EVENTS_MAX)])


def test_match_where_all_are_watched_once(benchmark: BenchmarkFixture, each_once: CompiledWatchIndex) -> None:
    run_match(benchmark, each_once, [chunk(first) for first in range(50)])


def test_match_where_one_has_ten_thousand_watchers(benchmark: BenchmarkFixture) -> None:
    index = CompiledWatchIndex(1)
    for _ in range(FANS):
        index.watch(index.add_watcher(), IdBatch([42]), count_max=1)
    run_match(benchmark, index, [[42, *nobodys(FEED_FRAME_EVENTS_MAX - 1)]])


def test_select(benchmark: BenchmarkFixture, each_once: CompiledWatchIndex) -> None:
    ids = IdBatch(array("Q", chunk(0)))
    run(benchmark, FEED_FRAME_EVENTS_MAX, lambda: each_once.select(0, ids))


@pytest.mark.parametrize("watchers_an_id", [1, 10, 100])
def test_watch(benchmark: BenchmarkFixture, watchers_an_id: int) -> None:
    """Somebody comes, watches a thousand of them, and goes."""
    index = watched_by(IDS // watchers_an_id)
    batches = [IdBatch(array("Q", chunk(first)[:IDS_EACH])) for first in range(50)]
    turns = count()

    def come_and_go() -> None:
        watcher = index.add_watcher()
        index.watch(watcher, batches[next(turns) % len(batches)], count_max=IDS_EACH)
        index.remove_watcher(watcher)

    run(benchmark, IDS_EACH, come_and_go)
    benchmark.extra_info["bytes_a_watch"] = round(index.bytes / index.watch_count, 1)

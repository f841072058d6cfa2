"""Bytes a watch, and bytes when they have gone: sizes are part of what the compiled index promises."""

from __future__ import annotations

import random
import subprocess
import sys
from array import array
from collections.abc import Callable
from typing import Final

import pytest

from presencedb.ids import IdBatch
from presencedb.implementation import COMPILED
from presencedb.watching import IMPLEMENTATION, WatchIndex, create_watch_index
from tests.support.process import clean_environment

pytestmark = pytest.mark.skipif(IMPLEMENTATION != COMPILED, reason="the twins in Python are what runs")

SEED: Final = 7
WATCHERS: Final = 1_000
IDS_EACH: Final = 1_000
WATCHES: Final = WATCHERS * IDS_EACH
RESIDENT: Final = """
import gc, os
from array import array
from presencedb.ids import IdBatch
from presencedb.watching import create_watch_index

def resident_bytes():
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

index = create_watch_index(1)
batches = [IdBatch(array("Q", range(first, first + 1_000))) for first in range(0, 1_000_000, 1_000)]
before = resident_bytes()
for batch in batches:
    index.watch(index.add_watcher(), batch, count_max=1_000)
print(index.bytes, resident_bytes() - before)
"""


def ints(first: int, count: int) -> IdBatch:
    return IdBatch(array("Q", range(first, first + count)))


def texts(first: int, count: int) -> IdBatch:
    return IdBatch([f"somebody whose number is {number}" for number in range(first, first + count)])


def filled(choose: Callable[[int], IdBatch], watchers: int = WATCHERS) -> WatchIndex:
    """An index with so many watchers; `choose` says what each of them watches."""
    index = create_watch_index(SEED)
    for which in range(watchers):
        index.watch(index.add_watcher(), choose(which), count_max=IDS_EACH)
    return index


def emptied(index: WatchIndex, watchers: int) -> WatchIndex:
    for watcher in range(watchers):
        index.remove_watcher(watcher)
    return index


EMPTY_BYTES: Final = create_watch_index(SEED).bytes


def test_an_empty_index_is_small() -> None:
    assert create_watch_index(SEED).bytes < 400


@pytest.mark.parametrize(
    ("ids", "bytes_max"),
    [
        pytest.param(1_000_000, 49, id="each-watched-once"),
        pytest.param(100_000, 14, id="by-ten"),
        pytest.param(10_000, 9.5, id="by-a-hundred"),
    ],
)
def test_bytes_a_watch(ids: int, bytes_max: float) -> None:
    index = filled(lambda which: ints(which * IDS_EACH % ids, IDS_EACH))
    assert (index.watch_count, index.id_count) == (WATCHES, ids)
    assert index.bytes / WATCHES < bytes_max
    assert emptied(index, WATCHERS).bytes == EMPTY_BYTES


def test_ten_thousand_watchers_of_one_id() -> None:
    watchers = 10_000
    index = create_watch_index(SEED)
    for _ in range(watchers):
        index.add_watcher()
    unwatched = index.bytes
    assert unwatched / watchers < 32
    for watcher in range(watchers):
        index.watch(watcher, IdBatch(["everybody knows her"]), count_max=1)
    assert (index.bytes - unwatched) / watchers < 40, "a list of one id, and 4 bytes and an eighth in the other direction"
    for watcher in range(watchers):
        assert index.unwatch(watcher, IdBatch(["everybody knows her"])) == 1
    assert index.bytes == unwatched
    assert emptied(index, watchers).bytes == EMPTY_BYTES


@pytest.mark.parametrize("ids", [ints, texts])
def test_ids_never_seen_again_leave_nothing_behind(ids: Callable[[int, int], IdBatch]) -> None:
    index = create_watch_index(SEED)
    index.watch(stays := index.add_watcher(), IdBatch(["alice", 7]), count_max=2)
    before = index.bytes
    for turn in range(50):
        watchers = [index.add_watcher() for _ in range(10)]
        for which, watcher in enumerate(watchers):
            index.watch(watcher, ids(1_000 * turn + 50 * which, 100), count_max=100)
        index.unwatch(watchers[0], ids(1_000 * turn, 100))
        for watcher in watchers:
            index.remove_watcher(watcher)
        assert index.bytes <= before
    assert list(index.watched(stays)) == ["alice", 7]


def test_an_index_that_was_large_is_as_small_as_one_that_never_was() -> None:
    index = filled(lambda which: ints(which * 500, IDS_EACH), 200)
    kept = random.Random(SEED).sample(range(200), 20)
    for watcher in set(range(200)) - set(kept):
        index.remove_watcher(watcher)
    for watcher in kept:
        index.unwatch(watcher, ints(watcher * 500, IDS_EACH - 5))
    fresh = filled(lambda which: ints(kept[which] * 500 + IDS_EACH - 5, 5), 20)
    assert (index.watch_count, index.id_count) == (fresh.watch_count, fresh.id_count) == (100, 100)
    assert index.bytes < fresh.bytes + 10_000, "but for the numbers of the watchers, which stay theirs"


def test_the_bytes_are_those_of_the_process() -> None:
    result = subprocess.run(
        [sys.executable, "-c", RESIDENT], env=clean_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    stated, resident = map(int, result.stdout.split())
    assert 0.95 < resident / stated < 1.05

"""Bytes a user, and bytes when they have gone: sizes are part of what the kernel promises."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

import pytest

from presencedb.engine import IMPLEMENTATION, EngineConfig
from presencedb.ids import IdBatch, IdKind
from presencedb.implementation import COMPILED

_kernel = pytest.importorskip("presencedb.engine._kernel", reason="the compiled parts are not built")
pytestmark = pytest.mark.skipif(IMPLEMENTATION != COMPILED, reason="the twins in Python are what runs")

TTL: Final = 300
START: Final = 1_000
BATCH: Final = 100_000
SPREAD: Final = 0x9E3779B97F4A7C15
BYTES_EMPTY_MAX: Final = 600_000
"""Nearly all of it the pages of a slot, which are not resident before they are used."""
BYTES_LOG_KEPT_MAX: Final = 200_000


def large_ids(first: int, count: int) -> array[int]:
    return array("Q", [number * SPREAD % 2**64 | 2**63 for number in range(first, first + count)])


def small_ids(first: int, count: int) -> array[int]:
    return array("Q", range(first, first + count))


def test_the_geometry_of_a_line() -> None:
    assert _kernel.geometry() == {
        -1: (64, 0),
        IdKind.INT32: (64, 10),
        IdKind.INT64: (64, 6),
        IdKind.UUID: (128, 7),
        IdKind.TEXT: (128, 7),
    }


def test_an_empty_engine_is_small() -> None:
    assert _kernel.KernelEngine(EngineConfig(ttl_ticks=TTL), tick=0).stats().bytes < BYTES_EMPTY_MAX


@pytest.mark.slow
@pytest.mark.parametrize(("ids", "bytes_max"), [(small_ids, 8.4), (large_ids, 12.8)])
def test_bytes_a_user(ids: Callable[[int, int], array[int]], bytes_max: float) -> None:
    users = 10_000_000
    engine = _kernel.KernelEngine(EngineConfig(ttl_ticks=TTL), tick=START)
    for first in range(0, users, BATCH):
        engine.heartbeat(IdBatch(ids(first, BATCH)), START)
        engine.discard_transitions()
    assert engine.stats().users == users
    assert engine.stats().bytes / users < bytes_max
    while not engine.advance(START + TTL + 1, expiry_count_max=4096):
        engine.discard_transitions()
    engine.discard_transitions()
    assert engine.stats().bytes < BYTES_EMPTY_MAX + BYTES_LOG_KEPT_MAX

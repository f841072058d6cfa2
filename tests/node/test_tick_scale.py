"""Milliseconds and ticks: rounded so that nothing is younger, and nothing shorter, than was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.limits import AGE_MS_MAX, TICK_MS_MAX, TICK_MS_MIN
from presencedb.node.tick_scale import TickScale


@pytest.mark.parametrize(
    ("duration_ms", "ticks"), [(0, 0), (1, 1), (99, 1), (100, 1), (101, 2), (30_000, 300), (2**53, 2**53 // 100 + 1)]
)
def test_ticks_of_100_ms(duration_ms: int, ticks: int) -> None:
    assert TickScale(100).ticks(duration_ms) == ticks


@given(st.integers(TICK_MS_MIN, TICK_MS_MAX), st.integers(0, AGE_MS_MAX))
def test_ticks_cover_a_duration_and_hardly_more(tick_ms: int, duration_ms: int) -> None:
    scale = TickScale(tick_ms)
    covered_ms = scale.duration_ms(scale.ticks(duration_ms))
    assert duration_ms <= covered_ms < duration_ms + tick_ms

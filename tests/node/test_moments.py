"""When ticks were, a whole column of them at once."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.node.moments import moments_of


class HalfSeconds:
    """Tick 0 was at 7 ms, and one is half a second."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def ms_at(self, tick: int) -> int:
        self.asked.append(tick)
        return 7 + 500 * tick


@given(st.lists(st.one_of(st.just(-1), st.integers(0, 5), st.integers(0, 2**31)), max_size=40))
def test_each_tick_has_its_moment_and_none_has_none(ticks: list[int]) -> None:
    found = moments_of(array("q", ticks), HalfSeconds())
    assert found == array("q", [-1 if tick < 0 else 7 + 500 * tick for tick in ticks])
    assert found.typecode == "q"


@pytest.mark.parametrize("ticks", [[3] * 1000, [3, 4, -1] * 1000])
def test_a_tick_that_many_have_is_looked_up_once(ticks: list[int]) -> None:
    wall_time = HalfSeconds()
    assert len(moments_of(array("q", ticks), wall_time)) == len(ticks)
    assert sorted(wall_time.asked) == sorted({tick for tick in ticks if tick >= 0})


def test_ticks_of_transitions_are_taken_too() -> None:
    assert moments_of(array("I", [1, 2]), HalfSeconds()) == array("q", [507, 1007])

"""The timers of the reference engine: one entry an id, the earliest first, and nothing left of what was dropped."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from presencedb.engine.reference_timers import Timers, compact
from presencedb.ids import Id

few_ids = st.sampled_from(["a", "b", 1, 2, 3])
actions = st.lists(st.tuples(st.sampled_from(["arm", "disarm", "pop"]), few_ids, st.integers(0, 20)), max_size=60)


@given(actions)
def test_like_a_dict_of_ids_and_ticks(todo: list[tuple[str, Id, int]]) -> None:
    timers = Timers()
    wanted: dict[Id, int] = {}
    for action, user_id, tick in todo:
        if action == "arm":
            timers.arm(user_id, tick)
            wanted[user_id] = min(tick, wanted.get(user_id, tick))
        elif action == "disarm":
            timers.disarm(user_id)
            wanted.pop(user_id, None)
        else:
            entry = timers.pop(tick)
            due = [t for t in wanted.values() if t <= tick]
            assert (entry is None) == (not due)
            if entry is not None:
                assert entry[0] == min(due) == wanted.pop(entry[1])
        timers.compact()
        assert len(timers) == len(wanted)
    while (entry := timers.pop(100)) is not None:
        assert wanted.pop(entry[1]) == entry[0]
    assert not wanted


def test_dropped_entries_do_not_pile_up() -> None:
    timers = Timers()
    timers.arm("stays", 10**9)
    for tick in range(20_000):
        timers.arm("toggles", 10**6 + tick)
        timers.disarm("toggles")
    assert timers.bytes_estimate() < 20_000
    assert timers.pop(10**9) == (10**9, "stays")
    assert timers.pop(10**9) is None


def test_a_table_that_was_large_is_made_small() -> None:
    table = dict.fromkeys(range(10_000))
    assert compact(table) is table
    for number in range(9_990):
        del table[number]
    smaller = compact(table)
    assert smaller == table
    assert sys.getsizeof(smaller) < sys.getsizeof(table) / 100

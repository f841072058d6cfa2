"""Which ring runs: the one that the environment forces, or the compiled one where it can be imported."""

from __future__ import annotations

from presencedb.engine import IMPLEMENTATION as OF_THE_ENGINE
from presencedb.placement import (
    IMPLEMENTATION,
    merge_statuses,
    merge_times,
    positions_outside,
    ring,
    slots_of,
    split_reads,
    split_writes,
)
from tests.placement.implementations import RINGS


def test_what_is_called_is_of_the_implementation_that_is_named() -> None:
    chosen = RINGS[IMPLEMENTATION]
    assert (split_reads, split_writes) == (chosen.split_reads, chosen.split_writes)
    assert (positions_outside, slots_of) == (chosen.positions_outside, chosen.slots_of)
    assert (merge_statuses, merge_times) == (chosen.merge_statuses, chosen.merge_times)
    assert (ring.rank_members, ring.join_owners, ring.owner_bitmaps) == (
        chosen.rank_members,
        chosen.join_owners,
        chosen.owner_bitmaps,
    )


def test_it_is_the_same_as_that_of_the_engine() -> None:
    assert IMPLEMENTATION == OF_THE_ENGINE

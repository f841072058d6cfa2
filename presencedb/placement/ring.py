"""The ring's loops over slots and ids: the compiled ones of `_ring.pyx`, or their twins in Python.

`IMPLEMENTATION` says which run here (see `presencedb.implementation`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from presencedb.implementation import COMPILED, PYTHON, compiled_module
from presencedb.placement import merge, ranks, split

if TYPE_CHECKING:
    from presencedb.placement import _ring as compiled
else:
    compiled = compiled_module("presencedb.placement._ring")

IMPLEMENTATION: Final[str] = PYTHON if compiled is None else COMPILED
"""`c` or `python`."""

rank_members = ranks.rank_members if compiled is None else compiled.rank_members
join_owners = ranks.join_owners if compiled is None else compiled.join_owners
owner_bitmaps = ranks.owner_bitmaps if compiled is None else compiled.owner_bitmaps
split_reads = split.split_reads if compiled is None else compiled.split_reads
split_writes = split.split_writes if compiled is None else compiled.split_writes
positions_outside = split.positions_outside if compiled is None else compiled.positions_outside
slots_of = split.slots_of if compiled is None else compiled.slots_of
merge_statuses = merge.merge_statuses if compiled is None else compiled.merge_statuses
merge_times = merge.merge_times if compiled is None else compiled.merge_times

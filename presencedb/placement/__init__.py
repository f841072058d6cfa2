"""Where users are kept: slots, the topology, who owns a slot, and a batch cut by owner and put together again.

No I/O and no clock: everybody computes the same from the same topology. `docs/cluster.md` says what, byte by byte.
"""

from presencedb.placement.members import Member
from presencedb.placement.merge import merge_counts
from presencedb.placement.owners import OwnerTable
from presencedb.placement.ranks import NO_MEMBER
from presencedb.placement.ring import (
    IMPLEMENTATION,
    merge_statuses,
    merge_times,
    positions_outside,
    slots_of,
    split_reads,
    split_writes,
)
from presencedb.placement.slots import ALL_SLOTS, NO_SLOTS, SlotSet
from presencedb.placement.split import Part
from presencedb.placement.topology import Difference, Topology, difference

__all__ = [
    "ALL_SLOTS",
    "IMPLEMENTATION",
    "NO_MEMBER",
    "NO_SLOTS",
    "Difference",
    "Member",
    "OwnerTable",
    "Part",
    "SlotSet",
    "Topology",
    "difference",
    "merge_counts",
    "merge_statuses",
    "merge_times",
    "positions_outside",
    "slots_of",
    "split_reads",
    "split_writes",
]

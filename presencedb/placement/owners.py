"""The table of owners: for each slot the members that keep it, in the order in which they are asked."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from presencedb.limits import SLOT_COUNT
from presencedb.placement import ring
from presencedb.placement.members import Member
from presencedb.placement.ranks import NO_MEMBER, Side
from presencedb.placement.slots import SLOT_SET_BYTES, SlotSet

if TYPE_CHECKING:
    from presencedb.placement.topology import Topology


@dataclass(frozen=True)
class OwnerTable:
    """Who owns what. Immutable; made by `of` and `overlap`.

    Attributes:
        members: whom the cells name, by their index here; by ascending id.
        depth: ranks a slot.
        cells: for each slot `depth` indexes of 16 bits in the machine's byte order; `NO_MEMBER` behind the last owner.

    Raises:
        ValueError: the cells have another size than slots and ranks, or name a member that there is not.
    """

    members: tuple[Member, ...]
    depth: int
    cells: bytes

    def __post_init__(self) -> None:
        self.slots_by_member  # noqa: B018  # looks at every cell

    @classmethod
    def of(cls, topology: Topology) -> Self:
        """The owners in a topology: of each slot the first R of its ranks, fewer where there are fewer with a weight."""
        members = topology.members
        cells = ring.rank_members([(member.id, member.weight) for member in members], topology.replicas)
        return cls(members, topology.replicas, cells)

    @classmethod
    def overlap(cls, old: Topology, new: Topology) -> Self:
        """The owners while slots move from one topology to another: the old ones in their order, behind them the new ones.

        So reads go to the old owners first, and writes to old and new. A member that is in both is the new one.

        Raises:
            ValueError: the topologies have another seed, so that their slots are not the same.
        """
        if old.seed != new.seed:
            raise ValueError("topologies of different seeds have no slots in common")
        by_id = {member.id: member for member in (*old.members, *new.members)}
        members = tuple(by_id[member_id] for member_id in sorted(by_id))
        index_of = {member.id: index for index, member in enumerate(members)}
        before, after = (
            Side(table.cells, table.depth, array("H", [index_of[member.id] for member in table.members]))
            for table in (old.owners, new.owners)
        )
        return cls(members, before.depth + after.depth, ring.join_owners(before, after))

    def of_slot(self, slot: int) -> tuple[int, ...]:
        """The owners of a slot as indexes of members, the one asked first at the front.

        Raises:
            ValueError: there is no such slot.
        """
        if not 0 <= slot < SLOT_COUNT:
            raise ValueError(f"a slot is between 0 and {SLOT_COUNT - 1}, not {slot}")
        row = memoryview(self.cells).cast("H")[slot * self.depth : (slot + 1) * self.depth]
        return tuple(member for member in row if member != NO_MEMBER)

    @cached_property
    def slots_by_member(self) -> tuple[SlotSet, ...]:
        """What each member owns, at any rank."""
        return _slot_sets(self.cells, self.depth, len(self.members))

    @cached_property
    def first_slots_by_member(self) -> tuple[SlotSet, ...]:
        """What each member owns at the first rank: where it is asked."""
        rows = memoryview(self.cells).cast("H")
        return _slot_sets(rows[:: self.depth].tobytes(), 1, len(self.members))

    @cached_property
    def lone(self) -> int:
        """The member that owns every slot with nobody beside it, or `NO_MEMBER`: a batch need not be split then."""
        owning = [index for index, slots in enumerate(self.slots_by_member) if len(slots)]
        return owning[0] if len(owning) == 1 and len(self.slots_by_member[owning[0]]) == SLOT_COUNT else NO_MEMBER


def _slot_sets(cells: bytes, depth: int, member_count: int) -> tuple[SlotSet, ...]:
    bitmaps = ring.owner_bitmaps(cells, depth, member_count)
    starts = range(0, len(bitmaps), SLOT_SET_BYTES)
    return tuple(SlotSet.of_bitmap(bitmaps[start : start + SLOT_SET_BYTES]) for start in starts)

"""A batch by owner: for each member the ids to ask or tell it, and where they stand. Here in Python, in `_split.h` compiled.

Positions are what brings the answers back into the order asked (`merge.py`). Within a part they are in the order of the
batch, or of the positions given; parts are in the order of the members, ids that nobody owns come last.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from presencedb.ids import Hasher, IdBatch
from presencedb.placement.ranks import NO_MEMBER
from presencedb.placement.slots import SlotSet

if TYPE_CHECKING:
    from presencedb.placement.owners import OwnerTable


class Part(NamedTuple):
    """What one member is asked or told.

    Attributes:
        member: its index in `OwnerTable.members`, or `NO_MEMBER`.
        ids: the batch itself, not a copy, where all of it in its order goes to one member.
        positions: where each of the ids stands in the batch that was split (type code 'I').
    """

    member: int
    ids: IdBatch
    positions: array[int]


def split_reads(
    batch: IdBatch,
    seed: int,
    table: OwnerTable,
    rank: int = 0,
    positions: array[int] | None = None,
    *,
    mask: bytes | None = None,
) -> list[Part]:
    """Each id to one member: to its first owner from `rank` on that may be asked.

    To ask again for what stayed unknown: give those positions, and a mask without all members that this part has been to.

    Args:
        seed: of the hash of the cluster, 64 bits.
        rank: the rank to begin at, from 0.
        positions: of the ids that are wanted (type code 'I'); all, where there are none given.
        mask: a byte a member of the table, 0: is not to be asked.

    Raises:
        IndexError: a position is past the end.
        ValueError: the rank is negative, or the mask has another length.
    """
    _check(table, rank, mask)
    wanted = range(len(batch)) if positions is None else positions
    places: dict[int, list[int]] = {}
    for position, owners in zip(wanted, _owners(batch, seed, table, rank, positions=positions, mask=mask), strict=True):
        places.setdefault(owners[0] if owners else NO_MEMBER, []).append(position)
    return _parts(batch, places, whole=positions is None)


def split_writes(batch: IdBatch, seed: int, table: OwnerTable, *, mask: bytes | None = None) -> list[Part]:
    """Each id to all of its owners; one without any to `NO_MEMBER`.

    Args:
        seed: of the hash of the cluster, 64 bits.
        mask: a byte a member of the table, 0: is not to be told.

    Raises:
        ValueError: the mask has another length.
    """
    _check(table, 0, mask)
    places: dict[int, list[int]] = {}
    for position, owners in enumerate(_owners(batch, seed, table, 0, mask=mask)):
        for member in owners or (NO_MEMBER,):
            places.setdefault(member, []).append(position)
    return _parts(batch, places, whole=True)


def positions_outside(batch: IdBatch, seed: int, bitmap: bytes) -> array[int] | None:
    """Which ids of a batch lie outside of some slots (type code 'I'); None: none of them, as a member of a cluster expects.

    Args:
        seed: of the hash of the cluster, 64 bits.
        bitmap: of the slots, as `SlotSet.to_bitmap` gives it.

    Raises:
        ValueError: the bitmap has not 2048 bytes.
    """
    slots = SlotSet.of_bitmap(bitmap)
    place = Hasher(seed).place
    outside = array("I", [position for position, user_id in enumerate(batch) if place(user_id).slot not in slots])
    return outside or None


def slots_of(batch: IdBatch, seed: int) -> bytes:
    """The slots of the ids of a batch, as a bitmap that `SlotSet.of_bitmap` takes.

    Args:
        seed: of the hash of the cluster, 64 bits.
    """
    place = Hasher(seed).place
    return SlotSet(place(user_id).slot for user_id in batch).to_bitmap()


def _check(table: OwnerTable, rank: int, mask: bytes | None) -> None:
    if rank < 0:
        raise ValueError(f"a rank is not negative, as {rank} is")
    if mask is not None and len(mask) != len(table.members):
        raise ValueError(f"the mask of {len(table.members)} members has as many bytes, not {len(mask)}")


def _owners(
    batch: IdBatch,
    seed: int,
    table: OwnerTable,
    rank: int,
    *,
    positions: array[int] | None = None,
    mask: bytes | None,
) -> list[list[int]]:
    """For each id its owners from a rank on, without those that the mask leaves out."""
    place = Hasher(seed).place
    rows = memoryview(table.cells).cast("H")
    asked = {member for member in range(len(table.members)) if mask is None or mask[member]}
    wanted = batch if positions is None else batch.take(positions)
    starts = (place(user_id).slot * table.depth for user_id in wanted)
    return [[member for member in rows[start + rank : start + table.depth] if member in asked] for start in starts]


def _parts(batch: IdBatch, places: dict[int, list[int]], whole: bool) -> list[Part]:
    """The parts. `whole`: the ids come in the order of the batch, and each at most once in a part."""
    parts = []
    for member, listed in sorted(places.items()):
        positions = array("I", listed)
        parts.append(Part(member, batch if whole and len(listed) == len(batch) else batch.take(positions), positions))
    return parts

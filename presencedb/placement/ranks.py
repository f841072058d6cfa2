"""Who owns a slot: weighted rendezvous hashing, the same on every machine. Here in Python, in `_ranks.h` compiled.

For each slot every member draws a number from the hash of its id and the slot, and the members are ranked by it (D. Thaler,
C. Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6(1), 1998). What
others drew plays no part in it: a member that comes or goes takes or leaves its own slots, and no slot moves between two
that stay. With weights (C. Schindelhauer, G. Schomaker, "Weighted distributed hash tables", SPAA 2005, the logarithmic
method), a member of weight `w` that drew `u`, evenly from 0..1, has the key `-log2(u) / w`, and the least key ranks first:
exponential variables, the least of which is that of a member with probability `w / sum of weights`.

A logarithm of the C library differs in its last bit from machine to machine, and with it might the owner of a slot. So:

- `hash` is xxh3_64 of the id in ASCII, followed by the slot as 2 bytes, little endian. `u` is `hash / 2^64`; 0 counts as 1.
- `distance(hash)` is `-log2(u)` with 48 bits behind the point: of the leading 32 bits, the 8 after the first one choose an
  entry of the table `floor(2^48 * log2(1 + i / 256))`, the 23 after those interpolate between it and the next, rounded down.
- Keys are compared exactly, as `distance_a * weight_b < distance_b * weight_a`; those that are equal by the greater hash,
  then by the lesser id. The distance never grows with the hash, so between equal weights the greater hash ranks first.

The interpolation is off by at most 0.1 % of the distance, for all members alike: what that does to a share is far below the
noise of 16,384 draws. A member of weight 0 is not ranked. `docs/cluster.md` has this with test vectors.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cache
from heapq import nsmallest
from math import lcm
from typing import Final, NamedTuple

import xxhash

from presencedb.limits import SLOT_COUNT
from presencedb.placement.slots import SLOT_SET_BYTES

NO_MEMBER: Final = 0xFFFF
"""The index in a table where there is no owner."""
FRACTION_BITS: Final = 48
"""Of a distance, behind the point: 64 whole bits at most, times a weight of 10 bits, are below 2^64."""
TABLE_BITS: Final = 8
INTERPOLATED_BITS: Final = 23
"""The difference of neighbours in the table has 41 bits: times these, 64."""
_GUARD_BITS: Final = 64
"""Squaring doubles an error, and does so once for each bit of the fraction."""


@cache
def log2_table() -> array[int]:
    """`floor(2^48 * log2(1 + i / 256))` for i = 0..256, type code 'Q': bit by bit, by squaring, in integers."""
    point = FRACTION_BITS + _GUARD_BITS
    table = array("Q")
    for index in range(2**TABLE_BITS):
        mantissa = (2**TABLE_BITS + index) << (point - TABLE_BITS)
        logarithm = 0
        for _ in range(FRACTION_BITS):
            mantissa = mantissa * mantissa >> point
            bit = mantissa >> (point + 1)
            mantissa >>= bit
            logarithm = logarithm << 1 | bit
        table.append(logarithm)
    table.append(2**FRACTION_BITS)
    return table


def distance(hash_value: int) -> int:
    """`-log2(hash_value / 2^64)` with 48 bits behind the point; of 0 as of 1."""
    value = hash_value or 1
    whole = value.bit_length() - 1
    leading = value << (63 - whole) >> 32  # 1 bit that is set, 8 for the table, 23 to interpolate
    index = leading >> INTERPOLATED_BITS & (2**TABLE_BITS - 1)
    table = log2_table()
    between = (table[index + 1] - table[index]) * (leading & (2**INTERPOLATED_BITS - 1)) >> INTERPOLATED_BITS
    return ((64 - whole) << FRACTION_BITS) - table[index] - between


def rank_members(members: Sequence[tuple[str, int]], depth: int) -> bytes:
    """The first `depth` members of each slot.

    Args:
        members: (id, weight) by ascending id; their index is what stands in the table.
        depth: ranks a slot, 1..16.

    Returns:
        The table: for each slot `depth` indexes of 16 bits in the machine's byte order, `NO_MEMBER` where there are no more.
    """
    ranked = [(index, name.encode("ascii"), weight) for index, (name, weight) in enumerate(members) if weight]
    # Times the least common multiple of the weights, the keys are integers: compared exactly, as in the rule.
    common = lcm(*(weight for _, _, weight in ranked))
    even = all(weight == common for _, _, weight in ranked)
    nobody = [NO_MEMBER] * depth
    cells = array("H")
    for slot in range(SLOT_COUNT):
        suffix = slot.to_bytes(2, "little")
        draws: list[tuple[int, int, int]] = []
        for index, name, weight in ranked:
            drawn = xxhash.xxh3_64_intdigest(name + suffix)
            draws.append((0 if even else distance(drawn) * (common // weight), -drawn, index))
        first = [index for _, _, index in nsmallest(depth, draws)]
        cells.extend([*first, *nobody][:depth])
    return cells.tobytes()


class Side(NamedTuple):
    """A table that is joined with another.

    Attributes:
        cells: as `rank_members` makes them.
        depth: ranks a slot.
        indexes: of each of its members, in the table that is made (type code 'H').
    """

    cells: bytes
    depth: int
    indexes: array[int]


def join_owners(old: Side, new: Side) -> bytes:
    """A table whose slots have the owners in one table, in their order, and behind them those that only the other names.

    Raises:
        ValueError: a table names a member that it does not have.
    """
    cells = array("H")
    depth = old.depth + new.depth
    nobody = [NO_MEMBER] * depth
    sides = [(checked_cells(side.cells, side.depth, len(side.indexes)), side.depth, side.indexes) for side in (old, new)]
    for slot in range(SLOT_COUNT):
        owners: dict[int, None] = {}
        for numbers, ranks, indexes in sides:
            row = numbers[slot * ranks : (slot + 1) * ranks]
            owners.update(dict.fromkeys(indexes[cell] for cell in row if cell != NO_MEMBER))
        cells.extend([*owners, *nobody][:depth])
    return cells.tobytes()


def owner_bitmaps(cells: bytes, depth: int, member_count: int) -> bytes:
    """For each member the bitmap of the slots that it owns at any rank, 2048 bytes each: see `SlotSet.of_bitmap`.

    Raises:
        ValueError: the table names a member that it does not have.
    """
    bitmaps = bytearray(member_count * SLOT_SET_BYTES)
    for index, member in enumerate(checked_cells(cells, depth, member_count)):
        if member != NO_MEMBER:
            slot = index // depth
            bitmaps[member * SLOT_SET_BYTES + (slot >> 3)] |= 1 << (slot & 7)
    return bytes(bitmaps)


def checked_cells(cells: bytes, depth: int, member_count: int) -> array[int]:
    """The cells of a table as numbers (type code 'H').

    Raises:
        ValueError: it has another size, or names a member that it does not have.
    """
    numbers = array("H", cells)
    if len(numbers) != SLOT_COUNT * depth:
        raise ValueError(f"a table of {depth} ranks has {SLOT_COUNT * depth} cells, not {len(numbers)}")
    named = set(numbers) - {NO_MEMBER}
    if named and max(named) >= member_count:
        raise ValueError(f"a table of {member_count} members names member {max(named)}")
    return numbers

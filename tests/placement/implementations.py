"""The rings there are to test, and topologies to try them on."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from presencedb.ids import IdBatch
from presencedb.implementation import compiled_module
from presencedb.placement import Member, OwnerTable, Part, Topology, merge, ranks, split

SEED: Final = 0x0123456789ABCDEF


@dataclass(frozen=True)
class Ring:
    """The functions of one implementation."""

    distance: Callable[[int], int]
    rank_members: Callable[[list[tuple[str, int]], int], bytes]
    join_owners: Callable[[ranks.Side, ranks.Side], bytes]
    owner_bitmaps: Callable[[bytes, int, int], bytes]
    split_reads: Callable[..., list[Part]]
    split_writes: Callable[..., list[Part]]
    positions_outside: Callable[[IdBatch, int, bytes], array[int] | None]
    slots_of: Callable[[IdBatch, int], bytes]
    merge_statuses: Callable[[bytearray, array[int], bytes], array[int]]
    merge_times: Callable[[array[int], array[int], array[int]], None]


PYTHON_RING: Final = Ring(
    ranks.distance,
    ranks.rank_members,
    ranks.join_owners,
    ranks.owner_bitmaps,
    split.split_reads,
    split.split_writes,
    split.positions_outside,
    split.slots_of,
    merge.merge_statuses,
    merge.merge_times,
)
RINGS: Final = {"python": PYTHON_RING}

_compiled = compiled_module("presencedb.placement._ring")
if _compiled is not None:
    RINGS["c"] = Ring(
        _compiled.distance_of,
        _compiled.rank_members,
        _compiled.join_owners,
        _compiled.owner_bitmaps,
        _compiled.split_reads,
        _compiled.split_writes,
        _compiled.positions_outside,
        _compiled.slots_of,
        _compiled.merge_statuses,
        _compiled.merge_times,
    )


def member(name: str, weight: int = 100) -> Member:
    return Member(name, f"{name}.example:7411", weight)


def topology(weights: dict[str, int], replicas: int = 2, epoch: int = 1) -> Topology:
    return Topology(epoch, SEED, replicas, tuple(member(name, weight) for name, weight in weights.items()))


def tables() -> dict[str, OwnerTable]:
    """One of each kind of table that a batch may meet."""
    three = topology({"n1": 100, "n2": 100, "n3": 100})
    return {
        "nobody": topology({}).owners,
        "nobody with a weight": topology({"n1": 0, "n2": 0}).owners,
        "one": topology({"n1": 1}).owners,
        "one of two": topology({"n1": 0, "n2": 7}, replicas=3).owners,
        "three": three.owners,
        "everybody": topology({"n1": 100, "n2": 100, "n3": 100}, replicas=3).owners,
        "moving": OwnerTable.overlap(three, topology({"n2": 100, "n3": 300, "n4": 50})),
    }

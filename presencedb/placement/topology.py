"""The topology: who is in the cluster. Everything about placement follows from it, on every machine alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Self

from presencedb.errors import Error, ProtocolError
from presencedb.limits import EPOCH_MAX, ID_INT_MAX, MEMBERS_MAX, REPLICAS_MAX
from presencedb.placement.members import Member
from presencedb.placement.owners import OwnerTable
from presencedb.placement.slots import NO_SLOTS, SlotSet

_MEMBER_KEYS: Final = ("id", "address", "weight", "state", "run")
_KEYS: Final = ("epoch", "seed", "replicas", "members")


@dataclass(frozen=True)
class Topology:
    """The members of a cluster at one epoch. Immutable; equal where all of it is.

    Attributes:
        epoch: rises with every change.
        seed: of the hash that gives an id its slot, 64 bits.
        replicas: how many members own each slot, 1..8; fewer do where there are fewer with a weight.
        members: by ascending id, in whatever order they were given; at most 1,024, no id twice.

    Raises:
        ValueError: a value is none of these; the message names it.
    """

    epoch: int
    seed: int
    replicas: int
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        _check_integer("epoch", self.epoch, 0, EPOCH_MAX)
        _check_integer("seed", self.seed, 0, ID_INT_MAX)
        _check_integer("replicas", self.replicas, 1, REPLICAS_MAX)
        if len(self.members) > MEMBERS_MAX:
            raise ValueError(f"members: at most {MEMBERS_MAX} are expected, not {len(self.members)}")
        listed = tuple(sorted(self.members, key=lambda member: member.id))
        for one, other in pairwise(listed):
            if one.id == other.id:
                raise ValueError(f"members: {one.id} is there twice")
        object.__setattr__(self, "members", listed)

    @cached_property
    def owners(self) -> OwnerTable:
        """Who owns what; computed when first asked for."""
        return OwnerTable.of(self)

    def to_wire(self) -> dict[str, Any]:
        """The map that command `topology` answers."""
        members = [{key: getattr(member, key) for key in _MEMBER_KEYS} for member in self.members]
        return {"epoch": self.epoch, "seed": self.seed, "replicas": self.replicas, "members": members}

    @classmethod
    def from_wire(cls, value: object, error: type[Error] = ProtocolError) -> Self:
        """The topology that `to_wire` wrote, from anybody. Keys of later versions are passed over.

        Raises:
            Error: of the type given; it is something else, and the message says where.
        """
        fields = _fields("topology", value, _KEYS, error)
        members = fields["members"]
        if not isinstance(members, list | tuple) or len(members) > MEMBERS_MAX:
            raise error(f"topology.members: an array of at most {MEMBERS_MAX} maps is expected")
        read = [_member_from_wire(f"topology.members[{index}]", member, error) for index, member in enumerate(members)]
        try:
            return cls(fields["epoch"], fields["seed"], fields["replicas"], tuple(read))
        except ValueError as wrong:
            raise error(f"topology.{wrong}") from None


@dataclass(frozen=True)
class Difference:
    """What changes from one topology to another.

    Attributes:
        gained: the slots that a member owns only in the new one, by its id; members that gain nothing are not in it.
        lost: the slots that a member owns only in the old one, in the same way.
        moved: the slots that have another set of owners. `len(moved)` of 16,384 move.
    """

    gained: Mapping[str, SlotSet]
    lost: Mapping[str, SlotSet]
    moved: SlotSet


def difference(old: Topology, new: Topology) -> Difference:
    """Who gains and who loses which slots.

    Raises:
        ValueError: the topologies have another seed, so that their slots are not the same.
    """
    if old.seed != new.seed:
        raise ValueError("topologies of different seeds have no slots in common")
    before, after = _slots_by_id(old), _slots_by_id(new)
    gained, lost, moved = {}, {}, NO_SLOTS
    for member_id in sorted(before.keys() | after.keys()):
        had, has = before.get(member_id, NO_SLOTS), after.get(member_id, NO_SLOTS)
        if has != had:
            moved |= has ^ had
        if not has <= had:
            gained[member_id] = has - had
        if not had <= has:
            lost[member_id] = had - has
    return Difference(gained, lost, moved)


def _slots_by_id(topology: Topology) -> dict[str, SlotSet]:
    owners = topology.owners
    return {member.id: slots for member, slots in zip(owners.members, owners.slots_by_member, strict=True)}


def _member_from_wire(path: str, value: object, error: type[Error]) -> Member:
    fields = _fields(path, value, _MEMBER_KEYS, error)
    try:
        return Member(*(fields[key] for key in _MEMBER_KEYS))
    except ValueError as wrong:
        raise error(f"{path}.{wrong}") from None


def _fields(path: str, value: object, keys: tuple[str, ...], error: type[Error]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise error(f"{path}: a map is expected, not {type(value).__name__}")
    for key in keys:
        if key not in value:
            raise error(f"{path}.{key}: it is missing")
    return {key: value[key] for key in keys}


def _check_integer(name: str, value: object, least: int, greatest: int) -> None:
    if type(value) is not int or not least <= value <= greatest:
        shown = value if isinstance(value, int | float | None) else type(value).__name__
        raise ValueError(f"{name}: an integer from {least} to {greatest} is expected, not {shown}")

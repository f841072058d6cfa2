"""What the reference engine knows of each slot: who has a register there, how many are online, whether it is synced."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from presencedb.engine.reference_timers import compact
from presencedb.ids import Id
from presencedb.limits import SLOT_COUNT


def checked_slots(slots: Iterable[int]) -> list[int]:
    """The slots in order, each once.

    Raises:
        ValueError: a slot is not in 0..16383.
    """
    wanted = sorted(set(slots))
    if wanted and not (wanted[0] >= 0 and wanted[-1] < SLOT_COUNT):
        wrong = wanted[0] if wanted[0] < 0 else wanted[-1]
        raise ValueError(f"a slot is between 0 and {SLOT_COUNT - 1}, not {wrong}")
    return wanted


class Slots:
    """The tables by slot. `synced` has a byte a slot; `online_counts` a number a slot."""

    __slots__ = ("_members", "online_counts", "synced", "synced_count")

    def __init__(self, synced: bool) -> None:
        self._members: dict[int, dict[Id, None]] = {}
        self.online_counts = array("q", [0]) * SLOT_COUNT
        self.synced = bytearray([synced]) * SLOT_COUNT
        self.synced_count = SLOT_COUNT * synced

    def set_synced(self, slots: Iterable[int], synced: bool) -> None:
        for slot in checked_slots(slots):
            self.synced_count += synced - self.synced[slot]
            self.synced[slot] = synced

    def members(self, slot: int) -> Iterable[Id]:
        """The ids that have a register in this slot, in the order in which they came."""
        return self._members.get(slot, ())

    def occupied(self, first_slot: int) -> Iterable[int]:
        """The slots from this one on, in order; where most slots are empty, without those."""
        if len(self._members) > SLOT_COUNT // 16:
            return range(first_slot, SLOT_COUNT)
        return sorted(slot for slot in self._members if slot >= first_slot)

    def add(self, user_id: Id, slot: int) -> None:
        self._members.setdefault(slot, {})[user_id] = None

    def remove(self, user_id: Id, slot: int) -> None:
        members = self._members[slot]
        del members[user_id]
        if members:
            self._members[slot] = compact(members)
        else:
            del self._members[slot]

"""What other members missed: the slots in which somebody wrote here what a member did not get, until it has pulled them."""

from __future__ import annotations

from presencedb.placement import NO_SLOTS, SlotSet


class Owed:
    """For each member the slots that it has to pull."""

    def __init__(self) -> None:
        self._noted: dict[str, SlotSet] = {}
        self._given: dict[str, SlotSet] = {}  # told, and not noted again since

    @property
    def slot_count(self) -> int:
        """Slots that somebody has yet to pull."""
        return sum(map(len, self._noted.values()))

    def note(self, member_id: str, slots: SlotSet) -> None:
        """A member missed writes in these slots."""
        self._noted[member_id] = self._noted.get(member_id, NO_SLOTS) | slots
        self._given[member_id] = self._given.get(member_id, NO_SLOTS) - slots

    def answer(self, member_id: str, pulled: SlotSet) -> SlotSet:
        """What a member has to pull. An answer may be lost: only what it says to have pulled is taken off.

        Args:
            pulled: what it has pulled; that counts where nothing was noted since it was told.
        """
        left = self._noted.get(member_id, NO_SLOTS) - (pulled & self._given.get(member_id, NO_SLOTS))
        if len(left):
            self._noted[member_id] = self._given[member_id] = left
        else:
            self.forget(member_id)
        return left

    def forget(self, member_id: str) -> None:
        """Nothing is owed to a member, as when it is none any more."""
        self._noted.pop(member_id, None)
        self._given.pop(member_id, None)

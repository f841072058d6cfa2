"""What the reference engine knows of shared slots: through which tick timeouts are agreed to, and who waits for that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from presencedb.ids import Id
from presencedb.limits import TICK_MAX

EVERYTHING: Final = TICK_MAX
"""Agreed through this, nothing is held back."""


class Agreements:
    """The tables by slot. What is said comes into force with the next advance.

    Attributes:
        shared: the slots that are.
        aside: the users who are past their deadline, without a timer, and wait; by slot. Some may have beaten since.
    """

    __slots__ = ("_in_force", "_said", "_waiting", "aside", "shared")

    def __init__(self) -> None:
        self.shared: set[int] = set()
        self.aside: dict[int, set[Id]] = {}
        self._said: dict[int, int] = {}
        self._in_force: dict[int, int] = {}
        self._waiting: set[int] = set()

    def __bool__(self) -> bool:
        """Whether anything is held back."""
        return bool(self._in_force)

    def through(self, slot: int, expired_through: int) -> int:
        """Through which tick timeouts of this slot count as agreed to."""
        return min(self._in_force.get(slot, EVERYTHING), expired_through)

    def share(self, slots: Iterable[int], shared: bool, expired_through: int) -> None:
        for slot in slots:
            if (slot in self.shared) != shared:
                self.shared ^= {slot}
                self._say(slot, expired_through if shared else EVERYTHING)
                self._in_force.setdefault(slot, expired_through)

    def agree(self, slots: Iterable[int], through_tick: int) -> None:
        for slot in self.shared.intersection(slots):
            if through_tick > self._said[slot]:
                self._say(slot, through_tick)

    def _say(self, slot: int, through: int) -> None:
        self._said[slot] = through
        self._waiting.add(slot)

    def bring_into_force(self, hold: int) -> list[Id]:
        """Let count what was said, except below `hold`; returns who waited for it, and is to be looked at."""
        released: list[Id] = []
        for slot in self._waiting:
            through = self._said[slot]
            if through >= hold:
                self._in_force[slot] = through
                released += self.aside.pop(slot, ())
            if through == EVERYTHING:
                del self._said[slot], self._in_force[slot]
        self._waiting.clear()
        return released

    def put_aside(self, user_id: Id, slot: int) -> None:
        self.aside.setdefault(slot, set()).add(user_id)

    def take_back(self, user_id: Id, slot: int) -> None:
        """The user of this slot waits no more, if they did."""
        waiting = self.aside.get(slot)
        if waiting is not None:
            waiting.discard(user_id)
            if not waiting:
                del self.aside[slot]

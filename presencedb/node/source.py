"""Where a feed's changes come from: an engine, or whatever else tells changes and knows the statuses that they lead to."""

from __future__ import annotations

from typing import Protocol

from presencedb.ids import IdBatch
from presencedb.transitions import Transitions


class ChangeSource(Protocol):
    """What the feed takes changes from. An `Engine` is one."""

    @property
    def transitions_waiting(self) -> int:
        """How many changes were not taken yet (O(1))."""
        ...

    def drain_transitions(self, count_max: int) -> Transitions:
        """Take what waits longest; none of them means that none waits."""
        ...

    def discard_transitions(self) -> int:
        """Drop all that wait; returns how many there were."""
        ...

    def status(self, ids: IdBatch) -> bytes:
        """One `Status` byte an id, as they are after all changes, those that wait included."""
        ...


class MomentOfTick(Protocol):
    """What tells when a tick was. A `WallTime` is one."""

    def ms_at(self, tick: int) -> int:
        """Unix milliseconds at the beginning of a tick."""
        ...

"""The changes of a cluster as a source for a feed: what the telling tells, until the feed takes it."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from typing import Final

from presencedb.ids import Id, IdBatch
from presencedb.transitions import Transitions

_TICK_MAX: Final = 2**32 - 1


class Changes:
    """A `ChangeSource`, and the `Sink` of a telling. Its ticks are milliseconds from the earliest change that is taken with
    them, which is all that a feed wants of them.
    """

    def __init__(self, status: Callable[[IdBatch], bytes], break_followers: Callable[[], None]) -> None:
        """Begin empty.

        Args:
            status: gives the statuses as they were told last.
            break_followers: is called where what followers are told may have a hole.
        """
        self._status = status
        self._break_followers = break_followers
        self._waiting: deque[tuple[list[Id], bytes, list[int]]] = deque()
        self._count = 0
        self._base_ms = 0

    # --- the sink of a telling -------------------------------------------------------------------------------------

    def tell(self, ids: list[Id], marks: bytes, times_ms: list[int]) -> None:
        """As `Sink`."""
        self._waiting.append((ids, marks, times_ms))
        self._count += len(ids)

    def break_followers(self) -> None:
        """As `Sink`."""
        self._break_followers()

    # --- the source of a feed --------------------------------------------------------------------------------------

    @property
    def transitions_waiting(self) -> int:
        """As `ChangeSource`."""
        return self._count

    def drain_transitions(self, count_max: int) -> Transitions:
        """As `ChangeSource`."""
        ids: list[Id] = []
        marks = b""
        times_ms: list[int] = []
        while self._waiting and len(ids) < count_max:
            more_ids, more_marks, more_times_ms = self._waiting.popleft()
            room = count_max - len(ids)
            if len(more_ids) > room:
                self._waiting.appendleft((more_ids[room:], more_marks[room:], more_times_ms[room:]))
            ids += more_ids[:room]
            marks += more_marks[:room]
            times_ms += more_times_ms[:room]
        self._count -= len(ids)
        self._base_ms = min(times_ms, default=0)
        ticks = array("I", [min(time_ms - self._base_ms, _TICK_MAX) for time_ms in times_ms])
        return Transitions(IdBatch.of_canonical(ids), marks, ticks)

    def discard_transitions(self) -> int:
        """As `ChangeSource`."""
        count, self._count = self._count, 0
        self._waiting.clear()
        return count

    def status(self, ids: IdBatch) -> bytes:
        """As `ChangeSource`."""
        return self._status(ids)

    def ms_at(self, tick: int) -> int:
        """When the change was that was taken last with this tick."""
        return self._base_ms + tick

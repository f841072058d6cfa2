"""Timers for the reference engine: ids by the tick at which somebody must look at them.

Buckets by tick, and a heap of the ticks that have a bucket: the cost is that of what is due, whatever the distance between
two calls. An id has one entry at most, so ids that come and go do not pile up here.
"""

from __future__ import annotations

import heapq
import sys
from typing import Final, TypeVar

from presencedb.ids import Id

Key = TypeVar("Key")
Value = TypeVar("Value")

BYTES_PER_ENTRY_MAX: Final = 256
"""A full dict takes 37 to 110 bytes an entry."""
SMALL_BYTES: Final = 4096
STALE_TICKS_MAX: Final = 64


def compact(table: dict[Key, Value]) -> dict[Key, Value]:
    """The table itself, or a smaller copy where most of its room is that of entries long gone: a dict never shrinks."""
    wasteful = sys.getsizeof(table) > SMALL_BYTES + BYTES_PER_ENTRY_MAX * len(table)
    return dict(table) if wasteful else table


class Timers:
    """Ids and the tick at which each is due, at most one entry an id."""

    __slots__ = ("_buckets", "_due", "_ticks")

    def __init__(self) -> None:
        self._due: dict[Id, int] = {}
        self._buckets: dict[int, dict[Id, None]] = {}
        self._ticks: list[int] = []

    def __len__(self) -> int:
        return len(self._due)

    def arm(self, user_id: Id, tick: int) -> None:
        """Have the id due at `tick`, unless it is due earlier already."""
        due = self._due.get(user_id)
        if due is not None:
            if due <= tick:
                return
            self.disarm(user_id)
        self._due[user_id] = tick
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket[user_id] = None
        else:
            self._buckets[tick] = {user_id: None}
            heapq.heappush(self._ticks, tick)

    def disarm(self, user_id: Id) -> None:
        """Drop the entry of this id, if there is one."""
        due = self._due.pop(user_id, None)
        if due is None:
            return
        bucket = self._buckets[due]
        del bucket[user_id]
        if not bucket:
            del self._buckets[due]
            if len(self._ticks) > STALE_TICKS_MAX + 2 * len(self._buckets):
                self._ticks = list(self._buckets)
                heapq.heapify(self._ticks)

    def pop(self, tick: int) -> tuple[int, Id] | None:
        """Take out one entry that is due at or before `tick`, of the earliest there are: when it was due, and the id."""
        while self._ticks and self._ticks[0] <= tick:
            due = self._ticks[0]
            bucket = self._buckets.get(due)
            if bucket:
                user_id, _ = bucket.popitem()
                del self._due[user_id]
                return due, user_id
            self._buckets.pop(due, None)
            heapq.heappop(self._ticks)
        return None

    def compact(self) -> None:
        """Give back memory that is not needed any more."""
        self._due = compact(self._due)
        self._buckets = compact(self._buckets)

    def bytes_estimate(self) -> int:
        """The memory taken, where the buckets together are taken to be as large as the table of ids."""
        return sys.getsizeof(self._due) * 2 + sys.getsizeof(self._buckets) + sys.getsizeof(self._ticks)

"""Many calls into few frames, and large ones into several: without I/O, shared by every client.

Writes that are called in one turn of the loop join the frame of the write before them where they say the same of other
ids. They keep their order: a sign-off between two heartbeats stays between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from presencedb.client.retry import Attempts
from presencedb.ids import Id, IdBatch
from presencedb.limits import FRAME_BYTES_MAX, IDS_PER_FRAME_MAX, KIB
from presencedb.protocol.codec import cut_ids

W = TypeVar("W")
Ids: TypeAlias = list[Id] | IdBatch
"""Canonical ids: few, to be put together with others, or a batch."""

FRAME_ID_BYTES_MAX: Final = FRAME_BYTES_MAX - 64 * KIB
"""The ids of a frame; the rest is for its header and options."""


class Write(NamedTuple):
    """What is written, beside the ids: two writes that are equal can share a frame, unless they are to stay alone."""

    method: str
    age_ms: int = 0
    grace_ms: int = 0
    alone: bool = False


@dataclass(slots=True, eq=False)
class Group(Generic[W]):
    """Calls that became one: their ids in the order called, who waits for the outcome, and how it is carried out."""

    write: Write
    ids: Ids = field(default_factory=list)
    waiters: list[W] = field(default_factory=list)
    attempts: list[Attempts] = field(default_factory=list)


class Coalescer(Generic[W]):
    """Collects the writes of one turn. `W` is whatever a caller waits with."""

    __slots__ = ("_groups", "_last_ids", "_last_waiters", "_last_write")

    def __init__(self) -> None:
        self._groups: list[Group[W]] = []
        self._last_write: Write | None = None
        self._last_ids: list[Id] = []
        self._last_waiters: list[W] = []

    def add(self, write: Write, ids: Ids, waiter: W) -> bool:
        """Add a call with ids that are canonical. Returns whether it is the first since `take`."""
        first = not self._groups
        if write is not self._last_write and write != self._last_write:
            if write.alone:
                self._groups.append(Group[W](write, ids, [waiter]))
                self._last_write = None
                return first
            self._last_write = write
            self._last_ids = []
            self._last_waiters = []
            self._groups.append(Group[W](write, self._last_ids, self._last_waiters))
        self._last_ids += ids
        self._last_waiters.append(waiter)
        return first

    @property
    def last(self) -> Group[W]:
        """What the call that was added last is part of."""
        return self._groups[-1]

    def take(self) -> list[Group[W]]:
        """What has come together, in order; the next call begins anew."""
        groups, self._groups = self._groups, []
        self._last_write = None
        return groups


def split_into_frames(ids: IdBatch) -> list[IdBatch]:
    """Cut a batch so that each part fits a frame, in number and in bytes; a batch that fits is not copied."""
    return cut_ids(ids, IDS_PER_FRAME_MAX, FRAME_ID_BYTES_MAX)

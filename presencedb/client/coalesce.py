"""Many calls into few frames, and large ones into several: without I/O, shared by every client.

Writes that are called in one turn of the loop join the frame of the write before them where they say the same of other
ids. They keep their order: a sign-off between two heartbeats stays between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from presencedb.ids import Id
from presencedb.limits import FRAME_BYTES_MAX, ID_TEXT_BYTES_MAX, IDS_PER_FRAME_MAX, KIB

W = TypeVar("W")

_ID_HEADER_BYTES: Final = 2
"""What MessagePack puts before a text of up to 255 bytes; an integer takes 9 bytes at most."""
_INTEGER_BYTES_MAX: Final = 9
FRAME_ID_BYTES_MAX: Final = FRAME_BYTES_MAX - 64 * KIB
"""The ids of a frame; the rest is for its header and options."""
_ALWAYS_FIT_COUNT: Final = FRAME_ID_BYTES_MAX // (ID_TEXT_BYTES_MAX + _ID_HEADER_BYTES)


class Write(NamedTuple):
    """What is written, beside the ids: two writes that are equal can share a frame, unless they are to stay alone."""

    method: str
    age_ms: int = 0
    grace_ms: int = 0
    alone: bool = False


@dataclass(slots=True, eq=False)
class Group(Generic[W]):
    """Calls that became one: their ids in the order called, and who waits for the outcome."""

    write: Write
    ids: list[Id] = field(default_factory=list)
    waiters: list[W] = field(default_factory=list)


class Coalescer(Generic[W]):
    """Collects the writes of one turn. `W` is whatever a caller waits with."""

    __slots__ = ("_groups", "_last_ids", "_last_waiters", "_last_write")

    def __init__(self) -> None:
        self._groups: list[Group[W]] = []
        self._last_write: Write | None = None
        self._last_ids: list[Id] = []
        self._last_waiters: list[W] = []

    def add(self, write: Write, ids: list[Id], waiter: W) -> bool:
        """Add a call with ids that are canonical. Returns whether it is the first since `take`."""
        first = self._last_write is None
        if write is not self._last_write and (write.alone or write != self._last_write):
            group = Group[W](write)
            self._groups.append(group)
            self._last_write = write
            self._last_ids = group.ids
            self._last_waiters = group.waiters
        self._last_ids += ids
        self._last_waiters.append(waiter)
        return first

    def take(self) -> list[Group[W]]:
        """What has come together, in order; the next call begins anew."""
        groups, self._groups = self._groups, []
        self._last_write = None
        return groups


def split_into_frames(ids: list[Id]) -> list[list[Id]]:
    """Cut a batch so that each part fits a frame, in number and in bytes; a batch that fits is not copied."""
    if len(ids) <= _ALWAYS_FIT_COUNT:
        return [ids]
    frames: list[list[Id]] = []
    start = bytes_used = 0
    for index, user_id in enumerate(ids):
        if isinstance(user_id, int):
            size = _INTEGER_BYTES_MAX
        else:
            size = _ID_HEADER_BYTES + (len(user_id) if user_id.isascii() else len(user_id.encode()))
        if bytes_used + size > FRAME_ID_BYTES_MAX or index - start == IDS_PER_FRAME_MAX:
            frames.append(ids[start:index])
            start, bytes_used = index, 0
        bytes_used += size
    if start == 0:
        return [ids]
    frames.append(ids[start:])
    return frames

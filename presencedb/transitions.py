"""What changed: one change as a tuple, and many of them as columns, which is how they travel from the engine to the wire.

Columns, because a crowd that goes offline at once is a million changes: the kernel fills them, the index of watchers looks
the ids up and the codec encodes them without a Python object for each.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from presencedb.ids import Id, IdBatch
from presencedb.states import Reason, Status

REASON_SHIFT: Final = 2
"""A mark is `reason << REASON_SHIFT | status`."""
STATUS_MASK: Final = 3

_ONLINE_OF: Final[dict[int, bool | None]] = {Status.OFFLINE: False, Status.ONLINE: True, Status.UNKNOWN: None}


class Transition(NamedTuple):
    """One change of one user's status, emitted exactly once.

    `tick` is when it became true: the stamp of the heartbeat or sign-off, but no earlier than the tick of the last
    `advance`, where old news come in; or the deadline of the timeout; for a sign-off with grace, the end of the grace. It
    never goes back for one user.
    """

    id: Id
    online: bool | None
    tick: int
    reason: Reason


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Changes in the order in which they happened for each user, as columns of one length.

    Attributes:
        ids: who.
        marks: a byte each, `reason << REASON_SHIFT | status`.
        ticks: when each became true (type code 'I').
    """

    ids: IdBatch
    marks: bytes
    ticks: array[int]

    @classmethod
    def of(cls, changes: Iterable[Transition]) -> Self:
        """The columns of changes that are there one by one."""
        listed = list(changes)
        status_of = {online: status for status, online in _ONLINE_OF.items()}
        return cls(
            IdBatch.of_canonical([change.id for change in listed]),
            bytes(change.reason << REASON_SHIFT | status_of[change.online] for change in listed),
            array("I", [change.tick for change in listed]),
        )

    def __len__(self) -> int:
        return len(self.marks)

    def __iter__(self) -> Iterator[Transition]:
        for user_id, mark, tick in zip(self.ids, self.marks, self.ticks, strict=True):
            yield Transition(user_id, _ONLINE_OF[mark & STATUS_MASK], tick, Reason(mark >> REASON_SHIFT))

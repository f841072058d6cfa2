"""Registers as they travel between nodes: one as a tuple, and many of them as columns.

Columns, because a node that takes over slots pulls millions of them: the kernel fills and reads them, and whoever brings
them over the wire passes them on, without a Python object for each.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from presencedb.ids import Id, IdBatch

AGE_TICKS_MAX: Final = 2**32 - 1
"""What an age has room for. Older ones are given as this, which is before any tick that a register can hold."""


class Copy(NamedTuple):
    """The register of one user with an age, since ticks are each node's own."""

    id: Id
    age_ticks: int
    signed_off: bool


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Registers of as many users, in no order that means anything, as columns of one length.

    Attributes:
        ids: whose.
        ages_ticks: how long ago each was written, when it was copied (type code 'I'; what is older saturates).
        signed_off: a byte each, 1 for a sign-off and 0 for a heartbeat.
    """

    ids: IdBatch
    ages_ticks: array[int]
    signed_off: bytes

    @classmethod
    def of(cls, copies: Iterable[Copy]) -> Self:
        """The columns of registers that are there one by one.

        Raises:
            OverflowError: an age is below 0.
        """
        listed = list(copies)
        return cls(
            IdBatch.of_canonical([copy.id for copy in listed]),
            array("I", [min(copy.age_ticks, AGE_TICKS_MAX) for copy in listed]),
            bytes(copy.signed_off for copy in listed),
        )

    def __len__(self) -> int:
        return len(self.signed_off)

    def __iter__(self) -> Iterator[Copy]:
        for user_id, age_ticks, signed_off in zip(self.ids, self.ages_ticks, self.signed_off, strict=True):
            yield Copy(user_id, age_ticks, signed_off != 0)

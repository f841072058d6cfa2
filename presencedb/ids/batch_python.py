"""`IdBatch` in plain Python: the ids of one request, canonical, in the order asked."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import Final, Self, TypeGuard

from presencedb.errors import BadRequest
from presencedb.ids.canonical import Id, canonical_id

_FAST_CHECK_COUNT_MIN: Final = 8
"""Batches of integers this long are checked as a whole, which takes a third of the time; shorter ones not."""
_REFERENCE_BYTES: Final = 8


class IdBatch:
    """The ids of one request. Immutable; an id may occur more than once and then gets an answer each time."""

    __slots__ = ("_ids",)
    _ids: list[Id]

    def __init__(self, values: Iterable[object]) -> None:
        """Check every value and bring it to its canonical form.

        A buffer of unsigned 64-bit integers (`array('Q')`, a numpy array) will do as well.

        Raises:
            BadRequest: a value is not an id; the message names its index in the batch. Nothing is kept.
        """
        given: list[object] = [*(_integers_of_buffer(values) or values)]
        if len(given) >= _FAST_CHECK_COUNT_MIN and _are_integer_ids(given):
            self._ids = given
            return
        ids: list[Id] = []
        for value in given:
            try:
                ids.append(canonical_id(value))
            except BadRequest as error:
                raise BadRequest(f"id {len(ids)} of the batch: {error.message}") from None
        self._ids = ids

    @classmethod
    def of_canonical(cls, ids: list[Id]) -> Self:
        """A batch of ids that are known to be canonical; the list belongs to the batch from now on."""
        batch = cls.__new__(cls)
        batch._ids = ids
        return batch

    @classmethod
    def joined(cls, batches: list[IdBatch]) -> Self:
        """The ids of several batches, one after the other."""
        return cls.of_canonical([user_id for batch in batches for user_id in batch._ids])

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Id]:
        return iter(self._ids)

    def __getitem__(self, index: int) -> Id:
        return self._ids[index]

    def take(self, positions: array[int]) -> IdBatch:
        """The ids at these positions (an `array('I')`), in that order, as a batch of their own.

        Raises:
            IndexError: a position is past the end.
            ValueError: not an array of that type.
        """
        view = memoryview(positions)
        if view.ndim != 1 or view.format != "I":
            raise ValueError("positions have the type code 'I'")
        ids = self._ids
        return IdBatch.of_canonical([ids[position] for position in view])

    @property
    def size_bytes(self) -> int:
        """Memory of the ids, about."""
        return sum(map(sys.getsizeof, self._ids)) + len(self._ids) * _REFERENCE_BYTES

    def __repr__(self) -> str:
        return f"IdBatch({self._ids!r})"


def _are_integer_ids(values: list[object]) -> TypeGuard[list[Id]]:
    if set(map(type, values)) != {int}:  # neither a text nor a boolean, which an array of integers would take
        return False
    try:
        array("Q", values)  # type: ignore[type-var]  # the range check of 2^64, in C
    except OverflowError:
        return False
    return True


def _integers_of_buffer(values: object) -> list[int] | None:
    try:
        view = memoryview(values)  # type: ignore[arg-type] # most are no buffer, which is how to find out
    except TypeError:
        return None
    return view.tolist() if view.format in ("Q", "L") and view.itemsize == 8 and view.ndim == 1 else None

"""Sets of slots: frozen bitmaps over all 16,384, so that two topologies are compared by a few operations on integers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import le, lt
from typing import Any, Final, Self

from presencedb.errors import Error, ProtocolError
from presencedb.limits import SLOT_COUNT

SLOT_SET_BYTES: Final = SLOT_COUNT // 8
_RUN: Final = re.compile("1+")
_TEXT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_RUNS_MAX: Final = SLOT_COUNT // 2
_SHOWN_CHARACTERS: Final = 80
_DIGITS: Final = bytes([48, 49, *range(2, 256)])
"""Makes of the bytes 0 and 1 the digits."""


class SlotSet:
    """A frozen set of slots, with operators as of `frozenset`: `|`, `&`, `-`, `^`, `<=`, `in`; iterates in order."""

    __slots__ = ("_bits",)
    _bits: int

    def __init__(self, slots: Iterable[int | range] = ()) -> None:
        """The set of these slots; a `range` stands for all that are in it.

        Raises:
            ValueError: a slot is not in 0..16383, or not an integer.
        """
        marks = bytearray(SLOT_COUNT)
        for part in slots:
            for slot in part if isinstance(part, range) else (part,):
                if type(slot) is not int or not 0 <= slot < SLOT_COUNT:
                    raise ValueError(f"a slot is between 0 and {SLOT_COUNT - 1}, not {slot!r}")
                marks[slot] = 1
        # Binary digits are read in time linear in their number; the last one is bit 0.
        self._bits = int(bytes(marks[::-1]).translate(_DIGITS), 2)

    @classmethod
    def _of_bits(cls, bits: int) -> Self:
        made = cls.__new__(cls)
        made._bits = bits
        return made

    @classmethod
    def of_bitmap(cls, bitmap: bytes) -> Self:
        """The set whose slot `s` is bit `s % 8` of byte `s // 8`.

        Raises:
            ValueError: not 2048 bytes.
        """
        if len(bitmap) != SLOT_SET_BYTES:
            raise ValueError(f"a bitmap of slots has {SLOT_SET_BYTES} bytes, not {len(bitmap)}")
        return cls._of_bits(int.from_bytes(bitmap, "little"))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """The set that `str` wrote: `0-5,7,100-16383`; empty text is the empty set. Parts may come in any order.

        Raises:
            ValueError: not such a text; the message shows the part that is wrong.
        """
        parts = text.split(",") if text else []
        if len(parts) > SLOT_COUNT:
            raise ValueError(f"at most {SLOT_COUNT} parts name slots, not {len(parts)}")
        return cls._of_runs(_run_of_text(part) for part in parts)

    @classmethod
    def from_wire(cls, value: object, error: type[Error] = ProtocolError) -> Self:
        """The set that `to_wire` wrote, from anybody: ascending pairs that neither overlap nor touch.

        Raises:
            Error: of the type given; it is something else, and the message says where.
        """
        if not isinstance(value, list | tuple) or len(value) > _RUNS_MAX:
            raise error(f"slots: an array of at most {_RUNS_MAX} pairs is expected")
        return cls._of_runs(value if _are_runs(value) else _checked_runs(value, error))

    @classmethod
    def _of_runs(cls, runs: Iterable[Sequence[int]]) -> Self:
        digits = bytearray(b"0" * SLOT_COUNT)
        for first, last in runs:
            digits[first : last + 1] = b"1" * (last + 1 - first)
        return cls._of_bits(int(bytes(digits[::-1]), 2))

    def runs(self) -> list[tuple[int, int]]:
        """Pairs (first, last) of the slots that follow each other, ascending: the shortest way to name the set."""
        return list(_runs_of(self._bits))

    def to_wire(self) -> list[list[int]]:
        """`[[first, last], ...]`, ascending."""
        return [list(run) for run in self.runs()]

    def to_bitmap(self) -> bytes:
        """What `of_bitmap` reads: slot `s` is bit `s % 8` of byte `s // 8`."""
        return self._bits.to_bytes(SLOT_SET_BYTES, "little")

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.runs())

    def __repr__(self) -> str:
        text = str(self)
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
        return f"<{len(self)} slots: {shown}>"

    def __iter__(self) -> Iterator[int]:
        for first, last in self.runs():
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return self._bits.bit_count()

    def __contains__(self, slot: object) -> bool:
        return isinstance(slot, int) and 0 <= slot < SLOT_COUNT and bool(self._bits >> slot & 1)

    def __eq__(self, other: object) -> bool:
        return self._bits == other._bits if isinstance(other, SlotSet) else NotImplemented

    def __hash__(self) -> int:
        return hash((SlotSet, self._bits))

    def __or__(self, other: SlotSet) -> SlotSet:
        return SlotSet._of_bits(self._bits | other._bits)

    def __and__(self, other: SlotSet) -> SlotSet:
        return SlotSet._of_bits(self._bits & other._bits)

    def __sub__(self, other: SlotSet) -> SlotSet:
        return SlotSet._of_bits(self._bits & ~other._bits)

    def __xor__(self, other: SlotSet) -> SlotSet:
        return SlotSet._of_bits(self._bits ^ other._bits)

    def __le__(self, other: SlotSet) -> bool:
        return self._bits & ~other._bits == 0


@lru_cache(maxsize=16)
def _runs_of(bits: int) -> tuple[tuple[int, int], ...]:
    digits = f"{bits:b}"[::-1]
    return tuple((run.start(), run.end() - 1) for run in _RUN.finditer(digits))


def _are_runs(pairs: Sequence[Any]) -> bool:
    """Whether all of it is as it has to be: members are asked for slots all the time, and name them in a thousand runs."""
    if not pairs:
        return True
    if not set(map(type, pairs)) <= {list, tuple} or set(map(len, pairs)) != {2}:
        return False
    ends = list(chain.from_iterable(pairs))
    if set(map(type, ends)) != {int} or ends[0] < 0 or ends[-1] >= SLOT_COUNT:
        return False
    firsts, lasts = ends[::2], ends[1::2]
    return all(map(le, firsts, lasts)) and all(map(lt, (last + 1 for last in lasts), firsts[1:]))


def _checked_runs(pairs: Sequence[Any], error: type[Error]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    last = -2
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(slot) is int for slot in pair):
            raise error(f"slots[{index}]: a pair of integers is expected")
        if not last + 1 < pair[0] <= pair[1] < SLOT_COUNT:
            raise error(
                f"slots[{index}]: first and last slot are in order, apart from the pair before, and below {SLOT_COUNT}"
            )
        last = pair[1]
        runs.append((pair[0], last))
    return runs


def _run_of_text(part: str) -> tuple[int, int]:
    found = _TEXT.fullmatch(part)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if not first <= last < SLOT_COUNT:
        raise ValueError(f"{part[:_SHOWN_CHARACTERS]!r} is not a slot, nor a first and a last one, up to {SLOT_COUNT - 1}")
    return first, last


NO_SLOTS: Final = SlotSet()
ALL_SLOTS: Final = SlotSet.of_bitmap(b"\xff" * SLOT_SET_BYTES)

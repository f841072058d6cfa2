"""The answers of parts back into one, in the order asked: a function a merge policy. Here in Python, in `_merge.h` compiled.

What another node answered is checked before anything is written: an answer of a wrong length, or to a question that was not
asked, leaves what is known as it was.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from presencedb.states import Status


def merge_statuses(into: bytearray, positions: array[int], part: bytes) -> array[int]:
    """Write the statuses of a part to their positions; what is known already stays.

    Args:
        into: one `Status` byte an id of the batch; `Status.UNKNOWN` at first.
        positions: where the ids of the part stand in the batch (type code 'I').
        part: one `Status` byte for each position.

    Returns:
        The positions of the part that are still unknown: those to ask the next owner about.

    Raises:
        ValueError: the part has another length than the positions, a position is past the end, or a byte is no status.
    """
    _check(positions, len(part), len(into))
    if part and max(part) > Status.UNKNOWN:
        raise ValueError(f"a status is 0, 1 or 2, not {max(part)}")
    for position, status in zip(positions, part, strict=True):
        if into[position] == Status.UNKNOWN:
            into[position] = status
    return array("I", [position for position in positions if into[position] == Status.UNKNOWN])


def merge_times(into: array[int], positions: array[int], part: array[int]) -> None:
    """Write the times of a part to their positions, where they are later than what is there.

    Args:
        into: milliseconds of each id of the batch (type code 'q'); -1: never seen.
        positions: where the ids of the part stand in the batch (type code 'I').
        part: milliseconds for each position (type code 'q'), or -1.

    Raises:
        ValueError: the part has another length than the positions, a position is past the end, or an array another type.
    """
    if into.typecode != "q" or part.typecode != "q":
        raise ValueError("times have the type code 'q'")
    _check(positions, len(part), len(into))
    for position, time_ms in zip(positions, part, strict=True):
        into[position] = max(into[position], time_ms)


def merge_counts(counts: Iterable[int]) -> int:
    """The sum of the counts that the parts answered.

    Raises:
        ValueError: a count is negative.
    """
    listed = list(counts)
    if listed and min(listed) < 0:
        raise ValueError(f"a count is not negative, as {min(listed)} is")
    return sum(listed)


def _check(positions: array[int], part_count: int, count: int) -> None:
    if positions.typecode != "I":
        raise ValueError("positions have the type code 'I'")
    if len(positions) != part_count:
        raise ValueError(f"{len(positions)} ids were asked about, the answer has {part_count}")
    if positions and max(positions) >= count:
        raise ValueError(f"position {max(positions)} is past the end of a batch of {count}")

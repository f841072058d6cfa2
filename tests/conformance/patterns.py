"""Values of an expected message that are not known beforehand: what kind they are, and some to be used again later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.conformance import wire


@dataclass(frozen=True, slots=True)
class Pattern:
    """Stands for any value that `fits`."""

    name: str
    fits: Callable[[Any], bool]

    def __repr__(self) -> str:
        return f"<{self.name}>"


@dataclass(frozen=True, slots=True)
class Keep:
    """A value that fits the pattern, remembered under a name."""

    name: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Kept:
    """The value remembered under this name."""

    name: str


class Mismatch(AssertionError):
    """A message is not what was expected."""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


TEXT: Final = Pattern("text", lambda value: type(value) is str and value != "")
COUNT: Final = Pattern("count", _is_count)
INTEGER: Final = Pattern("integer", lambda value: type(value) is int)
BITS64: Final = Pattern("64 bits", lambda value: _is_count(value) and value < 2**64)
TIME_MS: Final = Pattern("Unix milliseconds of this century", lambda value: _is_count(value) and 10**12 < value < 4 * 10**12)
RUN: Final = Pattern("run", lambda value: type(value) is str and len(value) >= 8)
CURSOR: Final = Pattern("cursor", lambda value: type(value) is str and 0 < len(value.encode()) <= 4096)
EVENT: Final = Pattern("event", lambda value: type(value) is list and len(value) == 4)
ADDRESS: Final = Pattern("host:port", lambda value: type(value) is str and value.rpartition(":")[2].isdigit())
COUNTERS: Final = Pattern("map of counters", lambda value: type(value) is dict and all(_is_count(n) for n in value.values()))


def any_order(*elements: Any) -> Pattern:
    """An array of just these, in whatever order."""
    return Pattern(
        f"{list(elements)} in any order",
        lambda value: type(value) is list and sorted(map(repr, value)) == sorted(map(repr, elements)),
    )


def some_of(count: int, *elements: Any) -> Pattern:
    """An array of so many of these, none twice."""
    return Pattern(
        f"{count} of {list(elements)}",
        lambda value: type(value) is list and len(value) == count == len(set(value) & set(elements)),
    )


def with_kept(given: Any, kept: dict[str, Any]) -> Any:
    """The structure with what was remembered in its places."""
    match given:
        case Kept(name):
            return kept[name]
        case dict():
            return {key: with_kept(value, kept) for key, value in given.items()}
        case list() | tuple():
            return [with_kept(value, kept) for value in given]
    return given


def match(expected: Any, found: Any, kept: dict[str, Any]) -> Any:
    """The expected structure with the values found in the places of its patterns; remembers what is to be kept.

    Raises:
        Mismatch: the two differ where there is no pattern, or a value does not fit.
    """
    match expected:
        case Keep(name, pattern):
            kept[name] = match(pattern, found, kept)
            return found
        case Kept(name):
            return kept[name]
        case Pattern():
            if not expected.fits(found):
                raise Mismatch(f"{found!r} is no {expected.name}")
            return found
        case dict() if isinstance(found, dict):
            if list(expected) != list(found):
                raise Mismatch(f"a map has the keys {list(found)}, not {list(expected)}")
            return {key: match(value, found[key], kept) for key, value in expected.items()}
        case list() | tuple() if isinstance(found, list):
            if len(expected) != len(found):
                raise Mismatch(f"an array has {len(found)} elements, not {len(expected)}: {found!r}")
            return [match(*pair, kept) for pair in zip(expected, found, strict=True)]
    return expected


def check(expected: Any, data: bytes, found: Any, kept: dict[str, Any]) -> None:
    """Hold a message against what was expected: bytes, or a structure that is written in its shortest form.

    Args:
        data: the message as it came.
        found: the same, decoded.

    Raises:
        Mismatch: it is something else.
    """
    wanted = expected if isinstance(expected, bytes) else wire.value(match(expected, found, kept))
    if data != wanted:
        raise Mismatch(f"expected {wanted.hex(' ')}\n     got {data.hex(' ')}\n       = {found!r}")

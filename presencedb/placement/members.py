"""A member of a cluster, as the topology knows it: what is agreed by all, not what one observer thinks of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from presencedb.limits import MEMBER_ID_BYTES_MAX, MEMBER_TEXT_BYTES_MAX, WEIGHT_DEFAULT, WEIGHT_MAX

UP: Final = "up"
_ID: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MEMBER_ID_BYTES_MAX - 1}}}")
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster.

    Attributes:
        id: 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit; with the weight, all that
            placement depends on.
        address: where it serves, `host:port` or `unix:/path`.
        weight: its share of the slots, relative to the others' weights, 0..1000; 0: it owns nothing, as when it is to leave.
        state: a word of the membership about it; it moves no slots.
        run: names this start of it; empty where that is not known.

    Raises:
        ValueError: a value is none of these; the message names it.
    """

    id: str
    address: str
    weight: int = WEIGHT_DEFAULT
    state: str = UP
    run: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise ValueError(
                f"id: 1 to {MEMBER_ID_BYTES_MAX} letters, digits, dots, dashes and underscores are expected, "
                f"the first a letter or digit, not {_shown(self.id)}"
            )
        if type(self.weight) is not int or not 0 <= self.weight <= WEIGHT_MAX:
            raise ValueError(f"weight: an integer from 0 to {WEIGHT_MAX} is expected, not {_shown(self.weight)}")
        _check_text("address", self.address)
        _check_text("state", self.state)
        if self.run != "":
            _check_text("run", self.run)


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str) or not text.isprintable() or not 1 <= len(text.encode()) <= MEMBER_TEXT_BYTES_MAX:
        raise ValueError(f"{name}: 1 to {MEMBER_TEXT_BYTES_MAX} bytes of printable text are expected, not {_shown(text)}")


def _shown(value: object) -> str:
    """A value as a message repeats it; of a container only what it is."""
    if not isinstance(value, str | int | float | bool | None):
        return type(value).__name__
    text = repr(value[: _SHOWN_CHARACTERS + 1]) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."

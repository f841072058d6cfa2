"""The parameters of a request, held against its command: the positional ones in order, then optionally a map of options."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from presencedb.errors import BadRequest, TooLarge
from presencedb.ids import IdBatch
from presencedb.limits import (
    AGE_MS_MAX,
    CURSOR_BYTES_MAX,
    GRACE_MS_MAX,
    IDS_PER_FRAME_MAX,
    MEMBER_ID_BYTES_MAX,
    OPTION_TEXT_BYTES_MAX,
    OPTIONS_MAX,
    REPLICAS_MAX,
    SCAN_LIMIT_MAX,
    SLOT_COUNT,
)
from presencedb.protocol.command import Command, Param


@dataclass(slots=True)
class Options:
    """The options of a request; a command takes those that it names."""

    age_ms: int = 0
    grace_ms: int = 0
    epoch: int | None = None
    slots: tuple[int, ...] | None = None
    missed: tuple[str, ...] = ()
    forwarded: bool = False
    each: bool = False
    token: str | None = field(default=None, repr=False)
    client: str | None = None
    version: str | None = None


@dataclass(slots=True)
class Params:
    """What `read_params` makes of the parameters of a request."""

    ids: IdBatch
    cursor: str | None
    limit: int
    options: Options
    member: str = ""


_MEMBER: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MEMBER_ID_BYTES_MAX - 1}}}")
_NO_IDS: Final = IdBatch.of_canonical([])


def read_params(command: Command, values: list[Any]) -> Params:
    """Hold the decoded parameters of a request against its command.

    Raises:
        BadRequest: too few, too many, or of the wrong kind; the message says what the command takes.
        TooLarge: more ids than a batch may have.
    """
    positional = values
    if values and type(values[-1]) is dict:
        positional = values[:-1]
        options = _read_options(command, values[-1])
    else:
        options = Options()
    if not len(command.params) - command.optional <= len(positional) <= len(command.params):
        raise BadRequest(f"{command.name} takes {command.usage}, not {len(positional)} positional parameters")
    params = Params(_NO_IDS, None, 0, options)
    for param, value in zip(command.params, positional, strict=False):
        if param is Param.IDS:
            params.ids = _read_ids(value)
        elif param is Param.CURSOR:
            params.cursor = _read_cursor(value)
        elif param is Param.MEMBER:
            params.member = _read_member("a member", value)
        else:
            params.limit = _read_int("limit", value, 1, SCAN_LIMIT_MAX)
    return params


def _read_ids(value: Any) -> IdBatch:
    if not isinstance(value, list):
        return IdBatch([value])
    if len(value) > IDS_PER_FRAME_MAX:
        raise TooLarge(f"a batch has at most {IDS_PER_FRAME_MAX} ids, not {len(value)}")
    return IdBatch(value)


def _read_cursor(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRequest("a cursor is text or nil")
    return _checked_text("a cursor", value, CURSOR_BYTES_MAX)


def _read_int(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int:
        raise BadRequest(f"{name} is an integer between {low} and {high}")
    if not low <= value <= high:
        raise BadRequest(f"{name} is an integer between {low} and {high}, not {value}")
    return value


def _read_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name} is text")
    return _checked_text(name, value, OPTION_TEXT_BYTES_MAX)


def _checked_text(name: str, value: str, bytes_max: int) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise BadRequest(f"{name} is valid UTF-8") from None
    if size > bytes_max:
        raise TooLarge(f"{name} has at most {bytes_max} bytes, not {size}")
    return value


def _read_slots(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise BadRequest(f"{name} is an array of slots")
    if len(value) > SLOT_COUNT:
        raise TooLarge(f"{name} has at most {SLOT_COUNT} slots, not {len(value)}")
    slots = tuple(_read_int("a slot", slot, 0, SLOT_COUNT - 1) for slot in value)
    if len(set(slots)) != len(slots):
        raise BadRequest("a slot is named twice")
    return slots


def _read_member(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _MEMBER.fullmatch(value):
        raise BadRequest(f"{name} is named by 1 to {MEMBER_ID_BYTES_MAX} letters, digits, dots, dashes and underscores")
    return value


def _read_members(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadRequest(f"{name} is an array of members")
    if len(value) > REPLICAS_MAX:
        raise TooLarge(f"{name} has at most {REPLICAS_MAX} members, not {len(value)}")
    return tuple(_read_member("a member", member) for member in value)


def _read_switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} is true or false")
    return value


_OPTION_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "age_ms": lambda name, value: _read_int(name, value, 0, AGE_MS_MAX),
    "grace_ms": lambda name, value: _read_int(name, value, 0, GRACE_MS_MAX),
    "epoch": lambda name, value: _read_int(name, value, 0, 2**63 - 1),
    "slots": _read_slots,
    "missed": _read_members,
    "forwarded": _read_switch,
    "each": _read_switch,
    "token": _read_text,
    "client": _read_text,
    "version": _read_text,
}

OPTION_NAMES: Final = frozenset(_OPTION_READERS)
"""Every option that some command may take."""


def _read_options(command: Command, given: dict[Any, Any]) -> Options:
    if len(given) > OPTIONS_MAX:
        raise TooLarge(f"a request has at most {OPTIONS_MAX} options, not {len(given)}")
    options = Options()
    for name, value in given.items():
        if name not in command.options:
            known = ", ".join(command.options) or "none"
            raise BadRequest(f"{command.name} has no such option; it takes: {known}")
        setattr(options, name, _OPTION_READERS[name](name, value))
    return options

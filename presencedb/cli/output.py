"""What a command answers on stdout: lines for a person, or JSON for a program.

A text id may hold any character. In lines for a person those that would break the line or drive the terminal are written
as escapes; JSON has every id exactly.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from presencedb.client.values import Change
from presencedb.ids import Id, id_text

STATUS_WORDS: Final = {True: "online", False: "offline", None: "unknown"}
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNS_TEXT_ROUND: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the direction of writing, so that a line can read as another than it is."""


def print_line(*fields: str, flush: bool = False) -> None:
    """A line of fields, divided by tabs."""
    _write("\t".join(fields), flush)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Lines of columns, each as wide as its widest field, under a header."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        _write("  ".join(f"{field:<{width}}" for field, width in zip(row, widths, strict=True)).rstrip(), flush=False)


def print_json(value: Any, *, flush: bool = False) -> None:
    """A JSON document on a line of its own."""
    _write(json.dumps(value, ensure_ascii=False), flush)


def print_change(change: Change, cursor: str | None, *, as_json: bool) -> None:
    """A change on a line of its own, at once; a moment that is not known is a dash, or null."""
    at = None if change.at is None else time_shown(change.at)
    if as_json:
        print_json(
            {"cursor": cursor, "id": id_text(change.id), "online": change.online, "at": at, "reason": change.reason},
            flush=True,
        )
    else:
        print_line(at or "-", id_shown(change.id), STATUS_WORDS[change.online], change.reason, flush=True)


def id_shown(user_id: Id) -> str:
    """An id for a terminal."""
    text = id_text(user_id)
    return text if text.isascii() and text.isprintable() else "".join(map(_char_shown, text))


def counted(count: int, noun: str) -> str:
    """`1 heartbeat`, `2 heartbeats`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def time_shown(moment: datetime) -> str:
    """A moment in UTC, to the millisecond: `2026-01-31T12:00:00.250Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def note(message: str) -> None:
    """A remark of a client command, on stderr."""
    print(f"presencedb: {message}", file=sys.stderr, flush=True)


def _write(line: str, flush: bool) -> None:
    print(line, flush=flush)


def _char_shown(char: str) -> str:
    if unicodedata.category(char) in _UNSAFE_CATEGORIES or char in _TURNS_TEXT_ROUND:
        return char.encode("unicode_escape", "surrogatepass").decode("ascii")
    return char

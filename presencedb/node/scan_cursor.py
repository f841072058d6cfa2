"""The position of a scan as text, as it goes over the wire: slot (14 bits), kind (2) and hash (128) in hexadecimal."""

from __future__ import annotations

import re
from typing import Final

from presencedb.errors import BadRequest

_CURSOR: Final = re.compile(r"[0-9a-f]{1,36}", re.ASCII)


def scan_position(cursor: str | None) -> int:
    """The position that a cursor names; None: the beginning.

    Raises:
        BadRequest: no scan gave this.
    """
    if cursor is None:
        return 0
    if not _CURSOR.fullmatch(cursor):
        raise BadRequest("this is not a cursor that a scan gave")
    return int(cursor, 16)


def scan_cursor(position: int | None) -> str | None:
    """The cursor that names a position; None after the last page."""
    return None if position is None else f"{position:x}"

"""online: who is online? Page by page."""

from __future__ import annotations

import re
from typing import Final

from presencedb.errors import BadRequest
from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection

# The position of the engine's scan in hexadecimal: slot (14 bits), kind (2), hash (128).
_CURSOR: Final = re.compile(r"[0-9a-f]{1,36}", re.ASCII)


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the next cursor, or nil after the last page, and the ids of this one."""
    position = _position_of(request.cursor)
    next_position, ids = context.engine.scan(position, request.limit, request.options.slots)
    connection.reply(request, (None if next_position is None else f"{next_position:x}", ids))


def _position_of(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not _CURSOR.fullmatch(cursor):
        raise BadRequest("this is not a cursor that online gave")
    return int(cursor, 16)

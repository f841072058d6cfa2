"""online: who is online? Page by page."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.node.scan_cursor import scan_cursor, scan_position
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the next cursor, or nil after the last page, and the ids of this one."""
    position = scan_position(request.cursor)
    next_position, ids = context.engine.scan(position, request.limit, request.options.slots)
    connection.reply(request, (scan_cursor(next_position), ids))

"""pages_out: all that this node has of some slots, page by page."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the next cursor, or nil after the last page, and the registers of this one."""
    connection.reply(request, context.member.pages_out(request.cursor, request.limit, request.options.slots))

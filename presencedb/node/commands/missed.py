"""missed: which writes did a member miss?"""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the slots of which it missed some."""
    connection.reply(request, context.member.missed(request.member, request.options.slots))

"""ages: what does this node have of these users?"""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers ages and sign-offs, in the order asked."""
    connection.reply(request, context.member.ages(request.ids))

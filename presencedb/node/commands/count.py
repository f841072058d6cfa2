"""count: how many are online?"""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the number of users online, in all or in the slots named."""
    connection.reply(request, context.engine.count(request.options.slots))

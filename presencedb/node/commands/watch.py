"""watch: learn who is online, and be told of every change of these users from then on, or from a cursor on."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the cursor that the notifications begin after, and the statuses there, in order."""
    if context.cluster is not None:
        context.cluster.ownership.check(request)
    cursor, statuses = context.subscribers.watch(connection, request.ids, request.cursor, context.ticker.now())
    connection.reply_watched(request, cursor, statuses)

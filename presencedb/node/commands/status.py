"""status: who is online?"""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers true, false or nil for each id, in order."""
    context.counters.statuses += len(request.ids)
    status = context.engine.status
    if context.cluster is None or not context.cluster.ownership.read(connection, request, status):
        connection.reply_statuses(request, status(request.ids))

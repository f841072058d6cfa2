"""last_seen: when were users last heard of?"""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.node.moments import moments_of
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers Unix milliseconds or nil for each id, in order."""
    if context.cluster is not None:
        context.cluster.ownership.check(request)
    ticks = context.engine.last_seen(request.ids)
    connection.reply_times(request, moments_of(ticks, context.wall_time))

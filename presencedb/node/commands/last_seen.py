"""last_seen: when were users last heard of?"""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers Unix milliseconds or nil for each id, in order."""
    if context.cluster is not None:
        context.cluster.ownership.check(request)
    ms_at = context.wall_time.ms_at
    ticks = context.engine.last_seen(request.ids)
    connection.reply(request, [None if tick < 0 else ms_at(tick) for tick in ticks])

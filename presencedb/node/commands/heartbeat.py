"""heartbeat: users are alive."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers how many of them came online by it."""
    context.counters.heartbeats += len(request.ids)
    age_ticks = context.scale.ticks(request.options.age_ms)
    tick = context.ticker.now()
    if request.run is None:
        connection.reply(request, context.engine.heartbeat(request.ids, tick, age_ticks=age_ticks))
    else:
        connection.reply_counts(request, context.engine.heartbeat_each(request.ids, tick))
    context.wrote()

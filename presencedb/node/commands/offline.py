"""offline: users sign off, at once or after a grace."""

from __future__ import annotations

from presencedb.ids import IdBatch
from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers how many of them went offline by it at once."""
    context.counters.sign_offs += len(request.ids)
    options = request.options
    tick = context.ticker.now()
    late_ticks = 0 if context.cluster is None else context.cluster.late_ticks
    age_ticks, grace_ticks = context.scale.whole_ticks(options.age_ms) + late_ticks, context.scale.ticks(options.grace_ms)

    def write(ids: IdBatch) -> int:
        return context.engine.sign_off(ids, tick, age_ticks=age_ticks, grace_ticks=grace_ticks)

    if context.cluster is None or not context.cluster.ownership.write(connection, request, write):
        connection.reply(request, write(request.ids))
    context.wrote()

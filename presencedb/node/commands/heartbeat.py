"""heartbeat: users are alive.

With the option `each` the answer may be a byte for each id instead of a number: what came as one frame from many who each
want to know their own. Nobody may count on it: where others are to be told too, or the heartbeats are of an earlier moment,
it is the number all the same.
"""

from __future__ import annotations

from presencedb.ids import IdBatch
from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers how many of them came online by it."""
    context.counters.heartbeats += len(request.ids)
    tick = context.ticker.now()
    late_ticks = 0 if context.cluster is None else context.cluster.late_ticks
    age_ticks = context.scale.ticks(request.options.age_ms) + late_ticks

    def write(ids: IdBatch) -> int:
        return context.engine.heartbeat(ids, tick, age_ticks=age_ticks)

    if context.cluster is None or not context.cluster.ownership.write(connection, request, write):
        if request.run is None and request.options.each and not age_ticks:
            connection.reply(request, bytes(context.engine.heartbeat_each(request.ids, tick)))
        elif request.run is None:
            connection.reply(request, write(request.ids))
        elif late_ticks:
            connection.reply_frames(request, [write(ids) for ids in request.ids_by_frame()])
        else:
            connection.reply_counts(request, context.engine.heartbeat_each(request.ids, tick))
    context.wrote()

"""offline: users sign off, at once or after a grace."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers how many of them went offline by it at once."""
    context.counters.sign_offs += len(request.ids)
    options = request.options
    gone_count = context.engine.sign_off(
        request.ids,
        context.ticker.now(),
        age_ticks=context.scale.whole_ticks(options.age_ms),
        grace_ticks=context.scale.ticks(options.grace_ms),
    )
    connection.reply(request, gone_count)
    context.wrote()

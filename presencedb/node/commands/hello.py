"""hello: the caller introduces itself and may show a token; the node says what it promises."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.greeting import greeting
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """A token that is not known leaves the connection as it was."""
    context.doorkeeper.admit(connection, request.options)
    settings = context.settings
    answer = greeting(
        node=settings.node_id,
        run=context.run,
        ttl_ms=settings.ttl_ms,
        tick_ms=settings.tick_ms,
        retention=settings.retention_name,
    )
    connection.reply(request, answer)

"""unwatch: be told of these users no more."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers how many of them were watched."""
    connection.reply(request, context.subscribers.unwatch(connection, request.ids, context.ticker.now()))

"""follow: be told of every change from now on, or from a cursor on."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the cursor that the notifications begin after. A connection that follows already is placed anew."""
    connection.reply(request, context.subscribers.follow(connection, request.cursor, context.ticker.now()))

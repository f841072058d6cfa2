"""info: look inside."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the counters of all parts of the node."""
    connection.reply(request, context.info())

"""ping: does the node answer?"""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:  # noqa: ARG001 - as every handler
    """It says `pong`."""
    connection.reply(request, "pong")

"""watch: who is online, and be told of every change from then on."""

from __future__ import annotations

from presencedb.errors import Unavailable
from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(_context: NodeContext, _connection: Connection, _request: Request) -> None:
    """Answers the cursor and the statuses that the notifications begin after."""
    raise Unavailable("this node cannot be asked to watch")

"""unwatch: be told no more of these users."""

from __future__ import annotations

from presencedb.errors import Unavailable
from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(_context: NodeContext, _connection: Connection, _request: Request) -> None:
    """Answers how many of them were watched."""
    raise Unavailable("this node cannot be asked to watch")

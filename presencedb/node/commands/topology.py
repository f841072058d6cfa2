"""topology: who is in this cluster? A lone node is a cluster of one."""

from __future__ import annotations

from presencedb.node.context import NodeContext
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers epoch, seed of the hash, replicas and members."""
    if context.cluster is not None:
        connection.reply(request, context.cluster.topology_to_tell())
        return
    member = {
        "id": context.settings.node_id,
        "address": context.address,
        "weight": 1,
        "state": "up",
        "run": context.run,
    }
    connection.reply(request, {"epoch": 0, "seed": context.seed, "replicas": 1, "members": [member]})

"""slots: in which slots does this node know who is offline?"""

from __future__ import annotations

from presencedb.limits import SLOT_COUNT
from presencedb.node.context import NodeContext
from presencedb.placement import ALL_SLOTS, NO_SLOTS
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """Answers the epoch of the topology, the run, and the slots as pairs of the first and last of each run of them."""
    if context.cluster is not None:
        connection.reply(request, context.cluster.slots())
        return
    synced = ALL_SLOTS if context.engine.synced_count == SLOT_COUNT else NO_SLOTS
    connection.reply(request, {"epoch": 0, "run": context.run, "synced": synced.to_wire()})

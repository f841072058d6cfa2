"""What the handlers of commands work with: one node's parts, joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from presencedb.engine import Engine
from presencedb.errors import Unavailable
from presencedb.node.cluster.role import ClusterRole
from presencedb.node.counters import Counters
from presencedb.node.settings import NodeSettings
from presencedb.node.subscribers import Subscribers
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.node.wall_time import WallTime
from presencedb.transport.doorkeeper import Doorkeeper


@dataclass(slots=True, kw_only=True)
class NodeContext:
    """One node, as its commands see it.

    Attributes:
        run: names this start of the node; another start has another.
        seed: of the hash.
        address: where clients reach it; empty: nowhere but from inside this process.
        doorkeeper: who may do what.
        cluster: its role in a cluster; None: it stands alone.
        stopping: requests are not served any more.
        info: takes the counters of all parts.
        wrote: is called after the reply to a command that wrote.
    """

    settings: NodeSettings
    engine: Engine
    ticker: Ticker
    scale: TickScale
    wall_time: WallTime
    subscribers: Subscribers
    counters: Counters
    doorkeeper: Doorkeeper
    cluster: ClusterRole | None
    run: str
    seed: int
    address: str = ""
    stopping: bool = False
    info: Callable[[], dict[str, Any]]
    wrote: Callable[[], None]

    @property
    def member(self) -> ClusterRole:
        """Its role in its cluster.

        Raises:
            Unavailable: it stands alone.
        """
        if self.cluster is None:
            raise Unavailable("this node is no member of a cluster")
        return self.cluster

"""What the handlers of commands work with: one node's parts, joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from presencedb.engine import Engine
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
    run: str
    seed: int
    address: str = ""
    stopping: bool = False
    info: Callable[[], dict[str, Any]]
    wrote: Callable[[], None]

"""What the handlers of commands work with: one node's parts, joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from presencedb.credentials import ALL_RIGHTS, Credentials, Principal, Right
from presencedb.engine import Engine
from presencedb.node.counters import Counters
from presencedb.node.settings import NodeSettings
from presencedb.node.subscribers import Subscribers
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.node.wall_time import WallTime


@dataclass(slots=True, kw_only=True)
class NodeContext:
    """One node, as its commands see it.

    Attributes:
        run: names this start of the node; another start has another.
        seed: of the hash.
        address: where clients reach it; empty: nowhere but from inside this process.
        credentials: None: no token is needed.
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
    run: str
    seed: int
    address: str = ""
    credentials: Credentials | None = None
    stopping: bool = False
    info: Callable[[], dict[str, Any]]
    wrote: Callable[[], None]

    def rights_of(self, token_digest: bytes | None) -> frozenset[Right] | None:
        """What a caller may do who has shown this token, or none; None: nothing before it shows a good one."""
        if self.credentials is None:
            return ALL_RIGHTS
        principal = self.principal_of(token_digest)
        return principal.rights if principal is not None else None

    def principal_of(self, token_digest: bytes | None) -> Principal | None:
        """Whom the token names that a caller has shown; None: nobody, it has shown none or none is asked for."""
        if self.credentials is None or token_digest is None:
            return None
        return self.credentials.find_digest(token_digest)

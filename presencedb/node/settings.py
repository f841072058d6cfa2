"""What a node is told before it starts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

from presencedb.credentials import Credentials
from presencedb.errors import ConfigError
from presencedb.limits import (
    RETENTION_MS_MAX,
    TICK_MS_DEFAULT,
    TICK_MS_MAX,
    TICK_MS_MIN,
    TTL_MS_DEFAULT,
    TTL_MS_MAX,
)
from presencedb.node.cluster.settings import ClusterSettings

_SEED_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """The settings of a node, held against their ranges when they are made.

    Attributes:
        listen: TCP host and port; port 0 picks a free one; None: no TCP.
        unix_path: where to listen on a Unix socket.
        retention_ms: how long `last_seen` is remembered; 0: while online; None: for ever.
        seed: of the hash; None: a random one at each start.
        credentials: who may do what; None: everybody everything.
        ssl_context: TLS on the TCP port.
        warm_up: after the start, say that a status is unknown for one ttl, rather than offline.
        drain_timeout_ms: how long a stop waits for what is on its way.
        cluster: what it is a member of; None: it stands alone. Its seed is that of the hash then.

    Raises:
        ConfigError: a value is out of its range; the message names both.
    """

    listen: tuple[str, int] | None = ("127.0.0.1", 7411)
    unix_path: str | None = None
    ttl_ms: int = TTL_MS_DEFAULT
    tick_ms: int = TICK_MS_DEFAULT
    retention_ms: int | None = 0
    seed: int | None = None
    node_id: str = "n1"
    credentials: Credentials | None = None
    ssl_context: ssl.SSLContext | None = None
    warm_up: bool = False
    drain_timeout_ms: int = 5_000
    cluster: ClusterSettings | None = None

    def __post_init__(self) -> None:
        _check("tick", self.tick_ms, TICK_MS_MIN, TICK_MS_MAX)
        _check("ttl", self.ttl_ms, self.tick_ms, TTL_MS_MAX)
        if self.retention_ms:
            _check("retention", self.retention_ms, self.ttl_ms, RETENTION_MS_MAX)
        if self.seed is not None and not 0 <= self.seed <= _SEED_MAX:
            raise ConfigError(f"seed is between 0 and {_SEED_MAX}, not {self.seed}")
        if self.cluster is not None and all(member.id != self.node_id for member in self.cluster.topology.members):
            raise ConfigError(f"the node {self.node_id} is no member of its cluster")
        if self.drain_timeout_ms < 0:
            raise ConfigError(f"drain timeout is not negative, but {self.drain_timeout_ms} ms")

    @property
    def retention_name(self) -> str | int:
        """`online`, `forever`, or milliseconds."""
        if self.retention_ms is None:
            return "forever"
        return self.retention_ms or "online"


def _check(name: str, value_ms: int, low_ms: int, high_ms: int) -> None:
    if not low_ms <= value_ms <= high_ms:
        raise ConfigError(f"{name} is between {low_ms} and {high_ms} ms, not {value_ms}")

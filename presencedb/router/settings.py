"""What a router is told before it starts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from presencedb.client.cluster.dialling import Dialling
from presencedb.credentials import Credentials
from presencedb.errors import ConfigError
from presencedb.placement import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """The settings of a router.

    Attributes:
        topology: the members to begin with.
        dialling: how to connect to them.
        listen: TCP host and port; port 0 picks a free one; None: no TCP.
        unix_path: where to listen on a Unix socket.
        router_id: what it calls itself.
        credentials: who may do what; None: everybody everything.
        ssl_context: TLS on the TCP port.
        drain_timeout_ms: how long a stop waits for what is on its way.

    Raises:
        ConfigError: a value is out of its range.
    """

    topology: Topology
    dialling: Dialling
    listen: tuple[str, int] | None = ("127.0.0.1", 7413)
    unix_path: str | None = None
    router_id: str = "r1"
    credentials: Credentials | None = None
    ssl_context: ssl.SSLContext | None = None
    drain_timeout_ms: int = 5_000

    def __post_init__(self) -> None:
        if self.drain_timeout_ms < 0:
            raise ConfigError(f"drain timeout is not negative, but {self.drain_timeout_ms} ms")

"""What carries the calls of a client in asyncio: one connection to a server, or those to all members of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from presencedb.client.values import ConnectionState, ServerInfo
from presencedb.errors import Error


class CarrierLink(Protocol):
    """What requests are sent on; see `Link`."""

    @property
    def address(self) -> str:
        """Where it leads, for people."""
        ...

    @property
    def server(self) -> ServerInfo:
        """What the server said of itself."""
        ...

    async def room(self) -> None:
        """Wait until the other end keeps up."""
        ...

    def send(self, method: str, params: Sequence[Any], id_count: int = 0) -> asyncio.Future[Any]:
        """Send a request; what to await for its result."""
        ...

    def suspect(self, asked_s: float) -> None:
        """What was asked at that loop time is overdue."""
        ...


class Carrier(Protocol):
    """What makes links when they are needed; see `Connector`."""

    on_lost: Callable[[Error], None] | None
    on_state: Callable[[ConnectionState], None] | None
    state: ConnectionState

    @property
    def link(self) -> CarrierLink | None:
        """The link, while there is one."""
        ...

    async def connect(self) -> CarrierLink:
        """The link, or one made now, each address tried once."""
        ...

    async def link_until(self, deadline_s: float) -> CarrierLink:
        """The link, or one made by that loop time."""
        ...

    async def close(self) -> None:
        """Close it, and fail everybody who waits. May be called again."""
        ...

    def drop(self) -> None:
        """The same, without waiting for the end of it."""
        ...

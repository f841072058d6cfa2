"""A router: a cluster behind one address. It keeps no user, speaks the node's protocol, and any number of them may stand
side by side: it is the cluster client behind a listener.
"""

from __future__ import annotations

import secrets
import socket
from random import Random
from typing import Final

import structlog

from presencedb.client.cluster.fanout import Fanout
from presencedb.clock import SystemClock
from presencedb.credentials import Credentials, Right
from presencedb.limits import SECOND_MS
from presencedb.placement import Topology
from presencedb.router.feeds import RouterFeeds
from presencedb.router.service import RouterService
from presencedb.router.settings import RouterSettings
from presencedb.transport.doorkeeper import Doorkeeper
from presencedb.transport.hub import Hub
from presencedb.transport.listener import Listener
from presencedb.transport.loop import loop_name
from presencedb.units import Address

log = structlog.get_logger()

_RUN_BYTES: Final = 8


class Router:
    """One router. Made in any context, started and stopped once, in one loop."""

    def __init__(self, settings: RouterSettings, *, random: Random | None = None) -> None:
        self._settings = settings
        self._random = random or Random()  # noqa: S311 - for jitter
        self._parts: _Parts | None = None
        self._draining = False

    async def start(self) -> None:
        """Connect to the members that can be reached, and listen.

        Raises:
            ListenError: an address is taken or not of this machine.
            ConfigError: the address of a member is none.
        """
        parts = _Parts(self._settings, self._random)
        try:
            await parts.fanout.tried()
            await parts.listen(self._settings)
        except BaseException:
            parts.listener.stop()
            await parts.feeds.close()
            await parts.fanout.close()
            raise
        self._parts = parts
        up = sum(parts.fanout.view.mask)
        log.info("router started", router=self._settings.router_id, address=parts.address, members_up=up, loop=loop_name())

    async def stop(self) -> None:
        """Accept nobody any more, answer what has come in, and close, all within the drain timeout."""
        parts = self._parts
        if parts is None or self._draining:
            return
        self._draining = True
        timeout_ms = self._settings.drain_timeout_ms
        deadline_s = parts.hub.loop.time() + timeout_ms / SECOND_MS
        parts.listener.stop()
        # Half of the time for clients that go on sending; after it, what they have sent is refused instead of served.
        parts.service.stopping = not await parts.hub.wait_until_quiet(timeout_ms // 2)
        await parts.hub.close(max(0, int((deadline_s - parts.hub.loop.time()) * SECOND_MS)))
        await parts.feeds.close()
        await parts.fanout.close()
        log.info("router stopped", router=self._settings.router_id)

    @property
    def tcp_address(self) -> tuple[str, int] | None:
        """Where it listens, with the real port; None: nowhere on TCP."""
        return self._parts.tcp_address if self._parts is not None else None

    @property
    def ready(self) -> bool:
        """Whether it serves: it has started, does not stop, and some member is up."""
        return self._parts is not None and not self._draining and self._parts.fanout.view.any_up is not None

    async def adopt(self, sock: socket.socket, rights: frozenset[Right]) -> None:
        """Serve a connected socket of this process, such as one end of a pair, with these rights.

        A router that stops closes it.

        Raises:
            RuntimeError: the router is not started.
        """
        parts = self._started()
        if self._draining:
            sock.close()
        else:
            await parts.listener.adopt(sock, rights)

    def set_credentials(self, credentials: Credentials | None) -> None:
        """Ask for these tokens from now on; None: for none. Connections are judged anew (`Doorkeeper.change`).

        Raises:
            RuntimeError: the router is not started.
        """
        parts = self._started()
        parts.doorkeeper.change(credentials, parts.hub)
        parts.listener.rights = parts.doorkeeper.rights_of(None)

    def set_topology(self, topology: Topology) -> bool:
        """Go by another topology, if it is newer; returns whether it was.

        Raises:
            RuntimeError: the router is not started.
        """
        return self._started().fanout.view.update(topology)

    def _started(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the router is not started")
        return self._parts


class _Parts:
    """What there is of a router while it runs."""

    def __init__(self, settings: RouterSettings, random: Random) -> None:
        self.hub = Hub()
        self.tcp_address: tuple[str, int] | None = None
        self.address = ""
        self.doorkeeper = Doorkeeper(settings.credentials)
        self.fanout = Fanout(settings.topology, settings.dialling, random)
        run = secrets.token_hex(_RUN_BYTES)
        self.feeds = RouterFeeds(self.fanout.view, settings.dialling, random, run, SystemClock())
        self.service = RouterService(self.fanout, self.feeds, self.doorkeeper, settings.router_id, run)
        self.listener = Listener(self.hub, self.service, self.doorkeeper.rights_of(None))

    async def listen(self, settings: RouterSettings) -> None:
        """Open the doors that the settings name."""
        if settings.listen is not None:
            self.tcp_address = await self.listener.listen_tcp(*settings.listen, settings.ssl_context)
            self.address = str(Address(*self.tcp_address))
        if settings.unix_path is not None:
            await self.listener.listen_unix(settings.unix_path)
            self.address = self.address or f"unix:{settings.unix_path}"

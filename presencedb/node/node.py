"""A node: one engine, served. Joins the parts, starts and stops them.

A heartbeat's way: bytes -> connection -> session -> dispatcher -> command -> engine. What changed by it waits in the engine
until the ticker publishes it: the feed takes it, and the delivery sends it to those who follow or watch.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from typing import Final

import structlog

from presencedb.clock import Clock, SystemClock
from presencedb.credentials import Credentials, Right
from presencedb.engine import IMPLEMENTATION, Engine, EngineConfig, create_engine
from presencedb.limits import (
    FEED_FRAME_EVENTS_MAX,
    FEED_LINGER_MS,
    SECOND_MS,
    SLOT_COUNT,
    SLOW_READER_MS,
    TICK_AGE_MS_MAX,
    TICK_ORIGIN,
)
from presencedb.node.cluster.role import ClusterRole
from presencedb.node.context import NodeContext
from presencedb.node.counters import Counters
from presencedb.node.dispatch import Dispatcher
from presencedb.node.feed import Feed
from presencedb.node.information import Information
from presencedb.node.settings import NodeSettings
from presencedb.node.subscribers import Subscribers
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.node.wall_time import WallTime
from presencedb.placement import Topology
from presencedb.transport.doorkeeper import Doorkeeper
from presencedb.transport.hub import Hub
from presencedb.transport.listener import Listener
from presencedb.transport.loop import loop_name
from presencedb.units import Address

__all__ = ["Node", "NodeSettings"]

log = structlog.get_logger()

_SEED_BITS: Final = 64
_RUN_BYTES: Final = 8


class Node:
    """One node. Made in any context, started and stopped once, in one loop."""

    def __init__(self, settings: NodeSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._parts: _Parts | None = None
        self._adopting: set[asyncio.Task[None]] = set()
        self._draining = False

    async def start(self) -> None:
        """Listen and tick.

        Raises:
            ListenError: an address is taken or not of this machine.
        """
        parts = _Parts(self._settings, self._clock)
        if parts.cluster is not None:
            parts.cluster.start()
        try:
            await parts.listen(self._settings)
        except BaseException:
            parts.listener.stop()
            if parts.cluster is not None:
                await parts.cluster.stop()
            raise
        self._parts = parts
        parts.ticker.start()
        log.info(
            "node started",
            node=self._settings.node_id,
            run=parts.context.run,
            address=parts.context.address,
            engine=IMPLEMENTATION,
            loop=loop_name(),
        )

    async def stop(self) -> None:
        """Accept nobody any more, answer what has come in, and close, all within the drain timeout."""
        parts = self._parts
        if parts is None or self._draining:
            return
        self._draining = True
        timeout_ms = self._settings.drain_timeout_ms
        deadline_s = parts.hub.loop.time() + timeout_ms / SECOND_MS
        parts.listener.stop()
        await asyncio.gather(*self._adopting, return_exceptions=True)
        # Half of the time for clients that go on sending; after it, what they have sent is refused instead of served.
        parts.context.stopping = not await parts.hub.wait_until_quiet(timeout_ms // 2)
        await parts.hub.close(max(0, int((deadline_s - parts.hub.loop.time()) * SECOND_MS)))
        parts.ticker.stop()
        if parts.cluster is not None:
            await parts.cluster.stop()
        log.info("node stopped", node=self._settings.node_id, all_served=not parts.context.stopping)

    @property
    def tcp_address(self) -> tuple[str, int] | None:
        """Where it listens, with the real port; None: nowhere on TCP."""
        return self._parts.tcp_address if self._parts is not None else None

    @property
    def ready(self) -> bool:
        """Whether it serves: it has started, does not stop, and its ticks move; a member knows all of its slots besides."""
        parts = self._parts
        if parts is None or self._draining or self.tick_age_ms > TICK_AGE_MS_MAX:
            return False
        return parts.cluster is None or parts.cluster.ready

    @property
    def tick_age_ms(self) -> int:
        """How long ago the last tick was, in a healthy node about a tick at most."""
        return self._parts.ticker.age_ms if self._parts is not None else 0

    def accept(self, sock: socket.socket, rights: frozenset[Right]) -> None:
        """Serve a connected socket of this process, such as one end of a pair, with these rights.

        A node that stops closes it.

        Raises:
            RuntimeError: the node is not started.
        """
        if self._parts is None:
            raise RuntimeError("the node is not started")
        if self._draining:
            # Else a client that connects anew would get answers of a store whose time stands still.
            sock.close()
            return
        task = self._parts.hub.loop.create_task(self._parts.listener.adopt(sock, rights))
        self._adopting.add(task)
        task.add_done_callback(self._adopted)

    def set_topology(self, topology: Topology) -> bool:
        """Go by these members from now on, if their epoch is newer and they are of the same cluster; returns whether so.

        Raises:
            RuntimeError: the node is not started, or stands alone.
        """
        if self._parts is None or self._parts.cluster is None:
            raise RuntimeError("the node is no member of a cluster")
        return self._parts.cluster.update(topology)

    def set_credentials(self, credentials: Credentials | None) -> None:
        """Ask for these tokens from now on; None: for none. Connections are judged anew (`Doorkeeper.change`).

        Raises:
            RuntimeError: the node is not started.
        """
        if self._parts is None:
            raise RuntimeError("the node is not started")
        doorkeeper = self._parts.context.doorkeeper
        doorkeeper.change(credentials, self._parts.hub)
        self._parts.listener.rights = doorkeeper.rights_of(None)

    def _adopted(self, task: asyncio.Task[None]) -> None:
        self._adopting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a socket handed over could not be served", error=str(error))


class _Parts:
    """What there is of a node while it runs."""

    def __init__(self, settings: NodeSettings, clock: Clock) -> None:
        scale = TickScale(settings.tick_ms)
        self.hub = Hub()
        self.tcp_address: tuple[str, int] | None = None
        seed = _seed_of(settings)
        run = secrets.token_hex(_RUN_BYTES)
        self._engine = _make_engine(settings, scale, seed)
        self._warm_until_tick = _warm_until_tick(settings, scale)
        self.ticker = Ticker(self._engine, clock, scale, self.hub, self._each_tick)
        self._wall_time = WallTime(clock, settings.tick_ms, TICK_ORIGIN, self.ticker.start_ns)
        self._feed = Feed(self._engine, self._wall_time, run, scale.ticks(FEED_LINGER_MS))
        self._subscribers = Subscribers(self._engine, self._feed, seed, scale.ticks(SLOW_READER_MS), self.hub.loop.call_soon)
        self.cluster = self._make_role(settings, run, scale)
        counters = Counters()
        doorkeeper = Doorkeeper(settings.credentials)
        information = Information(
            settings=settings,
            run=run,
            engine=self._engine,
            ticker=self.ticker,
            hub=self.hub,
            feed=self._feed,
            subscribers=self._subscribers,
            wall_time=self._wall_time,
            counters=counters,
            cluster=self.cluster,
        )
        self.context = NodeContext(
            settings=settings,
            engine=self._engine,
            ticker=self.ticker,
            scale=scale,
            wall_time=self._wall_time,
            subscribers=self._subscribers,
            counters=counters,
            doorkeeper=doorkeeper,
            cluster=self.cluster,
            run=run,
            seed=seed,
            info=information.take,
            wrote=self._wrote,
        )
        self.listener = Listener(self.hub, Dispatcher(self.context), doorkeeper.rights_of(None))

    async def listen(self, settings: NodeSettings) -> None:
        """Open the doors that the settings name."""
        if settings.listen is not None:
            self.tcp_address = await self.listener.listen_tcp(*settings.listen, settings.ssl_context)
            self.context.address = str(Address(*self.tcp_address))
        if settings.unix_path is not None:
            await self.listener.listen_unix(settings.unix_path)
            self.context.address = self.context.address or f"unix:{settings.unix_path}"

    def _make_role(self, settings: NodeSettings, run: str, scale: TickScale) -> ClusterRole | None:
        if settings.cluster is None:
            return None
        return ClusterRole(
            settings.cluster,
            settings.node_id,
            run,
            engine=self._engine,
            ticker=self.ticker,
            scale=scale,
            # What happened while it was unknown was told nobody: who reads the feed reads the state anew.
            on_synced=self._subscribers.cut,
        )

    def _each_tick(self, tick: int) -> None:
        self._wall_time.observe()
        if self.cluster is not None:
            self.cluster.step(tick)
        if self._warm_until_tick is not None and tick > self._warm_until_tick:
            self._warm_until_tick = None
            self._engine.set_synced(range(SLOT_COUNT), synced=True)
            # What happened while it was unknown was told nobody: who reads the feed reads the state anew.
            self._subscribers.cut()
        self._subscribers.publish(tick)

    def _wrote(self) -> None:
        # What waits must not grow with how fast heartbeats come in, and nobody is told of less than a notification's worth.
        if self._engine.transitions_waiting >= FEED_FRAME_EVENTS_MAX:
            self._subscribers.publish(self.ticker.now())


def _seed_of(settings: NodeSettings) -> int:
    if settings.cluster is not None:
        return settings.cluster.topology.seed
    return secrets.randbits(_SEED_BITS) if settings.seed is None else settings.seed


def _warm_until_tick(settings: NodeSettings, scale: TickScale) -> int | None:
    """When a node that stands alone has heard of everybody; a member of a cluster has its own way to tell."""
    return TICK_ORIGIN + scale.ticks(settings.ttl_ms) if settings.warm_up and settings.cluster is None else None


def _make_engine(settings: NodeSettings, scale: TickScale, seed: int) -> Engine:
    config = EngineConfig(
        ttl_ticks=scale.ticks(settings.ttl_ms),
        retention_ticks=None if settings.retention_ms is None else scale.ticks(settings.retention_ms),
        seed=seed,
        synced=not settings.warm_up and settings.cluster is None,
    )
    return create_engine(config, tick=TICK_ORIGIN)

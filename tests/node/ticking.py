"""A ticker with an engine and a door, and nothing else of a node."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from presencedb.clock import ManualClock
from presencedb.credentials import ALL_RIGHTS
from presencedb.engine import EngineConfig, Transition, create_engine
from presencedb.limits import STALL_TICKS, TICK_ORIGIN
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.protocol.messages import Request
from presencedb.states import Reason
from presencedb.transport.connection import Connection
from presencedb.transport.hub import Hub
from presencedb.transport.listener import Listener
from tests.support.waiting import wait_until_async

TICK_MS: Final = 50
TTL_TICKS: Final = 20
TIMEOUT_MS: Final = 20_000
TRANSITIONS_MAX: Final = 1_000_000


class Ticking:
    """A ticker, its engine, and a door through which heartbeats come in, on a clock that moves when it is told to.

    Attributes:
        request_cost_ms: how much time goes by while a heartbeat is served.
    """

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.request_cost_ms = 0
        self.engine = create_engine(EngineConfig(ttl_ticks=TTL_TICKS), tick=TICK_ORIGIN)
        self.hub = Hub()
        self.listener = Listener(self.hub, self, ALL_RIGHTS)
        self.published: list[tuple[int, int]] = []
        self.transitions: list[Transition] = []
        self.ticker = Ticker(self.engine, self.clock, TickScale(TICK_MS), self.hub, self._each_tick)

    def serve(self, connection: Connection, request: Request) -> None:
        self.clock.advance_ms(self.request_cost_ms * request.frame_count)
        self.engine.heartbeat(request.ids, self.ticker.now())

    def has_room(self, connection: Connection) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        pass

    def _each_tick(self, tick: int) -> None:
        transitions = list(self.engine.drain_transitions(TRANSITIONS_MAX))
        self.published.append((tick, len(transitions)))
        self.transitions += transitions

    async def pass_ticks(self, count: int) -> None:
        """Let ticks go by, few enough at a time that none of it is a stall."""
        while count:
            step = min(count, STALL_TICKS)
            self.clock.advance_ms(step * TICK_MS)
            await self.reached()
            count -= step

    async def reached(self) -> None:
        """Wait until the ticker is at the clock's tick."""
        await wait_until_async(lambda: self.published and self.published[-1][0] == self.ticker.now())

    async def stall(self, duration_ms: int) -> None:
        """Let the clock jump, and wait until the ticker has noticed."""
        stalls = self.ticker.stalls
        self.clock.advance_ms(duration_ms)
        await wait_until_async(lambda: self.ticker.stalls > stalls)

    def timeouts(self) -> list[tuple[object, int]]:
        return [(event.id, event.tick - TICK_ORIGIN) for event in self.transitions if event.reason is Reason.TIMEOUT]


@contextlib.asynccontextmanager
async def ticking(clock: ManualClock | None = None) -> AsyncIterator[Ticking]:
    """One that ticks, stopped at the end."""
    node = Ticking(clock)
    node.ticker.start()
    try:
        yield node
    finally:
        node.ticker.stop()
        node.listener.stop()
        await node.hub.close(TIMEOUT_MS)

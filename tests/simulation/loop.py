"""The event loop of one simulated process: it turns when the world says so, and sleeps in simulated time."""

from __future__ import annotations

import asyncio
import heapq
import selectors
import socket
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple, cast

if TYPE_CHECKING:
    from tests.simulation.network import SimulatedSocket
    from tests.simulation.world import World

Ts = TypeVarTuple("Ts")

NS_PER_S: Final = 1_000_000_000
NEVER_NS: Final = 2**63 - 1


class _NoSelector:
    """There are no descriptors to wait for."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop without descriptors. Its sockets are those of the simulated network."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self._world = world
        self._wakes: list[int] = []  # when a timer was set for; those that were cancelled are still there
        self._has_ready = False

    # --- what the world does ---------------------------------------------------------------------------------------

    @property
    def wakes_ns(self) -> int:
        """When there is something to do: now, where callbacks wait; `NEVER_NS`, where nothing does."""
        if self._has_ready:
            return self._world.now_ns
        return self._wakes[0] if self._wakes else NEVER_NS

    def turn(self) -> None:
        """Run the callbacks that wait and the timers that are due, once."""
        self._has_ready = False
        while self._wakes and self._wakes[0] <= self._world.now_ns:
            heapq.heappop(self._wakes)
        self.stop()
        self.run_forever()

    # --- what asyncio calls ----------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._world.now_ns / NS_PER_S

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        self._has_ready = True
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        # Up to the next nanosecond, so that the timer is due in the turn it wakes the world for.
        heapq.heappush(self._wakes, max(int(when * NS_PER_S) + 1, self._world.now_ns))
        return super().call_at(when, callback, *args, context=context)

    async def create_connection(self, protocol_factory: Any, *args: Any, sock: Any = None, **options: Any) -> Any:
        return self._attach(protocol_factory, sock)

    async def connect_accepted_socket(self, protocol_factory: Any, sock: Any, **options: Any) -> Any:
        return self._attach(protocol_factory, sock)

    def _attach(self, protocol_factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket) -> Any:
        protocol = cast("asyncio.BufferedProtocol", protocol_factory())
        return cast("SimulatedSocket", sock).attach(self, protocol), protocol

    def _process_events(self, event_list: Any) -> None:
        """Nothing ever happens on a descriptor."""

    def _write_to_self(self) -> None:
        """Nobody has to wake a loop that does not sleep."""

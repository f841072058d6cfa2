"""The event loop of one simulated process: it turns when the world says so, and sleeps in simulated time."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple, cast

if TYPE_CHECKING:
    from tests.simulation.network import SimulatedSocket
    from tests.simulation.process import Process
    from tests.simulation.world import World

Ts = TypeVarTuple("Ts")

NS_PER_S: Final = 1_000_000_000


class _NoSelector:
    """There are no descriptors to wait for."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop without descriptors. Its sockets are those of the simulated network."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self._world = world
        self._process = process

    def turn(self) -> None:
        """Run the callbacks that wait and the timers that are due, once."""
        asyncio.events._set_running_loop(self)  # as `run_forever` does, without what only a loop that sleeps needs
        try:
            self._run_once()  # type: ignore[attr-defined]
        finally:
            asyncio.events._set_running_loop(None)

    # --- what asyncio calls ----------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._world.now_ns / NS_PER_S

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        self._world.is_ready(self._process)
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        # Up to the next nanosecond, so that the timer is due in the turn it wakes the world for.
        self._world.wake_at(self._process, int(when * NS_PER_S) + 1)
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

"""One simulated process: an event loop of its own, a clock, and the accidents that happen to processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tests.simulation.loop import SimulatedLoop

if TYPE_CHECKING:
    from tests.simulation.network import SimulatedSocket
    from tests.simulation.world import World

T = TypeVar("T")

WALL_ORIGIN_MS: Final = 1_700_000_000_000
TURNS_TO_END_MAX: Final = 1_000


class ProcessClock:
    """The clock of a machine: its monotonic time began when the world did, its wall clock can be set."""

    def __init__(self, world: World) -> None:
        self.wall_skew_ms = 0
        self._world = world

    def monotonic_ns(self) -> int:
        """As every `Clock`."""
        return self._world.now_ns

    def wall_ms(self) -> int:
        """As every `Clock`."""
        return WALL_ORIGIN_MS + self._world.now_ns // 1_000_000 + self.wall_skew_ms


class Process:
    """A process. It runs from when it is made until it is killed; another start is another process of the same name."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.loop = SimulatedLoop(world, self)
        self.clock = ProcessClock(world)
        self.ends: dict[SimulatedSocket, None] = {}  # in the order in which they were made, so that a seed says all
        self._world = world
        self.loop.set_exception_handler(self._note)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in it, as a task."""
        return self.loop.create_task(work)

    def do(self, step: Callable[[], object]) -> None:
        """Let its kernel or its loop do something when the process next runs; never, where it is dead."""
        if self.alive:
            self.loop.call_soon(step)

    def kill(self) -> None:
        """End it at once, as SIGKILL does."""
        self.alive = False
        self._world.network.cut_off(self)

    def pause(self) -> None:
        """Stop it, as SIGSTOP does; what is sent to it waits."""
        self.paused = True

    def resume(self) -> None:
        """Let it go on."""
        self.paused = False
        self._world.is_ready(self)

    def bury(self) -> None:
        """After the end of the world: end what still waits in the loop, quietly."""
        self.alive = False
        self.loop.set_exception_handler(lambda _loop, _context: None)
        for _ in range(TURNS_TO_END_MAX):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.turn()
        self.loop.close()

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self.alive:
            self._world.failures.append(f"{self.name}: {context.get('message')}: {context.get('exception')!r}")

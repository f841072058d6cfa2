"""The world of a simulation: time that goes by only when nobody has anything to do, and a seed that decides the rest."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from tests.simulation.loop import NEVER_NS
from tests.simulation.network import Network
from tests.simulation.process import Process

T = TypeVar("T")

NS_PER_S: Final = 1_000_000_000
TURNS_AT_ONE_MOMENT_MAX: Final = 100_000
"""A process that is never done at one moment would stop the world."""


class World:
    """Processes, the network between them, and time.

    Attributes:
        random: where every accident comes from.
        failures: what nobody handled in any process.
    """

    def __init__(self, seed: int) -> None:
        self.now_ns = 0
        self.random = Random(seed)
        self.failures: list[str] = []
        self.network = Network(self)
        self._processes: list[Process] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._event_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.bury()

    def process(self, name: str) -> Process:
        """A new process; one of the same name must have been killed before."""
        assert not any(one.alive and one.name == name for one in self._processes), f"{name} runs already"
        process = Process(self, name)
        self._processes.append(process)
        return process

    def after(self, delay_ns: int, happen: Callable[[], None]) -> None:
        """Let something happen outside of all processes."""
        self._event_count += 1
        heapq.heappush(self._events, (self.now_ns + delay_ns, self._event_count, happen))

    def run_for(self, duration_s: float) -> None:
        """Let time go by."""
        self._run_until_ns(self.now_ns + int(duration_s * NS_PER_S), lambda: False)

    def run_until(self, condition: Callable[[], object], deadline_s: float = 60.0) -> None:
        """Let time go by until something is true.

        Raises:
            AssertionError: it did not become true within so many simulated seconds.
        """
        self._run_until_ns(self.now_ns + int(deadline_s * NS_PER_S), lambda: bool(condition()))
        assert condition(), f"it did not come true within {deadline_s:g} s"

    def result_of(self, process: Process, work: Coroutine[Any, Any, T], deadline_s: float = 60.0) -> T:
        """Run a coroutine in a process to its end."""
        task: asyncio.Task[T] = process.start(work)
        self.run_until(task.done, deadline_s)
        return task.result()

    def _run_until_ns(self, end_ns: int, is_over: Callable[[], bool]) -> None:
        while not is_over():
            running = [process for process in self._processes if process.alive and not process.paused]
            next_ns = min((process.loop.wakes_ns for process in running), default=NEVER_NS)
            if self._events:
                next_ns = min(next_ns, self._events[0][0])
            if next_ns > end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = max(self.now_ns, next_ns)
            self._happen()
            self._turn(running)

    def _happen(self) -> None:
        while self._events and self._events[0][0] <= self.now_ns:
            heapq.heappop(self._events)[2]()

    def _turn(self, running: list[Process]) -> None:
        ready = [process for process in running if process.loop.wakes_ns <= self.now_ns]
        self.random.shuffle(ready)
        for process in ready:
            if process.alive:
                process.loop.turn()

"""The world of a simulation: time that goes by only when nobody has anything to do, and a seed that decides the rest."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from tests.simulation.network import Network
from tests.simulation.process import Process

T = TypeVar("T")

NS_PER_S: Final = 1_000_000_000
TURN_NS: Final = 1_000
"""What a turn of any number of loops takes: nobody ever sees time stand still."""


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
        self._ready: dict[Process, None] = {}
        self._wakes: list[tuple[int, int, Process]] = []
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

    def is_ready(self, process: Process) -> None:
        """A process has something to do now."""
        self._ready[process] = None

    def wake_at(self, process: Process, moment_ns: int) -> None:
        """A process has something to do at that moment, unless it thinks better of it."""
        self._event_count += 1
        heapq.heappush(self._wakes, (moment_ns, self._event_count, process))

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
            if not self._ready:
                next_ns = min(queue[0][0] if queue else end_ns + 1 for queue in (self._wakes, self._events))
                self.now_ns = max(self.now_ns, min(next_ns, end_ns))
                if next_ns > end_ns:
                    return
            elif self.now_ns > end_ns:
                return
            while self._events and self._events[0][0] <= self.now_ns:
                heapq.heappop(self._events)[2]()
            while self._wakes and self._wakes[0][0] <= self.now_ns:
                self.is_ready(heapq.heappop(self._wakes)[2])
            self._turn()

    def _turn(self) -> None:
        ready = [process for process in self._ready if process.alive and not process.paused]
        self._ready.clear()
        if len(ready) > 1:
            self.random.shuffle(ready)
        for process in ready:
            if process.alive:
                process.loop.turn()
        self.now_ns += TURN_NS

"""An event loop whose time goes by only when it would wait: what happens when is then exact, and takes no real time.

Sockets work as ever, as long as both ends are in this process: what one end sends is there for the other at once.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, Final

from presencedb.clock import ManualClock
from tests.support.waiting import DEADLINE_S

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000


class _Selector(selectors.DefaultSelector):
    """Instead of waiting it moves the clock."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # No timer is set: only another thread could wake the loop.
            return super().select(DEADLINE_S)
        ready = super().select(0)
        if not ready and timeout > 0:
            # The clock moves in milliseconds, as the timers of other loops do.
            self._clock.advance_ms(math.ceil(timeout * NS_PER_S / NS_PER_MS - 0.001))
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop of the clock that it is made with."""

    def __init__(self, clock: ManualClock) -> None:
        self._virtual_clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._virtual_clock.monotonic_ns() / NS_PER_S


def run_in_virtual_time(clock: ManualClock, main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on a loop whose time is this clock's."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        runner.run(main)

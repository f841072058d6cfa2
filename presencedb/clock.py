"""The only reader of time. Everything else is handed a `Clock`, or a tick."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings: one that only goes forward, and what the wall says."""

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary origin; never goes back, not touched by setting the wall clock."""
        ...

    def wall_ms(self) -> int:
        """Unix time in milliseconds; may jump either way at any moment."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves when it is told to; for tests and the simulator."""

    def __init__(self, *, monotonic_ns: int = 0, wall_ms: int = 0) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ms = wall_ms

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def wall_ms(self) -> int:
        return self._wall_ms

    def advance_ms(self, duration_ms: int) -> None:
        """Let time go by on both clocks.

        Raises:
            ValueError: the duration is negative.
        """
        if duration_ms < 0:
            raise ValueError(f"time does not go back: {duration_ms} ms")
        self._monotonic_ns += duration_ms * 1_000_000
        self._wall_ms += duration_ms

    def set_wall_ms(self, wall_ms: int) -> None:
        """Set the wall clock, as an administrator or NTP would; the monotonic clock does not notice."""
        self._wall_ms = wall_ms

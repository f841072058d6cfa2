"""Milliseconds <-> ticks, the one place where they are converted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TickScale:
    """How long a tick is."""

    tick_ms: int

    def ticks(self, duration_ms: int) -> int:
        """The whole ticks that cover a duration.

        It rounds up: an age never makes a heartbeat younger than it is, and a ttl or a grace is never cut short.
        """
        return -(-duration_ms // self.tick_ms)

    def whole_ticks(self, duration_ms: int) -> int:
        """The whole ticks in a duration.

        It rounds down: an age never makes a sign-off older than it is, so that one which is sent again at once does not
        lose against the heartbeat before it.
        """
        return duration_ms // self.tick_ms

    def duration_ms(self, ticks: int) -> int:
        """How long so many ticks take."""
        return ticks * self.tick_ms

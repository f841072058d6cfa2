"""Whether the other end is still there: decisions without I/O, shared by every client.

A connection whose peer is gone without a word (a pulled cable, a dropped NAT entry, a stopped process) looks like one that
is idle. So after an interval of silence a ping goes out, and when half an interval later still nothing at all was heard,
the connection is given up: `bound_s` after the last byte at the latest.

A late answer may be this process's own fault: its loop was blocked, and the answer lies unread in the socket. So nobody is
given up before the loop has read once more.
"""

from __future__ import annotations

from enum import Enum

from presencedb.limits import LAST_CHANCE_MS, PING_INTERVAL_MS_MAX, PING_INTERVAL_MS_MIN, SECOND_MS


def ping_interval_s(heartbeat_interval_ms: int) -> float:
    """Seconds of silence after which a peer is asked whether it is there."""
    return min(max(heartbeat_interval_ms, PING_INTERVAL_MS_MIN), PING_INTERVAL_MS_MAX) / SECOND_MS


class Verdict(Enum):
    """What to do after a look at a connection."""

    WAIT = "look again when it is time"
    PING = "send a ping, then the same"
    DEAD = "give the connection up"


class Liveness:
    """Judges one connection by when something was heard from it. Times are seconds of any clock that does not go back."""

    def __init__(self, heartbeat_interval_ms: int, now_s: float) -> None:
        self.interval_s = ping_interval_s(heartbeat_interval_ms)
        self._heard_s = now_s
        self._asked_s: float | None = None
        self._last_chance_s: float | None = None

    @property
    def bound_s(self) -> float:
        """How long after the last byte a dead connection is noticed at the latest."""
        return self.interval_s * 1.5 + LAST_CHANCE_MS / SECOND_MS

    def hear(self, now_s: float) -> None:
        """Something came from the peer."""
        self._heard_s = now_s
        self._asked_s = self._last_chance_s = None

    def look(self, now_s: float) -> Verdict:
        """Judge the connection."""
        if self._asked_s is None:
            if now_s - self._heard_s < self.interval_s:
                return Verdict.WAIT
            self._asked_s = now_s
            return Verdict.PING
        if now_s < self.next_look_s:
            return Verdict.WAIT
        if self._last_chance_s is None:
            self._last_chance_s = now_s + LAST_CHANCE_MS / SECOND_MS
            return Verdict.WAIT
        return Verdict.DEAD

    def suspect(self, asked_s: float, now_s: float) -> None:
        """What was asked then is overdue: if nothing at all was heard since, this is the last chance."""
        if self._heard_s <= asked_s:
            self._asked_s = asked_s
            self._last_chance_s = now_s + LAST_CHANCE_MS / SECOND_MS

    @property
    def next_look_s(self) -> float:
        """When to look again."""
        if self._last_chance_s is not None:
            return self._last_chance_s
        if self._asked_s is not None:
            return self._asked_s + self.interval_s / 2
        return self._heard_s + self.interval_s

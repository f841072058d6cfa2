"""When to try again: decisions without I/O, a clock or a loop, shared by every client.

A call has one budget of time. It is spent in attempts, each at most half a heartbeat interval long, so that a heartbeat
that went into a dead connection has a second chance before its user's ttl is over. Between attempts the wait is "full
jitter" (M. Brooker, "Exponential Backoff And Jitter", 2015): uniform between nothing and an exponentially growing bound,
which spreads the clients that lost one server evenly instead of in waves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from random import Random

from presencedb.errors import CallTimeout, ConnectError, Error
from presencedb.limits import AGE_MS_MAX, ATTEMPT_MS_MIN, BACKOFF_BASE_MS, BACKOFF_CAP_MS, LATE_WRITE_MS, SECOND_MS

_EXPONENT_MAX = 32  # far above the cap; keeps a client that has failed for days from computing with giant numbers


def backoff_s(failure_count: int, random: Random) -> float:
    """Seconds to wait after so many failures in a row, the first of them being 0."""
    bound_ms = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS << min(failure_count, _EXPONENT_MAX))
    return random.random() * bound_ms / SECOND_MS


def attempt_s(heartbeat_interval_ms: int) -> float:
    """The longest that one attempt may wait for its answer, in seconds."""
    return max(ATTEMPT_MS_MIN, heartbeat_interval_ms / 2) / SECOND_MS


def proof_s(heartbeat_interval_ms: int) -> float:
    """How long a connection that was silent for an interval has to show that it is alive, before a call is given to it."""
    return max(ATTEMPT_MS_MIN / SECOND_MS, attempt_s(heartbeat_interval_ms) / 4)


@dataclass(slots=True)
class Attempts:
    """One call's way through its attempts. Times are seconds of any clock that does not go back.

    Attributes:
        began_s: when the call began.
        deadline_s: when its budget is used up.
        age_ms: how old the write was when the call began; 0 for a read.
        count: attempts begun.
        address: where the last one went; None: none has gone anywhere.
        is_cut: the last one ends with the call, before its own time.
        refusal: what the server said to the one before; None: nothing.
    """

    began_s: float
    deadline_s: float
    age_ms: int = 0
    count: int = 0
    address: str | None = None
    is_cut: bool = False
    refusal: Error | None = None

    def begin(self, now_s: float, heartbeat_interval_ms: int) -> float:
        """Begin an attempt; returns when it ends unanswered."""
        self.count += 1
        end_s = now_s + attempt_s(heartbeat_interval_ms)
        self.is_cut = end_s > self.deadline_s
        return min(self.deadline_s, end_s)

    def age_to_send_ms(self, now_s: float) -> int:
        """The age that a write of this attempt carries.

        On the first attempt it is what the caller gave, unless the write had to wait long for its connection: then, and
        on every further attempt, the time since the call began is added. So a late write is never taken for a fresh one.
        """
        elapsed_ms = ceil((now_s - self.began_s) * SECOND_MS)  # older rather than younger than the truth
        if self.count <= 1 and elapsed_ms < LATE_WRITE_MS:
            return self.age_ms
        return min(self.age_ms + elapsed_ms, AGE_MS_MAX)

    def wait_s(self, error: Error, now_s: float, random: Random) -> float | None:
        """How long to wait before the next attempt after this error; None: give up.

        A lost connection asks for no wait here: whoever makes the connections backs off for all calls together.
        """
        if not error.retryable or now_s >= self.deadline_s:
            return None
        if isinstance(error, ConnectError):
            self.refusal = None
            return 0.0
        wait = backoff_s(self.count - 1, random)
        if now_s + wait >= self.deadline_s:
            return None
        self.refusal = None if isinstance(error, CallTimeout) else error
        return wait

    def told(self, error: Error) -> Error:
        """What to raise after this error of the last attempt.

        One that was cut short got no answer for want of time; what the server said to the one before tells why it fails.
        """
        return self.refusal if self.refusal is not None and self.is_cut and isinstance(error, CallTimeout) else error

"""What a client counts of itself, and what it tells of each call that has ended. Shared by every client.

`Counters` is told by whoever carries out calls and makes connections, of any thread; what a connection itself counts stays
with it (`Traffic`), so that nothing is locked for it, and is added up when somebody asks.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, TypeAlias

from presencedb.client.retry import Attempts
from presencedb.clock import SystemClock
from presencedb.protocol.session import Traffic

ROUND_TRIP_GAIN: Final = 1 / 8
"""How much of the smoothed round trip a new one is: alpha of RFC 6298, section 2."""
NS_PER_S: Final = 1_000_000_000

_clock: Final = SystemClock()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """What a client has done since it was made. In a forked child it begins anew.

    Attributes:
        calls: begun, those of `keep_online` included; one that asks the server nothing (no ids) is none.
        calls_in_flight: of those, not ended yet.
        errors: how many calls ended with an error, by the name of its class.
        retries: how often a frame was sent again.
        timeouts: how often a frame got no answer in the time of an attempt.
        connections_made: with those of feeds.
        connections_lost: of those, ended otherwise than by this client's wish.
        frames_sent: requests, with hellos, pings and those of feeds.
        bytes_sent: before TLS.
        bytes_received: before TLS.
        round_trip_s: seconds from sending a request to its answer, smoothed as in RFC 6298; None before the first.
    """

    calls: int
    calls_in_flight: int
    errors: Mapping[str, int]
    retries: int
    timeouts: int
    connections_made: int
    connections_lost: int
    frames_sent: int
    bytes_sent: int
    bytes_received: int
    round_trip_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTrace:
    """One call that has ended, as `on_call` is told of it.

    Attributes:
        method: of the protocol: `status` for `status_array` too, `heartbeat` for beats of `keep_online`.
        id_count: how many ids it names, repeated ones counted each time.
        duration_s: from the call to its end, waits and retries included.
        attempts: how often its frame was sent, of several the one that was sent most often; 0: never.
        error: what it raised, `asyncio.CancelledError` and KeyboardInterrupt among it; None: it went well.
        address: where it was sent last; None: nowhere.
    """

    method: str
    id_count: int
    duration_s: float
    attempts: int
    error: BaseException | None
    address: str | None


OnCall: TypeAlias = Callable[[CallTrace], None]


class Counters:
    """The counts of one client, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._calls_ended = 0
        self._errors: Counter[str] = Counter()
        self._retries = 0
        self._timeouts = 0
        self._connections_made = 0
        self._connections_lost = 0
        self._round_trip_s: float | None = None
        self._past = Traffic()
        """Of connections that are no more."""
        self._present: set[Traffic] = set()
        self._gone: deque[Traffic] = deque()
        """Of connections that were collected since; a collector may run while the lock is held, so it does no more."""

    def began(self, count: int = 1) -> None:
        """So many calls have begun."""
        with self._lock:
            self._calls += count

    def ended(self, error: type[BaseException] | None, count: int = 1) -> None:
        """So many calls have ended."""
        with self._lock:
            self._calls_ended += count
            if error is not None:
                self._errors[error.__name__] += count

    def answered(self, round_trip_s: float) -> None:
        """A request was answered."""
        # Without the lock: all that can happen between threads is that one of many is not counted in.
        smoothed_s = self._round_trip_s
        self._round_trip_s = (
            round_trip_s if smoothed_s is None else smoothed_s + ROUND_TRIP_GAIN * (round_trip_s - smoothed_s)
        )

    def timed_out(self, count: int = 1) -> None:
        """So many requests got no answer in time."""
        with self._lock:
            self._timeouts += count

    def retried(self, count: int = 1) -> None:
        """So many requests will be sent again."""
        with self._lock:
            self._retries += count

    def connected(self, connection: object, traffic: Traffic) -> None:
        """A connection was made, which counts its traffic itself."""
        with self._lock:
            self._connections_made += 1
            self._present.add(traffic)
            self._add_up()
        weakref.finalize(connection, self._gone.append, traffic).atexit = False

    def lost(self) -> None:
        """A connection is no more, and nobody here ended it."""
        with self._lock:
            self._connections_lost += 1

    def stats(self) -> ClientStats:
        """All of it at this moment."""
        with self._lock:
            self._add_up()
            traffic = [self._past, *self._present]
            return ClientStats(
                calls=self._calls,
                calls_in_flight=self._calls - self._calls_ended,
                errors=dict(self._errors),
                retries=self._retries,
                timeouts=self._timeouts,
                connections_made=self._connections_made,
                connections_lost=self._connections_lost,
                frames_sent=sum(one.frames_sent for one in traffic),
                bytes_sent=sum(one.bytes_sent for one in traffic),
                bytes_received=sum(one.bytes_received for one in traffic),
                round_trip_s=self._round_trip_s,
            )

    def _add_up(self) -> None:
        while self._gone:
            traffic = self._gone.popleft()
            self._present.discard(traffic)
            self._past.add(traffic)


class Asked(Protocol):
    """What a call asks for."""

    @property
    def method(self) -> str: ...

    @property
    def id_count(self) -> int: ...


class CallLog:
    """Where the calls of one client are counted, and who is told of each that has ended.

    Attributes:
        on_failure: called where `on_call` fails, which is not the fault of the call that it is told of.
    """

    def __init__(self, counters: Counters, on_call: OnCall | None, on_failure: Callable[[Exception], None]) -> None:
        self.counters: Final = counters
        self.on_call: Final = on_call
        self.on_failure: Final = on_failure


class Traced:
    """A call that somebody is told of when it has ended. It goes on as long as a `with` block."""

    __slots__ = ("_asked", "_attempts", "_began_ns", "_log")

    def __init__(self, log: CallLog, asked: Asked, attempts: Sequence[Attempts]) -> None:
        """A call that is about to begin.

        Args:
            attempts: of each of its frames; they may be filled in later.
        """
        self._log = log
        self._asked = asked
        self._attempts = attempts

    def __enter__(self) -> None:
        self._began_ns = _clock.monotonic_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._log.on_call is not None
        trace = CallTrace(
            method=self._asked.method,
            id_count=self._asked.id_count,
            duration_s=(_clock.monotonic_ns() - self._began_ns) / NS_PER_S,
            attempts=max((attempts.count for attempts in self._attempts), default=0),
            error=error,
            address=next((attempts.address for attempts in reversed(self._attempts) if attempts.address is not None), None),
        )
        try:
            self._log.on_call(trace)
        except Exception as failure:
            self._log.on_failure(failure)


class Call(Traced):
    """One that is counted, and told of if anybody wants to know."""

    __slots__ = ()

    def __enter__(self) -> None:
        self._log.counters.began()
        if self._log.on_call is not None:
            super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._log.counters.ended(kind)
        if self._log.on_call is not None:
            super().__exit__(kind, error, traceback)

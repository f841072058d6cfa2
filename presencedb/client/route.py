"""Which address next, and how long to wait before it: decisions without I/O, a clock or a thread, shared by every client.

Attempts come in rounds: each target once, beginning with the one after the last that failed. When a whole round has failed
the next one waits, with growing jitter (`retry.backoff_s`); so does the first after a connection was lost, since everybody
who was connected there lost it at the same moment. Times are seconds of any clock that does not go back.

    wait until `wait_s` is over
    for target in route.round():
        try to connect; on success `route.connected()` and done, on an error `route.failed(target, error)`
    else: route.round_failed(now_s)
    ... and when that connection is lost: route.lost(error, now_s, was_of_use=...)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Generic

from presencedb.client.failures import connect_error, joined_error
from presencedb.client.retry import backoff_s
from presencedb.client.targets import S, Target
from presencedb.errors import ConnectError, Error, ProtocolError, RequestError


class Route(Generic[S]):
    """The targets of a client, and how attempts on them went.

    Attributes:
        names: where this leads, for people.
    """

    def __init__(self, targets: Sequence[Target[S]], random: Random) -> None:
        self.names = ", ".join(target.name for target in targets)
        self._targets = tuple(targets)
        self._next_target = 0
        self._random = random
        self._failed_rounds = 0
        self._not_before_s: float | None = None
        self._round_errors: list[ConnectError | ProtocolError] = []
        self._last_error: ConnectError | None = None

    def wait_s(self, now_s: float) -> float:
        """How long until the next round may begin; 0: now."""
        return 0.0 if self._not_before_s is None else max(0.0, self._not_before_s - now_s)

    def round(self) -> Iterator[Target[S]]:
        """Each target once, in the order in which to try them."""
        self._round_errors = []
        for _ in self._targets:
            yield self._targets[self._next_target]

    def failed(self, target: Target[S], error: Error) -> None:
        """An attempt on a target of this round failed; the next one is tried.

        Raises:
            RequestError: the error itself, where the server refused the hello: no other attempt would help.
        """
        if isinstance(error, RequestError):
            raise error
        if not isinstance(error, ConnectError | ProtocolError):
            error = connect_error(target.name, error.message)
        self._round_errors.append(error)
        self._next_target = (self._next_target + 1) % len(self._targets)

    def round_failed(self, now_s: float) -> ConnectError:
        """None of the targets could be reached: what to tell those for whom one round is enough.

        Raises:
            ProtocolError: somebody answered everywhere, in another protocol: trying on is of no use.
        """
        self._back_off(now_s)
        self._failed_rounds += 1
        errors = [error for error in self._round_errors if isinstance(error, ConnectError)]
        if not errors:
            raise self._round_errors[-1]
        self._last_error = joined_error(errors)
        return self._last_error

    def connected(self) -> None:
        """An attempt succeeded."""
        self._last_error = None

    def lost(self, error: Error, now_s: float, *, was_of_use: bool) -> None:
        """The connection was lost: the next attempt is on the next target, and not at once.

        Args:
            was_of_use: something was answered on it. A server that takes connections only to drop them is not asked at that
                pace for ever.
        """
        self._next_target = (self._next_target + 1) % len(self._targets)
        self._failed_rounds = 0 if was_of_use else self._failed_rounds + 1
        self._back_off(now_s)
        if isinstance(error, ConnectError):
            self._last_error = error

    def out_of_time(self) -> ConnectError:
        """What to tell a call whose time is over without a connection."""
        return self._last_error or connect_error(self.names, "no connection within the time of the call")

    def _back_off(self, now_s: float) -> None:
        self._not_before_s = now_s + backoff_s(self._failed_rounds, self._random)

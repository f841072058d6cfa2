"""Which users are kept online, and when the next beat is due: decisions without I/O, shared by every client.

All blocks of a client share one beat: one frame an interval, whatever number of users and blocks there is. Who beats waits
for `wait_s`, or until the connection is lost, writes a heartbeat for `ids`, and says how it went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Final

from presencedb.client.retry import backoff_s
from presencedb.ids import Id
from presencedb.limits import HEARTBEATS_PER_TTL, SECOND_MS, TTL_MS_DEFAULT

JITTER: Final = 0.1
"""A beat comes up to this part of the interval early, so that clients which started together drift apart."""
LOG_NAME: Final = "presencedb.client.keep_online"
BEAT_FAILED: Final = "a beat for %d users failed, trying on: %s"
"""What is logged, once in a row of failures, with the number of users and the error."""


class Beats:
    """The users that the open blocks of one client keep online."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._counts: Counter[Id] = Counter()
        self._failure_count = 0

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def ids(self) -> list[Id]:
        """For whom to beat, each once."""
        return list(self._counts)

    def begin(self, ids: Iterable[Id]) -> None:
        """A block keeps these users online from now on; it has just beaten for them."""
        self._counts.update(ids)

    def end(self, ids: Iterable[Id]) -> None:
        """A block keeps these users online no more; another may go on."""
        self._counts.subtract(ids)
        for user_id in ids:
            if self._counts[user_id] <= 0:
                del self._counts[user_id]

    def wait_s(self, heartbeat_interval_ms: int | None) -> float:
        """How long from now to the next beat, unless the connection is lost before: then it is due at once.

        Args:
            heartbeat_interval_ms: what the server asks for; None: there is no connection.
        """
        if self._failure_count:
            return backoff_s(self._failure_count, self._random)
        interval_ms = heartbeat_interval_ms or TTL_MS_DEFAULT / HEARTBEATS_PER_TTL
        return interval_ms / SECOND_MS * (1 - JITTER * self._random.random())

    def succeeded(self) -> None:
        """A beat was taken by the server."""
        self._failure_count = 0

    def failed(self) -> bool:
        """A beat failed; returns whether it is the first in a row, which is to be logged."""
        self._failure_count += 1
        return self._failure_count == 1

"""What carries out the calls of one blocking client: attempts, and batches of any size over one connection.

The I/O-free parts decide (`calls`, `retry`), this does. A call takes a connection from the pool, sends its frames one after
the other without waiting for answers between them, as far as the server takes them, and gives it back. What got no answer,
or one after which to try again, goes out again on the next connection.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol, TypeVar

from presencedb.client.blocking_dial import MakeSocket
from presencedb.client.calls import Frame, Plan, WriteCall, writing
from presencedb.client.channel import Channel
from presencedb.client.failures import copy_of, not_asked, timeout_error
from presencedb.client.pool import Pool
from presencedb.client.retry import Attempts
from presencedb.client.settings import ClientSettings
from presencedb.client.stats import Call, CallLog, Counters, OnCall
from presencedb.client.values import ConnectionState
from presencedb.client.waiting import now_s
from presencedb.errors import ClientClosed, Error
from presencedb.limits import CLIENT_IN_FLIGHT_MAX
from presencedb.protocol.messages import Response

LOG_NAME: Final = "presencedb.client.calls"

R = TypeVar("R")

_log = logging.getLogger(LOG_NAME)


class Feed(Protocol):
    """Something with a connection of its own that ends with the client."""

    def close(self) -> None:
        """End it; may be called again, by any thread."""
        ...


class Sending:
    """One frame on its way: what came of it so far."""

    __slots__ = ("answer", "attempts", "done", "error", "frame", "sent_s", "until_s")

    def __init__(self, frame: Frame, attempts: Attempts) -> None:
        self.frame = frame
        self.attempts = attempts
        self.sent_s = 0.0
        """When the present attempt began."""
        self.until_s = 0.0
        """When the present attempt ends."""
        self.done = False
        self.answer: Any = None
        self.error: Error | None = None
        """Why the last attempt failed."""


class Caller:
    """The calls of one client, for any number of threads."""

    def __init__(
        self,
        settings: ClientSettings[MakeSocket],
        on_state: Callable[[ConnectionState], None] | None,
        on_call: OnCall | None,
    ) -> None:
        self.settings: Final = settings
        self.random: Final = settings.random or Random()  # noqa: S311 - for jitter
        self.log: Final = CallLog(Counters(), on_call, _on_call_failed)
        self.pool: Final = Pool(settings, self.random, on_state, self.log.counters)
        self.feeds: Final[set[Feed]] = set()

    def run(self, plan: Plan[R]) -> R:
        """Carry a call out: send its frames, and each again as long as that may help and the time of the call lasts.

        Raises:
            Error: the first that any frame ends with.
        """
        now = now_s()
        deadline = now + self.settings.timeout_s
        sendings = [Sending(frame, Attempts(now, deadline, plan.age_ms)) for frame in plan.frames]
        if not sendings:
            return plan.result(())
        with Call(self.log, plan, [sending.attempts for sending in sendings]):
            left: Sequence[Sending] = sendings
            while left:
                self._attempt(plan.method, left, deadline)
                left = [sending for sending in left if not sending.done]
                if left:
                    self._wait_to_try_again(left)
            return plan.result([sending.answer for sending in sendings])

    def write(self, call: WriteCall) -> int:
        """Write, and tell how many users it changed.

        Raises:
            Error: see `run`.
        """
        return self.run(writing(call.write, call.ids))

    def close(self) -> None:
        """End every feed, and every call that waits. May be called again, by any thread."""
        self.pool.close()
        for feed in list(self.feeds):
            feed.close()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _attempt(self, method: str, sendings: Sequence[Sending], deadline_s: float) -> None:
        channel = self.pool.take(deadline_s)
        began_s = now_s()
        in_flight: dict[int, Sending] = {}
        try:
            _exchange(channel, method, sendings, in_flight, self.log.counters)
        except TimeoutError:
            self.pool.suspect(channel, began_s)
            self.log.counters.timed_out(len(in_flight))
            for sending in in_flight.values():
                sending.error = timeout_error(channel.address, method, now_s() - sending.attempts.began_s)
        except ClientClosed:
            self.pool.drop(channel)
            raise
        except Error as error:
            self.pool.lose(channel, error)
            for sending in in_flight.values():
                sending.error = copy_of(error)
        except BaseException:
            # Answers may be under way that nobody is going to wait for.
            self.pool.drop(channel)
            raise
        else:
            self.pool.give_back(channel)

    def _wait_to_try_again(self, sendings: Sequence[Sending]) -> None:
        now = now_s()
        longest_s = 0.0
        retry_count = 0
        for sending in sendings:
            if sending.error is None:
                continue  # it was not sent yet
            wait_s = sending.attempts.wait_s(sending.error, now, self.random)
            if wait_s is None:
                raise sending.attempts.told(sending.error)
            retry_count += 1
            longest_s = max(longest_s, wait_s)
        self.log.counters.retried(retry_count)
        if longest_s:
            self.pool.alarm.sleep(now + longest_s)


def _on_call_failed(error: Exception) -> None:
    _log.error("on_call failed", exc_info=error)


def _exchange(
    channel: Channel, method: str, sendings: Sequence[Sending], in_flight: dict[int, Sending], counters: Counters
) -> None:
    """Send frames and take their answers, on a channel that nobody else uses.

    Once the server refused one for good no more are sent, but the answers to the others are awaited: the channel is as good
    as before.

    Args:
        in_flight: what was sent and has no answer yet, by msgid; empty at the beginning, and when this returns.

    Raises:
        TimeoutError: the attempt of the first in flight is over.
        Error: the connection is lost, does not speak the protocol, or the client was closed.
    """
    interval_ms = channel.server.heartbeat_interval_ms
    waiting = deque(sendings)
    while True:
        while waiting and len(in_flight) < CLIENT_IN_FLIGHT_MAX and channel.has_room:
            sending = waiting.popleft()
            now = now_s()
            sending.sent_s = now
            sending.until_s = sending.attempts.begin(now, interval_ms)
            sending.attempts.address = channel.address
            params = sending.frame.params(sending.attempts.age_to_send_ms(now))
            in_flight[channel.request(method, params)] = sending
        if not in_flight:
            return
        oldest, until_s = next((msgid, sending.until_s) for msgid, sending in in_flight.items())
        channel.turn(until_s)
        while (message := channel.next_message()) is not None:
            if not isinstance(message, Response):
                continue
            answered = in_flight.pop(message.msgid, None)
            if answered is None:
                raise not_asked(message.msgid)
            channel.was_of_use = True
            counters.answered(now_s() - answered.sent_s)
            answered.answer = message.result
            answered.error = message.error
            answered.done = message.error is None
            if message.error is not None and not message.error.retryable:
                waiting.clear()
        if oldest in in_flight and now_s() >= until_s:
            raise TimeoutError

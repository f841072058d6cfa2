"""One `follow` or `watch` of the blocking client: a subscription on a connection of its own, driven by whoever waits.

No thread stands behind it. The thread that waits for a change, or for an answer, connects, asks, reads, pings and notices
that a silent server is gone, as `Subscription`, `Route` and `Liveness` say. Where several threads wait, one of them drives
for all, and when it has what it wanted another goes on. While nobody waits nothing is read, which the server feels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from typing import TypeVar

from presencedb.client.blocking_dial import dial_any
from presencedb.client.caller import Caller
from presencedb.client.channel import Channel
from presencedb.client.failures import GIVEN_UP, connect_error, feed_closed, not_asked, silence_error
from presencedb.client.forks import forget_in_child
from presencedb.client.liveness import Liveness, Verdict
from presencedb.client.route import Route
from presencedb.client.subscription import Ask, Subscription
from presencedb.client.values import ConnectionState
from presencedb.client.waiting import Alarm, left_s, now_s
from presencedb.errors import ClientClosed, ConnectError, Error
from presencedb.protocol.messages import Response

T = TypeVar("T")


class Stream:
    """One subscription and its connection, which outlive the iterator while it is being closed.

    The lock guards the subscription and everything here, but for the channel in the hands of the thread that drives.
    """

    def __init__(self, caller: Caller, subscription: Subscription) -> None:
        self.subscription = subscription
        self.settings = caller.settings
        self.lock = threading.Condition()
        self.route = Route(caller.settings.targets, caller.random)
        self._feeds = caller.feeds
        self._counters = caller.log.counters
        self._alarm = Alarm()
        self._is_driven = False
        self._channel: Channel | None = None
        self._liveness: Liveness | None = None
        self._asks: dict[int, Ask | None] = {}
        """What was sent and not answered, by msgid; None: a ping."""
        forget_in_child(self, Stream._forget)
        self._feeds.add(self)

    def wait(self, attempt: Callable[[], T], until_s: float) -> T:
        """Try something now and after everything that happens, until it gives anything; None: it has not by then.

        Args:
            attempt: called with the lock held.

        Raises:
            Exception: what the attempt raises.
        """
        is_over = False
        while True:
            with self.lock:
                given = attempt()
                if given is not None or is_over:
                    return given
                if self._is_driven:
                    is_over = not self.lock.wait(left_s(until_s)) and now_s() >= until_s
                    continue
                self._is_driven = True
            try:
                self._turn(until_s)
            finally:
                with self.lock:
                    self._is_driven = False
                    if self.subscription.ended:
                        self._finish()
                    self.lock.notify_all()
            is_over = now_s() >= until_s

    def ring(self) -> None:
        """There is something new to ask: whoever drives is to look."""
        self._alarm.ring()

    @property
    def state(self) -> ConnectionState:
        """What the connection is doing."""
        with self.lock:
            if self.subscription.ended:
                return ConnectionState.CLOSED
            if self._channel is not None:
                return ConnectionState.CONNECTED
            return ConnectionState.CONNECTING if self._is_driven else ConnectionState.IDLE

    def close(self) -> None:
        """End it for the caller. May be called again, by any thread; the one that drives cleans up."""
        with self.lock:
            self.subscription.close()
            self._alarm.end(feed_closed())
            if not self._is_driven:
                self._finish()
            self.lock.notify_all()

    def _forget(self) -> None:
        """In a forked child: it belongs to the parent, and is at its end here."""
        self.lock = threading.Condition()
        self._is_driven = False
        self._channel = None
        self.subscription.close()

    # --- by the thread that drives -----------------------------------------------------------------------------------

    def _turn(self, until_s: float) -> None:
        """Do what there is to do, and wait for what comes, at most until then."""
        channel = self._channel
        try:
            if channel is None:
                self._connect(until_s)
            else:
                self._exchange(channel, until_s)
        except ClientClosed:
            return  # it was closed, and `_finish` follows
        except Error as error:
            assert channel is not None
            self._lose(channel, error)
        except BaseException:
            if channel is not None:
                self._lose(channel, connect_error(channel.address, GIVEN_UP))
            raise

    def _connect(self, until_s: float) -> None:
        now = now_s()
        if wait_s := self.route.wait_s(now):
            self._alarm.sleep(min(until_s, now + wait_s))
            return
        try:
            channel = dial_any(self.route, self.lock, self.settings, self._alarm)
        except ConnectError as error:
            if not self.subscription.begun:
                self._end(error)
        except Exception as error:
            # Not only Error: whoever makes the sockets may raise anything, and that is an end like any other.
            self._end(error)
        else:
            self._adopt(channel)

    def _end(self, error: Exception) -> None:
        with self.lock:
            self.subscription.end(error)

    def _adopt(self, channel: Channel) -> None:
        self._counters.connected(channel, channel.traffic)
        with self.lock:
            self._channel = channel
            self._liveness = Liveness(channel.server.heartbeat_interval_ms, channel.heard_s)
            if not self.subscription.ended:
                self.subscription.connected()

    def _exchange(self, channel: Channel, until_s: float) -> None:
        assert self._liveness is not None
        with self.lock:
            while (ask := self.subscription.next_ask(now_s())) is not None:
                self._asks[channel.request(ask.method, ask.params)] = ask
            wake_s = self.subscription.wake_s
        came = channel.turn(min(until_s, self._liveness.next_look_s, inf if wake_s is None else wake_s))
        if came:
            self._liveness.hear(channel.heard_s)
            with self.lock:
                self._take_in(channel)
        verdict = self._liveness.look(now_s())
        if verdict is Verdict.DEAD:
            raise silence_error(channel.address, now_s() - channel.heard_s)
        if verdict is Verdict.PING:
            self._asks[channel.request("ping", ())] = None
            channel.send()  # at once: nobody may wait here for some time

    def _take_in(self, channel: Channel) -> None:
        while not self.subscription.ended and (message := channel.next_message()) is not None:
            if not isinstance(message, Response):
                self.subscription.told(message)
                continue
            if message.msgid not in self._asks:
                raise not_asked(message.msgid)
            channel.was_of_use = True
            ask = self._asks.pop(message.msgid)
            if ask is None:
                continue  # the answer to a ping, good or bad, is proof enough that somebody is there
            if message.error is None:
                self.subscription.answered(ask, message.result)
            else:
                self.subscription.refused(ask, message.error, now_s())

    def _lose(self, channel: Channel, error: Error) -> None:
        with self.lock:
            self._drop_channel()
            self._counters.lost()
            self.route.lost(error, now_s(), was_of_use=channel.was_of_use)
            self.subscription.lost(error)

    # --- with the lock, and while nobody drives ----------------------------------------------------------------------

    def _drop_channel(self) -> None:
        channel, self._channel = self._channel, None
        self._asks.clear()
        if channel is not None:
            channel.close()

    def _finish(self) -> None:
        self._drop_channel()
        self._alarm.end(feed_closed())
        self._feeds.discard(self)

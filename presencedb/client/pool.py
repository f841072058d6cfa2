"""The connections of a blocking client: each call takes one, and gives it back.

An idle connection is used before a new one is made, the one used last first; one that nobody needed for long is closed.
There is no thread that watches them. So one is looked at before it is used again: a server that has closed it meanwhile is
noticed without a call being lost. After an interval of silence it has to answer a ping as well, in a fraction of an attempt:
a peer that is gone without a word costs a call that fraction, not its whole time.

One thread at a time makes connections, for whoever lacks one, as the `Route` says: a thousand threads on a dead server make
one stream of attempts. Connections that were all made before the server failed are one loss to the route.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from math import inf
from random import Random

from presencedb.client.blocking_dial import MakeSocket, dial_any
from presencedb.client.channel import Channel
from presencedb.client.failures import client_closed, silence_error
from presencedb.client.liveness import ping_interval_s
from presencedb.client.retry import proof_s
from presencedb.client.route import Route
from presencedb.client.settings import ClientSettings
from presencedb.client.state_news import StateNews
from presencedb.client.stats import Counters
from presencedb.client.values import ConnectionState
from presencedb.client.waiting import Alarm, left_s, now_s
from presencedb.errors import ClientClosed, ConnectError, Error, RequestError, ServerError
from presencedb.limits import CLIENT_CONNECTIONS_MAX, CLIENT_IDLE_MS_MAX, SECOND_MS


class Pool:
    """The connections of one client, for any number of threads.

    Attributes:
        alarm: ends the waits of all who use its connections when it is closed.
        news: what state it is in.
        heartbeat_interval_ms: what the server asked for last; None: there was no connection yet.
        on_lost: called when a connection turned out to be lost, by any thread and without a lock.
    """

    def __init__(
        self,
        settings: ClientSettings[MakeSocket],
        random: Random,
        on_state: Callable[[ConnectionState], None] | None,
        counters: Counters,
    ) -> None:
        self.alarm = Alarm()
        self.news = StateNews(on_state)
        self.heartbeat_interval_ms: int | None = None
        self.on_lost: Callable[[], None] | None = None
        self._settings = settings
        self._counters = counters
        self._route = Route(settings.targets, random)
        self._changed = threading.Condition()
        self._open: weakref.WeakSet[Channel] = weakref.WeakSet()
        self._idle: deque[Channel] = deque()  # the one used last at the end
        self._lent: Channel | None = None
        self._loss_count = 0
        self._seeker_count = 0  # threads that need a connection and have none
        self._is_dialing = False
        self._closed = False

    def connect(self) -> None:
        """Connect now, trying each target once; does nothing where there is a connection.

        Raises:
            ConnectError: none of them can be reached.
            Error: what the server said to the hello.
        """
        with self._changed:
            self._check_open()
            if self._open:
                return
        self.give_back(self._take(inf, one_round=True))

    def take(self, until_s: float) -> Channel:
        """A connection for the caller alone, who gives it back, or drops it, or says that it is lost.

        Raises:
            ConnectError: none could be had by then.
            Error: a server answered, and no other attempt would help; or the client is closed.
        """
        return self._take(until_s, one_round=False)

    def give_back(self, channel: Channel) -> None:
        """The connection is good for another call."""
        channel.era = self._loss_count
        surplus: Channel | None = None
        with self._changed:
            if self._closed:
                surplus = channel
            else:
                self._idle.append(channel)
                if self._idle[0].heard_s < channel.heard_s - CLIENT_IDLE_MS_MAX / SECOND_MS:
                    surplus = self._idle.popleft()
                self._changed.notify()
        if surplus is not None:
            self.drop(surplus)

    def drop(self, channel: Channel) -> None:
        """Close a connection about which nothing bad is known, but that is of no more use."""
        channel.close()
        with self._changed:
            self._forget(channel)
        self.news.tell()

    def lose(self, channel: Channel, error: Error) -> None:
        """The connection is lost: the next one is made on the next target, and not at once."""
        channel.close()
        self._counters.lost()
        with self._changed:
            if channel.era == self._loss_count:
                self._loss_count += 1
                self._route.lost(error, now_s(), was_of_use=channel.was_of_use)
            self._forget(channel)
        self.news.tell()
        if self.on_lost is not None:
            self.on_lost()

    def suspect(self, channel: Channel, asked_s: float) -> None:
        """What was asked on this connection at that moment is overdue, so it is of no more use.

        If nothing at all was heard on it since, the server is gone, and so are the idle connections silent as long.
        """
        if channel.heard_s > asked_s:
            self.drop(channel)
            return
        with self._changed:
            silent = [other for other in self._idle if other.heard_s <= asked_s]
            for other in silent:
                self._idle.remove(other)
                self._open.discard(other)
        for other in silent:
            other.close()
        self.lose(channel, silence_error(channel.address, now_s() - channel.heard_s))

    def lend_idle(self) -> Channel | None:
        """An idle connection to watch while nobody needs it; None: there is none. It does not count until it is taken in."""
        with self._changed:
            if not self._idle:
                return None
            self._lent = self._idle.popleft()
            self._changed.notify()
            return self._lent

    def take_in(self, channel: Channel) -> None:
        """What was lent comes back, to the end of the line."""
        with self._changed:
            self._lent = None
            if not self._closed:
                self._idle.appendleft(channel)
                self._changed.notify()
                return
        self.drop(channel)

    def close(self) -> None:
        """Close what is idle and end every wait; who uses a connection closes it. May be called again."""
        with self._changed:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
            for channel in idle:
                self._open.discard(channel)
            self._note_state()
            self._changed.notify_all()
        for channel in idle:
            channel.close()
        self.alarm.end(client_closed())
        self.news.tell()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _take(self, until_s: float, *, one_round: bool) -> Channel:
        with self._changed:
            self._check_open()
            idle = self._idle.pop() if self._idle else None
        if idle is not None and self._is_alive(idle, until_s):
            return idle
        self._seek(1)
        try:
            while True:
                channel = self._claim(until_s)
                if channel is None:
                    channel = self._make(until_s, one_round=one_round)
                    if channel is not None:
                        return channel
                elif self._is_alive(channel, until_s):
                    return channel
        finally:
            self._seek(-1)

    def _seek(self, change: int) -> None:
        with self._changed:
            self._seeker_count += change
            self._note_state()
            self._changed.notify()  # one that gave up may have been told of what another waits for
        self.news.tell()

    def _claim(self, until_s: float) -> Channel | None:
        """An idle connection, as soon as there is one; None: it is this thread's turn to make one, by `_make`."""
        with self._changed:
            while True:
                self._check_open()
                if self._idle:
                    return self._idle.pop()
                wait_s = left_s(until_s)
                if not wait_s:
                    raise self._route.out_of_time()
                in_use = len(self._open) - (self._lent is not None)
                if not self._is_dialing and in_use < CLIENT_CONNECTIONS_MAX:
                    wait_s = min(wait_s, self._route.wait_s(now_s()))
                    if not wait_s:
                        self._is_dialing = True
                        return None
                self._changed.wait(wait_s)

    def _make(self, until_s: float, *, one_round: bool) -> Channel | None:
        """A connection made now; None: there is none to be had yet."""
        try:
            channel = dial_any(self._route, self._changed, self._settings, self.alarm, until_s)
            self._adopt(channel)
        except ConnectError:
            if one_round:
                raise
            return None
        finally:
            with self._changed:
                self._is_dialing = False
                self._changed.notify_all()
        return channel

    def _forget(self, channel: Channel) -> None:
        self._open.discard(channel)
        if self._lent is channel:
            self._lent = None
        self._note_state()
        self._changed.notify()

    def _adopt(self, channel: Channel) -> None:
        self._counters.connected(channel, channel.traffic)
        with self._changed:
            channel.era = self._loss_count
            self._open.add(channel)
            self.heartbeat_interval_ms = channel.server.heartbeat_interval_ms
            self._note_state()

    def _is_alive(self, channel: Channel, until_s: float) -> bool:
        """Whether a connection that was idle is good for a call, as well as can be told quickly; if not, it is closed."""
        asked_s = now_s()
        interval_ms = channel.server.heartbeat_interval_ms
        try:
            channel.look()
            if asked_s - channel.heard_s > ping_interval_s(interval_ms):
                channel.ask("ping", (), min(until_s, asked_s + proof_s(interval_ms)))
        except TimeoutError:
            self.suspect(channel, asked_s)
        except (RequestError, ServerError):
            return True  # an answer, good or bad, is proof enough that somebody is there
        except ClientClosed:
            self.drop(channel)
            raise
        except Error as error:
            self.lose(channel, error)
        except BaseException:
            self.drop(channel)
            raise
        else:
            return True
        return False

    def _check_open(self) -> None:
        if self._closed:
            raise client_closed()

    def _note_state(self) -> None:
        if self._closed:
            self.news.set(ConnectionState.CLOSED)
        elif self._open:
            self.news.set(ConnectionState.CONNECTED)
        else:
            self.news.set(ConnectionState.CONNECTING if self._seeker_count else ConnectionState.IDLE)

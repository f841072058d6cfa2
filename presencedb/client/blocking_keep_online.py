"""Users who are kept online for as long as a block runs, in the blocking client: one daemon thread, which `Beats` directs.

Between two beats the thread watches one of the client's idle connections, so that it learns of a lost one at once, as it
does from every call that meets one. It ends with the last block.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Final, Self

from presencedb.client.beats import BEAT_FAILED, LOG_NAME, Beats
from presencedb.client.caller import Caller
from presencedb.client.calls import BEAT, WriteCall
from presencedb.client.coalesce import Ids
from presencedb.client.failures import client_closed
from presencedb.client.forks import forget_in_child
from presencedb.client.waiting import READABLE, Alarm, Waiter, now_s
from presencedb.errors import ClientClosed, Error
from presencedb.ids import Id

THREAD_NAME: Final = "presencedb-keep-online"

_log = logging.getLogger(LOG_NAME)


class Keeper:
    """The one beat of a blocking client."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._lock = threading.RLock()
        self._beats = Beats(caller.random)
        self._alarm: Alarm | None = None
        """Of the thread that beats; None: there is none."""
        self._thread: threading.Thread | None = None
        self._sending = threading.Lock()
        """Held while a beat is under way."""
        self._closed = False
        self.is_forgotten = False
        """This is a forked child: the thread is in the parent, and so is whatever it kept online."""
        caller.pool.on_lost = self._beat_now
        forget_in_child(self, Keeper._forget)

    def begin(self, beat: WriteCall) -> None:
        """Beat for these users now, and from now on.

        Raises:
            Error: the first beat failed, so nothing has begun.
        """
        self._caller.write(beat)
        with self._lock:
            if self._closed:
                raise client_closed()
            if self._alarm is None:
                alarm = Alarm()
                self._thread = threading.Thread(target=self._beat_for_ever, args=(alarm,), name=THREAD_NAME, daemon=True)
                self._thread.start()
                self._alarm = alarm
            self._beats.begin(beat.ids)

    def end(self, ids: Ids) -> None:
        """Beat for these users no more, unless another block keeps them too."""
        with self._lock:
            self._beats.end(ids)
            if not self._beats:
                self._stop()

    def wait_for_beat(self) -> None:
        """Wait for the end of a beat that is under way: what is written after this is not overtaken by it."""
        with self._sending:
            return

    def close(self) -> None:
        """Beat no more. May be called again, by any thread."""
        with self._lock:
            self._closed = True
            self._stop()

    def join(self, timeout_s: float) -> None:
        """After `close`: wait until the thread has ended."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _forget(self) -> None:
        """In a forked child: there is nothing to end here, and no lock to wait for."""
        self.is_forgotten = True

    def _stop(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.end(client_closed())

    def _beat_now(self) -> None:
        alarm = self._alarm
        if alarm is not None:
            alarm.ring()

    def _beat_for_ever(self, alarm: Alarm) -> None:
        try:
            while True:
                with self._lock:
                    wait_s = self._beats.wait_s(self._caller.pool.heartbeat_interval_ms)
                self._wait(alarm, now_s() + wait_s)
                with self._sending:
                    with self._lock:
                        ids = self._beats.ids if self._alarm is alarm else []
                    if not ids:
                        return
                    self._beat(ids)
        except ClientClosed:
            return

    def _beat(self, ids: list[Id]) -> None:
        try:
            self._caller.write(WriteCall(BEAT, ids))
        except ClientClosed:
            raise
        except Exception as error:
            # Not only Error: whoever makes the sockets may raise anything, and the next one may be good.
            with self._lock:
                is_first = self._beats.failed()
            if is_first:
                _log.warning(BEAT_FAILED, len(ids), error)
        else:
            with self._lock:
                self._beats.succeeded()

    def _wait(self, alarm: Alarm, until_s: float) -> None:
        """Wait for the moment, a ring, or the end of an idle connection.

        Raises:
            ClientClosed: the alarm was ended.
        """
        alarm.check()  # what was lost before the last beat has been answered by it
        pool = self._caller.pool
        channel = pool.lend_idle()
        if channel is None:
            alarm.sleep(until_s)
            return
        try:
            waiter = Waiter(alarm, channel.fileno())
            try:
                waiter.wait(READABLE, until_s)
            finally:
                waiter.close()
            channel.look()
        except ClientClosed:
            pool.take_in(channel)
            raise
        except Error as error:
            pool.lose(channel, error)
        else:
            pool.take_in(channel)


class KeepOnline:
    """The block of `keep_online`: entering it beats once, and fails if that does; then it goes on whatever happens."""

    def __init__(self, owner: object, caller: Caller, keeper: Keeper, beat: WriteCall, sign_off: WriteCall | None) -> None:
        """Make a block.

        Args:
            owner: the client, which is not to be closed as long as there is this.
        """
        self._owner = owner
        self._caller = caller
        self._keeper = keeper
        self._beat = beat
        self._sign_off = sign_off

    def __enter__(self) -> Self:
        if self._beat.ids:
            self._keeper.begin(self._beat)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._beat.ids or self._keeper.is_forgotten:
            return
        self._keeper.end(self._beat.ids)
        if self._sign_off is None:
            return
        self._keeper.wait_for_beat()
        try:
            self._caller.write(self._sign_off)
        except Exception:
            # What happened in the block matters more; the users go offline by their ttl.
            if error is None:
                raise

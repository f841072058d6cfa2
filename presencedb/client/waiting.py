"""How a thread waits: for a socket, until a moment, unless another thread wakes it. Nothing here looks again at intervals.

A thread waits in `poll`, for its socket and for an `Alarm`, which is a pipe. Only the thread that waits ever touches its
socket; others ring. Moments are seconds as `now_s` tells them.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from presencedb.client.failures import copy_of
from presencedb.client.forks import forget_in_child, no_fork
from presencedb.clock import SystemClock
from presencedb.errors import Error

READABLE: Final = select.POLLIN
WRITABLE: Final = select.POLLOUT
LONGEST_WAIT_S: Final = 3600.0
"""What the system takes for a timeout is bounded. Who waits longer is woken, and waits again."""

_NS_PER_S: Final = 1_000_000_000
_MS_PER_S: Final = 1_000
_MANY_RINGS: Final = 4096

_clock: Final = SystemClock()


def now_s() -> float:
    """Seconds of a clock that does not go back."""
    return _clock.monotonic_ns() / _NS_PER_S


def left_s(until_s: float) -> float:
    """How long to wait for a moment, at most `LONGEST_WAIT_S` at a time; 0 where it is over."""
    return min(max(0.0, until_s - now_s()), LONGEST_WAIT_S)


class Alarm:
    """Wakes threads that wait: once, or for good with an error. Rung from any thread, and from a signal handler."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pipe: tuple[int, int] | None = None
        self._waiter_count = 0
        self._ended_by: Error | None = None
        forget_in_child(self, Alarm._forget)

    def ring(self) -> None:
        """Wake who waits; who does not is woken when it next does."""
        with self._lock:
            if self._ended_by is None:
                self._write()

    def end(self, error: Error) -> None:
        """Wake everybody who waits and who ever will with this error. The first one counts."""
        with self._lock:
            if self._ended_by is None:
                self._ended_by = error
                if self._waiter_count:
                    self._write()
                else:
                    self._close()

    def check(self) -> None:
        """Be quiet again; to be called by a thread that was woken, before it looks what there is to do.

        Raises:
            Error: it was ended with this error, and is not quiet any more.
        """
        with self._lock:
            if self._ended_by is not None:
                raise copy_of(self._ended_by)
            if self._pipe is not None:
                with suppress(BlockingIOError):
                    os.read(self._pipe[0], _MANY_RINGS)

    def sleep(self, until_s: float) -> None:
        """Wait for the moment, or for a ring.

        Raises:
            Error: the alarm was ended.
        """
        waiter = Waiter(self)
        try:
            waiter.wait(0, until_s)
        finally:
            waiter.close()

    def enter(self) -> int:
        """Begin to wait: what to wait for beside the socket. `leave` follows.

        Raises:
            Error: the alarm was ended.
        """
        with self._lock:
            if self._ended_by is not None:
                raise copy_of(self._ended_by)
            self._waiter_count += 1
            return self._opened()[0]

    def leave(self) -> None:
        """Wait no more. The last to leave an alarm that was ended closes it."""
        with self._lock:
            self._waiter_count -= 1
            if self._ended_by is not None and self._waiter_count == 0:
                self._close()

    def _forget(self) -> None:
        """In a forked child: a ring there would wake the parent."""
        self._lock = threading.RLock()
        self._waiter_count = 0
        self._close()

    def _opened(self) -> tuple[int, int]:
        if self._pipe is None:
            with no_fork:
                self._pipe = os.pipe()
            for fd in self._pipe:
                os.set_blocking(fd, False)
        return self._pipe

    def _write(self) -> None:
        with suppress(BlockingIOError):  # it was rung very often, and nobody has looked yet
            os.write(self._opened()[1], b"!")

    def _close(self) -> None:
        pipe, self._pipe = self._pipe, None
        for fd in pipe or ():
            os.close(fd)

    def __del__(self) -> None:
        self._close()


class Waiter:
    """Waits for one socket and for an alarm; one thread at a time."""

    def __init__(self, alarm: Alarm, fd: int | None = None) -> None:
        """Begin; `close` ends it.

        Args:
            fd: of the socket; None: wait for nothing but the alarm.

        Raises:
            Error: the alarm was ended.
        """
        self._poll = select.poll()
        self._poll.register(alarm.enter(), READABLE)
        self._alarm: Alarm | None = alarm
        self._fd = fd
        self._events = READABLE
        if fd is not None:
            self._poll.register(fd, READABLE)

    def wait(self, events: int, until_s: float) -> int:
        """Wait until the socket is ready, the moment has come, or the alarm rings; looks at least once.

        Args:
            events: `READABLE`, `WRITABLE` or both.

        Returns:
            For what the socket is ready, which may be an end or error of it; 0: it is not.

        Raises:
            Error: the alarm was ended.
        """
        if events != self._events and self._fd is not None:
            self._poll.modify(self._fd, events)
            self._events = events
        ready = 0
        for fd, found in self._poll.poll(left_s(until_s) * _MS_PER_S):
            if fd == self._fd:
                ready = found
            elif self._alarm is not None:
                self._alarm.check()
        return ready

    def close(self) -> None:
        """Wait no more. May be called again."""
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.leave()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something may take, and what ends it early."""

    alarm: Alarm
    until_s: float

    def wait_for(self, sock: socket.socket, events: int) -> None:
        """Wait until a socket is ready.

        Raises:
            TimeoutError: it was not in time.
            Error: the alarm was ended.
        """
        waiter = Waiter(self.alarm, sock.fileno())
        try:
            while not waiter.wait(events, self.until_s):
                if now_s() >= self.until_s:
                    raise TimeoutError
        finally:
            waiter.close()

"""A node in a process of its own behind a hostile proxy: killed and started again, written to directly, with a witness."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgpack

from presencedb import Id
from tests.processes.feeds_runs import Beginning, Event, Run, Truth
from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess
from tests.support.proxy import HostileProxy
from tests.support.waiting import wait_until

TTL_MS: Final = 1_000
TICK_MS: Final = 50
DEADLINE_S: Final = 40.0
SLACK_MS: Final = 2 * TICK_MS
"""Between the clock of a node and that of the tests: a moment is told in whole ticks."""


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Hand:
    """Writes to a node and asks it, directly; many calls go out in one piece."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.connection = RawConnection(address, deadline_s=DEADLINE_S)

    def call(self, method: str, *params: Any) -> Any:
        return self.calls([(method, params)])[0]

    def calls(self, requests: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        frames = [msgpack.packb([0, at, method, params]) for at, (method, params) in enumerate(requests)]
        self.connection.send(b"".join(frames))
        answers = [self.connection.receive() for _ in frames]
        assert [answer[:3] for answer in answers] == [[1, at, None] for at in range(len(frames))]
        return [answer[3] for answer in answers]


class Witness:
    """Follows a node directly, in a thread; what it is told waits until it is collected."""

    def __init__(self, address: tuple[str, int], truth: Truth, *, warm_up: bool) -> None:
        self._connection = RawConnection(address, deadline_s=3600)
        self._truth = truth
        error, cursor = self._connection.call("follow")
        assert error is None
        assert cursor.endswith(".0"), "somebody was there before"
        self.run: Run = truth.begin_run(cursor, Beginning.UNKNOWN if warm_up else Beginning.OFFLINE)
        self._told: deque[tuple[str, list[Any]]] = deque()
        self._thread = threading.Thread(target=self._listen, name="witness")
        self._thread.start()

    def collect(self) -> Run:
        """Note what was told; returns the run up to now."""
        while self._told:
            method, (cursor, events) = self._told.popleft()
            if method == "gap":
                self._end_warm_up(cursor)
                continue
            for event in events:
                self.run.add(Event(*event))
            assert cursor == self.run.cursor
        return self.run

    def finish(self) -> None:
        """The connection has ended, or the node: take what it told last."""
        self._thread.join()
        if self.collect().beginning is Beginning.UNKNOWN:
            self._end_warm_up(f"{self.run.name}.1")  # others may have been told that already
        self.run.is_over = True
        self._connection.close()

    def _end_warm_up(self, cursor: str) -> None:
        assert self.run.beginning is Beginning.UNKNOWN, "there was a gap"
        self.run = self._truth.begin_run(cursor, Beginning.WARM)

    def _listen(self) -> None:
        with suppress(EOFError):
            while True:
                _, method, params = self._connection.receive()
                self._told.append((method, params))


class Deed(NamedTuple):
    """A heartbeat or a sign-off of some users, and between which moments it was carried out, in Unix milliseconds."""

    reason: str
    sent_ms: int
    answered_ms: int


class Deeds:
    """What was done to the users of one run, against what changed by it."""

    def __init__(self, ttl_ms: int) -> None:
        self._ttl_ms = ttl_ms
        self._deeds: dict[Id, list[Deed]] = {}
        self._counts = {"heartbeat": 0, "sign_off": 0}
        self._checked_run: Run | None = None
        self._checked_count = 0

    @property
    def users(self) -> list[Id]:
        """Those to whom anything was done."""
        return list(self._deeds)

    def add(self, deed: Deed, ids: Sequence[Id], count: int) -> None:
        """It was done for some users, and changed so many of them."""
        self._counts[deed.reason] += count
        for user_id in ids:
            self._deeds.setdefault(user_id, []).append(deed)

    def check(self, run: Run) -> None:
        """All that changed is what was done, when it was done, or comes of the time that went by.

        Raises:
            AssertionError: it is not.
        """
        counts = {reason: sum(event.reason == reason for event in run.events) for reason in self._counts}
        # Of a warm-up nobody is told, nor of all that happened in the last moments.
        assert counts == self._counts or run.is_over or run.beginning is not Beginning.OFFLINE
        if run is not self._checked_run:
            self._checked_run, self._checked_count = run, 0
        for event in run.events[self._checked_count :]:
            self._check_time(event)
        self._checked_count = len(run.events)

    def _check_time(self, event: Event) -> None:
        deeds = self._deeds[event.id]
        assert event.at_ms <= now_ms() + SLACK_MS, f"{event} has not happened yet"
        if event.reason == "timeout":
            beats = [deed for deed in deeds if deed.reason == "heartbeat" and deed.answered_ms < event.at_ms - SLACK_MS]
            assert beats, f"{event} without a heartbeat"
            assert event.at_ms >= beats[-1].sent_ms + self._ttl_ms - SLACK_MS, f"{event} is too early after {beats[-1]}"
        else:
            assert any(
                deed.reason == event.reason and deed.sent_ms - SLACK_MS <= event.at_ms <= deed.answered_ms + SLACK_MS
                for deed in deeds
            ), f"{event} was never done: {deeds}"


class FragileNode:
    """One run of a node after the other, behind one proxy, so that clients find each of them at the same address."""

    def __init__(self, *, ttl_ms: int = TTL_MS) -> None:
        self.truth = Truth()
        self.proxy = HostileProxy(None)
        self._ttl_ms = ttl_ms
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.proxy)
            self.start()
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def run(self) -> Run:
        """The present one, as far as it was collected."""
        return self._witness.run

    def write(self, writes: Sequence[tuple[str, Sequence[Id]]]) -> None:
        """Heartbeats and sign-offs, in one piece."""
        sent_ms = now_ms()
        counts = self.hand.calls([(method, (ids,)) for method, ids in writes])
        answered_ms = now_ms()
        for (method, ids), count in zip(writes, counts, strict=True):
            reason = "heartbeat" if method == "heartbeat" else "sign_off"
            self.deeds.add(Deed(reason, sent_ms, answered_ms), ids, count)

    def here(self) -> str:
        """The cursor after all that has happened."""
        cursor: str = self.hand.call("watch", [])[0]
        return cursor

    def collect(self) -> tuple[Run, int]:
        """Wait until the witness was told all that has happened so far; the run, and how many changes it has by then.

        After a warm-up, who was online at its end is known then, or will be the next time.
        """
        here = self.here()
        wait_until(lambda: self._witness.collect().cursor == here or self._is_past(here), what="what the witness is told")
        run = self.run
        if run.beginning is Beginning.WARM and run.online_at_first is None:
            unchanged = [user_id for user_id in self.deeds.users if user_id not in run.users]
            statuses = self.hand.call("status", unchanged)
            if self.here() == run.cursor:
                run.online_at_first = {user_id for user_id, status in zip(unchanged, statuses, strict=True) if status}
        return self.truth.read(here)

    def wait_for_warmth(self) -> None:
        """Wait until it says of nobody that it does not know."""
        wait_until(lambda: self._witness.collect().beginning is not Beginning.UNKNOWN, what="the end of the warm-up")

    def kill(self) -> None:
        """It is gone, as by a crash, and all that it told is collected."""
        self.proxy.target = None
        self.process.sigkill()
        self._end()

    def start(self, *, warm_up: bool = False) -> None:
        """Another one takes its place."""
        options = ("--listen", "127.0.0.1:0", "--ttl", str(self._ttl_ms / 1000), "--tick", str(TICK_MS))
        self.process = ServerProcess("node", *options, *(("--warm-up",) if warm_up else ()))
        with ExitStack() as stack:
            stack.enter_context(self.process)
            self._witness = Witness(self.process.tcp, self.truth, warm_up=warm_up)
            self.hand = Hand(self.process.tcp)
            self.deeds = Deeds(self._ttl_ms)
            stack.pop_all()
        self.proxy.target = self.process.tcp

    def _is_past(self, cursor: str) -> bool:
        run, number = self.truth.read(cursor)
        return run is self.run and len(run.events) >= number

    def _end(self) -> None:
        self.process.close()
        self._witness.finish()
        self.hand.connection.close()

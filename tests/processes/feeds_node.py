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
from tests.processes.feeds_truth import Event, Run, Truth
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

    def __init__(self, address: tuple[str, int], truth: Truth) -> None:
        self._connection = RawConnection(address, deadline_s=3600)
        error, cursor = self._connection.call("follow")
        assert error is None
        name, _, number = cursor.rpartition(".")
        assert number == "0", "somebody was there before"
        self.run: Run = truth.begin_run(name)
        self._told: deque[tuple[str, list[Any]]] = deque()
        self._thread = threading.Thread(target=self._listen, name="witness")
        self._thread.start()

    def collect(self) -> int:
        """Note what was told; returns how many changes there were in all."""
        while self._told:
            cursor, events = self._told.popleft()
            for event in events:
                self.run.add(Event(*event))
            assert cursor == f"{self.run.name}.{len(self.run.events)}"
        return len(self.run.events)

    def finish(self) -> None:
        """The connection has ended, or the node: take what it told last."""
        self._thread.join()
        self.collect()
        self.run.is_over = True
        self._connection.close()

    def _listen(self) -> None:
        with suppress(EOFError):
            while True:
                self._told.append(self._connection.receive()[2])


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
        self._checked_count = 0

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
        assert counts == self._counts or run.is_over
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
            self._start()
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

    def change_count(self) -> int:
        """How many changes there were."""
        return int(self.hand.call("watch", [])[0].rpartition(".")[2])

    def collect(self, count: int) -> None:
        """Wait until the witness was told so many changes."""
        wait_until(lambda: self._witness.collect() >= count, what="what the witness is told")

    def kill(self) -> None:
        """The node is gone, as by a crash, and another one takes its place."""
        self.proxy.target = None
        self.process.sigkill()
        self._end()
        self._start()

    def _start(self) -> None:
        seconds = str(self._ttl_ms / 1000)
        self.process = ServerProcess("node", "--listen", "127.0.0.1:0", "--ttl", seconds, "--tick", str(TICK_MS))
        with ExitStack() as stack:
            stack.enter_context(self.process)
            self._witness = Witness(self.process.tcp, self.truth)
            self.hand = Hand(self.process.tcp)
            self.deeds = Deeds(self._ttl_ms)
            stack.pop_all()
        self.proxy.target = self.process.tcp

    def _end(self) -> None:
        self.process.close()
        self._witness.finish()
        self.hand.connection.close()

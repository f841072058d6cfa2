"""A node in a process of its own, a hostile proxy before it, and the steps that happen to them and to the readers.

The steps write to the node directly, and a witness that follows it directly tells what really changed. All is done from one
thread; what belongs to the event loop of the readers is done there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgpack

from presencedb import Id
from tests.processes.feeds_readers import Reader
from tests.processes.feeds_steps import MARKER, USERS, Kind, Step, crowd
from tests.processes.feeds_truth import Account, Event, Run, Truth
from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess
from tests.support.proxy import READ_BYTES, Direction, HostileProxy
from tests.support.waiting import wait_until

T = TypeVar("T")

TTL_MS: Final = 1_000
TICK_MS: Final = 50
SETTLE_DEADLINE_S: Final = 40.0
SLACK_MS: Final = 2 * TICK_MS
"""Between the clock of a node and that of the tests: a moment is told in whole ticks."""


class Hand:
    """Writes to a node and asks it, directly; many calls go out in one piece."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.connection = RawConnection(address, deadline_s=SETTLE_DEADLINE_S)

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


class World:
    """Everything that a test of feeds needs but the readers; `perform` makes steps happen to it and to them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.truth = Truth()
        self.proxy = HostileProxy(None)
        self._loop = loop
        self._readers: dict[Kind, Reader] = {}
        self._accounts: dict[Kind, Account] = {}
        self._gone_over: dict[Kind, int] = {}
        self._deeds: dict[Id, list[Deed]] = {}
        self._counts = {"heartbeat": 0, "sign_off": 0}
        self._checked_count = 0
        self._marked = 0
        self._why = ""

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        try:
            self._start_node()
        except BaseException:
            self.proxy.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_node()
        self.proxy.__exit__(kind, error, traceback)

    def add_readers(self, readers: Iterable[Reader]) -> None:
        for reader in readers:
            self._readers[reader.kind] = reader
            resyncs = reader.kind.on_gap == "resync"
            self._accounts[reader.kind] = Account(self.truth, watches=reader.is_watch, resyncs=resyncs)
            self._gone_over[reader.kind] = 0

    def perform(self, steps: Sequence[Step]) -> None:
        """Let the steps happen, one after the other.

        Raises:
            AssertionError: something is not as it must be; the notes name the steps up to there.
        """
        for at, step in enumerate(steps):
            try:
                getattr(self, step.name)(*step.arguments)
            except BaseException as error:
                error.add_note("\n".join(["the steps up to there:", *map(str, steps[: at + 1])]))
                raise

    def check_nothing_is_left(self) -> None:
        """Once all readers were closed, the node knows of none."""
        self.proxy.cut()  # what was forgotten there is still open on this side
        wait_until(lambda: not self._strangers(), what="the end of every reader")

    def _strangers(self) -> dict[str, int]:
        info = self._hand.call("info")
        own = {"connections": 2, "followers": 1}
        names = ("connections", "followers", "watchers", "watches", "watched_ids", "readers_behind")
        return {name: info[name] for name in names if info[name] != own.get(name, 0)}

    # --- users -------------------------------------------------------------------------------------------------------

    def beat(self, ids: Sequence[Id]) -> None:
        self._write([("heartbeat", ids)])

    def sign_off(self, ids: Sequence[Id]) -> None:
        self._write([("offline", ids)])

    def flicker(self, ids: Sequence[Id], count: int) -> None:
        """They come and go several times, most of it in one tick."""
        self._write([("heartbeat", ids), ("offline", ids)] * count)

    def crowd_comes(self, count: int) -> None:
        self._write([("heartbeat", crowd(count))])

    def crowd_leaves(self, count: int) -> None:
        self._write([("offline", crowd(count))])

    def wait_for_timeouts(self) -> None:
        """Nobody beats until everybody is offline."""
        wait_until(lambda: not any(self._hand.call("status", USERS)), what="the timeout of everybody")

    def pause(self, duration_s: float) -> None:
        threading.Event().wait(duration_s)

    def _write(self, writes: list[tuple[str, Sequence[Id]]]) -> None:
        sent_ms = _now_ms()
        counts = self._hand.calls([(method, (ids,)) for method, ids in writes])
        answered_ms = _now_ms()
        for (method, ids), count in zip(writes, counts, strict=True):
            reason = "heartbeat" if method == "heartbeat" else "sign_off"
            self._counts[reason] += count
            for user_id in ids:
                self._deeds.setdefault(user_id, []).append(Deed(reason, sent_ms, answered_ms))

    # --- the network -------------------------------------------------------------------------------------------------

    def cut(self, reset: bool) -> None:
        self.proxy.cut(reset=reset)

    def cut_after(self, byte_count: int, direction: str, reset: bool) -> None:
        self.proxy.cut_after(byte_count, Direction[direction], reset=reset)

    def stall(self, direction: str) -> None:
        self.proxy.stall(Direction[direction])

    def resume(self) -> None:
        self.proxy.resume()
        self.proxy.refuse(False)

    def split(self, piece_bytes: int) -> None:
        self.proxy.split(piece_bytes)

    def delay(self, delay_s: float) -> None:
        self.proxy.delay(delay_s)

    def refuse(self) -> None:
        self.proxy.refuse()
        self.proxy.cut()

    def forget(self) -> None:
        self.proxy.forget()

    # --- the node ----------------------------------------------------------------------------------------------------

    def stop(self, duration_s: float) -> None:
        """The node stands still for a while."""
        self._node.sigstop()
        self.pause(duration_s)
        self._node.sigcont()

    def kill(self) -> None:
        """The node is killed, and another one takes its place."""
        self.proxy.target = None
        self._node.sigkill()
        self._witness.finish()
        self._check_changes()
        self._end_node()
        self._start_node()

    def _start_node(self) -> None:
        self._node = ServerProcess("node", "--listen", "127.0.0.1:0", "--ttl", str(TTL_MS / 1000), "--tick", str(TICK_MS))
        self._node.__enter__()
        self._witness = Witness(self._node.tcp, self.truth)
        self._hand = Hand(self._node.tcp)
        self._deeds.clear()
        self._counts = dict.fromkeys(self._counts, 0)
        self._checked_count = 0
        self.proxy.target = self._node.tcp

    def _end_node(self) -> None:
        self._node.close()
        self._witness.finish()
        self._hand.connection.close()

    # --- the readers -------------------------------------------------------------------------------------------------

    def add(self, kinds: Sequence[Kind], ids: Sequence[Id], crowd_count: int) -> None:
        self._order(kinds, "add", (*ids, *crowd(crowd_count)))

    def remove(self, kinds: Sequence[Kind], ids: Sequence[Id], crowd_count: int) -> None:
        self._order(kinds, "remove", (*ids, *crowd(crowd_count)))

    def reopen(self, kind: Kind, where: str) -> None:
        """A reader ends, and a new client goes on at a cursor: the last one, or one of before."""
        self._order([kind], "reopen", None if where == "here" else self._readers[kind].saved)

    def _order(self, kinds: Iterable[Kind], name: str, *arguments: Any) -> None:
        for kind in kinds:
            self._readers[kind].open_orders += 1
            self._loop.call_soon_threadsafe(self._readers[kind].order, name, *arguments)

    def _in_loop(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    # --- what must hold ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """The network is well again, and nothing but time happens: soon everybody knows the truth."""
        self.resume()
        self.proxy.split(READ_BYTES)
        self.proxy.delay(0)
        self._mark()
        try:
            wait_until(self._is_settled, SETTLE_DEADLINE_S, what="the truth with every reader")
        except AssertionError as error:
            error.add_note(self._why)
            raise
        for kind, reader in self._readers.items():
            self._accounts[kind].settle(self._in_loop(reader.statuses) if reader.is_watch else {})
            reader.saved = self._in_loop(reader.cursor)

    def _mark(self) -> None:
        """Make a change that everybody is to be told of."""
        self._write([("heartbeat", [MARKER]), ("offline", [MARKER])])
        self._marked = self._now()

    def _now(self) -> int:
        """How many changes there were."""
        return int(self._hand.call("watch", [])[0].rpartition(".")[2])

    def _is_settled(self) -> bool:
        counts = {kind: len(reader.records) for kind, reader in self._readers.items()}
        now = self._now()
        wait_until(lambda: self._witness.collect() >= now, what="what the witness is told")
        self._check_changes()
        for kind, reader in self._readers.items():
            self._go_over(kind, reader, counts[kind])
        for kind, reader in self._readers.items():
            why = self._unsettled(kind, reader, now)
            if why is not None:
                self._why = f"{kind}: {why}"
                return False
        return True

    def _go_over(self, kind: Kind, reader: Reader, count: int) -> None:
        if reader.failure is not None:
            raise AssertionError(f"{kind} failed") from reader.failure
        for at in range(self._gone_over[kind], count):
            try:
                self._accounts[kind].go_over(reader.records[at])
            except AssertionError as error:
                error.add_note(f"{kind}: record {at}, and those before:")
                error.add_note("\n".join(map(repr, reader.records[max(0, at - 30) : at + 1])))
                raise
        self._gone_over[kind] = count

    def _unsettled(self, kind: Kind, reader: Reader, now: int) -> str | None:
        account = self._accounts[kind]
        if reader.open_orders:
            return f"{reader.open_orders} orders are open"
        if not account.is_at(self._witness.run, self._marked):
            cursor = self._in_loop(reader.cursor)
            if cursor is not None and self._is_behind_mark(cursor):
                self._mark()  # over a gap nothing had changed
            return f"the change {self._marked} has not arrived; the last records: {reader.records[-3:]}"
        if why := account.unsettled(self._witness.run, now):
            return why
        if reader.is_watch:
            statuses = self._in_loop(reader.statuses)
            ids = list(statuses)
            asked = dict(zip(ids, self._hand.call("status", ids), strict=True))
            if statuses != asked or set(ids) != reader.wanted():
                return f"{statuses} is given, {asked} true, {reader.wanted()} wanted"
        return None

    def _is_behind_mark(self, cursor: str) -> bool:
        run, number = self.truth.read(cursor)
        return run is self._witness.run and number >= self._marked

    def _check_changes(self) -> None:
        """What the witness was told is what was done, when it was done, and the time that went by."""
        run = self._witness.run
        counts = {reason: sum(event.reason == reason for event in run.events) for reason in self._counts}
        assert counts == self._counts or run.is_over
        for event in run.events[self._checked_count :]:
            self._check_time(event)
        self._checked_count = len(run.events)

    def _check_time(self, event: Event) -> None:
        deeds = self._deeds[event.id]
        assert event.at_ms <= _now_ms() + SLACK_MS, f"{event} has not happened yet"
        if event.reason == "timeout":
            beats = [deed for deed in deeds if deed.reason == "heartbeat" and deed.answered_ms < event.at_ms - SLACK_MS]
            assert beats, f"{event} without a heartbeat"
            assert event.at_ms >= beats[-1].sent_ms + TTL_MS - SLACK_MS, f"{event} is too early after {beats[-1]}"
        else:
            assert any(
                deed.reason == event.reason and deed.sent_ms - SLACK_MS <= event.at_ms <= deed.answered_ms + SLACK_MS
                for deed in deeds
            ), f"{event} was never done: {deeds}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

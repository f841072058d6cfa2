"""The steps that happen to a node, to the network before it and to the readers, and what must hold whenever they settle.

All is done from one thread; what belongs to the event loop of the readers is done there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from presencedb import Id
from tests.processes.feeds_node import DEADLINE_S, TICK_MS, FragileNode
from tests.processes.feeds_readers import Reader
from tests.processes.feeds_runs import Run
from tests.processes.feeds_steps import MARKER, USERS, Kind, Step, crowd
from tests.processes.feeds_truth import Account
from tests.support.proxy import READ_BYTES, Direction
from tests.support.waiting import wait_until

T = TypeVar("T")

RECORDS_SHOWN: Final = 30


class World:
    """Has steps happen to a node and to readers, which are called by the names of the steps."""

    def __init__(self, node: FragileNode, loop: asyncio.AbstractEventLoop, readers: Iterable[Reader]) -> None:
        """Begin.

        Args:
            loop: on which the readers live.
        """
        self._node = node
        self._proxy = node.proxy
        self._loop = loop
        self._readers = {reader.kind: reader for reader in readers}
        self._accounts = {
            kind: Account(node.truth, watches=reader.is_watch, resyncs=kind.on_gap == "resync")
            for kind, reader in self._readers.items()
        }
        self._gone_over = dict.fromkeys(self._readers, 0)
        self._marked = 0
        self._why = ""

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
        self._proxy.cut()  # what was forgotten there is still open on this side
        wait_until(lambda: not self._strangers(), what="the end of every reader")

    def _strangers(self) -> dict[str, int]:
        info = self._node.hand.call("info")
        own = {"connections": 2, "followers": 1}
        names = ("connections", "followers", "watchers", "watches", "watched_ids", "readers_behind")
        return {name: info[name] for name in names if info[name] != own.get(name, 0)}

    # --- users -------------------------------------------------------------------------------------------------------

    def beat(self, ids: Sequence[Id]) -> None:
        self._node.write([("heartbeat", ids)])

    def sign_off(self, ids: Sequence[Id]) -> None:
        self._node.write([("offline", ids)])

    def flicker(self, ids: Sequence[Id], count: int) -> None:
        """They come and go several times, most of it in one tick."""
        self._node.write([("heartbeat", ids), ("offline", ids)] * count)

    def churn(self, ids: Sequence[Id], count: int) -> None:
        """They come and go, a few times a tick."""
        for _ in range(count):
            self.beat(ids)
            self.pause(TICK_MS / 3_000)
            self.sign_off(ids)

    def crowd_comes(self, count: int) -> None:
        self._node.write([("heartbeat", crowd(count))])

    def crowd_leaves(self, count: int) -> None:
        self._node.write([("offline", crowd(count))])

    def wait_for_timeouts(self) -> None:
        """Nobody beats until everybody is offline."""
        wait_until(lambda: not any(self._node.hand.call("status", USERS)), what="the timeout of everybody")

    def pause(self, duration_s: float) -> None:
        threading.Event().wait(duration_s)

    # --- the network -------------------------------------------------------------------------------------------------

    def cut(self, reset: bool) -> None:
        self._proxy.cut(reset=reset)

    def cut_after(self, byte_count: int, direction: str, reset: bool) -> None:
        self._proxy.cut_after(byte_count, Direction[direction], reset=reset)

    def stall(self, direction: str) -> None:
        self._proxy.stall(Direction[direction])

    def resume(self) -> None:
        self._proxy.resume()
        self._proxy.refuse(False)

    def split(self, piece_bytes: int) -> None:
        self._proxy.split(piece_bytes)

    def delay(self, delay_s: float) -> None:
        self._proxy.delay(delay_s)

    def refuse(self) -> None:
        self._proxy.refuse()
        self._proxy.cut()

    def forget(self) -> None:
        self._proxy.forget()

    # --- the node ----------------------------------------------------------------------------------------------------

    def stop(self, duration_s: float) -> None:
        """The node stands still for a while."""
        self._node.process.sigstop()
        self.pause(duration_s)
        self._node.process.sigcont()

    def kill(self, warm_up: bool) -> None:
        """The node is killed, and another one takes its place, which may begin with a warm-up."""
        self._node.kill()
        self._node.deeds.check(self._node.run)
        self._node.start(warm_up=warm_up)

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
        self._proxy.split(READ_BYTES)
        self._proxy.delay(0)
        self._node.wait_for_warmth()
        self._mark()
        try:
            wait_until(self._is_settled, DEADLINE_S, what="the truth with every reader")
        except AssertionError as error:
            error.add_note(self._why)
            raise
        for kind, reader in self._readers.items():
            self._accounts[kind].settle()
            reader.saved = self._in_loop(reader.cursor)

    def _mark(self) -> None:
        """Make a change that everybody is to be told of."""
        self._node.write([("heartbeat", [MARKER]), ("offline", [MARKER])])
        self._marked = self._node.collect()[1]

    def _is_settled(self) -> bool:
        counts = {kind: len(reader.records) for kind, reader in self._readers.items()}
        run, now = self._node.collect()
        self._node.deeds.check(run)
        for kind, reader in self._readers.items():
            self._go_over(kind, reader, counts[kind])
        for kind, reader in self._readers.items():
            why = self._unsettled(kind, reader, run, now)
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
                error.add_note("\n".join(map(repr, reader.records[max(0, at - RECORDS_SHOWN) : at + 1])))
                raise
        self._gone_over[kind] = count

    def _unsettled(self, kind: Kind, reader: Reader, run: Run, now: int) -> str | None:
        account = self._accounts[kind]
        if reader.open_orders:
            return f"{reader.open_orders} orders are open"
        if not account.is_at(run, self._marked):
            cursor = self._in_loop(reader.cursor)
            if cursor is not None and self._is_behind_mark(cursor):
                self._mark()  # over a gap nothing had changed
            return f"the change {self._marked} has not arrived; the last records: {reader.records[-3:]}"
        if why := account.unsettled(run, now):
            return why
        if reader.is_watch:
            statuses = self._in_loop(reader.statuses)
            ids = list(statuses)
            asked = dict(zip(ids, self._node.hand.call("status", ids), strict=True))
            if statuses != asked or set(ids) != reader.wanted():
                return f"{statuses} is given, {asked} true, {reader.wanted()} wanted"
        return None

    def _is_behind_mark(self, cursor: str) -> bool:
        run, number = self._node.truth.read(cursor)
        return run is self._node.run and number >= self._marked

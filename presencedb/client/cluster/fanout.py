"""The fan-out: every request of the protocol, to the members that it concerns, as one answer.

Nothing here is a task or a future a request: who asks gives a `Waiter`, and gets the answer in the moment when the last part
comes in. What is asked of a node directly has the same answer, but for `info`, which is a map of all nodes' answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Final

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.gather import Gather
from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.client.cluster.reads import Read
from presencedb.client.cluster.sweeps import Count, Online
from presencedb.client.cluster.view import View
from presencedb.client.cluster.writes import Write
from presencedb.client.link import Waiter
from presencedb.errors import Error, ProtocolError, Unavailable, UnknownMethod
from presencedb.ids import IdBatch
from presencedb.limits import GATHERED_IDS_MAX, MEMBER_SLOTS_MS, SECOND_MS, TOPOLOGY_POLL_MS
from presencedb.placement import SlotSet, Topology
from presencedb.protocol.params import Options

_SLOTS_S: Final = MEMBER_SLOTS_MS / SECOND_MS
_TOPOLOGY_S: Final = TOPOLOGY_POLL_MS / SECOND_MS


def _nothing() -> None:
    """Nobody waits."""


class Fanout:
    """A cluster, asked as one.

    Attributes:
        view: the members, and which of them are up.
        on_nobody_up: called when nobody is there to ask for a newer topology.
    """

    def __init__(self, topology: Topology, dialling: Dialling, random: Random) -> None:
        self._loop = asyncio.get_running_loop()
        self.view = View(topology, dialling, random)
        self.view.on_up = self._ask_slots_of
        self.on_nobody_up: Callable[[], None] = _nothing
        self._gather = Gather(self.view, self.refresh)
        self._refreshing: dict[MemberConnection, list[Callable[[], None]]] = {}
        self._timers = [
            self._loop.call_later(_SLOTS_S * random.random(), self._ask_slots),
            self._loop.call_later(_TOPOLOGY_S * random.uniform(0.5, 1), self._poll_topology),
        ]
        self._closed = False

    async def tried(self) -> None:
        """Wait until the first attempt to connect to each member has ended and those who are up have said which slots they
        are synced in; for members that are late with it no longer than `MEMBER_SLOTS_MS`."""
        waits = [asyncio.ensure_future(self._met(connection)) for connection in self.view.members]
        try:
            if waits:
                await asyncio.wait(waits, timeout=_SLOTS_S)
        finally:
            for wait in waits:
                wait.cancel()

    def ask(
        self,
        method: str,
        ids: IdBatch,
        options: Options,
        waiter: Waiter,
        *,
        cursor: str | None = None,
        limit: int = 0,
        origin: object = None,
    ) -> None:
        """Ask the cluster; the waiter gets the answer, or the error.

        Reads by ids answer columns: `status` bytes, one `Status` each, `last_seen` an `array('q')` of milliseconds, or -1.

        Args:
            origin: requests of one origin keep their order.
        """
        view = self.view
        if method == "status":
            self._gather.status(ids, waiter, origin)
            return
        if method == "heartbeat" and not options.age_ms and len(ids) <= GATHERED_IDS_MAX:
            self._gather.heartbeat(ids, _Counted(waiter), origin)
            return
        self._gather.flush()
        if method == "last_seen":
            Read(view, self.refresh, method, ids, waiter).start()
        elif method in {"heartbeat", "offline"}:
            Write(view, method, ids, _write_options(options), waiter, now_s=self._loop.time).start()
        elif method == "count":
            Count(view, _slots(options), waiter).start()
        elif method == "online":
            Online(view, _slots(options), waiter, cursor, limit).start()
        elif method == "topology":
            waiter.set_result(self._topology())
        elif method == "ping":
            waiter.set_result("pong")
        elif method == "info":
            _Gather(view, waiter).start()
        else:
            waiter.set_exception(UnknownMethod(f"a cluster is not asked {method}"))

    def beat(self, ids: IdBatch, waiter: Waiter, origin: object) -> None:
        """Heartbeats of now; the waiter gets a byte for each id, 1 where it came online by it. See `ask`."""
        self._gather.heartbeat(ids, waiter, origin)

    def ping(self, waiter: Waiter) -> None:
        """Ask any member that is up whether it is there."""
        connection = self.view.any_up
        if connection is None:
            waiter.set_exception(Unavailable("no node of the cluster can be reached"))
        else:
            connection.ask(_Ping(waiter), "ping", ())

    def refresh(self, connection: MemberConnection, then: Callable[[], None]) -> None:
        """Ask a member for its topology, go by it if it is newer, and call back."""
        waiting = self._refreshing.get(connection)
        if waiting is not None:
            waiting.append(then)
            return
        self._refreshing[connection] = [then]
        connection.ask(_Refresh(self, connection), "topology", ())

    def refreshed(self, connection: MemberConnection, answer: Any) -> None:
        """A member has answered, with the map of a topology, or not (None)."""
        if answer is not None:
            try:
                self.view.update(Topology.from_wire(answer))
            except ProtocolError:
                connection.failures += 1
        for then in self._refreshing.pop(connection, ()):
            then()

    async def close(self) -> None:
        """End every connection; what waits fails. May be called again."""
        self._stop()
        await self.view.close()

    def drop(self) -> None:
        """The same, without waiting for the end of it."""
        self._stop()
        self.view.drop()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._closed = True
        for timer in self._timers:
            timer.cancel()

    def _topology(self) -> dict[str, Any]:
        answer = self.view.topology.to_wire()
        states = {connection.member.id: connection.state.value for connection in self.view.members}
        for member in answer["members"]:
            member["state"] = states[member["id"]]
        return answer

    async def _met(self, connection: MemberConnection) -> None:
        await connection.tried()
        if connection.state is MemberState.UP:
            told = asyncio.Event()
            self._ask_slots_of(connection, told.set)
            await told.wait()

    def _ask_slots(self) -> None:
        for connection in self.view.members:
            if connection.state is MemberState.UP:
                self._ask_slots_of(connection)
        if not self._closed:
            self._timers[0] = self._loop.call_later(_SLOTS_S, self._ask_slots)

    def _ask_slots_of(self, connection: MemberConnection, then: Callable[[], None] = _nothing) -> None:
        connection.ask(_Slots(self, connection, then), "slots", ())

    def _poll_topology(self) -> None:
        connection = self.view.any_up
        if connection is not None:
            self.refresh(connection, _nothing)
        else:
            self.on_nobody_up()
        if not self._closed:
            self._timers[1] = self._loop.call_later(_TOPOLOGY_S, self._poll_topology)


class _Counted:
    """Gives how many are marked; a `Waiter`."""

    __slots__ = ("_waiter",)

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter

    def done(self) -> bool:
        return self._waiter.done()

    def set_result(self, marks: bytes, /) -> None:
        self._waiter.set_result(marks.count(1))

    def set_exception(self, error: Exception, /) -> None:
        self._waiter.set_exception(error)


class _Ping:
    """A member is asked for a sign of life; a `Question`."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter

    def answered(self, result: Any) -> None:
        if not self._waiter.done():
            self._waiter.set_result(result)

    def failed(self, error: Error) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(error)


class _Refresh:
    """A member is asked for its topology; a `Question`."""

    def __init__(self, fanout: Fanout, connection: MemberConnection) -> None:
        self._fanout = fanout
        self._connection = connection

    def answered(self, result: Any) -> None:
        self._fanout.refreshed(self._connection, result)

    def failed(self, error: Error) -> None:  # noqa: ARG002 - whatever it was, there is no topology
        self._fanout.refreshed(self._connection, None)


class _Slots:
    """A member is asked which slots it is synced in; a `Question`."""

    def __init__(self, fanout: Fanout, connection: MemberConnection, then: Callable[[], None]) -> None:
        self._fanout = fanout
        self._connection = connection
        self._then = then

    def answered(self, result: Any) -> None:
        view = self._fanout.view
        try:
            synced, epoch = SlotSet.from_wire(result["synced"]), result["epoch"]
            if type(epoch) is not int:
                raise TypeError("an epoch is an integer")
        except (TypeError, KeyError, ProtocolError):
            self._connection.failures += 1
        else:
            view.set_told(self._connection, synced, epoch)
            if epoch > view.topology.epoch:
                self._fanout.refresh(self._connection, _nothing)
        self._then()

    def failed(self, error: Error) -> None:  # noqa: ARG002 - whatever it was, nothing new is known
        self._then()


class _Gather:
    """Every member is asked for its `info`; each answer is a `Question` of its own."""

    def __init__(self, view: View, waiter: Waiter) -> None:
        self._view = view
        self._waiter = waiter
        self._answers: dict[str, Any] = {}
        self._left = 1

    def start(self) -> None:
        """Ask them all."""
        for connection in self._view.members:
            self._left += 1
            connection.ask(_Told(self, connection.member.id), "info", ())
        self.told(None, None)

    def told(self, member_id: str | None, answer: Any) -> None:
        """A member has answered, or has no answer (None)."""
        if member_id is not None:
            self._answers[member_id] = answer if isinstance(answer, dict) else None
        self._left -= 1
        if self._left == 0 and not self._waiter.done():
            self._waiter.set_result({"epoch": self._view.topology.epoch, "nodes": self._answers})


class _Told:
    """One member's `info`; a `Question`."""

    def __init__(self, gather: _Gather, member_id: str) -> None:
        self._gather = gather
        self._member_id = member_id

    def answered(self, result: Any) -> None:
        self._gather.told(self._member_id, result)

    def failed(self, error: Error) -> None:  # noqa: ARG002 - it is missing, whatever it was
        self._gather.told(self._member_id, None)


def _write_options(options: Options) -> dict[str, Any]:
    return {name: value for name in ("age_ms", "grace_ms") if (value := getattr(options, name))}


def _slots(options: Options) -> SlotSet | None:
    return None if options.slots is None else SlotSet(options.slots)

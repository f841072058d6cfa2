"""The connection to one member of a cluster, and what is thought of it: is it up?

That is this observer's own judgement, and only decides whom it asks. A member is *down* when it cannot be reached, and
*silent* when something asked is not answered within `MEMBER_LATE_MS`; whoever asked is told so at once, to ask somebody
else. A member that is silent is up again by any answer, for instance to what it was asked before, and one that is down by a
new connection.

What a member is asked is bounded, in requests and in ids; what is more waits here, and its time does not run: a member that
answers is not blamed for how much it is asked. Who asks sees that by `keeps_up`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.dial import dial
from presencedb.client.failures import client_closed, connect_error, silence_error
from presencedb.client.link import Link
from presencedb.errors import Error
from presencedb.limits import (
    MEMBER_IDS_IN_FLIGHT_MAX,
    MEMBER_LATE_MS,
    MEMBER_LOOK_MS,
    MEMBER_RETRY_MS_MAX,
    MEMBER_RETRY_MS_MIN,
    SECOND_MS,
)
from presencedb.placement import Member

Params: TypeAlias = Sequence[Any] | Callable[[], Sequence[Any]]
"""Parameters, or what gives them in the moment in which they are sent."""

_LATE_S: Final = MEMBER_LATE_MS / SECOND_MS
_LOOK_S: Final = MEMBER_LOOK_MS / SECOND_MS
_GRAIN_S: Final = 0.001
"""Timers may fire a hair early; to set another for the rest would let the loop spin."""


class MemberState(Enum):
    """What an observer thinks of a member."""

    NEW = "new"
    """The first attempt to reach it goes on; what it is asked waits for that, as long as for an answer."""
    UP = "up"
    SILENT = "silent"
    """Something that it was asked is overdue."""
    DOWN = "down"
    """There is no connection to it."""


class Question(Protocol):
    """Something that one member is asked."""

    def answered(self, result: Any) -> None:
        """It has answered."""
        ...

    def failed(self, error: Error) -> None:
        """It has refused, is gone, or is late: there will be no answer."""
        ...


class _Waiting(NamedTuple):
    """A question that was not sent yet."""

    question: Question
    method: str
    params: Params
    id_count: int


class _Pending:
    """A question under way: the `Waiter` that the link knows. It stays in its place when nobody waits any more."""

    __slots__ = ("_connection", "asked_s", "id_count", "question")

    def __init__(self, connection: MemberConnection, question: Question, asked_s: float, id_count: int) -> None:
        self.question: Question | None = question
        self.asked_s = asked_s
        self.id_count = id_count
        self._connection = connection

    def done(self) -> bool:
        """Never: a late answer still shows that its member is there."""
        return False

    def set_result(self, result: Any, /) -> None:
        question, self.question = self.question, None
        self._connection.heard(self)
        if question is not None:
            question.answered(result)

    def set_exception(self, error: Exception, /) -> None:
        self._connection.heard(self)
        self.give_up(error if isinstance(error, Error) else connect_error(self._connection.member.address, str(error)))

    def give_up(self, error: Error) -> None:
        """Tell who waits that there is no answer."""
        question, self.question = self.question, None
        if question is not None:
            question.failed(error)


class MemberConnection:
    """One member, as this observer sees it.

    Attributes:
        state: what is thought of it.
        on_state: called when that has changed.
        on_room: called when a member that did not keep up does so again.
        failures: how often it was found silent or down, or answered something that makes no sense.
        refused: whether, while it is down, the last attempt to connect met a machine that is there and no process.
        error: why the last attempt to connect failed, or the connection was lost; None while there is one.
    """

    def __init__(self, member: Member, dialling: Dialling, random: Random) -> None:
        self.member = member
        self.state = MemberState.NEW
        self.on_state: Callable[[MemberConnection], None] = _ignore
        self.on_room: Callable[[], None] = _nothing
        self.failures = 0
        self.refused = False
        self.error: Error | None = connect_error(member.address, "it was not reached yet")
        self._dialling = dialling
        self._target = dialling.target(member)
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._pending: deque[_Pending] = deque()
        self._ids_in_flight = 0
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._tried = asyncio.Event()
        self._gone = asyncio.Event()
        self._hurried = asyncio.Event()
        self._task = self._loop.create_task(self._keep_connected(), name=f"presencedb-member-{member.id}")

    @property
    def link(self) -> Link | None:
        """The connection, while there is one."""
        return self._link

    @property
    def may_be_asked(self) -> bool:
        """Whether it is up, as far as is known."""
        return self.state is MemberState.UP or self.state is MemberState.NEW

    @property
    def keeps_up(self) -> bool:
        """Whether nothing waits here to be sent."""
        return not self._waiting

    @property
    def has_ended(self) -> bool:
        """Whether it was closed or dropped, and nothing is left of it."""
        return self._task.done()

    async def tried(self) -> None:
        """Wait until the first attempt to connect has ended, well or not."""
        await self._tried.wait()

    def hurry(self) -> None:
        """Connect now instead of after a wait: it has shown that it is there."""
        self._hurried.set()

    def ask(self, question: Question, method: str, params: Params, id_count: int = 0) -> None:
        """Ask it something. A question waits where the member does not keep up; it may fail before this returns."""
        link = self._link
        if self.state is MemberState.NEW and not self._task.done():
            self._waiting.append(_Waiting(question, method, params, id_count))
            if self._timer is None:
                self._look_at(self._loop.time() + _LATE_S)
        elif link is None or link.lost_by is not None:
            question.failed(connect_error(self.member.address, "it is not connected"))
        elif not self._waiting and self._has_room(link, id_count):
            self._send(link, question, method, params, id_count)
        elif self.state is MemberState.UP:
            self._waiting.append(_Waiting(question, method, params, id_count))
        else:
            question.failed(connect_error(self.member.address, "it does not answer"))

    async def close(self) -> None:
        """End the connection; every question under way fails. May be called again."""
        self._stop()
        link, self._link = self._link, None
        self.state = MemberState.DOWN
        if link is not None:
            link.on_lost = None
            await link.close(client_closed())
        self._fail_waiting(client_closed())
        await asyncio.wait([self._task])

    def drop(self, reason: Error | None = None) -> None:
        """The same, without waiting for the end of it; questions fail with the reason."""
        self._stop()
        if self._link is not None:
            self._link.end(reason or client_closed())
        self.state = MemberState.DOWN
        self._fail_waiting(reason or client_closed())

    def heard(self, pending: _Pending) -> None:
        """What was asked has come to its end on the link."""
        if self._pending and self._pending[0] is pending:
            self._pending.popleft()
        elif pending in self._pending:
            self._pending.remove(pending)  # it was answered before its turn
        self._ids_in_flight -= pending.id_count
        if self._link is not None and self._link.lost_by is None:
            if self.state is MemberState.SILENT:
                self._set_state(MemberState.UP)
            if self._waiting:
                self._pump()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._task.cancel()
        self._tried.set()
        if self._timer is not None:
            self._timer.cancel()
        self.on_state = _ignore
        self.on_room = _nothing

    def _has_room(self, link: Link, id_count: int) -> bool:
        return link.has_room and (self._ids_in_flight + id_count <= MEMBER_IDS_IN_FLIGHT_MAX or not self._ids_in_flight)

    def _send(self, link: Link, question: Question, method: str, params: Params, id_count: int) -> None:
        now_s = self._loop.time()
        pending = _Pending(self, question, now_s, id_count)
        self._pending.append(pending)
        self._ids_in_flight += id_count
        link.send_for(pending, method, params() if callable(params) else params, id_count)
        if self._timer is None:
            self._look_at(now_s + _LATE_S)

    def _pump(self) -> None:
        link = self._link
        if link is None or not self._waiting:
            return
        while self._waiting and link.lost_by is None and self._has_room(link, self._waiting[0].id_count):
            self._send(link, *self._waiting.popleft())
        if not self._waiting:
            self.on_room()

    def _look_at(self, due_s: float) -> None:
        self._timer = self._loop.call_at(due_s, self._look, due_s)

    def _look(self, due_s: float) -> None:
        """Is something overdue? There is one timer a member, not one a question."""
        self._timer = None
        is_new = self.state is MemberState.NEW
        asked_s = next((pending.asked_s for pending in self._pending if pending.question is not None), None)
        if asked_s is None and not is_new:
            return
        now_s = self._loop.time()
        if now_s - due_s > _LOOK_S:
            # This process was away itself: what has come in meanwhile is read before anybody is blamed.
            self._look_at(now_s + min(now_s - due_s, _LATE_S))
        elif asked_s is None:
            self._not_reached(connect_error(self.member.address, "it was not reached yet"))
        elif asked_s + _LATE_S - now_s > _GRAIN_S:
            self._look_at(asked_s + _LATE_S)
        else:
            self._blame(silence_error(self.member.address, now_s - asked_s))

    def _blame(self, error: Error) -> None:
        """Tell everybody who waits. What was asked keeps its place: a late answer shows that the member is there."""
        self.failures += 1
        self._set_state(MemberState.SILENT)
        for pending in list(self._pending):
            pending.give_up(error)
        self._fail_waiting(error)

    def _fail_waiting(self, error: Error) -> None:
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.question.failed(error)
        if waiting:
            self.on_room()

    def _not_reached(self, error: Error) -> None:
        if self.state is MemberState.NEW:
            self._set_state(MemberState.DOWN)
            self._fail_waiting(error)

    def _lost(self, _link: Link, error: Error) -> None:
        self._link = None
        self.error = error
        self._pending.clear()
        self._ids_in_flight = 0
        self.failures += 1
        self._set_state(MemberState.DOWN)
        self._fail_waiting(error)
        self._gone.set()
        self._dialling.on_lost(error)

    def _set_state(self, state: MemberState) -> None:
        if state is not self.state:
            self.state = state
            self.on_state(self)

    async def _keep_connected(self) -> None:
        failure_count = 0
        while True:
            link = await self._connect()
            self._tried.set()
            if link is None:
                assert self.error is not None
                self._not_reached(self.error)
            else:
                await self._gone.wait()
                failure_count = 0 if link.was_of_use else failure_count
            if link is None or not link.was_of_use:
                wait_ms = min(MEMBER_RETRY_MS_MIN << min(failure_count, 16), MEMBER_RETRY_MS_MAX)
                failure_count += 1
                await self._wait(self._random.uniform(0.5, 1) * wait_ms / SECOND_MS)

    async def _wait(self, wait_s: float) -> None:
        """Between two attempts."""
        self._hurried.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurried.wait()

    async def _connect(self) -> Link | None:
        settings = self._dialling.settings
        try:
            link = await dial(self._target, settings.greeting, settings.connect_timeout_s)
        except (Error, OSError) as error:
            self.error = error if isinstance(error, Error) else connect_error(self.member.address, str(error))
            self.refused = isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)
            return None
        if link.lost_by is not None:
            self.error = link.lost_by
            return None
        self.refused = False
        self.error = None
        self._gone.clear()
        link.on_lost = self._lost
        link.on_room = self._pump
        self._link = link
        self._dialling.on_link(link)
        self._set_state(MemberState.UP)
        self._pump()
        return link


def _ignore(_connection: MemberConnection) -> None:
    """Nobody wants to know."""


def _nothing() -> None:
    """Nobody waits."""

"""The connection to one member of a cluster, and what is thought of it: is it up?

That is this observer's own judgement, and only decides whom it asks. A member is *down* when it cannot be reached, and
*silent* when something asked is not answered within `MEMBER_LATE_MS`; whoever asked is told so at once, to ask somebody
else. A member that is not up is asked nothing until it has shown that it is there again: by any answer, or by a new
connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Any, Final, Protocol

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.dial import dial
from presencedb.client.failures import client_closed, connect_error, silence_error
from presencedb.client.link import Link
from presencedb.errors import Error
from presencedb.limits import MEMBER_LATE_MS, MEMBER_LOOK_MS, MEMBER_RETRY_MS_MAX, MEMBER_RETRY_MS_MIN, SECOND_MS
from presencedb.placement import Member

_LATE_S: Final = MEMBER_LATE_MS / SECOND_MS
_LOOK_S: Final = MEMBER_LOOK_MS / SECOND_MS


class MemberState(Enum):
    """What an observer thinks of a member."""

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


class _Pending:
    """A question under way: the `Waiter` that the link knows. It stays in its place when nobody waits any more."""

    __slots__ = ("_connection", "asked_s", "question")

    def __init__(self, connection: MemberConnection, question: Question, asked_s: float) -> None:
        self.question: Question | None = question
        self.asked_s = asked_s
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
        failures: how often it was found silent or down.
        refused: whether, while it is down, the last attempt to connect met a machine that is there and no process.
    """

    def __init__(self, member: Member, dialling: Dialling, random: Random) -> None:
        self.member = member
        self.state = MemberState.DOWN
        self.on_state: Callable[[MemberConnection], None] = _ignore
        self.failures = 0
        self.refused = False
        self._dialling = dialling
        self._target = dialling.target(member)
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._pending: deque[_Pending] = deque()
        self._waiting: deque[tuple[Question, str, Sequence[Any], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._tried = asyncio.Event()
        self._gone = asyncio.Event()
        self._task = self._loop.create_task(self._keep_connected(), name=f"presencedb-member-{member.id}")

    @property
    def link(self) -> Link | None:
        """The connection, while there is one."""
        return self._link

    async def tried(self) -> None:
        """Wait until the first attempt to connect has ended, well or not."""
        await self._tried.wait()

    def ask(self, question: Question, method: str, params: Sequence[Any], id_count: int = 0) -> None:
        """Ask it something. A question waits where the member does not keep up; it may fail before this returns."""
        link = self._link
        if link is None or link.lost_by is not None:
            question.failed(connect_error(self.member.address, "it is not connected"))
        elif self._waiting or not link.has_room:
            self._waiting.append((question, method, params, id_count))
            self._watch_time()
        else:
            self._send(link, question, method, params, id_count)

    async def close(self) -> None:
        """End the connection; every question under way fails. May be called again."""
        self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        link, self._link = self._link, None
        self.state = MemberState.DOWN
        self.on_state = _ignore
        if link is not None:
            link.on_lost = None
            await link.close(client_closed())
        self._fail_waiting(client_closed())
        await asyncio.wait([self._task])
        self._tried.set()

    def drop(self) -> None:
        """The same, without waiting for the end of it."""
        self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self.on_state = _ignore
        if self._link is not None:
            self._link.end(client_closed())

    def heard(self, pending: _Pending) -> None:
        """What was asked has come to its end on the link; it is the first there, since answers come in order."""
        if self._pending and self._pending[0] is pending:
            self._pending.popleft()
        if self._link is not None and self._link.lost_by is None:
            if self.state is MemberState.SILENT:
                self._set_state(MemberState.UP)
            self._pump()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _send(self, link: Link, question: Question, method: str, params: Sequence[Any], id_count: int) -> None:
        pending = _Pending(self, question, self._loop.time())
        self._pending.append(pending)
        link.send_for(pending, method, params, id_count)
        self._watch_time()

    def _pump(self) -> None:
        while self._waiting and self._link is not None and self._link.has_room:
            self._send(self._link, *self._waiting.popleft())

    def _watch_time(self) -> None:
        if self._timer is None and self.state is MemberState.UP:
            due_s = self._loop.time() + _LATE_S
            self._timer = self._loop.call_at(due_s, self._look, due_s)

    def _look(self, due_s: float) -> None:
        self._timer = None
        now_s = self._loop.time()
        asked_s = next((pending.asked_s for pending in self._pending if pending.question is not None), None)
        if asked_s is None or self.state is not MemberState.UP:
            return
        if now_s - due_s > _LOOK_S:
            # This process was away itself: what has come in meanwhile is read before anybody is blamed.
            next_s = now_s + _LOOK_S
        elif now_s - asked_s < _LATE_S:
            next_s = asked_s + _LATE_S
        else:
            self.failures += 1
            self._set_state(MemberState.SILENT)
            self._give_up(silence_error(self.member.address, now_s - asked_s))
            return
        self._timer = self._loop.call_at(next_s, self._look, next_s)

    def _give_up(self, error: Error) -> None:
        """Tell everybody who waits. What was asked keeps its place: a late answer shows that the member is there."""
        for pending in list(self._pending):
            pending.give_up(error)
        self._fail_waiting(error)

    def _fail_waiting(self, error: Error) -> None:
        waiting, self._waiting = self._waiting, deque()
        for question, *_ in waiting:
            question.failed(error)

    def _lost(self, _link: Link, error: Error) -> None:
        self._link = None
        self._pending.clear()
        self.failures += 1
        self._set_state(MemberState.DOWN)
        self._fail_waiting(error)
        self._gone.set()

    def _set_state(self, state: MemberState) -> None:
        if state is not self.state:
            self.state = state
            self.on_state(self)

    async def _keep_connected(self) -> None:
        wait_ms = MEMBER_RETRY_MS_MIN
        while True:
            settings = self._dialling.settings
            try:
                link = await dial(self._target, settings.greeting, settings.connect_timeout_s)
            except (Error, OSError) as error:
                self.refused = isinstance(error.__cause__, ConnectionRefusedError)
                self._tried.set()
                await asyncio.sleep(self._random.uniform(0.5, 1) * wait_ms / SECOND_MS)
                wait_ms = min(2 * wait_ms, MEMBER_RETRY_MS_MAX)
                continue
            if link.lost_by is not None:
                continue
            wait_ms = MEMBER_RETRY_MS_MIN
            self.refused = False
            self._gone.clear()
            link.on_lost = self._lost
            link.on_room = self._pump
            self._link = link
            self._set_state(MemberState.UP)
            self._tried.set()
            await self._gone.wait()


def _ignore(_connection: MemberConnection) -> None:
    """Nobody wants to know."""

"""What drives the calls of one client on one event loop: attempts, writes of one turn as one frame, batches of any size.

`AsyncClient` makes a driver when it is first used on a loop, and another in a forked child; the I/O-free parts decide
(`calls`, `retry`, `coalesce`), this does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any, Final, Protocol, TypeVar

from presencedb.client.calls import Frame, Plan, WriteCall, writing
from presencedb.client.carrier import Carrier
from presencedb.client.cluster.connector import ClusterConnector
from presencedb.client.coalesce import Coalescer, Group
from presencedb.client.connector import Connector
from presencedb.client.dial import MakeSocket
from presencedb.client.failures import client_closed, copy_of, timeout_error
from presencedb.client.retry import Attempts
from presencedb.client.settings import ClientSettings
from presencedb.client.stats import NS_PER_S, Call, CallLog, Counters, OnCall, Traced
from presencedb.clock import SystemClock
from presencedb.errors import ConfigError, Error

R = TypeVar("R")

_NO_CALL: Final = nullcontext()
"""What is carried out is not a call of its own."""
_clock: Final = SystemClock()


class OwnConnection(Protocol):
    """Something with a connection of its own that ends with the client."""

    async def close(self) -> None:
        """End it politely; may be called again."""
        ...

    def drop(self) -> None:
        """End it without waiting; may be called again."""
        ...


class Driver:
    """The calls of one client on the running event loop."""

    def __init__(self, settings: ClientSettings[MakeSocket], counters: Counters, on_call: OnCall | None) -> None:
        self.loop: Final = asyncio.get_running_loop()
        self.log: Final = CallLog(counters, on_call, self._on_call_failed)
        self.settings: Final = settings
        self.random: Final = settings.random or Random()  # noqa: S311 - for jitter
        self.connector: Final = self._new_carrier()
        self.closed = False
        self.feeds: Final[set[OwnConnection]] = set()
        self._writes: Coalescer[asyncio.Future[int]] = Coalescer()
        self._groups: set[Group[asyncio.Future[int]]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def new_connector(self) -> Connector:
        """A connection of its own to the same targets; whoever asks for it closes it.

        Raises:
            ConfigError: they are nodes of a cluster, of which none can tell of all.
        """
        if self.settings.is_cluster:
            raise ConfigError(
                "changes of all nodes of a cluster are told by its routers: give the URL of one, presence://HOST"
            )
        return Connector(self.settings, self.random, self.log.counters)

    def run(self, plan: Plan[R]) -> Coroutine[Any, Any, R]:
        """Carry a call out: send its frames at once, and each again as long as that may help and the time of the call lasts.

        Raises:
            Error: the first that any frame ends with.
        """
        attempts = self._begin(plan)
        return self._carry_out(plan, attempts, Call(self.log, plan, attempts) if attempts else _NO_CALL)

    async def write(self, call: WriteCall) -> int:
        """Write together with what else is written in this turn of the loop.

        Returns:
            How many users it changed in all that shared the frame, once the server has taken the write.

        Raises:
            Error: the frame, or one of several, ended with it.
        """
        if not call.ids:
            return 0
        waiter: asyncio.Future[int] = self.loop.create_future()
        if self._writes.add(call.write, call.ids, waiter):
            self.loop.call_soon(self._send_writes)
        if self.log.on_call is None:
            return await waiter
        with Traced(self.log, call, self._writes.last.attempts):
            return await waiter

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something that ends with the client at the latest."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Fail every call that waits, close the connection and end what was spawned. May be called again."""
        self.closed = True
        for group in [*self._writes.take(), *self._groups]:
            _settle(group, client_closed())
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        feeds = list(self.feeds)
        try:
            await asyncio.gather(*(feed.close() for feed in feeds), self.connector.close())
            if tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for feed in feeds:
                feed.drop()
            self.connector.drop()
            raise

    # --- inside ------------------------------------------------------------------------------------------------------

    def _new_carrier(self) -> Carrier:
        if self.settings.is_cluster:
            return ClusterConnector(self.settings, self.random, self.log.counters)
        return self.new_connector()

    def _begin(self, plan: Plan[Any]) -> list[Attempts]:
        now = self.loop.time()
        return [Attempts(now, now + self.settings.timeout_s, plan.age_ms) for _ in plan.frames]

    async def _carry_out(self, plan: Plan[R], attempts: Sequence[Attempts], call: AbstractContextManager[None]) -> R:
        with call:
            sending = [self._attempt(one, plan.method, frame) for one, frame in zip(attempts, plan.frames, strict=True)]
            if len(sending) == 1:
                return plan.result([await sending[0]])
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(attempt) for attempt in sending]
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            return plan.result([task.result() for task in tasks])

    async def _attempt(self, attempts: Attempts, method: str, frame: Frame) -> Any:
        while True:
            link = await self.connector.link_until(attempts.deadline_s)
            attempts.address = link.address
            began = self.loop.time()
            try:
                async with asyncio.timeout_at(attempts.begin(began, link.server.heartbeat_interval_ms)):
                    await link.room()
                    params = frame.params(attempts.age_to_send_ms(self.loop.time()))
                    sent_ns = _clock.monotonic_ns()  # the loop's own time may be as coarse as a millisecond
                    answer = await link.send(method, params, frame.id_count)
                    self.log.counters.answered((_clock.monotonic_ns() - sent_ns) / NS_PER_S)
                    return answer
            except Error as caught:
                error = caught
            except TimeoutError:
                link.suspect(began)
                self.log.counters.timed_out()
                error = timeout_error(link.address, method, self.loop.time() - attempts.began_s)
            wait = attempts.wait_s(error, self.loop.time(), self.random)
            if wait is None:
                raise attempts.told(error)
            self.log.counters.retried()
            await asyncio.sleep(wait)

    def _send_writes(self) -> None:
        for group in self._writes.take():
            self._groups.add(group)
            self.spawn(self._send_group(group), "presencedb-write")

    async def _send_group(self, group: Group[asyncio.Future[int]]) -> None:
        outcome: int | Exception = client_closed()  # unless this is told to end
        self.log.counters.began(len(group.waiters))
        try:
            plan = writing(group.write, group.ids)
            group.attempts += self._begin(plan)
            outcome = await self._carry_out(plan, group.attempts, _NO_CALL)
        except Exception as caught:
            # Not only Error: whoever makes the sockets may raise anything, and those who wait must learn of it.
            outcome = caught
        finally:
            self._groups.discard(group)
            self.log.counters.ended(type(outcome) if isinstance(outcome, Exception) else None, len(group.waiters))
            _settle(group, outcome)

    def _on_call_failed(self, error: Exception) -> None:
        self.loop.call_exception_handler({"message": "on_call failed", "exception": error})


def _settle(group: Group[asyncio.Future[int]], outcome: int | Exception) -> None:
    for waiter in group.waiters:
        if waiter.done():
            continue
        if isinstance(outcome, Exception):
            waiter.set_exception(copy_of(outcome))
        else:
            waiter.set_result(outcome)

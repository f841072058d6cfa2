"""What drives the calls of one client on one event loop: attempts, writes of one turn as one frame, batches of any size.

`AsyncClient` makes a driver when it is first used on a loop, and another in a forked child; the I/O-free parts decide
(`calls`, `retry`, `coalesce`), this does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any, Final, Protocol, TypeVar

from presencedb.client.calls import Frame, Plan, WriteCall, writing
from presencedb.client.coalesce import Coalescer, Group
from presencedb.client.connector import Connector
from presencedb.client.dial import MakeSocket
from presencedb.client.failures import client_closed, copy_of, timeout_error
from presencedb.client.retry import Attempts
from presencedb.client.settings import ClientSettings
from presencedb.errors import Error

R = TypeVar("R")


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

    def __init__(self, settings: ClientSettings[MakeSocket]) -> None:
        self.loop: Final = asyncio.get_running_loop()
        self.settings: Final = settings
        self.random: Final = settings.random or Random()  # noqa: S311 - for jitter
        self.connector: Final = self.new_connector()
        self.closed = False
        self.feeds: Final[set[OwnConnection]] = set()
        self._writes: Coalescer[asyncio.Future[int]] = Coalescer()
        self._groups: set[Group[asyncio.Future[int]]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def new_connector(self) -> Connector:
        """A connection of its own to the same targets; whoever asks for it closes it."""
        return Connector(self.settings, self.random)

    async def run(self, plan: Plan[R]) -> R:
        """Carry a call out: send its frames at once, and each again as long as that may help and the time of the call lasts.

        Raises:
            Error: the first that any frame ends with.
        """
        now = self.loop.time()
        deadline = now + self.settings.timeout_s
        sending = [self._attempt(Attempts(now, deadline, plan.age_ms), plan.method, frame) for frame in plan.frames]
        if len(sending) == 1:
            return plan.result([await sending[0]])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(attempt) for attempt in sending]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return plan.result([task.result() for task in tasks])

    def write(self, call: WriteCall) -> asyncio.Future[int]:
        """Write together with what else is written in this turn of the loop.

        Returns:
            What to await: it ends when the server has taken the write, with how many users it changed in all that shared
            the frame, or with the error.
        """
        waiter: asyncio.Future[int] = self.loop.create_future()
        if self._writes.add(call.write, call.ids, waiter):
            self.loop.call_soon(self._send_writes)
        return waiter

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

    async def _attempt(self, attempts: Attempts, method: str, frame: Frame) -> Any:
        while True:
            link = await self.connector.link_until(attempts.deadline_s)
            began = self.loop.time()
            try:
                async with asyncio.timeout_at(attempts.begin(began, link.server.heartbeat_interval_ms)):
                    await link.room()
                    params = frame.params(attempts.age_to_send_ms(self.loop.time()))
                    return await link.send(method, params, frame.id_count)
            except Error as caught:
                error = caught
            except TimeoutError:
                link.suspect(began)
                error = timeout_error(link.address, method, self.loop.time() - attempts.began_s)
            wait = attempts.wait_s(error, self.loop.time(), self.random)
            if wait is None:
                raise error
            await asyncio.sleep(wait)

    def _send_writes(self) -> None:
        for group in self._writes.take():
            self._groups.add(group)
            self.spawn(self._send_group(group), "presencedb-write")

    async def _send_group(self, group: Group[asyncio.Future[int]]) -> None:
        outcome: int | Exception = client_closed()  # unless this is told to end
        try:
            outcome = await self.run(writing(group.write, group.ids))
        except Exception as caught:
            # Not only Error: whoever makes the sockets may raise anything, and those who wait must learn of it.
            outcome = caught
        finally:
            self._groups.discard(group)
            _settle(group, outcome)


def _settle(group: Group[asyncio.Future[int]], outcome: int | Exception) -> None:
    for waiter in group.waiters:
        if waiter.done():
            continue
        if isinstance(outcome, Exception):
            waiter.set_exception(copy_of(outcome))
        else:
            waiter.set_result(outcome)

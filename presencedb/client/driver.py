"""What drives the calls of one client on one event loop: attempts, writes of one turn as one frame, batches of any size.

`AsyncClient` makes a driver when it is first used on a loop, and another in a forked child; the I/O-free parts decide
(`retry`, `coalesce`, `values`), this does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from presencedb.client.coalesce import Coalescer, Group, Write, split_into_frames
from presencedb.client.connector import Connector
from presencedb.client.dial import Greeting, Target
from presencedb.client.failures import client_closed, copy_of
from presencedb.client.retry import Attempts
from presencedb.client.values import read_count
from presencedb.errors import CallTimeout, Error
from presencedb.ids import Id


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What a client is told once.

    Attributes:
        targets: where to connect to, in order of preference; at least one.
        connect_timeout_s: for each target: socket, TLS and hello together.
        timeout_s: for each call, its retries included.
        random: where jitter comes from; None: a source of its own, never the same in two processes.
    """

    targets: Sequence[Target]
    greeting: Greeting
    connect_timeout_s: float
    timeout_s: float
    random: Random | None = None


class Feed(Protocol):
    """Something with a connection of its own that ends with the client."""

    async def close(self) -> None:
        """End it politely; may be called again."""
        ...

    def drop(self) -> None:
        """End it without waiting; may be called again."""
        ...


class Driver:
    """The calls of one client on the running event loop."""

    def __init__(self, settings: ClientSettings) -> None:
        self.loop: Final = asyncio.get_running_loop()
        self.settings: Final = settings
        self.random: Final = settings.random or Random()  # noqa: S311 - for jitter
        self.connector: Final = self.new_connector()
        self.closed = False
        self.feeds: Final[set[Feed]] = set()
        self._writes: Coalescer[asyncio.Future[int]] = Coalescer()
        self._groups: set[Group[asyncio.Future[int]]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def new_connector(self) -> Connector:
        """A connection of its own to the same targets; whoever asks for it closes it."""
        settings = self.settings
        return Connector(settings.targets, settings.greeting, settings.connect_timeout_s, self.random)

    async def call(self, method: str, params: Sequence[Any] = (), *, id_count: int = 0) -> Any:
        """Ask the server, and again as long as that may help and the time of the call lasts.

        Raises:
            Error: the last attempt's.
        """
        return await self._attempt(self._attempts(), method, lambda _: params, id_count)

    async def call_in_frames(self, method: str, ids: list[Id]) -> list[tuple[int, Any]]:
        """Ask about a batch of any size, in as many frames as it takes; the answers in order, each with its number of ids.

        Raises:
            Error: the first that any frame ends with.
        """
        attempts = self._attempts()
        return await self._in_frames(ids, lambda part: self._attempt_ids(attempts, method, part))

    def write(self, write: Write, ids: list[Id]) -> asyncio.Future[int]:
        """Write about canonical ids, together with what else is written in this turn of the loop.

        Returns:
            What to await: it ends when the server has taken the write, with how many users it changed in all that shared
            the frame, or with the error.
        """
        waiter: asyncio.Future[int] = self.loop.create_future()
        if self._writes.add(write, ids, waiter):
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

    def _attempts(self, age_ms: int = 0) -> Attempts:
        now = self.loop.time()
        return Attempts(now, now + self.settings.timeout_s, age_ms)

    async def _attempt_ids(self, attempts: Attempts, method: str, ids: list[Id]) -> tuple[int, Any]:
        own = Attempts(attempts.began_s, attempts.deadline_s)
        return len(ids), await self._attempt(own, method, lambda _: (ids,), len(ids))

    async def _attempt(
        self, attempts: Attempts, method: str, params_at: Callable[[float], Sequence[Any]], id_count: int
    ) -> Any:
        while True:
            link = await self.connector.link_until(attempts.deadline_s)
            began = self.loop.time()
            try:
                async with asyncio.timeout_at(attempts.begin(began, link.server.heartbeat_interval_ms)):
                    await link.room()
                    return await link.send(method, params_at(self.loop.time()), id_count)
            except Error as caught:
                error = caught
            except TimeoutError:
                link.suspect(began)
                waited = self.loop.time() - attempts.began_s
                error = CallTimeout(f"{link.address} did not answer {method} within {waited:.1f} s")
            wait = attempts.wait_s(error, self.loop.time(), self.random)
            if wait is None:
                raise error
            await asyncio.sleep(wait)

    async def _in_frames(
        self, ids: list[Id], ask: Callable[[list[Id]], Coroutine[Any, Any, tuple[int, Any]]]
    ) -> list[tuple[int, Any]]:
        parts = split_into_frames(ids)
        if len(parts) == 1:
            return [await ask(parts[0])]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask(part)) for part in parts]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    def _send_writes(self) -> None:
        for group in self._writes.take():
            self._groups.add(group)
            self.spawn(self._send_group(group), "presencedb-write")

    async def _send_group(self, group: Group[asyncio.Future[int]]) -> None:
        write = group.write
        began = self._attempts(write.age_ms)

        async def send(ids: list[Id]) -> tuple[int, Any]:
            attempts = Attempts(began.began_s, began.deadline_s, began.age_ms)
            result = await self._attempt(
                attempts, write.method, lambda now: _write_params(write, ids, attempts.age_to_send_ms(now)), len(ids)
            )
            return len(ids), read_count(write.method, result)

        outcome: int | Exception = client_closed()  # unless this is told to end
        try:
            outcome = sum(changed for _, changed in await self._in_frames(group.ids, send))
        except Exception as caught:
            # Not only Error: whoever makes the sockets may raise anything, and those who wait must learn of it.
            outcome = caught
        finally:
            self._groups.discard(group)
            _settle(group, outcome)


def _write_params(write: Write, ids: list[Id], age_ms: int) -> tuple[Any, ...]:
    options = {}
    if age_ms:
        options["age_ms"] = age_ms
    if write.grace_ms:
        options["grace_ms"] = write.grace_ms
    return (ids, options) if options else (ids,)


def _settle(group: Group[asyncio.Future[int]], outcome: int | Exception) -> None:
    for waiter in group.waiters:
        if waiter.done():
            continue
        if isinstance(outcome, Exception):
            waiter.set_exception(copy_of(outcome))
        else:
            waiter.set_result(outcome)

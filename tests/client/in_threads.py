"""The blocking client behind the face of `AsyncClient`, each call in a thread: so that tests of one are tests of both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Self, TypeVar

from presencedb import Change, Client, ClientStats, Id

R = TypeVar("R")

THREADS: Final = ThreadPoolExecutor(64, thread_name_prefix="in-threads")
FEEDS: Final = ("follow", "watch")


async def in_thread(call: Callable[..., R], *arguments: Any, **named: Any) -> R:
    """Make a blocking call in a thread."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, partial(call, *arguments, **named))


class InThreads:
    """A blocking client whose calls are awaited."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        connect = named.get("connect")
        if connect is not None:
            named["connect"] = _blocking(connect)
        self.client = Client(*arguments, **named)

    async def __aenter__(self) -> Self:
        await in_thread(self.client.__enter__)
        return self

    async def __aexit__(self, *error: object) -> None:
        await in_thread(self.client.__exit__, *error)

    def stats(self) -> ClientStats:
        return self.client.stats()

    async def scan(self, limit: int = 1000) -> AsyncIterator[Id]:
        ids = self.client.scan(limit)
        while (user_id := await in_thread(next, ids, None)) is not None:
            yield user_id

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.client, name)
        if name in FEEDS:
            return lambda *arguments, **named: ChangesInThreads(value(*arguments, **named))
        if name == "keep_online":
            return lambda *arguments, **named: BlockInThreads(value(*arguments, **named))
        return partial(in_thread, value) if inspect.ismethod(value) else value


class BlockInThreads:
    """The block of `keep_online`."""

    def __init__(self, block: Any) -> None:
        self._block = block

    async def __aenter__(self) -> Self:
        await in_thread(self._block.__enter__)
        return self

    async def __aexit__(self, *error: object) -> None:
        await in_thread(self._block.__exit__, *error)


class ChangesInThreads(BlockInThreads, AsyncIterator[Change]):
    """What `follow` or `watch` gives."""

    async def __anext__(self) -> Change:
        change: Change | None = await in_thread(next, self._block, None)
        if change is None:
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        await in_thread(self._block.close)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._block, name)
        return partial(in_thread, value) if inspect.ismethod(value) else value


def _blocking(connect: Callable[[], Coroutine[Any, Any, R]]) -> Callable[[float], R]:
    """A function that makes sockets, from one that is awaited on the running loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda timeout_s: asyncio.run(connect())
    return lambda timeout_s: asyncio.run_coroutine_threadsafe(connect(), loop).result(timeout_s)

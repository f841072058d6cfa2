"""Users who are kept online for as long as a block runs.

All blocks of a client share one beat: one task, one frame an interval, whatever number of users and blocks there is, so
that blocks which come and go leave nothing behind that beats on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from types import TracebackType
from typing import Final, Self

from presencedb.client.coalesce import Write
from presencedb.client.driver import Driver
from presencedb.client.retry import backoff_s
from presencedb.errors import ClientClosed
from presencedb.ids import Id
from presencedb.limits import HEARTBEATS_PER_TTL, SECOND_MS, TTL_MS_DEFAULT

BEAT: Final = Write("heartbeat")
JITTER: Final = 0.1
"""A beat comes up to this part of the interval early, so that clients which started together drift apart."""

_log = logging.getLogger(__name__)


class Keeper:
    """The one beat of a client on one event loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._counts: Counter[Id] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._beat_now = asyncio.Event()
        driver.connector.on_lost = lambda _: self._beat_now.set()

    async def begin(self, ids: list[Id]) -> None:
        """Beat for these users now, and from now on.

        Raises:
            Error: the first beat failed, so nothing has begun.
        """
        await self._driver.write(BEAT, ids)
        self._counts.update(ids)
        if self._task is None or self._task.done():
            self._task = self._driver.spawn(self._beat_for_ever(), "presencedb-keep-online")

    def end(self, ids: list[Id]) -> None:
        """Beat for these users no more, unless another block keeps them too."""
        self._counts.subtract(ids)
        for user_id in ids:
            if self._counts[user_id] <= 0:
                del self._counts[user_id]
        if not self._counts and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _beat_for_ever(self) -> None:
        failures = 0
        while True:
            wait_s = self._until_next_beat_s() if failures == 0 else backoff_s(failures, self._driver.random)
            self._beat_now.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._beat_now.wait()
            except TimeoutError:
                pass
            try:
                await self._driver.write(BEAT, list(self._counts))
            except ClientClosed:
                return
            except Exception as error:
                # Not only Error: whoever makes the sockets may raise anything, and the next one may be good.
                failures += 1
                if failures == 1:
                    _log.warning("a beat for %d users failed, trying on: %s", len(self._counts), error)
            else:
                failures = 0

    def _until_next_beat_s(self) -> float:
        link = self._driver.connector.link
        interval_ms = TTL_MS_DEFAULT / HEARTBEATS_PER_TTL if link is None else link.server.heartbeat_interval_ms
        return interval_ms / SECOND_MS * (1 - JITTER * self._driver.random.random())


class KeepOnline:
    """The block of `keep_online`: entering it beats once, and fails if that does; then it goes on whatever happens."""

    def __init__(self, driver: Driver, keeper: Keeper, ids: list[Id], sign_off: Write | None) -> None:
        self._driver = driver
        self._keeper = keeper
        self._ids = ids
        self._sign_off = sign_off

    async def __aenter__(self) -> Self:
        if self._ids:
            await self._keeper.begin(self._ids)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._ids:
            return
        self._keeper.end(self._ids)
        if self._sign_off is None:
            return
        try:
            await self._driver.write(self._sign_off, self._ids)
        except Exception:
            # What happened in the block matters more; the users go offline by their ttl.
            if error is None:
                raise

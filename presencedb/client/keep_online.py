"""Users who are kept online for as long as a block runs, in asyncio: one task that beats as `Beats` says."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from presencedb.client.beats import BEAT_FAILED, LOG_NAME, Beats
from presencedb.client.calls import BEAT, WriteCall
from presencedb.client.coalesce import Ids
from presencedb.client.driver import Driver
from presencedb.errors import ClientClosed

_log = logging.getLogger(LOG_NAME)


class Keeper:
    """The one beat of a client on one event loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._beats = Beats(driver.random)
        self._task: asyncio.Task[None] | None = None
        self._beat_now = asyncio.Event()
        driver.connector.on_lost = lambda _: self._beat_now.set()

    async def begin(self, beat: WriteCall) -> None:
        """Beat for these users now, and from now on.

        Raises:
            Error: the first beat failed, so nothing has begun.
        """
        await self._driver.write(beat)
        self._beats.begin(beat.ids)
        if self._task is None or self._task.done():
            self._task = self._driver.spawn(self._beat_for_ever(), "presencedb-keep-online")

    def end(self, ids: Ids) -> None:
        """Beat for these users no more, unless another block keeps them too."""
        self._beats.end(ids)
        if not self._beats and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _beat_for_ever(self) -> None:
        while True:
            link = self._driver.connector.link
            wait_s = self._beats.wait_s(None if link is None else link.server.heartbeat_interval_ms)
            self._beat_now.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._beat_now.wait()
            except TimeoutError:
                pass
            try:
                await self._driver.write(WriteCall(BEAT, self._beats.ids))
            except ClientClosed:
                return
            except Exception as error:
                # Not only Error: whoever makes the sockets may raise anything, and the next one may be good.
                if self._beats.failed():
                    _log.warning(BEAT_FAILED, len(self._beats), error)
            else:
                self._beats.succeeded()


class KeepOnline:
    """The block of `keep_online`: entering it beats once, and fails if that does; then it goes on whatever happens."""

    def __init__(self, driver: Driver, keeper: Keeper, beat: WriteCall, sign_off: WriteCall | None) -> None:
        self._driver = driver
        self._keeper = keeper
        self._beat = beat
        self._sign_off = sign_off

    async def __aenter__(self) -> Self:
        if self._beat.ids:
            await self._keeper.begin(self._beat)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._beat.ids:
            return
        self._keeper.end(self._beat.ids)
        if self._sign_off is None:
            return
        try:
            await self._driver.write(self._sign_off)
        except Exception:
            # What happened in the block matters more; the users go offline by their ttl.
            if error is None:
                raise

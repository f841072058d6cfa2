"""`follow` and `watch` in asyncio: a subscription on a connection of its own, and the iterator that gives its changes out.

A feed has a connection of its own, so that changes do not stand between calls and their answers. It is made when somebody
waits and there is none; so no task runs in the background, and cancelling a wait harms nothing.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from presencedb.client.driver import Driver
from presencedb.client.failures import feed_closed
from presencedb.client.link import Link
from presencedb.client.subscription import Ask, Subscription
from presencedb.client.values import Change, ConnectionState
from presencedb.errors import Error
from presencedb.protocol.messages import Notification

T = TypeVar("T", bound=Subscription)


class Feed(Generic[T]):
    """What outlives the iterator while it is being closed: the subscription and its connection."""

    def __init__(self, driver: Driver, subscription: T) -> None:
        self.subscription: Final = subscription
        self.connector: Final = driver.new_connector()
        self._driver = driver
        self.connector.on_link = self._begin_on
        self.connector.on_lost = self._lose
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        driver.feeds.add(self)

    async def begin(self) -> None:
        """Wait until the server tells."""
        while not self.subscription.telling:
            if self.subscription.end_reached():
                raise feed_closed()
            await self._wait_for_news()

    async def next_change(self, timeout_s: float | None = None) -> Change | None:
        """The next change; None: there was none within the time, or it was closed."""
        until_s = None if timeout_s is None else self._driver.loop.time() + timeout_s
        is_over = False
        while (change := self.subscription.take()) is None:
            if self.subscription.end_reached() or is_over:
                return None
            await self._wait_for_news(until_s)
            is_over = until_s is not None and self._driver.loop.time() >= until_s
        if self._link is not None and self._link.is_paused:
            self._settle()
        return change

    async def carry(self, ask: Ask) -> None:
        """Wait until a request of the subscription is done.

        Raises:
            Error: the server refused it, or the feed has ended.
        """
        self._settle()
        while not ask.done:
            await self._wait_for_news()
        if ask.error is not None:
            raise ask.error

    async def close(self) -> None:
        """Close the connection; the iterator is at its end."""
        self._stop()
        await self.connector.close()

    def drop_soon(self) -> None:
        """The same later, from any thread."""
        if not self._driver.loop.is_closed():
            self._driver.loop.call_soon_threadsafe(self.drop)

    def drop(self) -> None:
        """The same without waiting, on the loop."""
        self._stop()
        self.connector.drop()

    def _stop(self) -> None:
        self.subscription.close()
        self._link = None
        self._leave()

    def _leave(self) -> None:
        self._news.set()
        self._driver.feeds.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    async def _wait_for_news(self, until_s: float | None = None) -> None:
        """Wait until something has happened, at most until that loop time; an attempt that may fail is waited for."""
        if self._link is None and not self.subscription.begun:
            await self._connect(self.connector.connect())
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                if self._link is None:
                    await self._connect(self.connector.link_until(None))
                else:
                    self._news.clear()
                    await self._news.wait()

    async def _connect(self, connecting: Coroutine[Any, Any, Link]) -> None:
        try:
            await connecting
        except Exception as error:
            # Not only Error: whoever makes the sockets may raise anything, and that is an end like any other.
            self.subscription.end(error)
            self._settle()

    # --- the connection ----------------------------------------------------------------------------------------------

    def _begin_on(self, link: Link) -> None:
        self._link = link
        link.on_notification = self._hear
        self.subscription.connected()
        self._settle()

    def _hear(self, notification: Notification) -> None:
        self.subscription.told(notification)
        self._settle()

    def take_answer(self, link: Link, ask: Ask, result: Any) -> None:
        """The server answered what was asked on a link."""
        if link is self._link:
            self.subscription.answered(ask, result)
            self._settle()

    def take_refusal(self, link: Link, ask: Ask, error: Exception) -> None:
        """The server refused it; or the link is lost, which is told otherwise."""
        if link is self._link and link.lost_by is None and isinstance(error, Error):
            self.subscription.refused(ask, error, self._driver.loop.time())
            self._settle()

    def _lose(self, error: Error) -> None:
        self._link = None
        self.subscription.lost(error)
        self._settle()

    def _settle(self) -> None:
        """Do what the subscription asks for now, and wake those who wait."""
        self._news.set()
        if self.subscription.ended:
            self._leave()
            self._link = None
            self.connector.drop()
            return
        link = self._link
        if link is None or link.lost_by is not None:
            return
        while (ask := self.subscription.next_ask(self._driver.loop.time())) is not None:
            link.send_for(_Answer(self, link, ask), ask.method, ask.params, ask.id_count)
        if self.subscription.wants_more:
            link.resume_reading()
        else:
            link.pause_reading()
        self._arm_timer()

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wake_s = self.subscription.wake_s
        self._timer = None if wake_s is None else self._driver.loop.call_at(wake_s, self._settle)


class _Answer:
    """Takes the answer to a request in its place among the notifications: a future would a turn later, behind them."""

    __slots__ = ("_ask", "_feed", "_link")

    def __init__(self, feed: Feed[Any], link: Link, ask: Ask) -> None:
        self._feed = feed
        self._link = link
        self._ask = ask

    def done(self) -> bool:
        return False

    def set_result(self, result: Any, /) -> None:
        self._feed.take_answer(self._link, self._ask, result)

    def set_exception(self, error: Exception, /) -> None:
        self._feed.take_refusal(self._link, self._ask, error)


class Changes(AsyncIterator[Change], Generic[T]):
    """Changes as an async iterator, best used inside `async with`."""

    def __init__(self, driver: Driver, subscription: T) -> None:
        self._feed = Feed(driver, subscription)
        # A loop that was left by `break` ends here, at the latest.
        self._finalizer = weakref.finalize(self, self._feed.drop_soon)
        self._finalizer.atexit = False

    @property
    def cursor(self) -> str | None:
        """Where to go on later after what was given out so far. None until the server has begun to tell.

        The server gives changes out in portions with a cursor each. In the middle of a portion this is the cursor before
        it, so that going on there repeats a few changes, and never leaves one out.
        """
        return self._feed.subscription.cursor

    @property
    def state(self) -> ConnectionState:
        """What the connection of this feed is doing; without one, the next wait makes it."""
        return self._feed.connector.state

    async def __anext__(self) -> Change:
        change = await self._feed.next_change()
        if change is None:
            raise StopAsyncIteration
        return change

    async def get(self, timeout_s: float | None = None) -> Change | None:
        """The next change; None: nothing came within the time. The first connection may take as long as the attempt to make
        it.

        Raises:
            ClientClosed: it was closed, or is at its end.
        """
        change = await self._feed.next_change(timeout_s)
        if change is None and self._feed.subscription.ended:
            raise feed_closed()
        return change

    async def aclose(self) -> None:
        """End it and close its connection. May be called again."""
        self._finalizer.detach()
        await self._feed.close()

    async def __aenter__(self) -> Self:
        try:
            await self._feed.begin()
        except BaseException:  # a cancelled attempt must not go on behind a block that was never entered
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

"""The feed of every change, as an async iterator that survives its connections.

A feed has a connection of its own: there is no way to stop following on one, and changes should not stand between calls
and their answers. It is made when somebody waits for a change and there is none; so no task runs in the background, and
cancelling a wait harms nothing. What was received but not yet given out is never asked for again: after a reconnect the
feed goes on behind it, so each change comes exactly once.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import Final, Self

from presencedb.client.driver import Driver
from presencedb.client.failures import client_closed
from presencedb.client.link import Link
from presencedb.client.retry import backoff_s
from presencedb.client.values import Change, read_cursor, read_presence
from presencedb.errors import ConnectError, Error, GapError, ProtocolError
from presencedb.limits import FOLLOW_QUEUE_CHANGES_MAX
from presencedb.protocol.messages import Notification

CHANGES_MISSED: Final = "changes were missed: the server was started again or its warm-up ended, or this reader was too slow"
"""All that is known when a feed cannot go on: a server does not tell which."""


class Follow(AsyncIterator[Change]):
    """Every change of any user, in order, for ever; use it with `async for`, best inside `async with`.

    It reconnects by itself and goes on where it was. `async with` returns once the server has begun to tell, so that
    nothing that happens inside is missed. Without it, telling begins at the first wait.

    Raises:
        ConnectError: the first connection cannot be made. A later one is tried for ever.
        GapError: the server no longer has what comes next: it was started again, its warm-up ended, this reader was too
            slow, or the cursor is none of its own. Read the state and follow anew.
        Error: the server refuses. After an error or `aclose` the iterator is at its end.
    """

    def __init__(self, driver: Driver, cursor: str | None) -> None:
        self._feed = _Feed(driver, cursor)
        # A loop that was left by `break` ends here, at the latest.
        self._finalizer = weakref.finalize(self, self._feed.drop_soon)
        self._finalizer.atexit = False
        self._cursor = cursor
        self._changes: deque[Change] = deque()
        self._changes_cursor: str | None = None

    @property
    def cursor(self) -> str | None:
        """Where to go on later: `db.follow(cursor)` gives everything that comes after what was given out so far.

        The server gives changes out in portions with a cursor each. In the middle of a portion this is the cursor before
        it, so that going on there repeats a few changes, and never leaves one out. None until the server has begun to tell.
        """
        return self._feed.start_cursor if self._cursor is None else self._cursor

    async def __anext__(self) -> Change:
        while not self._changes:
            portion = await self._feed.next_portion()
            if portion is None:
                raise StopAsyncIteration
            cursor, changes = portion
            self._changes.extend(changes)
            self._changes_cursor = cursor
            if not changes:
                self._cursor = cursor
        change = self._changes.popleft()
        if not self._changes:
            self._cursor = self._changes_cursor
        return change

    async def aclose(self) -> None:
        """End it and close its connection. May be called again."""
        self._finalizer.detach()
        self._changes.clear()
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


class _Feed:
    """What outlives the iterator while it is being closed: the connection, and the portions that came on it."""

    def __init__(self, driver: Driver, cursor: str | None) -> None:
        self.start_cursor: str | None = cursor
        self._driver = driver
        self._cursor = cursor  # after the last portion received
        self._portions: deque[tuple[str, list[Change]]] = deque()
        self._change_count = 0
        self._connector = driver.new_connector()
        self._connector.on_link = self._subscribe
        self._connector.on_lost = self._lose
        self._link: Link | None = None
        self._telling = False  # the server has said from where on it tells, on this link
        self._begun = False  # it has done so once
        self._refusal_count = 0
        self._ended_by: Exception | None = None
        self._closed = False
        self._news = asyncio.Event()
        driver.feeds.add(self)

    async def begin(self) -> None:
        """Wait until the server tells."""
        while not self._telling:
            if self._is_over():
                raise client_closed()
            await self._wait_for_news()

    async def next_portion(self) -> tuple[str, list[Change]] | None:
        """The next changes with the cursor after them; waits until there are some. None: it was closed."""
        while not self._portions:
            if self._is_over():
                return None
            await self._wait_for_news()
        portion = self._portions.popleft()
        self._change_count -= len(portion[1])
        if self._link is not None and self._change_count <= FOLLOW_QUEUE_CHANGES_MAX // 2:
            self._link.resume_reading()
        return portion

    async def close(self) -> None:
        """Close the connection; the iterator is at its end."""
        self._stop()
        await self._connector.close()

    def drop_soon(self) -> None:
        """The same later, from any thread."""
        if not self._driver.loop.is_closed():
            self._driver.loop.call_soon_threadsafe(self.drop)

    def drop(self) -> None:
        """The same without waiting, on the loop."""
        self._stop()
        self._connector.drop()

    def _stop(self) -> None:
        self._closed = True
        self._portions.clear()
        self._news.set()
        self._driver.feeds.discard(self)

    def _is_over(self) -> bool:
        if self._ended_by is not None:
            error, self._ended_by = self._ended_by, None
            raise error
        return self._closed

    async def _wait_for_news(self) -> None:
        if self._connector.link is not None:
            self._news.clear()
            await self._news.wait()
            return
        try:
            await (self._connector.link_until(None) if self._begun else self._connector.connect())
        except Exception as error:
            # Not only Error: whoever makes the sockets may raise anything, and that is an end like any other.
            self._end(error)

    def _subscribe(self, link: Link) -> None:
        self._link = link
        link.on_notification = self._hear
        self._ask(link)

    def _ask(self, link: Link) -> None:
        if link.lost_by is None:
            answer = link.send("follow", [] if self._cursor is None else [self._cursor])
            answer.add_done_callback(partial(self._take_answer, link, self._cursor))

    def _take_answer(self, link: Link, asked_from: str | None, answer: asyncio.Future[object]) -> None:
        error = answer.exception()
        if isinstance(error, ConnectError) or link is not self._link:
            return  # the link is lost, and another one asks again
        if error is None:
            self._begin_at(answer.result(), asked_from)
        elif isinstance(error, Error) and error.retryable:
            wait = backoff_s(self._refusal_count, self._driver.random)
            self._refusal_count += 1
            self._driver.loop.call_later(wait, self._ask, link)
        elif isinstance(error, Error):
            # The server speaks of a cursor, which the caller may never have seen.
            self._end(_missed() if isinstance(error, GapError) and self._begun else error)

    def _begin_at(self, result: object, asked_from: str | None) -> None:
        try:
            cursor = read_cursor("follow", result)
        except ProtocolError as error:
            self._end(error)
            return
        self._telling = self._begun = True
        self._refusal_count = 0
        if self._cursor == asked_from:  # else changes have come with this answer, and are ahead of it
            self._cursor = cursor
        if self.start_cursor is None:
            self.start_cursor = cursor
        self._news.set()

    def _hear(self, notification: Notification) -> None:
        if notification.method == "gap":
            self._end(_missed())
        elif notification.method == "presence":
            portion = read_presence(notification.params)
            self._cursor = portion[0]
            self._portions.append(portion)
            self._change_count += len(portion[1])
            if self._link is not None and self._change_count > FOLLOW_QUEUE_CHANGES_MAX:
                self._link.pause_reading()
            self._news.set()

    def _lose(self, error: Error) -> None:
        self._link = None
        self._telling = False
        self._news.set()
        if isinstance(error, ProtocolError):
            self._end(error)

    def _end(self, error: Exception) -> None:
        if self._ended_by is None and not self._closed:
            self._ended_by = error
            self._closed = True
            self._news.set()
            self._driver.feeds.discard(self)
            self._connector.drop()


def _missed() -> GapError:
    return GapError(f"{CHANGES_MISSED}; read the state and follow anew")

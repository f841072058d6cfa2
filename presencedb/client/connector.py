"""Keeps one connection for everybody who needs it: made when the first asks, made again when it is lost and somebody asks.

All who wait share one task that does what the `Route` says for as long as anybody waits. So a thousand calls on a dead
server make one stream of attempts, and cancelling a call disturbs no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from presencedb.client.dial import MakeSocket, dial
from presencedb.client.failures import client_closed, connect_error, copy_of
from presencedb.client.link import Link
from presencedb.client.route import Route
from presencedb.client.settings import ClientSettings
from presencedb.client.stats import Counters
from presencedb.client.values import ConnectionState
from presencedb.errors import Error


class Connector:
    """The connection of one client on one event loop.

    Attributes:
        on_link: called with each new link before anybody gets it.
        on_lost: called with the reason when the link is lost other than by `close` or `drop`.
        on_state: called with each new state.
    """

    def __init__(self, settings: ClientSettings[MakeSocket], random: Random, counters: Counters) -> None:
        self.on_link: Callable[[Link], None] | None = None
        self.on_lost: Callable[[Error], None] | None = None
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.state = ConnectionState.IDLE
        self._settings = settings
        self._counters = counters
        self._route = Route(settings.targets, random)
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[asyncio.Future[Link], bool] = {}  # in the order they came; True: one round of attempts is enough

    @property
    def link(self) -> Link | None:
        """The connection, while there is one."""
        return self._link

    async def connect(self) -> Link:
        """The connection, or one made now: each target is tried once.

        Raises:
            ConnectError: none of them can be reached.
            Error: what the server said to the hello.
        """
        return self._link or await self._wait(one_round=True)

    async def link_until(self, deadline_s: float | None) -> Link:
        """The connection, or one made by that loop time; None waits for ever.

        Raises:
            ConnectError: there was none by then.
            Error: a server answered, and no other attempt would help.
        """
        if self._link is not None:
            return self._link
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._wait(one_round=False)
        except TimeoutError:
            raise self._route.out_of_time() from None

    def end_link(self, error: Error) -> None:
        """Give the connection up; the next call makes another, on the next target."""
        if self._link is not None:
            self._link.end(error)

    async def close(self) -> None:
        """Close the connection and fail everybody who waits for one. May be called again."""
        task, link = self._task, self._take_down()
        if link is not None:
            await link.close(client_closed())
        if task is not None:
            await asyncio.wait([task])

    def drop(self) -> None:
        """The same, without waiting for the end of it."""
        link = self._take_down()
        if link is not None:
            link.end(client_closed())

    def _take_down(self) -> Link | None:
        self._set_state(ConnectionState.CLOSED)
        self._fail_waiting(client_closed())
        if self._task is not None:
            self._task.cancel()
        link, self._link = self._link, None
        if link is not None:
            link.on_lost = None
        return link

    async def _wait(self, *, one_round: bool) -> Link:
        if self.state is ConnectionState.CLOSED:
            raise client_closed()
        waiter: asyncio.Future[Link] = self._loop.create_future()
        self._waiting[waiter] = one_round
        if self._task is None:
            self._task = self._loop.create_task(self._keep_trying(), name="presencedb-connect")
        try:
            return await waiter
        finally:
            del self._waiting[waiter]

    async def _keep_trying(self) -> None:
        self._set_state(ConnectionState.CONNECTING)
        try:
            while self._is_wanted():
                wait_s = self._route.wait_s(self._loop.time())
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                else:
                    await self._try_each()
        except asyncio.CancelledError:
            self._fail_waiting(connect_error(self._route.names, "the attempt was cancelled"))
            raise
        except Exception as error:
            # Not only Error: whoever makes the sockets may raise anything, and those who wait must learn of it.
            self._fail_waiting(error)
        finally:
            self._task = None
            if self._link is None:
                self._set_state(ConnectionState.IDLE)

    def _is_wanted(self) -> bool:
        return self._link is None and any(not waiter.done() for waiter in self._waiting)

    async def _try_each(self) -> None:
        for target in self._route.round():
            try:
                link = await dial(target, self._settings.greeting, self._settings.connect_timeout_s)
            except Error as error:
                self._route.failed(target, error)
            else:
                self._adopt(link)
                return
        self._fail_waiting(self._route.round_failed(self._loop.time()), one_round=True)

    def _adopt(self, link: Link) -> None:
        self._link = link
        self._counters.connected(link, link.traffic)
        self._route.connected()
        link.on_lost = self._lose
        self._set_state(ConnectionState.CONNECTED)
        if self.on_link is not None:
            self.on_link(link)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(link)

    def _lose(self, link: Link, error: Error) -> None:
        if self._link is not link:
            return
        self._link = None
        self._counters.lost()
        self._route.lost(error, self._loop.time(), was_of_use=link.was_of_use)
        self._set_state(ConnectionState.IDLE)
        if self.on_lost is not None:
            self.on_lost(error)

    def _fail_waiting(self, error: Exception, *, one_round: bool = False) -> None:
        for waiter, is_one_round in self._waiting.items():
            if not waiter.done() and (is_one_round or not one_round):
                waiter.set_exception(copy_of(error))

    def _set_state(self, state: ConnectionState) -> None:
        if state is self.state or self.state is ConnectionState.CLOSED:
            return
        self.state = state
        if self.on_state is not None:
            self._loop.call_soon(self.on_state, state)

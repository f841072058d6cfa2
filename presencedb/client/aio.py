"""`AsyncClient`: presencedb from asyncio."""

from __future__ import annotations

import asyncio
import ssl
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from datetime import datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from presencedb.client import calls
from presencedb.client.dial import MakeSocket, socket_maker
from presencedb.client.driver import Driver
from presencedb.client.failures import client_closed
from presencedb.client.follow import AsyncFollow
from presencedb.client.forks import forget_in_child
from presencedb.client.keep_online import Keeper, KeepOnline
from presencedb.client.settings import read_settings
from presencedb.client.stats import NS_PER_S, ClientStats, Counters, OnCall
from presencedb.client.subscription import OnGap
from presencedb.client.url import DEFAULT_URL
from presencedb.client.values import ConnectionState, IdLike, ServerInfo
from presencedb.client.watch import AsyncWatch
from presencedb.clock import SystemClock
from presencedb.ids import Id

_clock: Final = SystemClock()

_inherited: Final[list[Driver]] = []
"""In a forked child: what belongs to the parent's loop. It is kept, for ending it would end the parent's things."""


class AsyncClient:
    """A client of one node or router. Use it with `async with`, or call `close` when done.

    `async with` (and `connect`) connects at once and fails if nobody is there. Used without, the first call connects.
    After that a lost connection is made again by the next call; a call that fails for want of a server is tried again for
    as long as its timeout lasts.

    Every call may raise, besides what it names itself:
        ConnectError: no connection could be had within the timeout.
        CallTimeout: there was no answer within the timeout.
        Unauthenticated, Denied: the token is missing, unknown, or lacks the right.
        Busy, Unavailable: the server cannot serve now, and could not within the timeout either.
        ProtocolError: what listens there does not speak the protocol.
        ClientClosed: the client is closed.
    All of these are `presencedb.Error`.

    A client belongs to the event loop on which it was first used; in a forked child it begins anew by itself.
    """

    def __init__(
        self,
        url: str | None = DEFAULT_URL,
        *,
        token: str | None = None,
        token_file: str | Path | None = None,
        ssl_context: ssl.SSLContext | None = None,
        connect_timeout_s: float = 2.0,
        timeout_s: float = 5.0,
        client_name: str = "presencedb-python",
        connect: MakeSocket | None = None,
        on_state: Callable[[ConnectionState], None] | None = None,
        on_call: OnCall | None = None,
        random: Random | None = None,
    ) -> None:
        """Make a client; nothing is connected yet.

        Args:
            url: see `docs/client.md` for its forms. With several addresses the next one is tried when one fails.
            token: shown to the server. Without it, the environment variable PRESENCEDB_TOKEN or `token_file` gives one.
            token_file: a file whose first secret is the token.
            ssl_context: for `presence+tls://`; without it, the certificates that the system trusts.
            connect_timeout_s: for each address: socket, TLS and hello together.
            timeout_s: for each call, with its retries.
            client_name: what the server's logs call this client.
            connect: instead of a URL: gives a connected socket, a new one each time. The environment gives no token then.
            on_state: called with each new `ConnectionState`.
            on_call: called with a `CallTrace` of each call that has ended, before its caller goes on.
            random: where jitter comes from, for tests.

        Raises:
            ConfigError: the URL or another argument is wrong, or the token file cannot be read.
        """
        self._settings = read_settings(
            url,
            socket_maker,
            connect=connect,
            ssl_context=ssl_context,
            token=token,
            token_file=token_file,
            connect_timeout_s=connect_timeout_s,
            timeout_s=timeout_s,
            client_name=client_name,
            random=random,
        )
        self._on_state = on_state
        self._on_call = on_call
        self._counters = Counters()
        self._driver: Driver | None = None
        self._keeper: Keeper | None = None
        self._closed = False
        forget_in_child(self, AsyncClient._begin_anew)

    # --- connection --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:  # a cancelled attempt must not go on behind a block that was never entered
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect now, trying each address once; does nothing where there is a connection.

        Raises:
            ConnectError: none can be reached.
        """
        await self._bound().connector.connect()

    async def close(self) -> None:
        """Close the connection, feeds and beats included; calls that wait raise ClientClosed. May be called again."""
        self._closed = True
        driver = self._driver
        if driver is not None and driver.loop is asyncio.get_running_loop():
            await driver.close()

    @property
    def state(self) -> ConnectionState:
        """What the connection is doing."""
        if self._closed:
            return ConnectionState.CLOSED
        return ConnectionState.IDLE if self._driver is None else self._driver.connector.state

    # --- writes ------------------------------------------------------------------------------------------------------

    async def heartbeat(self, *ids: IdLike, age_ms: int = 0) -> None:
        """Mark users alive. Calls made in one turn of the loop go out as one frame; they keep the order of the calls.

        A heartbeat that was cancelled or failed may have been taken by the server all the same.

        Args:
            age_ms: how long ago they were alive.

        Raises:
            BadRequest: an id or the age is not valid. Nothing of this call was sent.
        """
        await self._write(calls.heartbeat(ids, age_ms))

    async def heartbeat_batch(self, ids: Iterable[IdLike], *, age_ms: int = 0) -> int:
        """Mark any number of users alive in frames of their own, and tell how many came online by it.

        The number is what the server says. If an answer got lost and the frame was sent again, whoever came online by the
        first is not counted.

        Raises:
            BadRequest: an id or the age is not valid. Nothing of this call was sent.
        """
        return await self._write(calls.heartbeat_batch(ids, age_ms))

    async def offline(self, *ids: IdLike, grace_ms: int = 0, age_ms: int = 0) -> None:
        """Sign users off.

        Args:
            grace_ms: go offline only after this time, and only if no heartbeat comes in it: spares a user's other devices.
            age_ms: how long ago they left.

        Raises:
            BadRequest: an id, the grace or the age is not valid. Nothing of this call was sent.
        """
        await self._write(calls.offline(ids, grace_ms, age_ms))

    async def offline_batch(self, ids: Iterable[IdLike], *, grace_ms: int = 0, age_ms: int = 0) -> int:
        """Sign any number of users off in frames of their own, and tell how many went offline by it at once.

        The number is as good as that of `heartbeat_batch`.

        Raises:
            BadRequest: an id, the grace or the age is not valid. Nothing of this call was sent.
        """
        return await self._write(calls.offline_batch(ids, grace_ms, age_ms))

    def keep_online(self, *ids: IdLike, sign_off: bool = False, grace_ms: int = 0) -> KeepOnline:
        """Beat for users as long as an `async with` block runs, at the interval that the server asks for.

        Entering beats once and raises what that raises. From then on it beats whatever happens, over lost connections and
        restarts of the server. When the block ends it just stops, and the users go offline by their ttl; with `sign_off`
        they are signed off, at once or after `grace_ms` without a heartbeat from elsewhere.

        Raises:
            BadRequest: an id or the grace is not valid.
        """
        driver = self._bound()
        assert self._keeper is not None
        beat, farewell = calls.keep_online(ids, grace_ms)
        return KeepOnline(driver, self._keeper, beat, farewell if sign_off else None)

    # --- reads -------------------------------------------------------------------------------------------------------

    async def status(self, ids: Iterable[IdLike]) -> dict[Id, bool | None]:
        """Who is online, by canonical id (`42` for `"42"`), of any number of users.

        True is online, False offline. **None is unknown, not offline**: a server that was not told everything says so
        instead of guessing. So ask `is False`, never `if not`.

        Raises:
            BadRequest: an id is not valid.
        """
        return await self._bound().run(calls.status(ids))

    async def status_array(self, ids: Iterable[IdLike]) -> bytes:
        """The same without an object for each user: a byte each in the order asked, 0 offline, 1 online, 2 unknown.

        Repeated ids are answered each time.

        Raises:
            BadRequest: an id is not valid.
        """
        return await self._bound().run(calls.status_array(ids))

    async def last_seen(self, ids: Iterable[IdLike]) -> dict[Id, datetime | None]:
        """When users were last alive (or signed off), in UTC, by canonical id.

        None is: never, or no longer remembered. A server with retention `online` forgets whoever is offline.

        Raises:
            BadRequest: an id is not valid.
        """
        return await self._bound().run(calls.last_seen(ids))

    async def last_seen_array(self, ids: Iterable[IdLike]) -> array[int]:
        """The same without an object for each user: Unix milliseconds in the order asked, -1 where `last_seen` has None.

        The array has the type code `q`, signed 64-bit integers. Repeated ids are answered each time.

        Raises:
            BadRequest: an id is not valid.
        """
        return await self._bound().run(calls.last_seen_array(ids))

    async def count(self) -> int:
        """How many users are online."""
        return await self._bound().run(calls.count())

    async def online(self, cursor: str | None = None, limit: int = 1000) -> tuple[str | None, list[Id]]:
        """A page of the users online: the cursor of the next page, None after the last, and up to `limit` ids.

        Who is online all along appears exactly once on the pages from first to last.

        Raises:
            BadRequest: the cursor is not one, or the limit not between 1 and 10,000.
        """
        return await self._bound().run(calls.online(cursor, limit))

    async def scan(self, limit: int = 1000) -> AsyncIterator[Id]:
        """All users online, one after the other, `limit` of them asked for at a time."""
        cursor, ids = await self.online(None, limit)
        while True:
            for user_id in ids:
                yield user_id
            if cursor is None:
                return
            cursor, ids = await self.online(cursor, limit)

    def watch(self, ids: Iterable[IdLike], cursor: str | None = None, *, on_gap: OnGap = "raise") -> AsyncWatch:
        """The statuses of some users, and every change of them: an async iterator of `Change`, from now or a cursor on.

        See `AsyncWatch` for its `statuses`, for adding and removing users, for what it does when connections are lost, and
        what it raises.

        Args:
            on_gap: where changes were missed that cannot be had any more: `"raise"` GapError, or `"resync"`: give out what
                differs from the last known statuses, with the reason `known` and no moment, and go on.

        Raises:
            BadRequest: an id or another argument is not valid.
            TooLarge: so many ids that they do not fit a frame, far above what a server allows.
        """
        return AsyncWatch(self._bound(), ids, cursor, on_gap)

    def follow(self, cursor: str | None = None, *, on_gap: OnGap = "raise") -> AsyncFollow:
        """Every change of any user's status, as an async iterator of `Change`, from now on or from a cursor on.

        See `AsyncFollow` for what it does when connections are lost, and what it raises.

        Args:
            on_gap: where changes were missed that cannot be had any more: `"raise"` GapError, or `"resync"`: go on from
                now, find out who is online, and give out what differs from what was told, with the reason `known` and no
                moment. For that it keeps the ids of all whom it told as online.

        Raises:
            BadRequest: an argument is not valid.
        """
        return AsyncFollow(self._bound(), cursor, on_gap)

    # --- the server --------------------------------------------------------------------------------------------------

    async def hello(self) -> ServerInfo:
        """What the server said of itself when this connection was made; connects where there is none."""
        driver = self._bound()
        return (await driver.connector.link_until(driver.loop.time() + self._settings.timeout_s)).server

    async def ping(self) -> float:
        """Seconds that a question and its answer take, once there is a connection."""
        driver = self._bound()
        await self.hello()
        began_ns = _clock.monotonic_ns()  # the loop's own time may be as coarse as a millisecond
        await driver.run(calls.ping())
        return (_clock.monotonic_ns() - began_ns) / NS_PER_S

    async def info(self) -> dict[str, Any]:
        """The server's counters. Needs the right `admin`."""
        return await self._bound().run(calls.info())

    async def topology(self) -> dict[str, Any]:
        """The members of the cluster: epoch, seed, replicas, members."""
        return await self._bound().run(calls.topology())

    def stats(self) -> ClientStats:
        """What this client has counted so far; nothing is asked of the server, and nothing is waited for."""
        return self._counters.stats()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _write(self, call: calls.WriteCall) -> Coroutine[Any, Any, int]:
        return self._bound().write(call)

    def _bound(self) -> Driver:
        """The driver on the running loop; made now where this is the first use, or the first in a forked child."""
        driver = self._driver
        if driver is not None and driver.loop is asyncio.get_running_loop() and not self._closed:
            return driver
        if self._closed:
            raise client_closed()
        if driver is not None and not driver.loop.is_closed():
            raise RuntimeError("this client belongs to another event loop; make one for each loop")
        driver = self._driver = Driver(self._settings, self._counters, self._on_call)
        driver.connector.on_state = self._on_state
        self._keeper = Keeper(driver)
        return driver

    def _begin_anew(self) -> None:
        """In a forked child: the first call there makes a driver of its own."""
        if self._driver is not None:
            _inherited.append(self._driver)
            self._driver = self._keeper = None
            self._counters = Counters()

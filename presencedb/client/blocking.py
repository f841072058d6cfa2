"""`Client`: presencedb from code that blocks, in any number of threads."""

from __future__ import annotations

import ssl
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from presencedb.client import calls
from presencedb.client.blocking_dial import Connect, given_sockets, socket_maker
from presencedb.client.blocking_feed import Follow, Watch
from presencedb.client.blocking_keep_online import Keeper, KeepOnline
from presencedb.client.caller import Caller
from presencedb.client.failures import client_closed
from presencedb.client.forks import forget_in_child
from presencedb.client.settings import read_settings
from presencedb.client.stats import ClientStats, OnCall
from presencedb.client.subscription import OnGap
from presencedb.client.url import DEFAULT_URL
from presencedb.client.values import ConnectionState, IdLike, ServerInfo
from presencedb.client.waiting import now_s
from presencedb.errors import ConfigError
from presencedb.ids import Id

CLOSE_WAIT_S: Final = 0.5
"""How long `close` waits for the thread of `keep_online` to end."""


class Client:
    """A client of one node or router that blocks: `AsyncClient` without `await`. Use it with `with`, or call `close`.

    `with` (and `connect`) connects at once and fails if nobody is there. Used without, the first call connects. After that a
    lost connection is made again by the next call; a call that fails for want of a server is tried again for as long as its
    timeout lasts.

    Any number of threads may use one client. Each call has a connection to itself while it lasts, from a small pool, so that
    one that waits holds up no other.

    Every call may raise, besides what it names itself:
        ConnectError: no connection could be had within the timeout.
        CallTimeout: there was no answer within the timeout.
        Unauthenticated, Denied: the token is missing, unknown, or lacks the right.
        Busy, Unavailable: the server cannot serve now, and could not within the timeout either.
        ProtocolError: what listens there does not speak the protocol.
        ClientClosed: the client is closed.
    All of these are `presencedb.Error`. An exception from elsewhere, such as KeyboardInterrupt, leaves the client as usable
    as before; what was already sent may still be carried out.

    In a forked child a client begins anew by itself.
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
        connect: Connect | None = None,
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
            connect: instead of a URL: gives a connected socket, a new one each time; it is told how many seconds that may
                take. The environment gives no token then.
            on_state: called with each new `ConnectionState`, by whichever thread brought it about.
            on_call: called with a `CallTrace` of each call that has ended, before its caller goes on, by its thread.
            random: where jitter comes from, for tests.

        Raises:
            ConfigError: the URL or another argument is wrong, or the token file cannot be read.
        """
        self._settings = read_settings(
            url,
            socket_maker,
            connect=None if connect is None else given_sockets(connect),
            ssl_context=ssl_context,
            token=token,
            token_file=token_file,
            connect_timeout_s=connect_timeout_s,
            timeout_s=timeout_s,
            client_name=client_name,
            random=random,
        )
        if self._settings.is_cluster:
            raise ConfigError(
                "the blocking client talks to one server: give the URL of a router of the cluster, presence://HOST, "
                "or use AsyncClient, which talks to all nodes itself"
            )
        self._on_state = on_state
        self._on_call = on_call
        self._closed = False
        self._begin()
        forget_in_child(self, Client._forget)

    # --- connection --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:  # nothing of an attempt must outlive a block that was never entered
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect now, trying each address once; does nothing where there is a connection.

        Raises:
            ConnectError: none can be reached.
        """
        self._caller.pool.connect()

    def close(self) -> None:
        """Close the connections, feeds and beats included; calls that wait raise ClientClosed. May be called again.

        Any thread may call it.
        """
        self._closed = True
        _close(self._caller, self._keeper)
        self._keeper.join(CLOSE_WAIT_S)

    @property
    def state(self) -> ConnectionState:
        """What the connections are doing: `CONNECTED` while there is one, as far as is known without asking the server."""
        return self._caller.pool.news.state

    # --- writes ------------------------------------------------------------------------------------------------------

    def heartbeat(self, *ids: IdLike, age_ms: int = 0) -> None:
        """Mark users alive. A heartbeat that failed may have been taken by the server all the same.

        Args:
            age_ms: how long ago they were alive.

        Raises:
            BadRequest: an id or the age is not valid. Nothing of this call was sent.
        """
        self._write(calls.heartbeat(ids, age_ms))

    def heartbeat_batch(self, ids: Iterable[IdLike], *, age_ms: int = 0) -> int:
        """Mark any number of users alive, and tell how many came online by it.

        The number is what the server says. If an answer got lost and the frame was sent again, whoever came online by the
        first is not counted.

        Raises:
            BadRequest: an id or the age is not valid. Nothing of this call was sent.
        """
        return self._write(calls.heartbeat_batch(ids, age_ms))

    def offline(self, *ids: IdLike, grace_ms: int = 0, age_ms: int = 0) -> None:
        """Sign users off.

        Args:
            grace_ms: go offline only after this time, and only if no heartbeat comes in it: spares a user's other devices.
            age_ms: how long ago they left.

        Raises:
            BadRequest: an id, the grace or the age is not valid. Nothing of this call was sent.
        """
        self._write(calls.offline(ids, grace_ms, age_ms))

    def offline_batch(self, ids: Iterable[IdLike], *, grace_ms: int = 0, age_ms: int = 0) -> int:
        """Sign any number of users off, and tell how many went offline by it at once.

        The number is as good as that of `heartbeat_batch`.

        Raises:
            BadRequest: an id, the grace or the age is not valid. Nothing of this call was sent.
        """
        return self._write(calls.offline_batch(ids, grace_ms, age_ms))

    def keep_online(self, *ids: IdLike, sign_off: bool = False, grace_ms: int = 0) -> KeepOnline:
        """Beat for users as long as a `with` block runs, at the interval that the server asks for, from a thread of its own.

        Entering beats once and raises what that raises. From then on it beats whatever happens, over lost connections and
        restarts of the server. When the block ends it just stops, and the users go offline by their ttl; with `sign_off`
        they are signed off, at once or after `grace_ms` without a heartbeat from elsewhere.

        Raises:
            BadRequest: an id or the grace is not valid.
        """
        self._check_open()
        beat, farewell = calls.keep_online(ids, grace_ms)
        return KeepOnline(self, self._caller, self._keeper, beat, farewell if sign_off else None)

    # --- reads -------------------------------------------------------------------------------------------------------

    def status(self, ids: Iterable[IdLike]) -> dict[Id, bool | None]:
        """Who is online, by canonical id (`42` for `"42"`), of any number of users.

        True is online, False offline. **None is unknown, not offline**: a server that was not told everything says so
        instead of guessing. So ask `is False`, never `if not`.

        Raises:
            BadRequest: an id is not valid.
        """
        return self._run(calls.status(ids))

    def status_array(self, ids: Iterable[IdLike]) -> bytes:
        """The same without an object for each user: a byte each in the order asked, 0 offline, 1 online, 2 unknown.

        Repeated ids are answered each time.

        Raises:
            BadRequest: an id is not valid.
        """
        return self._run(calls.status_array(ids))

    def last_seen(self, ids: Iterable[IdLike]) -> dict[Id, datetime | None]:
        """When users were last alive (or signed off), in UTC, by canonical id.

        None is: never, or no longer remembered. A server with retention `online` forgets whoever is offline.

        Raises:
            BadRequest: an id is not valid.
        """
        return self._run(calls.last_seen(ids))

    def last_seen_array(self, ids: Iterable[IdLike]) -> array[int]:
        """The same without an object for each user: Unix milliseconds in the order asked, -1 where `last_seen` has None.

        The array has the type code `q`, signed 64-bit integers. Repeated ids are answered each time.

        Raises:
            BadRequest: an id is not valid.
        """
        return self._run(calls.last_seen_array(ids))

    def count(self) -> int:
        """How many users are online."""
        return self._run(calls.count())

    def online(self, cursor: str | None = None, limit: int = 1000) -> tuple[str | None, list[Id]]:
        """A page of the users online: the cursor of the next page, None after the last, and up to `limit` ids.

        Who is online all along appears exactly once on the pages from first to last.

        Raises:
            BadRequest: the cursor is not one, or the limit not between 1 and 10,000.
        """
        return self._run(calls.online(cursor, limit))

    def scan(self, limit: int = 1000) -> Iterator[Id]:
        """All users online, one after the other, `limit` of them asked for at a time."""
        cursor, ids = self.online(None, limit)
        while True:
            yield from ids
            if cursor is None:
                return
            cursor, ids = self.online(cursor, limit)

    def follow(self, cursor: str | None = None, *, on_gap: OnGap = "raise") -> Follow:
        """Every change of any user's status, as an iterator of `Change`, from now on or from a cursor on.

        See `Follow` for what it does when connections are lost, and what it raises.

        Args:
            on_gap: where changes were missed that cannot be had any more: `"raise"` GapError, or `"resync"`: go on from
                now, find out who is online, and give out what differs from what was told, with the reason `known` and no
                moment. For that it keeps the ids of all whom it told as online.

        Raises:
            BadRequest: an argument is not valid.
        """
        self._check_open()
        return Follow(self, self._caller, cursor, on_gap)

    def watch(self, ids: Iterable[IdLike], cursor: str | None = None, *, on_gap: OnGap = "raise") -> Watch:
        """The statuses of some users, and every change of them: an iterator of `Change`, from now or a cursor on.

        See `Watch` for its `statuses`, for adding and removing users, for what it does when connections are lost, and what
        it raises.

        Args:
            on_gap: where changes were missed that cannot be had any more: `"raise"` GapError, or `"resync"`: give out what
                differs from the last known statuses, with the reason `known` and no moment, and go on.

        Raises:
            BadRequest: an id or another argument is not valid.
            TooLarge: so many ids that they do not fit a frame, far above what a server allows.
        """
        self._check_open()
        return Watch(self, self._caller, ids, cursor, on_gap)

    # --- the server --------------------------------------------------------------------------------------------------

    def hello(self) -> ServerInfo:
        """What the server said of itself when the connection used last was made; connects where there is none."""
        channel = self._caller.pool.take(now_s() + self._settings.timeout_s)
        self._caller.pool.give_back(channel)
        return channel.server

    def ping(self) -> float:
        """Seconds that a question and its answer take, once there is a connection."""
        self.hello()
        began_s = now_s()
        self._run(calls.ping())
        return now_s() - began_s

    def info(self) -> dict[str, Any]:
        """The server's counters. Needs the right `admin`."""
        return self._run(calls.info())

    def topology(self) -> dict[str, Any]:
        """The members of the cluster: epoch, seed, replicas, members."""
        return self._run(calls.topology())

    def stats(self) -> ClientStats:
        """What this client has counted so far; nothing is asked of the server, and nothing is waited for."""
        return self._caller.log.counters.stats()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _run(self, plan: calls.Plan[calls.R]) -> calls.R:
        self._check_open()
        return self._caller.run(plan)

    def _write(self, call: calls.WriteCall) -> int:
        self._check_open()
        return self._caller.write(call)

    def _check_open(self) -> None:
        if self._closed:
            raise client_closed()

    def _begin(self) -> None:
        self._caller = Caller(self._settings, self._on_state, self._on_call)
        self._keeper = Keeper(self._caller)
        # A client that was never closed leaves nothing open.
        self._finalizer = weakref.finalize(self, _close, self._caller, self._keeper)

    def _forget(self) -> None:
        """In a forked child: begin anew; what there was is the parent's."""
        self._finalizer.detach()
        if not self._closed:
            self._begin()


def _close(caller: Caller, keeper: Keeper) -> None:
    keeper.close()
    caller.close()

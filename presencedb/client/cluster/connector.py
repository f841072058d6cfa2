"""What carries the calls of a client of a cluster: seeds are asked for the topology, and from then on the fan-out serves.

Once there is a fan-out it stays until the client is closed; that members come and go is its own affair. When no member is up
any more the seeds are asked again: all of them may have moved meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.fanout import Fanout
from presencedb.client.cluster.seeds import ask_seeds, seeds_named
from presencedb.client.dial import MakeSocket, socket_maker
from presencedb.client.failures import client_closed, connect_error, copy_of
from presencedb.client.link import Link
from presencedb.client.retry import backoff_s
from presencedb.client.settings import ClientSettings
from presencedb.client.stats import Counters
from presencedb.client.url import Address
from presencedb.client.values import ConnectionState, ServerInfo
from presencedb.errors import Error, Unavailable
from presencedb.ids import IdBatch
from presencedb.protocol.params import Options

_NO_IDS: Final = IdBatch.of_canonical([])
_BY_IDS: Final = frozenset({"heartbeat", "offline", "status", "last_seen"})


class ClusterLink:
    """All members of a cluster as one server; a `CarrierLink`.

    Attributes:
        fanout: who asks them.
    """

    def __init__(self, fanout: Fanout, address: str) -> None:
        self.fanout = fanout
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        fanout.view.on_room = self._make_room

    @property
    def address(self) -> str:
        """The seeds, for people."""
        return self._address

    @property
    def server(self) -> ServerInfo:
        """What a member has said of itself.

        Raises:
            Unavailable: none was ever reached.
        """
        server = self.fanout.view.server
        if server is None:
            raise Unavailable("no node of the cluster was reached yet")
        return server

    async def room(self) -> None:
        """Wait until every member takes what it is asked."""
        while not self.fanout.view.keeps_up:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def send(self, method: str, params: Sequence[Any], id_count: int = 0) -> asyncio.Future[Any]:  # noqa: ARG002
        """Ask the members; what to await for the result."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if method in _BY_IDS:
            options = Options(**params[1]) if len(params) > 1 else Options()
            self.fanout.ask(method, params[0], options, answer)
        elif method == "online":
            cursor, limit = params
            self.fanout.ask(method, _NO_IDS, Options(), answer, cursor=cursor, limit=limit)
        elif method == "ping":
            self.fanout.ping(answer)
        else:
            self.fanout.ask(method, _NO_IDS, Options(), answer)
        return answer

    def suspect(self, asked_s: float) -> None:
        """Every member is watched already."""

    def _make_room(self) -> None:
        if self.fanout.view.keeps_up:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)


class ClusterConnector:
    """The connections of one client of a cluster on one event loop; a `Carrier`.

    Attributes:
        on_lost: called with the reason when a member is not up any more.
        on_state: called with each new state.
    """

    def __init__(
        self,
        settings: ClientSettings[MakeSocket],
        random: Random,
        counters: Counters,
        socket_maker: Callable[[Address], MakeSocket] = socket_maker,
    ) -> None:
        self.on_lost: Callable[[Error], None] | None = None
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.state = ConnectionState.IDLE
        self._settings = settings
        self._random = random
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._address = seeds_named(settings)
        self._dialling = Dialling(
            settings, socket_maker, tls=settings.targets[0].ssl_context is not None, on_link=self._count, on_lost=self._lost
        )
        self._link: ClusterLink | None = None
        self._opening: asyncio.Task[ClusterLink] | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def link(self) -> ClusterLink | None:
        """The members, once they are known."""
        return self._link

    async def connect(self) -> ClusterLink:
        """The members; each seed is asked once for them.

        Raises:
            ConnectError: no seed can be reached, or no member.
            Error: what a seed or a member said to the hello.
        """
        return self._link or await self._opened()

    async def link_until(self, deadline_s: float) -> ClusterLink:
        """The members, found by that loop time.

        Raises:
            ConnectError: none were by then.
            Error: no other attempt would help.
        """
        last: Error | None = None
        failure_count = 0
        try:
            async with asyncio.timeout_at(deadline_s):
                while self._link is None:
                    try:
                        await self._opened()
                    except Error as error:
                        if not error.retryable:
                            raise
                        last = error
                        await asyncio.sleep(backoff_s(failure_count, self._random))
                        failure_count += 1
        except TimeoutError:
            raise last or connect_error(self._address, "no members were found in time") from None
        return self._link

    async def close(self) -> None:
        """Close all connections and fail everybody who waits. May be called again."""
        self._set_state(ConnectionState.CLOSED)
        tasks = [task for task in (self._opening, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._link is not None:
            await self._link.fanout.close()

    def drop(self) -> None:
        """The same, without waiting for the end of it."""
        self._set_state(ConnectionState.CLOSED)
        for task in (self._opening, self._asking):
            if task is not None:
                task.cancel()
        if self._link is not None:
            self._link.fanout.drop()

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _opened(self) -> ClusterLink:
        """The members. All who wait for them share one attempt."""
        if self.state is ConnectionState.CLOSED:
            raise client_closed()
        if self._opening is None:
            self._opening = self._loop.create_task(self._open(), name="presencedb-cluster")
        opening = self._opening
        await asyncio.wait([opening])
        if opening.cancelled():
            raise client_closed()
        if (error := opening.exception()) is not None:
            raise copy_of(error) if isinstance(error, Exception) else error
        return opening.result()

    async def _open(self) -> ClusterLink:
        self._set_state(ConnectionState.CONNECTING)
        fanout: Fanout | None = None
        try:
            topology = await ask_seeds(self._settings, self._random, self._counters)
            fanout = Fanout(topology, self._dialling, self._random)
            await fanout.tried()
            if fanout.view.any_up is None:
                raise _nobody_up(fanout)
            link = self._link = ClusterLink(fanout, self._address)
        except BaseException:
            if fanout is not None:
                fanout.drop()
            self._opening = None
            self._set_state(ConnectionState.IDLE)
            raise
        fanout.view.on_change = self._judge
        fanout.on_nobody_up = self._look_for_members
        self._judge()
        return link

    def _look_for_members(self) -> None:
        if self._asking is None and self.state is not ConnectionState.CLOSED:
            self._asking = self._loop.create_task(self._look_once(), name="presencedb-seeds")

    async def _look_once(self) -> None:
        try:
            topology = await ask_seeds(self._settings, self._random, self._counters)
        except Error:
            return  # it is tried again as long as nobody is up
        finally:
            self._asking = None
        if self._link is not None:
            self._link.fanout.view.update(topology)

    def _judge(self) -> None:
        if self._link is not None:
            is_up = self._link.fanout.view.any_up is not None
            self._set_state(ConnectionState.CONNECTED if is_up else ConnectionState.CONNECTING)

    def _count(self, link: Link) -> None:
        self._counters.connected(link, link.traffic)

    def _lost(self, error: Error) -> None:
        if self.state is ConnectionState.CLOSED:
            return
        self._counters.lost()
        if self.on_lost is not None:
            self.on_lost(error)

    def _set_state(self, state: ConnectionState) -> None:
        if state is self.state or self.state is ConnectionState.CLOSED:
            return
        self.state = state
        if self.on_state is not None:
            self._loop.call_soon(self.on_state, state)


def _nobody_up(fanout: Fanout) -> Error:
    """Why: the first reason that no other attempt would mend, or any."""
    errors = [member.error for member in fanout.view.members if member.error is not None]
    if not errors:
        return Unavailable("the cluster has no members")
    return copy_of(next((error for error in errors if not error.retryable), errors[0]))

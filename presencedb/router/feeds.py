"""Watch and follow through a router: the stream of the cluster, served as a node serves its own.

The router listens to the members once, however many read here. Behind that stand the parts of a node: a log with a ring, an
index of watchers, readers that are live or behind. A cursor is a place in this router's log: it is good here, and a gap on
another router, where the statuses are read anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.telling import Telling
from presencedb.client.cluster.view import View
from presencedb.clock import Clock
from presencedb.errors import Error, GapError
from presencedb.ids import Id, IdBatch
from presencedb.limits import FEED_LINGER_MS, SECOND_MS, SLOW_READER_MS, TICK_MS_DEFAULT
from presencedb.node.feed import Feed
from presencedb.node.subscribers import Subscribers
from presencedb.protocol.messages import Request
from presencedb.router.changes import Changes
from presencedb.transport.connection import Connection

_TICK_MS: Final = TICK_MS_DEFAULT
_LINGER_TICKS: Final = FEED_LINGER_MS // _TICK_MS
_SLOW_TICKS: Final = SLOW_READER_MS // _TICK_MS


class RouterFeeds:
    """All who read at one router.

    Attributes:
        on_answered: called with the connection of each request that has its answer.
    """

    def __init__(self, view: View, dialling: Dialling, random: Random, run: str, clock: Clock) -> None:
        self.on_answered: Callable[[Connection], None] = _ignored
        self._loop = asyncio.get_running_loop()
        self._changes = Changes(self._status, self._break_followers)
        self.telling = Telling(view, dialling, random, self._changes, clock.wall_ms)
        self.feed = Feed(self._changes, self._changes, run, _LINGER_TICKS)
        self.subscribers = Subscribers(self._changes, self.feed, view.topology.seed, _SLOW_TICKS, self._loop.call_soon)
        self._queues: dict[Connection, deque[Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tick = 0
        self._quiet_since_tick = 0
        self._unbroken_from = 0  # what followers were told before this place may have a hole
        self._known_before: set[Id] = set()

    # --- requests --------------------------------------------------------------------------------------------------

    def serve(self, connection: Connection, request: Request) -> None:
        """Take `watch`, `unwatch` or `follow`; those of one connection are done in their order."""
        queue = self._queues.get(connection)
        step = self._step_of(connection, request)
        if queue is not None:
            queue.append(step)
        else:
            self._queues[connection] = deque()
            step()

    def has_room(self, connection: Connection) -> None:
        """A connection that something was held back for can take some."""
        self.subscribers.has_room(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._queues.pop(connection, None)
        self.subscribers.leave(connection, self._tick)

    async def close(self) -> None:
        """Tell nobody anything more."""
        if self._timer is not None:
            self._timer.cancel()
        self._queues.clear()
        await self.telling.close()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _step_of(self, connection: Connection, request: Request) -> Callable[[], None]:
        if request.command.name == "unwatch":
            return lambda: self._do(connection, request)
        return lambda: self._know(connection, request)

    def _know(self, connection: Connection, request: Request) -> None:
        self._wake()
        self.telling.know(request.ids, lambda: self._do(connection, request))

    def _do(self, connection: Connection, request: Request) -> None:
        queue = self._queues.get(connection)
        if queue is None:
            return  # it is gone
        try:
            self._answer(connection, request)
        except Error as error:
            connection.fail(request, error)
        self.on_answered(connection)
        if queue:
            self._loop.call_soon(queue.popleft())
        else:
            del self._queues[connection]

    def _answer(self, connection: Connection, request: Request) -> None:
        if request.command.name == "watch":
            connection.reply_watched(request, *self.subscribers.watch(connection, request.ids, request.cursor, self._tick))
        elif request.command.name == "follow":
            if request.cursor is not None and self.feed.number_of(request.cursor) < self._unbroken_from:
                raise GapError("a node was lost after this cursor, changes may be missing; read the state, follow anew")
            connection.reply(request, self.subscribers.follow(connection, request.cursor, self._tick))
        else:
            connection.reply(request, self.subscribers.unwatch(connection, request.ids, self._tick))

    def _status(self, ids: IdBatch) -> bytes:
        return self.telling.status(ids)

    def _break_followers(self) -> None:
        self._unbroken_from = self.feed.now
        self.subscribers.delivery.lose(list(self.subscribers.delivery.followers))

    # --- time --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self.telling.start()
        if self._timer is None:
            self._quiet_since_tick = self._tick
            self._timer = self._loop.call_later(_TICK_MS / SECOND_MS, self._wake_up)

    def _wake_up(self) -> None:
        self._tick += 1
        self.telling.step()
        self.subscribers.publish(self._tick)
        if self.subscribers.reader_count or self._queues:
            self._quiet_since_tick = self._tick
        if self._tick - self._quiet_since_tick > _LINGER_TICKS:
            self._timer = None
            self.telling.stop()
            # What happens from now on is told nobody: no cursor from before is good.
            self.subscribers.cut()
            return
        if self._tick % _LINGER_TICKS == 0:
            self._forget()
        self._timer = self._loop.call_later(_TICK_MS / SECOND_MS, self._wake_up)

    def _forget(self) -> None:
        """Know those no more whom nobody has watched for a while; who comes back with a cursor finds the others."""
        watched = self.subscribers.watched_ids()
        self.telling.forget_all_but(watched | self._known_before)
        self._known_before = watched


def _ignored(_connection: Connection) -> None:
    """Nobody wants to know."""

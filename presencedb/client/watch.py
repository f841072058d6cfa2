"""The statuses of some users and every change of them, as an async iterator that survives its connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from presencedb.client.driver import Driver
from presencedb.client.feed import Changes
from presencedb.client.subscription import OnGap
from presencedb.client.subscription_watch import WatchSubscription
from presencedb.client.values import IdLike, read_ids
from presencedb.ids import Id


class AsyncWatch(Changes[WatchSubscription]):
    """The changes of some users, in order, for ever; use it with `async for`, best inside `async with`.

    It reconnects by itself and goes on where it was. `async with` returns once the first statuses are there, from which on
    every change comes. Without it, that is at the first wait.

    Raises:
        ConnectError: the first connection cannot be made. A later one is tried for ever.
        TooLarge: more users than the server lets one connection watch.
        GapError: the server no longer has what comes next: it was started again, its warm-up ended, this reader was too
            slow, or the cursor is none of its own. Watch anew, or ask for `on_gap="resync"`.
        Error: the server refuses. After an error or `aclose` the iterator is at its end.
    """

    def __init__(self, driver: Driver, ids: Iterable[IdLike], cursor: str | None, on_gap: OnGap) -> None:
        super().__init__(driver, WatchSubscription(read_ids("watch", ids), cursor, on_gap, driver.random))

    @property
    def statuses(self) -> Mapping[Id, bool | None]:
        """What is known of each user who is watched, after the changes that were given out so far: a live view.

        True is online, False offline, None unknown, which is not offline. Empty until the server has begun to tell.
        """
        return self._feed.subscription.statuses

    async def add(self, ids: Iterable[IdLike]) -> None:
        """Watch these users too. When it returns, their statuses are there, and every change from then on comes.

        Users who are watched already make no difference. If it is cancelled, they may come to be watched all the same.

        Raises:
            BadRequest: an id is not valid.
            TooLarge: more users than the server lets one connection watch. Nothing was changed.
            ClientClosed: this watch, or the client, was closed.
            Error: the server refuses. After an error that ends the watch too, iterating raises the same.
        """
        await self._feed.carry(self._feed.subscription.add(read_ids("add", ids)))

    async def remove(self, ids: Iterable[IdLike]) -> None:
        """Watch these users no more: no further change of them is given out, whether or not this is awaited to its end.

        When it returns the server knows. Users who are not watched make no difference.

        Raises:
            BadRequest: an id is not valid.
            ClientClosed: this watch, or the client, was closed.
        """
        await self._feed.carry(self._feed.subscription.remove(read_ids("remove", ids)))

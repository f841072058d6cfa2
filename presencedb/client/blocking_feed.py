"""`follow` and `watch` of the blocking client: iterators of changes, for any number of threads; `stream` does the work."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from presencedb.client.caller import Caller
from presencedb.client.failures import feed_closed, timeout_error
from presencedb.client.stream import Stream
from presencedb.client.subscription import Ask, OnGap, Subscription
from presencedb.client.subscription_follow import FollowSubscription
from presencedb.client.subscription_watch import WatchSubscription
from presencedb.client.values import Change, ConnectionState, IdLike, read_ids
from presencedb.client.waiting import now_s
from presencedb.ids import Id

S = TypeVar("S", bound=Subscription)


class _End:
    """What is given out after the last change."""


_END: Final = _End()


class Feed(Iterator[Change], Generic[S]):
    """What `follow` and `watch` have in common: an iterator of changes, for ever, best used inside `with`.

    It reconnects by itself and goes on where it was. `with` returns once the server has begun to tell, so that nothing that
    happens inside is missed. Without it, telling begins at the first wait. Several threads may wait on one feed: each change
    goes to one of them. A feed belongs to the process that made it; in a forked child it is at its end.

    Raises:
        ConnectError: the first connection cannot be made. A later one is tried for ever.
        TooLarge: more users than the server lets one connection watch.
        GapError: the server no longer has what comes next: it was started again, its warm-up ended, this reader was too
            slow, or the cursor is none of its own. Read the state and begin anew, or ask for `on_gap="resync"`.
        Error: the server refuses. After an error or `close` the iterator is at its end.
    """

    def __init__(self, owner: object, caller: Caller, subscription: S) -> None:
        """Make a feed; nothing is connected yet.

        Args:
            owner: the client, which is not to be closed as long as there is this.
        """
        self._owner = owner
        self._subscription = subscription
        self._stream = Stream(caller, subscription)
        # A loop that was left by `break` ends here, at the latest.
        self._finalizer = weakref.finalize(self, self._stream.close)
        self._finalizer.atexit = False

    @property
    def cursor(self) -> str | None:
        """Where to go on later, in another process too: everything that comes after what was given out so far follows.

        The server gives changes out in portions with a cursor each. In the middle of a portion this is the cursor before it,
        so that going on there repeats a few changes, and never leaves one out. None until the server has begun to tell.
        """
        with self._stream.lock:
            return self._subscription.cursor

    @property
    def state(self) -> ConnectionState:
        """What the connection of this feed is doing; without one, the next wait makes it."""
        return self._stream.state

    def __next__(self) -> Change:
        given = self._stream.wait(self._take, inf)
        if not isinstance(given, Change):
            raise StopIteration
        return given

    def get(self, timeout_s: float | None = None) -> Change | None:
        """The next change; None: nothing came within the time. While there is no connection that may take as long as the
        attempt to make one.

        Raises:
            ClientClosed: it was closed, or is at its end.
        """
        until_s = inf if timeout_s is None else now_s() + timeout_s
        given = self._stream.wait(self._take, until_s)
        if isinstance(given, _End):
            raise feed_closed()
        return given

    def close(self) -> None:
        """End it and close its connection; who waits on it is at the end of the iteration. From any thread, and again."""
        self._stream.close()

    def __enter__(self) -> Self:
        try:
            self._stream.wait(self._has_begun, inf)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> Change | _End | None:
        change = self._subscription.take()
        if change is None and self._subscription.end_reached():
            return _END
        return change

    def _has_begun(self) -> bool | None:
        if self._subscription.telling:
            return True
        if self._subscription.end_reached():
            raise feed_closed()
        return None


class Follow(Feed[FollowSubscription]):
    """Every change of any user, in order; see `Feed`."""

    def __init__(self, owner: object, caller: Caller, cursor: str | None, on_gap: OnGap) -> None:
        super().__init__(owner, caller, FollowSubscription(cursor, on_gap, caller.random))


class Watch(Feed[WatchSubscription]):
    """Every change of some users, in order, and their statuses; see `Feed`."""

    def __init__(self, owner: object, caller: Caller, ids: Iterable[IdLike], cursor: str | None, on_gap: OnGap) -> None:
        super().__init__(owner, caller, WatchSubscription(read_ids("watch", ids), cursor, on_gap, caller.random))

    @property
    def statuses(self) -> Mapping[Id, bool | None]:
        """What is known of each user who is watched, after the changes that were given out so far.

        The first statuses are there once `with` is entered, or a first change was waited for. It is a view, which changes as
        changes are given out: copy it where another thread takes those.
        """
        return self._subscription.statuses

    def add(self, ids: Iterable[IdLike]) -> None:
        """Watch these users too; their statuses are in `statuses` then. From any thread.

        Raises:
            BadRequest: a value is not an id; nothing changed.
            TooLarge: the server watches no more users on one connection; nothing changed.
            CallTimeout: there was no answer within the timeout of a call; they may be watched some time later.
            ClientClosed: it was closed, or is at its end.
            Error: what else the server answered, or why the feed has ended.
        """
        canonical = read_ids("add", ids)
        self._request("watch", lambda: self._subscription.add(canonical))

    def remove(self, ids: Iterable[IdLike]) -> None:
        """Watch these users no more: nothing of them follows, and they are gone from `statuses`. From any thread.

        Raises:
            BadRequest: a value is not an id.
            CallTimeout: there was no answer within the timeout of a call; they are not watched all the same.
            ClientClosed: it was closed, or is at its end.
            Error: why the feed has ended.
        """
        canonical = read_ids("remove", ids)
        self._request("unwatch", lambda: self._subscription.remove(canonical))

    def _request(self, method: str, make: Callable[[], Ask]) -> None:
        stream = self._stream
        began_s = now_s()
        with stream.lock:
            ask = make()
            stream.ring()
        if stream.wait(lambda: ask.done or None, began_s + stream.settings.timeout_s) is None:
            raise timeout_error(stream.route.names, method, now_s() - began_s)
        if ask.error is not None:
            raise ask.error

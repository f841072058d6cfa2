"""`watch` as a state machine without I/O: some users, their statuses, and every change of those.

**Two states are kept**: what the received changes lead to, and what those that were given out lead to (`statuses`).
Whenever the server answers with statuses (after a reconnect, a gap, or for users who were watched already) they are held
against the first, and what differs is queued as a change with the reason `known` (or `unknown`). So first statuses and
changes always add up.

**Users come and go** by requests of their own, on a connection that tells already. One who is removed is forgotten at once,
with the changes that wait, so that nothing of before can follow when the same one is added again. A request that is sent
again names only those for whom it still holds.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Any

from presencedb.client.coalesce import split_into_frames
from presencedb.client.failures import feed_closed, missed_error
from presencedb.client.subscription import Ask, OnGap, Subscription, found_out
from presencedb.client.values import Change, read_count, read_watched
from presencedb.errors import Error, GapError, TooLarge
from presencedb.ids import Id, IdBatch


class _Part:
    """Some of the users, who come or go by one request.

    Attributes:
        ids: for whom it still holds.
        sent: who was in it when it was sent last.
    """

    def __init__(self, ids: dict[Id, None]) -> None:
        self.ids = ids
        self.sent: list[Id] = []


class WatchSubscription(Subscription):
    """The changes of some users.

    Attributes:
        statuses: what is known of each user who is watched, after the changes that were given out.
    """

    def __init__(self, ids: Iterable[Id], cursor: str | None, on_gap: OnGap, random: Random) -> None:
        """Begin with these users, who may be repeated.

        Raises:
            BadRequest: the cursor is not text, or `on_gap` none of its values.
            TooLarge: the ids do not fit a frame.
        """
        super().__init__(cursor, on_gap, random)
        self._received: dict[Id, bool | None] = {}
        self._given: dict[Id, bool | None] = {}
        self.statuses: Mapping[Id, bool | None] = MappingProxyType(self._given)
        self._first = _each_once(ids)
        """Those to begin with, whose statuses have not been told yet."""
        self._order: dict[Id, None] = {}
        """Whom the server watches on this connection, in the order in which it came to do so."""
        self._requests: dict[Ask, _Part] = {}
        """Those by which users come or go; the ones that are done are forgotten with the next."""

    # --- the caller --------------------------------------------------------------------------------------------------

    def take(self) -> Change | None:
        change = super().take()
        if change is not None:
            self._given[change.id] = change.online
        return change

    def add(self, ids: Iterable[Id]) -> Ask:
        """Watch these users too. Once it is `done` their statuses are there, unless it has an error: then nothing changed.

        Raises:
            TooLarge: the ids do not fit a frame.
        """
        part = _Part(_each_once(ids))
        ask = Ask("watch", partial(self._add_params, part), partial(self._added, part), partial(self._not_added, part))
        return self._request(ask, part, needed=bool(part.ids))

    def remove(self, ids: Iterable[Id]) -> Ask:
        """Watch these users no more. That is so at once; it is `done` when the server knows."""
        part = _Part(_each_once(ids))
        for user_id in part.ids:
            self._first.pop(user_id, None)
            self._received.pop(user_id, None)
            self._given.pop(user_id, None)
            for adding in self._adding():
                adding.ids.pop(user_id, None)
        self._portions.drop(part.ids)
        ask = Ask("unwatch", partial(self._remove_params, part), partial(self._removed, part))
        # A connection that has been asked for nothing yet will not be asked for them.
        return self._request(ask, part, needed=bool(part.ids) and (self.telling or bool(self._in_flight)))

    def _request(self, ask: Ask, part: _Part, *, needed: bool) -> Ask:
        self._requests = {ask: part for ask, part in self._requests.items() if not ask.done}
        if self.ended:
            ask.end(feed_closed())
        elif not needed:
            ask.end()
        else:
            self._requests[ask] = part
            if self.telling:
                self._queue(ask)
        return ask

    def _adding(self) -> list[_Part]:
        return [part for ask, part in self._requests.items() if ask.method == "watch" and not ask.done]

    def _add_params(self, part: _Part) -> tuple[Any, ...] | None:
        part.sent = list(part.ids)
        return (part.sent,) if part.sent else None

    def _added(self, part: _Part, result: Any) -> None:
        cursor, statuses = read_watched("watch", len(part.sent), result)
        self._order.update(dict.fromkeys(part.sent))
        self._go_on_at(cursor, part.sent, statuses, part.ids)

    def _not_added(self, part: _Part, _error: Error) -> None:
        failed = list(part.ids)
        part.ids.clear()
        # Whom it would have kept from being removed before, the server may watch still.
        left = [user_id for user_id in failed if user_id in self._order and not self._is_wanted(user_id)]
        if left:
            self.remove(left)

    def _is_wanted(self, user_id: Id) -> bool:
        return user_id in self._received or any(user_id in adding.ids for adding in self._adding())

    def _remove_params(self, part: _Part) -> tuple[Any, ...] | None:
        part.sent = [user_id for user_id in part.ids if not self._is_wanted(user_id)]
        return (part.sent,) if part.sent else None

    def _removed(self, part: _Part, result: Any) -> None:
        read_count("unwatch", result)
        for user_id in part.sent:
            self._order.pop(user_id, None)

    # --- the connection ----------------------------------------------------------------------------------------------

    def lost(self, error: Exception) -> None:
        super().lost(error)
        for ask in self._requests:
            if ask.method == "unwatch":
                ask.end()  # the next connection begins without them

    def _place(self) -> None:
        part = _Part(self._first)
        self._order.clear()
        self._queue(Ask("watch", partial(self._place_params, part), partial(self._placed, part), self._refuse_place))

    def _place_params(self, part: _Part) -> tuple[Any, ...]:
        part.sent = [*self._received, *self._first]
        # Where nobody is watched nothing can be missed, so there is nothing to go back for.
        if self._position is None or (self.begun and not part.sent):
            return (part.sent,)
        return (part.sent, self._position)

    def _placed(self, part: _Part, result: Any) -> None:
        cursor, statuses = read_watched("watch", len(part.sent), result)
        self._order.update(dict.fromkeys(part.sent))
        self._go_on_at(cursor, part.sent, statuses, self._first)
        self._first.clear()
        self.telling = self.begun = True
        for ask in self._requests:
            if not ask.done:
                self._queue(ask)

    def _hear(self, changes: list[Change]) -> None:
        received = self._received
        changes = [change for change in changes if change.id in received]
        received.update((change.id, change.online) for change in changes)
        self._receive(changes, self._position)

    def _resync(self, params: list[Any]) -> None:
        watched = list(self._order)
        match params:
            case [cursor, None] if not watched:
                params = [cursor, []]
        cursor, statuses = read_watched("gap", len(watched), params)
        self._go_on_at(cursor, watched, statuses, ())

    def _go_on_at(self, cursor: str, ids: list[Id], statuses: list[bool | None], new: Container[Id]) -> None:
        """The server told these statuses, which are those at the cursor."""
        changes = []
        for user_id, online in zip(ids, statuses, strict=True):
            if user_id not in self._received:
                if user_id in new:  # else it was removed since it was asked about
                    self._received[user_id] = self._given[user_id] = online
            elif self._received[user_id] is not online:
                self._received[user_id] = online
                changes.append(found_out(user_id, online))
        self._position = cursor
        self._receive(changes, cursor)

    def _lose_track(self) -> None:
        """The statuses that come with the next position tell everything."""

    def _missed(self) -> GapError:
        return missed_error("watch")

    def _fail_waiting(self, error: Exception) -> None:
        super()._fail_waiting(error)
        for ask in self._requests:
            if not ask.done:
                ask.end(error)
        self._requests.clear()


def _each_once(ids: Iterable[Id]) -> dict[Id, None]:
    once = dict.fromkeys(ids)
    if len(split_into_frames(IdBatch.of_canonical(list(once)))) > 1:
        raise TooLarge(f"the ids of one watch fit a frame; these {len(once)} do not")
    return once

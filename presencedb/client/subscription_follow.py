"""`follow` as a state machine without I/O: every change of any user, and what to do after a gap.

**After a gap**, with `on_gap="resync"`, the feed is followed anew from now on, and what was missed is found out beside it:
a scan tells who is online, and of those who were told as online and are not on it, the status is asked for. What differs
from what was told comes out as changes with the reason `known` (or `unknown`). A user whose change comes in the feed
meanwhile needs none of that. The feed is a little behind the answers, so it may tell a change again that was found out
already: the first change of such a user is left out where it says nothing new. There is no cursor in the middle of this;
the one before the gap stays until all is found out.
"""

from __future__ import annotations

from random import Random
from typing import Any

from presencedb.client.failures import missed_error
from presencedb.client.subscription import Ask, OnGap, Subscription, found_out
from presencedb.client.values import ONLINE_OF, Change, read_cursor, read_page, read_statuses
from presencedb.errors import GapError
from presencedb.ids import Id
from presencedb.limits import RESYNC_PAGE_IDS


class _Inquiry:
    """One search for what was missed."""

    def __init__(self, told: dict[Id, bool | None]) -> None:
        self.unseen = set(told)
        """Told as online or unknown, and neither seen online nor told of since."""
        self.changed: set[Id] = set()
        """Whoever changed since it began: the feed knows better."""


class FollowSubscription(Subscription):
    """Every change of any user."""

    def __init__(self, cursor: str | None, on_gap: OnGap, random: Random) -> None:
        super().__init__(cursor, on_gap, random)
        self._told: dict[Id, bool | None] = {}
        """Who was told as online or unknown; kept only to resync."""
        self._found_offline: set[Id] = set()
        """Whom an inquiry told as offline, and the feed has not told of since."""
        self._track_lost = False
        self._inquiry: _Inquiry | None = None

    def _place(self) -> None:
        self._queue(Ask("follow", self._place_params, self._placed, self._refuse_place))

    def _place_params(self) -> tuple[Any, ...]:
        return () if self._position is None else (self._position,)

    def _placed(self, result: Any) -> None:
        self._position = read_cursor("follow", result)
        self.telling = self.begun = True
        if self._track_lost:
            self._inquire()
        else:
            self._receive([], self._position)

    def _hear(self, changes: list[Change]) -> None:
        if self._on_gap == "resync":
            changes = [change for change in changes if self._is_news(change)]
        self._receive(changes, None if self._track_lost else self._position)

    def _is_news(self, change: Change) -> bool:
        if self._inquiry is not None:
            self._inquiry.changed.add(change.id)
            self._inquiry.unseen.discard(change.id)
        was_found_offline = change.id in self._found_offline
        self._found_offline.discard(change.id)
        if change.online is False:
            # Also of somebody who was never told as online: whoever follows may know it from elsewhere.
            is_news = not was_found_offline
        else:
            is_news = change.id not in self._told or self._told[change.id] is not change.online
        self._keep(change)
        return is_news

    def _keep(self, change: Change) -> None:
        if change.online is False:
            self._told.pop(change.id, None)
        else:
            self._told[change.id] = change.online

    # --- after a gap -------------------------------------------------------------------------------------------------

    def _resync(self, params: list[Any]) -> None:
        self._position = read_cursor("gap", params[0] if params else None)
        self._lose_track()
        self._inquire()

    def _lose_track(self) -> None:
        self._track_lost = True
        self._found_offline.clear()  # what the feed has not told by now it never will

    def _inquire(self) -> None:
        self._inquiry = _Inquiry(self._told)
        self._ask_page(self._inquiry, None)

    def _ask_page(self, inquiry: _Inquiry, page: str | None) -> None:
        def answered(result: Any) -> None:
            next_page, ids = read_page(result)
            if inquiry is not self._inquiry:
                return  # another gap came in between
            inquiry.unseen.difference_update(ids)
            self._find_out(inquiry, [(user_id, True) for user_id in ids])
            if next_page is not None:
                self._ask_page(inquiry, next_page)
            else:
                self._ask_statuses(inquiry)

        self._queue(Ask("online", lambda: (page, RESYNC_PAGE_IDS), answered, self.end, may_wait=True))

    def _ask_statuses(self, inquiry: _Inquiry) -> None:
        ids = [inquiry.unseen.pop() for _ in range(min(RESYNC_PAGE_IDS, len(inquiry.unseen)))]
        if not ids:
            self._inquiry = None
            self._track_lost = False
            self._receive([], self._position)
            return

        def answered(result: Any) -> None:
            statuses = read_statuses(len(ids), result)
            if inquiry is self._inquiry:
                self._find_out(inquiry, list(zip(ids, map(ONLINE_OF.__getitem__, statuses), strict=True)))
                self._ask_statuses(inquiry)

        self._queue(Ask("status", lambda: (ids,), answered, self.end, may_wait=True))

    def _find_out(self, inquiry: _Inquiry, statuses: list[tuple[Id, bool | None]]) -> None:
        found = []
        for user_id, online in statuses:
            if user_id in inquiry.changed or self._told.get(user_id, False) is online:
                continue
            change = found_out(user_id, online)
            found.append(change)
            if online is False:
                self._found_offline.add(user_id)
            else:
                self._found_offline.discard(user_id)
            self._keep(change)
        self._receive(found, None)

    def _missed(self) -> GapError:
        return missed_error("follow")

"""Questions about everybody: each slot is asked of one owner, the first that is up and synced in it, so nobody counts twice.

An owner that fails on the way makes the question begin anew without it. A slot that no owner who is up keeps cannot be
counted: that is an error, for a number without it would be a lie.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import Any, Final

from presencedb.client.cluster.view import View
from presencedb.client.failures import not_understood_by_cluster
from presencedb.client.link import Waiter
from presencedb.client.values import read_page
from presencedb.errors import BadRequest, ClientClosed, Error, ProtocolError, RequestError, Unavailable
from presencedb.ids import Hasher, Id
from presencedb.ids.hashing import WIDTH_BITS
from presencedb.placement import ALL_SLOTS, OwnerTable, SlotSet
from presencedb.placement.ring import owner_bitmaps
from presencedb.placement.slots import SLOT_SET_BYTES

_HASH_BITS: Final = 128
_KIND_BITS: Final = 2


@lru_cache(maxsize=2)
def _slots_by_rank(table: OwnerTable) -> list[tuple[SlotSet, ...]]:
    """For each rank what each member owns there."""
    ranks = []
    for rank in range(table.depth):
        cells = array("H", memoryview(table.cells).cast("H")[rank :: table.depth]).tobytes()
        bitmaps = owner_bitmaps(cells, 1, len(table.members))
        starts = range(0, len(bitmaps), SLOT_SET_BYTES)
        ranks.append(tuple(SlotSet.of_bitmap(bitmaps[start : start + SLOT_SET_BYTES]) for start in starts))
    return ranks


@lru_cache(maxsize=64)
def _options(slots: SlotSet) -> dict[str, Any]:
    """The options that name slots. They are the same ones again and again, and many."""
    return {} if slots == ALL_SLOTS else {"slots": list(slots)}


def assign(view: View, wanted: SlotSet, without: frozenset[str]) -> dict[int, SlotSet]:
    """Whom to ask about which slots, by the index of the member.

    Raises:
        Unavailable: some slots have no owner that is up.
    """
    asked: dict[int, SlotSet] = {}
    left = wanted
    may_be_asked = view.mask_without(without)
    for synced_only in (True, False):
        for by_member in _slots_by_rank(view.table):
            for member, owned in enumerate(by_member):
                if not len(left):
                    return asked
                if may_be_asked[member]:
                    taken = left & owned & view.synced[member] if synced_only else left & owned
                    if len(taken):
                        asked[member] = asked[member] | taken if member in asked else taken
                        left -= taken
    if len(left):
        raise Unavailable(f"no node that keeps {len(left)} of {len(wanted)} slots can be reached")
    return asked


class Sweep:
    """One question about the users of many slots."""

    method: str

    def __init__(self, view: View, slots: SlotSet | None, waiter: Waiter) -> None:
        self._view = view
        self._slots = ALL_SLOTS if slots is None else slots
        self._waiter = waiter
        self._results: dict[int, Any] = {}
        self._left = 0
        self._turn = 0
        self._failed: frozenset[str] = frozenset()

    def start(self) -> None:
        """Ask each slot's owner."""
        try:
            asked = assign(self._view, self._slots, self._failed)
        except Unavailable as error:
            self._waiter.set_exception(error)
            return
        self._turn += 1
        self._results = {}
        self._left = len(asked)
        if not asked:
            self._finish()
        turn = self._turn
        for member, slots in asked.items():
            if turn != self._turn:
                return  # one has failed at once
            connection = self._view.members[member]
            connection.ask(_Part(self, turn, member, connection.member.id), self.method, self._params(slots))

    def answered(self, turn: int, member: int, result: Any) -> None:
        """A member has answered."""
        if turn == self._turn and not self._waiter.done():
            self._results[member] = result
            self._left -= 1
            if self._left == 0:
                self._finish()

    def failed(self, turn: int, member_id: str, error: Error) -> None:
        """A member has no answer."""
        if turn != self._turn or self._waiter.done():
            return
        if isinstance(error, RequestError | ClientClosed):
            self._waiter.set_exception(error)
        else:
            self._failed |= {member_id}
            self.start()

    def _params(self, slots: SlotSet) -> tuple[Any, ...]:
        raise NotImplementedError

    def _finish(self) -> None:
        try:
            self._waiter.set_result(self._result())
        except ProtocolError as error:
            self._waiter.set_exception(error)

    def _result(self) -> Any:
        raise NotImplementedError


class Count(Sweep):
    """`count`: the sum."""

    method = "count"

    def _params(self, slots: SlotSet) -> tuple[Any, ...]:
        return (_options(slots),)

    def _result(self) -> int:
        counts = list(self._results.values())
        if not all(type(count) is int and count >= 0 for count in counts):
            raise not_understood_by_cluster("count")
        return sum(counts)


class Online(Sweep):
    """`online`: a page of the scan. Positions are the same on every node, so any of them goes on where another was."""

    method = "online"

    def __init__(self, view: View, slots: SlotSet | None, waiter: Waiter, cursor: str | None, limit: int) -> None:
        super().__init__(view, slots, waiter)
        self._cursor = cursor
        self._limit = limit

    def _params(self, slots: SlotSet) -> tuple[Any, ...]:
        # A page ends where the first of the members' pages ends: what others have beyond that would be thrown away.
        return (self._cursor, max(1, self._limit // max(1, self._left)), _options(slots))

    def _result(self) -> tuple[str | None, list[Id]]:
        pages = [read_page(result) for result in self._results.values()]
        try:
            ends = [int(cursor, 16) for cursor, _ in pages if cursor is not None]
            if min(ends, default=0) < 0:
                raise ValueError("a position is not negative")
        except ValueError:
            raise not_understood_by_cluster("online") from None
        place = Hasher(self._view.topology.seed).place
        placed: list[tuple[int, Id]] = []
        try:
            for _, ids in pages:
                for user_id in ids:
                    slot, kind, hashed = place(user_id)
                    aligned = hashed << (_HASH_BITS - WIDTH_BITS[kind])
                    placed.append(((slot << _KIND_BITS | kind) << _HASH_BITS | aligned, user_id))
        except BadRequest:
            raise not_understood_by_cluster("online") from None
        end = min(ends, default=None)
        if end is not None:
            placed = [one for one in placed if one[0] < end]
        placed.sort(key=lambda one: one[0])
        if len(placed) > self._limit:
            end = placed[self._limit][0]
            placed = placed[: self._limit]
        return None if end is None else f"{end:x}", [user_id for _, user_id in placed]


class _Part:
    """What one member is asked; a `Question`."""

    __slots__ = ("_member", "_member_id", "_sweep", "_turn")

    def __init__(self, sweep: Sweep, turn: int, member: int, member_id: str) -> None:
        self._sweep = sweep
        self._turn = turn
        self._member = member
        self._member_id = member_id

    def answered(self, result: Any) -> None:
        self._sweep.answered(self._turn, self._member, result)

    def failed(self, error: Error) -> None:
        self._sweep.failed(self._turn, self._member_id, error)

"""Questions about everybody: each slot is asked of one owner, the first that is up and synced in it, so nobody counts twice.

An owner that fails on the way makes the question begin anew without it. A slot that no owner who is up keeps cannot be
counted: that is an error, for a number without it would be a lie.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import lru_cache
from math import ceil, sqrt
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
_DEVIATIONS: Final = 3
"""How many standard deviations above its share of a page a member is asked for: it seldom has more than that there."""


@lru_cache(maxsize=2)
def slots_by_rank(table: OwnerTable) -> list[tuple[SlotSet, ...]]:
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
        for by_member in slots_by_rank(view.table):
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
        """Each slot's owner has answered."""
        raise NotImplementedError


class Count(Sweep):
    """`count`: the sum."""

    method = "count"

    def _params(self, slots: SlotSet) -> tuple[Any, ...]:
        return (_options(slots),)

    def _finish(self) -> None:
        counts = list(self._results.values())
        if all(type(count) is int and count >= 0 for count in counts):
            self._waiter.set_result(sum(counts))
        else:
            self._waiter.set_exception(not_understood_by_cluster("count"))


class Online(Sweep):
    """`online`: a page of the scan. Positions are the same on every node, so any of them goes on where another was.

    A page ends where the first of the members' pages ends; what others have beyond that is thrown away. So each is asked for
    its share and a little more, and all of them again from there on where that was too little.
    """

    method = "online"

    def __init__(self, view: View, slots: SlotSet | None, waiter: Waiter, cursor: str | None, limit: int) -> None:
        super().__init__(view, slots, waiter)
        self._cursor = cursor
        self._limit = limit
        self._found: list[Id] = []

    def _params(self, slots: SlotSet) -> tuple[Any, ...]:
        wanted = self._limit - len(self._found)
        share = wanted * len(slots) / max(1, len(self._slots))
        return (self._cursor, min(wanted, ceil(share + _DEVIATIONS * sqrt(share)) + 1), _options(slots))

    def _finish(self) -> None:
        try:
            end, ids = self._page()
        except ProtocolError as error:
            self._waiter.set_exception(error)
            return
        self._found += ids
        self._cursor = None if end is None else f"{end:x}"
        if end is None or len(self._found) == self._limit:
            self._waiter.set_result((self._cursor, self._found))
        else:
            self.start()

    def _page(self) -> tuple[int | None, list[Id]]:
        """What follows the cursor as far as every member has told, and the position behind it; None: that is all."""
        pages = [read_page(result) for result in self._results.values()]
        end = min((_position(cursor) for cursor, _ in pages if cursor is not None), default=None)
        if end is not None and self._cursor is not None and end <= _position(self._cursor):
            raise not_understood_by_cluster("online")  # it would go on for ever
        placed = self._placed(user_id for _, ids in pages for user_id in ids)
        if end is not None:
            placed = [one for one in placed if one[0] < end]
        wanted = self._limit - len(self._found)
        if len(placed) > wanted:
            end = placed[wanted][0]
            placed = placed[:wanted]
        return end, [user_id for _, user_id in placed]

    def _placed(self, ids: Iterable[Id]) -> list[tuple[int, Id]]:
        """The ids in the order of their positions."""
        place = Hasher(self._view.topology.seed).place
        placed: list[tuple[int, Id]] = []
        try:
            for user_id in ids:
                slot, kind, hashed = place(user_id)
                aligned = hashed << (_HASH_BITS - WIDTH_BITS[kind])
                placed.append(((slot << _KIND_BITS | kind) << _HASH_BITS | aligned, user_id))
        except BadRequest:
            raise not_understood_by_cluster("online") from None
        placed.sort(key=lambda one: one[0])
        return placed


def _position(cursor: str) -> int:
    """The position that a cursor of a node names."""
    try:
        position = int(cursor, 16)
    except ValueError:
        raise not_understood_by_cluster("online") from None
    if position < 0:
        raise not_understood_by_cluster("online")
    return position


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

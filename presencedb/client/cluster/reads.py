"""A read of many ids: its parts to the first owners, the next owners for what came back unknown, late or not at all.

A read of presence never fails because members are away: what nobody who is up could say is answered as unknown.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from presencedb.client.cluster.member import MemberConnection
from presencedb.client.cluster.view import View
from presencedb.client.failures import not_understood_by_cluster
from presencedb.client.link import Waiter
from presencedb.errors import ClientClosed, Error, Moved, ProtocolError, RequestError
from presencedb.ids import IdBatch
from presencedb.placement import NO_MEMBER, Part, merge_statuses, merge_times, split_reads
from presencedb.states import Status

Refresh: TypeAlias = Callable[[MemberConnection, Callable[[], None]], None]
"""Asks a member for its topology, goes by it if it is newer, and then calls back."""

_NOT_SEEN: Final = -1
_NOBODY: Final[frozenset[str]] = frozenset()
_MOVES_MAX: Final = 3
"""How often one read follows its ids to where a newer topology has them."""


class Read:
    """One `status` or `last_seen` of a batch. The waiter gets what a single node answers: bytes, or an `array('q')`."""

    __slots__ = ("_batch", "_is_status", "_left", "_method", "_moves", "_refresh", "_result", "_view", "_waiter")

    def __init__(self, view: View, refresh: Refresh, method: str, batch: IdBatch, waiter: Waiter) -> None:
        self._view = view
        self._refresh = refresh
        self._method = method
        self._batch = batch
        self._waiter = waiter
        self._is_status = method == "status"
        self._result: Any = (
            bytearray([Status.UNKNOWN]) * len(batch) if self._is_status else array("q", [_NOT_SEEN]) * len(batch)
        )
        self._left = 1
        self._moves = 0

    def start(self) -> None:
        """Ask the first owners."""
        self._ask(None, _NOBODY)
        self._end_one()

    def answered(self, part: Part, connection: MemberConnection, tried: frozenset[str], result: Any) -> None:
        """A member has answered its part."""
        unknown = self._merge(part, result)
        if unknown is None:
            self.failed(part, connection, tried, not_understood_by_cluster(self._method))
            return
        if unknown:
            self._ask(unknown, tried)
        self._end_one()

    def failed(self, part: Part, connection: MemberConnection, tried: frozenset[str], error: Error) -> None:
        """A member has no answer to its part."""
        if isinstance(error, RequestError | ClientClosed):
            self._fail(error)
        elif isinstance(error, Moved) and self._moves < _MOVES_MAX:
            self._moves += 1
            epoch = self._view.topology.epoch
            self._refresh(connection, lambda: self._ask_anew(part, epoch, tried))
            return
        else:
            connection.failures += isinstance(error, ProtocolError)
            self._ask(part.positions, tried)
        self._end_one()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _ask_anew(self, part: Part, epoch_before: int, tried: frozenset[str]) -> None:
        self._ask(part.positions, _NOBODY if self._view.topology.epoch > epoch_before else tried)
        self._end_one()

    def _ask(self, positions: array[int] | None, tried: frozenset[str]) -> None:
        """Ask, about the positions, the first owners that are up and were not asked about them."""
        view = self._view
        mask = view.mask_without(tried) if tried else view.mask
        for part in split_reads(self._batch, view.topology.seed, view.table, 0, positions, mask=mask):
            if part.member == NO_MEMBER:
                continue
            connection = view.members[part.member]
            options = view.options[part.member]
            self._left += 1
            question = _Part(self, part, connection, tried)
            connection.ask(question, self._method, (part.ids, options) if options else (part.ids,), len(part.ids))

    def _merge(self, part: Part, result: Any) -> array[int] | None:
        """Take over what a member has answered; the positions that are still unknown, or None where it is no answer."""
        try:
            if self._is_status:
                return merge_statuses(self._result, part.positions, result)
            merge_times(self._result, part.positions, result)
        except (TypeError, ValueError, AttributeError):
            return None
        times = self._result
        if not result.count(_NOT_SEEN):
            return array("I")
        return array("I", [position for position in part.positions if times[position] == _NOT_SEEN])

    def _end_one(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._waiter.done():
            self._waiter.set_result(bytes(self._result) if self._is_status else self._result)

    def _fail(self, error: Error) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(error)


class _Part:
    """What one member is asked; a `Question`."""

    __slots__ = ("_connection", "_part", "_read", "_tried")

    def __init__(self, read: Read, part: Part, connection: MemberConnection, tried: frozenset[str]) -> None:
        self._read = read
        self._part = part
        self._connection = connection
        self._tried = tried

    def answered(self, result: Any) -> None:
        self._read.answered(self._part, self._connection, self._tried | {self._connection.member.id}, result)

    def failed(self, error: Error) -> None:
        self._read.failed(self._part, self._connection, self._tried | {self._connection.member.id}, error)

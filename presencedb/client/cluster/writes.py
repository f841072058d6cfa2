"""A write of many ids: a frame to each owner that is up, and word of the owners that were missed to those that were not.

It has succeeded when each id was taken by an owner that is up, and each other owner has taken it as well or was named to one
that has. What an owner did not answer in time is sent again, with its age, to an owner that is up, with the first one named.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import ceil
from typing import Any, Final

from presencedb.client.cluster.view import View
from presencedb.client.failures import not_understood_by_cluster
from presencedb.client.link import Waiter
from presencedb.errors import Busy, Error, RequestError, Unavailable
from presencedb.ids import IdBatch
from presencedb.limits import AGE_MS_MAX, REPLICAS_MAX, SECOND_MS
from presencedb.placement import NO_MEMBER, Part, split_reads

_NOBODY: Final = "no node that keeps some of these users can be reached"


class Write:
    """One `heartbeat` or `offline` of a batch. The waiter gets the count.

    The count is what the first owner of each id says. Where an owner was lost on the way, so that its ids were sent again,
    those who changed by the first frame are not counted.
    """

    __slots__ = ("_batch", "_began_s", "_count", "_left", "_method", "_now_s", "_options", "_view", "_waiter")

    def __init__(
        self,
        view: View,
        method: str,
        batch: IdBatch,
        options: dict[str, Any],
        waiter: Waiter,
        *,
        now_s: Callable[[], float],
    ) -> None:
        self._view = view
        self._method = method
        self._batch = batch
        self._options = options
        self._waiter = waiter
        self._now_s = now_s
        self._began_s = now_s()
        self._count = 0
        self._left = 1

    def start(self) -> None:
        """Tell every owner. A frame for each rank, so that nobody is counted twice."""
        view = self._view
        for rank in range(view.table.depth):
            self._tell(None, rank, frozenset())
        self._end_one()

    def answered(self, rank: int, result: Any) -> None:
        """An owner has taken its part."""
        if type(result) is not int or result < 0:
            self._fail(not_understood_by_cluster(self._method))
        elif rank == 0:
            self._count += result
        self._end_one()

    def failed(self, part: Part, rank: int, missing: frozenset[str], error: Error) -> None:
        """An owner has not taken its part, or it is not known whether."""
        if isinstance(error, RequestError | Busy):
            self._fail(error)
        elif not self._waiter.done():
            self._tell(part.positions, 0, missing, counts=rank == 0)
        self._end_one()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _tell(self, positions: array[int] | None, rank: int, missing: frozenset[str], *, counts: bool = True) -> None:
        """Send, for the positions, a frame to each owner of that rank.

        Args:
            missing: the members that have failed in this write.
        """
        view = self._view
        topology = view.topology
        options = {**self._options, "epoch": topology.epoch}
        if missing:
            options["age_ms"] = self._age_ms()
        missed = sorted({*view.missed, *missing})[:REPLICAS_MAX]
        if missed:
            options["missed"] = missed
        parts = split_reads(self._batch, topology.seed, view.table, rank, positions, mask=view.mask_without(missing))
        for part in parts:
            if part.member != NO_MEMBER:
                connection = view.members[part.member]
                self._left += 1
                question = _Part(self, part, rank if counts else -1, missing | {connection.member.id})
                connection.ask(question, self._method, (part.ids, options), len(part.ids))
            elif rank == 0:
                self._fail(Unavailable(_NOBODY))

    def _age_ms(self) -> int:
        elapsed_ms: int = ceil((self._now_s() - self._began_s) * SECOND_MS)  # older rather than younger than the truth
        age_ms: int = self._options.get("age_ms", 0)
        return min(age_ms + elapsed_ms, AGE_MS_MAX)

    def _end_one(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._waiter.done():
            self._waiter.set_result(self._count)

    def _fail(self, error: Error) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(error)


class _Part:
    """What one owner is told; a `Question`."""

    __slots__ = ("_missing", "_part", "_rank", "_write")

    def __init__(self, write: Write, part: Part, rank: int, missing: frozenset[str]) -> None:
        self._write = write
        self._part = part
        self._rank = rank
        self._missing = missing

    def answered(self, result: Any) -> None:
        self._write.answered(self._rank, result)

    def failed(self, error: Error) -> None:
        self._write.failed(self._part, self._rank, self._missing, error)

"""A write of many ids: a frame to each owner that is up, and word of the owners that were missed to those that were not.

It has succeeded when each id was taken by an owner that is up, and each other owner has taken it as well or was named to one
that has. What an owner did not answer in time is sent again, with its age, to an owner that is up, with the first one named.
That goes on when nobody waits for the outcome any more: an owner that has taken a write alone must know whom it has to tell.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import ceil
from typing import Any, Final, NamedTuple

from presencedb.client.cluster.member import MemberConnection
from presencedb.client.cluster.view import View
from presencedb.client.failures import not_understood_by_cluster
from presencedb.client.link import Waiter
from presencedb.errors import Busy, ClientClosed, Error, ProtocolError, RequestError, Unavailable
from presencedb.ids import IdBatch
from presencedb.limits import AGE_MS_MAX, LATE_WRITE_MS, REPLICAS_MAX, SECOND_MS
from presencedb.placement import NO_MEMBER, OwnerTable, Part, split_reads

_NOBODY: Final = "no node that keeps some of these users can be reached"
_NONE: Final[frozenset[str]] = frozenset()


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
        table = self._view.live_table
        for rank in range(table.depth):
            self._tell(table, rank, None, _NONE, None, counts=rank == 0)
        self._end_one()

    def answered(self, question: _Part, result: Any) -> None:
        """An owner has taken its part."""
        if type(result) is not int or result < 0:
            self.failed(question, not_understood_by_cluster(self._method))
            return
        if question.word.counts:
            self._count += result
        self._end_one()

    def failed(self, question: _Part, error: Error) -> None:
        """An owner has not taken its part, or it is not known whether."""
        if isinstance(error, RequestError | Busy | ClientClosed):
            self._fail(error)
        else:
            missing = question.word.missing | {question.connection.member.id}
            reason = error if isinstance(error, ProtocolError) else None
            question.connection.failures += reason is not None
            self._tell(self._view.live_table, 0, question.part.positions, missing, reason, counts=question.word.counts)
        self._end_one()

    def params(self, question: _Part) -> tuple[Any, ...]:
        """What is sent of a part in this moment."""
        options: dict[str, Any] = {}
        elapsed_ms = (self._now_s() - self._began_s) * SECOND_MS
        if elapsed_ms >= LATE_WRITE_MS or question.word.missing:
            age_ms = self._options.get("age_ms", 0) + ceil(elapsed_ms)  # older rather than younger than the truth
            options["age_ms"] = min(age_ms, AGE_MS_MAX)
        if question.word.missed:
            options["missed"] = question.word.missed
        # Most of the time it is the same map for many frames.
        options = {**question.options, **self._options, **options} if options or self._options else question.options
        return (question.part.ids, options) if options else (question.part.ids,)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _tell(
        self,
        table: OwnerTable,
        rank: int,
        positions: array[int] | None,
        missing: frozenset[str],
        reason: Error | None,
        *,
        counts: bool,
    ) -> None:
        """Send, for the positions, a frame to each owner of that rank.

        Args:
            table: the owners that are up.
            missing: the members that have failed in this write.
            reason: why the write fails where an id has no owner; None: nobody is there.
        """
        view = self._view
        mask = view.mask_without(missing) if missing else None
        missed = sorted({*view.down, *missing}) if missing or view.down else []
        for part in split_reads(self._batch, view.topology.seed, table, rank, positions, mask=mask):
            if part.member == NO_MEMBER:
                if rank == 0:
                    self._fail(reason or Unavailable(_NOBODY))
                continue
            # One frame names so many; where more are down, the same is said again for the rest of them.
            for start in range(0, len(missed) or 1, REPLICAS_MAX):
                self._left += 1
                word = _Word(missing, missed[start : start + REPLICAS_MAX], counts and start == 0)
                question = _Part(self, part, view, word)
                question.connection.ask(question, self._method, question.params, len(part.ids))

    def _end_one(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._waiter.done():
            self._waiter.set_result(self._count)

    def _fail(self, error: Error) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(error)


class _Word(NamedTuple):
    """What goes with a part.

    Attributes:
        missing: the members that have failed in this write.
        missed: the members that are named to the owner.
        counts: whether what it answers is counted.
    """

    missing: frozenset[str]
    missed: list[str]
    counts: bool


class _Part:
    """What one owner is told; a `Question`."""

    __slots__ = ("_write", "connection", "options", "part", "word")

    def __init__(self, write: Write, part: Part, view: View, word: _Word) -> None:
        self._write = write
        self.part = part
        self.connection: MemberConnection = view.members[part.member]
        self.options = view.options[part.member]
        self.word = word

    def params(self) -> tuple[Any, ...]:
        return self._write.params(self)

    def answered(self, result: Any) -> None:
        self._write.answered(self, result)

    def failed(self, error: Error) -> None:
        self._write.failed(self, error)

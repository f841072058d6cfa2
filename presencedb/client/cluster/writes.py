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
from presencedb.placement import NO_MEMBER, OwnerTable, Part, merge_statuses, split_reads, split_writes
from presencedb.states import Status

_NOBODY: Final = "no node that keeps some of these users can be reached"
_NONE: Final[frozenset[str]] = frozenset()
_EACH: Final[dict[str, Any]] = {"each": True}
LOST: Final = 3
"""What stands for an id that no owner has taken, where others have 0 or 1."""


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
        if self._take(question, result):
            self._end_one()
        else:
            self.failed(question, not_understood_by_cluster(self._method))

    def failed(self, question: _Part, error: Error) -> None:
        """An owner has not taken its part, or it is not known whether."""
        if isinstance(error, RequestError | Busy | ClientClosed):
            self._lose(question.part, error)
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

    def _take(self, question: _Part, result: Any) -> bool:
        """Take over what an owner has answered; returns whether it is an answer."""
        if type(result) is not int or result < 0:
            return False
        if question.word.counts:
            self._count += result
        return True

    def _lose(self, part: Part, error: Error) -> None:  # noqa: ARG002 - without a part the whole has no count
        """A part was not taken."""
        if not self._waiter.done():
            self._waiter.set_exception(error)

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
                    self._lose(part, reason or Unavailable(_NOBODY))
                continue
            self._send(part, missing, missed, counts=counts)

    def _send(self, part: Part, missing: frozenset[str], missed: list[str], *, counts: bool) -> None:
        # One frame names so many; where more are down, the same is said again for the rest of them.
        for start in range(0, len(missed) or 1, REPLICAS_MAX):
            self._left += 1
            word = _Word(missing, missed[start : start + REPLICAS_MAX], counts and start == 0)
            question = _Part(self, part, self._view, word)
            question.connection.ask(question, self._method, question.params, len(part.ids))

    def _end_one(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._waiter.done():
            self._waiter.set_result(self._outcome())

    def _outcome(self) -> Any:
        return self._count


class EachWrite(Write):
    """`heartbeat` of a batch that came from several, each of whom wants to know what became of its part.

    The waiter gets a tuple: a byte an id, 1 where it came online by it, as the owner says that answers first, or `LOST`; and
    why those that are lost are. It gets no exception.
    """

    __slots__ = ("_error", "_marks")

    def __init__(self, view: View, batch: IdBatch, waiter: Waiter, *, now_s: Callable[[], float]) -> None:
        super().__init__(view, "heartbeat", batch, {}, waiter, now_s=now_s)
        self._marks = bytearray([Status.UNKNOWN]) * len(batch)
        self._error: Error | None = None

    def start(self) -> None:
        """Tell every owner in one frame."""
        view = self._view
        missed = sorted(view.down)
        for part in split_writes(self._batch, view.topology.seed, view.live_table):
            if part.member == NO_MEMBER:
                self._lose(part, Unavailable(_NOBODY))
            else:
                self._send(part, _NONE, missed, counts=True)
        self._end_one()

    def params(self, question: _Part) -> tuple[Any, ...]:
        """As of every write, with the wish for an answer for each."""
        ids, *options = super().params(question)
        if not options:
            return ids, _EACH
        return (ids, *options) if "age_ms" in options[0] else (ids, {**options[0], **_EACH})

    def _take(self, question: _Part, result: Any) -> bool:
        part = question.part
        size = len(part.positions)
        if type(result) is int and 0 <= result <= size:
            # Whose they were is not known where there are some and not all: it is told of the first.
            result = b"\1" * result + bytes(size - result)
        if type(result) is not bytes or len(result) != size or result.translate(None, b"\0\1"):
            return False
        merge_statuses(self._marks, part.positions, result)
        return True

    def _lose(self, part: Part, error: Error) -> None:
        self._error = error
        for position in part.positions:
            self._marks[position] = LOST

    def _outcome(self) -> tuple[bytes, Error | None]:
        return bytes(self._marks), self._error


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

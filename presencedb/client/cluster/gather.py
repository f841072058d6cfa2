"""Requests of one turn of the loop that go to members together: each member is asked once, whoever wants to know.

What a request costs beside its ids is then paid once for many. Only what is asked most is gathered: `status`, and heartbeats
of this moment. Requests of one *origin* keep their order; those of different ones have none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from presencedb.client.cluster.reads import Read, Refresh
from presencedb.client.cluster.view import View
from presencedb.client.cluster.writes import LOST, EachWrite
from presencedb.client.failures import copy_of
from presencedb.client.link import Waiter
from presencedb.errors import Error
from presencedb.ids import IdBatch
from presencedb.limits import GATHERED_IDS_MAX

_Shared: TypeAlias = list[tuple[Waiter, int]]
"""Who shares an answer, and how many ids of it are whose, in their order."""


class Gather:
    """What was asked in this turn, and not yet passed on."""

    def __init__(self, view: View, refresh: Refresh) -> None:
        self._view = view
        self._refresh = refresh
        self._loop: Final = asyncio.get_running_loop()
        self._beats = _Pile(self._send_beats)
        self._questions = _Pile(self._send_questions)
        self._scheduled = False

    def heartbeat(self, ids: IdBatch, waiter: Waiter, origin: object) -> None:
        """Heartbeats of now; the waiter gets a byte an id, 1 where it came online by it."""
        self._add(self._beats, self._questions, ids, waiter, origin)

    def status(self, ids: IdBatch, waiter: Waiter, origin: object) -> None:
        """A question for statuses; the waiter gets a `Status` byte an id."""
        self._add(self._questions, self._beats, ids, waiter, origin)

    def flush(self) -> None:
        """Pass on what there is."""
        self._scheduled = False
        self._beats.flush()
        self._questions.flush()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _add(self, pile: _Pile, other: _Pile, ids: IdBatch, waiter: Waiter, origin: object) -> None:
        if origin in other.origins:
            other.flush()
        if pile.id_count + len(ids) > GATHERED_IDS_MAX:
            pile.flush()
        pile.add(ids, waiter, origin)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def _send_questions(self, ids: IdBatch, waiters: _Shared) -> None:
        waiter = waiters[0][0] if len(waiters) == 1 else _Columns(waiters)
        Read(self._view, self._refresh, "status", ids, waiter).start()

    def _send_beats(self, ids: IdBatch, waiters: _Shared) -> None:
        EachWrite(self._view, ids, _Marks(waiters), now_s=self._loop.time).start()


class _Pile:
    """Requests of one kind.

    Attributes:
        origins: who has asked.
        id_count: how many ids there are in all.
    """

    def __init__(self, send: Callable[[IdBatch, _Shared], None]) -> None:
        self.origins: set[object] = set()
        self.id_count = 0
        self._send = send
        self._batches: list[IdBatch] = []
        self._waiters: _Shared = []

    def add(self, ids: IdBatch, waiter: Waiter, origin: object) -> None:
        """One more."""
        self.origins.add(origin)
        self.id_count += len(ids)
        self._batches.append(ids)
        self._waiters.append((waiter, len(ids)))

    def flush(self) -> None:
        """Send them together."""
        batches, waiters = self._batches, self._waiters
        if not batches:
            return
        self.origins.clear()
        self.id_count = 0
        self._batches, self._waiters = [], []
        self._send(batches[0] if len(batches) == 1 else IdBatch.joined(batches), waiters)


class _Columns:
    """Gives each of several its share of a column, or all of them the same error; a `Waiter`."""

    __slots__ = ("_waiters",)

    def __init__(self, waiters: _Shared) -> None:
        self._waiters = waiters

    def done(self) -> bool:
        """Somebody may still wait."""
        return False

    def set_result(self, column: bytes, /) -> None:
        start = 0
        for waiter, size in self._waiters:
            if not waiter.done():
                waiter.set_result(column[start : start + size])
            start += size

    def set_exception(self, error: Exception, /) -> None:
        for waiter, _ in self._waiters:
            if not waiter.done():
                waiter.set_exception(copy_of(error))


class _Marks:
    """The same of what `EachWrite` gives: its error is for those some of whose heartbeats are lost."""

    __slots__ = ("_waiters",)

    def __init__(self, waiters: _Shared) -> None:
        self._waiters = waiters

    def done(self) -> bool:
        """Somebody may still wait."""
        return False

    def set_result(self, outcome: tuple[bytes, Error | None], /) -> None:
        marks, error = outcome
        start = 0
        for waiter, size in self._waiters:
            share = marks[start : start + size]
            start += size
            if waiter.done():
                continue
            if error is not None and LOST in share:
                waiter.set_exception(copy_of(error))
            else:
                waiter.set_result(share)

    def set_exception(self, error: Exception, /) -> None:
        """It gives none."""
        raise NotImplementedError from error

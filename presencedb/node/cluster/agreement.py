"""Owners agree before a timeout: silence here is not silence everywhere.

Whoever is overdue in a shared slot is asked about at the slot's other owners, one frame a member and tick. What they know
later is merged, and the rest has timed out for all. A member whose process is gone knows nothing and holds nothing back; one
that does not answer does, until it answers, is gone, or is no owner any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from presencedb.client.cluster.member import MemberConnection
from presencedb.engine import Engine
from presencedb.errors import Error, ProtocolError
from presencedb.ids import IdBatch
from presencedb.limits import AGREEMENT_IDS_MAX, AGREEMENT_SLOTS
from presencedb.node.cluster.copies import copies_of_wire
from presencedb.node.cluster.peers import Peers
from presencedb.node.cluster.stopwatch import Stopwatch
from presencedb.node.ticker import Ticker

log = structlog.get_logger()


class Agreement:
    """The questions of one node.

    Attributes:
        questions: how many were asked.
        held_slots: slots of which timeouts wait for a member that does not answer, at the last tick.
    """

    def __init__(self, engine: Engine, ticker: Ticker, peers: Peers, others_of: Callable[[int], tuple[str, ...]]) -> None:
        """Begin.

        Args:
            others_of: gives the ids of the other owners of a slot.
        """
        self.questions = 0
        self.held_slots = 0
        self._engine = engine
        self._ticker = ticker
        self._peers = peers
        self._others_of = others_of
        self._asked: set[int] = set()

    def step(self, tick: int) -> None:
        """After the engine has advanced to this tick: ask about whoever is overdue by now."""
        self.held_slots = 0
        alone: list[int] = []
        by_others: dict[tuple[str, ...], list[int]] = {}
        for slot in self._engine.overdue_slots():
            if slot in self._asked:
                continue
            others = tuple(other for other in self._others_of(slot) if not self._peers.is_gone(other))
            if not others:
                alone.append(slot)
            elif all(map(self._peers.is_up, others)):
                by_others.setdefault(others, []).append(slot)
            else:
                self.held_slots += 1
        if alone:
            self._engine.agree(alone, tick)
        for others, slots in by_others.items():
            self._ask_all(others, slots, tick)

    def _ask_all(self, others: tuple[str, ...], slots: list[int], tick: int) -> None:
        """Ask these members about these slots, as many of them as a frame has room for."""
        asked = 0
        for start in range(0, len(slots), AGREEMENT_SLOTS):
            part = slots[start : start + AGREEMENT_SLOTS]
            ids = self._engine.overdue(part)
            asked += len(ids)
            _Question(self, part, ids, tick, len(others)).ask([self._peers.connections[other] for other in others])
            if asked >= AGREEMENT_IDS_MAX:
                return

    # --- what a question does --------------------------------------------------------------------------------------

    def begin(self, slots: list[int]) -> None:
        """These are being asked about."""
        self._asked.update(slots)
        self.questions += 1

    def take(self, ids: IdBatch, answer: Any, round_trip_ms: int) -> None:
        """Merge what a member has answered.

        Raises:
            ProtocolError: it is not understood.
        """
        match answer:
            case [ages_ms, signed_off]:
                copies = copies_of_wire(ids, ages_ms, signed_off, self._ticker, round_trip_ms)
            case _:
                raise ProtocolError("a member answered ages with something that is not understood")
        self._engine.merge(copies, self._ticker.now())

    def end(self, slots: list[int], through_tick: int | None) -> None:
        """These have been asked about; where all have answered, timeouts through that tick are agreed to."""
        self._asked.difference_update(slots)
        if through_tick is not None:
            self._engine.agree(slots, through_tick)


class _Question:
    """One set of users, asked about at each of some members."""

    def __init__(self, agreement: Agreement, slots: list[int], ids: IdBatch, tick: int, left: int) -> None:
        self._agreement = agreement
        self._slots = slots
        self._ids = ids
        self._through_tick: int | None = tick
        self._left = left

    def ask(self, connections: list[MemberConnection]) -> None:
        """Send it."""
        self._agreement.begin(self._slots)
        for connection in connections:
            connection.ask(_Asked(self), "ages", (self._ids,), len(self._ids))

    def answered(self, answer: Any, round_trip_ms: int) -> None:
        """One member has answered."""
        try:
            self._agreement.take(self._ids, answer, round_trip_ms)
        except ProtocolError as error:
            log.error("a member's answer is not understood", error=str(error))
            self._through_tick = None
        self._end_one()

    def failed(self) -> None:
        """One member has no answer."""
        self._through_tick = None
        self._end_one()

    def _end_one(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._agreement.end(self._slots, self._through_tick)


class _Asked:
    """What one member is asked; a `Question` of its connection."""

    def __init__(self, question: _Question) -> None:
        self._question = question
        self._stopwatch = Stopwatch()

    def answered(self, result: Any) -> None:
        self._question.answered(result, self._stopwatch.elapsed_ms)

    def failed(self, error: Error) -> None:  # noqa: ARG002 - whatever it was, it is asked again
        self._question.failed()

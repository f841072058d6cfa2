"""Pulling slots from another member: page by page, one pull a member at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog

from presencedb.client.cluster.member import MemberConnection
from presencedb.engine import Engine
from presencedb.errors import Error, ProtocolError
from presencedb.limits import PULL_COUNT_MAX
from presencedb.node.cluster.copies import copies_of_wire, page_of_wire
from presencedb.node.cluster.stopwatch import Stopwatch
from presencedb.node.ticker import Ticker
from presencedb.placement import SlotSet

log = structlog.get_logger()

_FIRST_PAGE: Final = None


class Pull:
    """All that one member has of some slots, merged into the engine. A `Question` of the member's connection.

    Attributes:
        slots: what is pulled.
        registers: how many came so far.
    """

    def __init__(
        self,
        connection: MemberConnection,
        slots: SlotSet,
        engine: Engine,
        ticker: Ticker,
        *,
        on_end: Callable[[Pull, bool], None],
    ) -> None:
        """Begin.

        Args:
            on_end: called with this and whether all was merged.
        """
        self.slots = slots
        self.registers = 0
        self._connection = connection
        self._engine = engine
        self._ticker = ticker
        self._on_end = on_end
        self._stopwatch = Stopwatch()

    def start(self) -> None:
        """Ask for the first page."""
        self._ask(_FIRST_PAGE)

    def answered(self, result: Any) -> None:
        try:
            cursor, ids, ages_ms, signed_off = page_of_wire(result)
            copies = copies_of_wire(ids, ages_ms, signed_off, self._ticker, self._stopwatch.elapsed_ms)
        except ProtocolError as error:
            log.error("a page of another member is not understood", member=self._connection.member.id, error=str(error))
            self._on_end(self, False)
            return
        self._engine.merge(copies, self._ticker.now())
        self.registers += len(copies)
        if cursor is None:
            self._on_end(self, True)
        else:
            self._ask(cursor)

    def failed(self, error: Error) -> None:
        log.info("a pull was broken off", member=self._connection.member.id, reason=error.message)
        self._on_end(self, False)

    def _ask(self, cursor: str | None) -> None:
        self._stopwatch = Stopwatch()
        self._connection.ask(self, "pages_out", (cursor, PULL_COUNT_MAX, {"slots": list(self.slots)}))

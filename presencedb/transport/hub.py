"""What all connections of one loop share: the buffer that reads land in, the one flush a turn, and the counters.

A *turn* is what the loop does between two looks at its sockets. Whatever is answered or pushed in a turn is written at the
beginning of the next one, in one write a connection; what a connection could not get done within its share of a turn goes
on after that, so that everybody else has been served in between.

All connections together have `LOOP_TURN_IDS_MAX` ids a turn. When those are spent, whatever else comes in that turn waits,
and is not read from any more. In the next turn those who have sent little go first, then the others, each in the order in
which they came: so who asks for little waits for at most two turns, however many connections flood the loop, and a turn is
never longer than what it may spend and the one frame that goes over it. The others have at least one step a turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from presencedb.limits import LOOP_TURN_IDS_MAX, READ_BUFFER_BYTES, SECOND_MS, STALL_QUIET_TURNS

if TYPE_CHECKING:
    from presencedb.transport.connection import Connection

log = structlog.get_logger()

ABORT_MS_MAX: Final = 1 * SECOND_MS
"""An aborted connection is gone in the next turn; should a transport ever fail to say so, a stop does not hang on it."""


class Hub:
    """The connections of one loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.read_buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        """Where every read lands. Its bytes are consumed before the loop reads again."""
        self.connections_total = 0
        self.reads = 0
        """Reads of sockets that brought something, since the start."""
        self.protocol_errors = 0
        """Connections that were closed for what they sent."""
        self._bad_notifications_of_lost = 0
        self._connections: set[Connection] = set()
        self._gone = asyncio.Event()
        self._gone.set()
        self._dirty: list[Connection] = []
        self._small: deque[Connection] = deque()  # unfinished, those who have sent little
        self._large: deque[Connection] = deque()  # and the others
        self._ids_left = LOOP_TURN_IDS_MAX
        self._turn_scheduled = False

    @property
    def connections(self) -> list[Connection]:
        """Those there are at this moment."""
        return list(self._connections)

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    @property
    def bad_notifications(self) -> int:
        """Notifications that were dropped because something in them was wrong."""
        return self._bad_notifications_of_lost + sum(connection.bad_notifications for connection in self._connections)

    def add(self, connection: Connection) -> None:
        """A connection was made."""
        self._connections.add(connection)
        self.connections_total += 1
        self._gone.clear()

    def remove(self, connection: Connection) -> None:
        """A connection is lost."""
        self._bad_notifications_of_lost += connection.bad_notifications
        self._connections.discard(connection)
        if not self._connections:
            self._gone.set()

    def mark_dirty(self, connection: Connection) -> None:
        """Flush this connection at the beginning of the next turn."""
        self._dirty.append(connection)
        self._schedule_turn()

    def mark_unfinished(self, connection: Connection) -> None:
        """Go on with this connection's requests in the next turn, or one of those after it."""
        (self._small if connection.is_small else self._large).append(connection)
        self._schedule_turn()

    @property
    def has_time(self) -> bool:
        """Whether anything more is to be served in this turn."""
        return self._ids_left > 0

    def spend(self, id_count: int) -> None:
        """Count work of a connection against what all of them may do in this turn."""
        self._ids_left -= id_count
        self._schedule_turn()

    async def wait_until_quiet(self, timeout_ms: int) -> bool:
        """Let the loop turn until it finds no input and nothing is left to do, or the time is up; returns which."""
        deadline = self.loop.time() + timeout_ms / SECOND_MS
        quiet_turns = 0
        while quiet_turns < STALL_QUIET_TURNS:
            if self.loop.time() >= deadline:
                return False
            reads = self.reads
            await asyncio.sleep(0)
            quiet_turns = quiet_turns + 1 if self.reads == reads and not self._turn_scheduled else 0
        return True

    async def close(self, timeout_ms: int) -> None:
        """Read no more; close each connection once what it has sent is answered and written, or after the timeout."""
        for connection in self.connections:
            connection.close()
        if not await self._all_gone(timeout_ms):
            for connection in self.connections:
                connection.abort()
            await self._all_gone(ABORT_MS_MAX)

    async def _all_gone(self, timeout_ms: int) -> bool:
        try:
            async with asyncio.timeout(timeout_ms / SECOND_MS):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        self._ids_left = LOOP_TURN_IDS_MAX
        self._flush()
        if self._small:
            self._go_on(self._small)
            self._flush()
        self._go_on(self._large, count_min=1)
        if self._small or self._large:
            self._schedule_turn()

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            _isolated(connection, connection.flush)

    def _go_on(self, unfinished: deque[Connection], count_min: int = 0) -> None:
        for count in range(len(unfinished)):  # whoever joins the line meanwhile has its turn in the next one
            if not self.has_time and count >= count_min:
                return
            connection = unfinished.popleft()
            _isolated(connection, connection.go_on)


def _isolated(connection: Connection, step: Callable[[], None]) -> None:
    """Take a step of a connection; if it fails, this connection is cut and the others have their turn."""
    try:
        step()
    except Exception:
        log.exception("a connection failed", peer=connection.peer)
        connection.abort()

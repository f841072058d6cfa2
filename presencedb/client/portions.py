"""Changes that were received and wait to be given out, in portions with a cursor after each: without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable

from presencedb.client.values import Change
from presencedb.ids import Id


class Portions:
    """A queue of changes that knows where to go on after those given out.

    Attributes:
        cursor: the one after the last portion that was given out whole; None: there is none yet.
    """

    def __init__(self, cursor: str | None) -> None:
        self.cursor = cursor
        self._waiting: deque[tuple[deque[Change], str | None]] = deque()  # never an empty portion
        self._count = 0

    def __len__(self) -> int:
        """How many changes wait."""
        return self._count

    def add(self, changes: Iterable[Change], cursor: str | None) -> None:
        """Add a portion, and the cursor after it; None: there is none at that point, so that the one before is good on."""
        portion = deque(changes)
        if portion:
            self._waiting.append((portion, cursor))
            self._count += len(portion)
        else:
            self._move_cursor(cursor)

    def take(self) -> Change | None:
        """The next change; None: none waits."""
        if not self._waiting:
            return None
        portion, cursor = self._waiting[0]
        change = portion.popleft()
        self._count -= 1
        if not portion:
            del self._waiting[0]
            self.cursor = self.cursor if cursor is None else cursor
        return change

    def drop(self, ids: Container[Id]) -> None:
        """Forget the changes of some users."""
        waiting, self._waiting = self._waiting, deque()
        self._count = 0
        for portion, cursor in waiting:
            self.add([change for change in portion if change.id not in ids], cursor)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()
        self._count = 0

    def _move_cursor(self, cursor: str | None) -> None:
        if cursor is None:
            return
        if self._waiting:
            self._waiting[-1] = (self._waiting[-1][0], cursor)
        else:
            self.cursor = cursor

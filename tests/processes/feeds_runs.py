"""What really changed on a node, run by run, told by a connection that nobody disturbs.

The warm-up of a node, in which nobody is told anything, is a run of its own: behind it there is a gap as behind any other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from enum import Enum
from typing import NamedTuple

from presencedb import Id


class Event(NamedTuple):
    """A change as a node tells it."""

    id: Id
    online: bool | None
    at_ms: int
    reason: str


class Place(NamedTuple):
    """Before a change of one user: the number of the run, and how many changes of this user it had before."""

    run: int
    at: int


class Beginning(Enum):
    """What is known of a user at the beginning of a run."""

    OFFLINE = "everybody is offline"
    UNKNOWN = "online or unknown, and nobody is told of changes: a warm-up"
    WARM = "online or offline, by what happened in the warm-up"


class Run:
    """Changes that follow each other without a gap, and are in one line of numbers.

    Attributes:
        number: how many runs there were before.
        is_over: the node was killed, so that the last changes may be missing.
        online_at_first: after a warm-up, who was online then and did not change since, once it was asked; None: not yet.
    """

    def __init__(self, number: int, name: str, first: int, beginning: Beginning) -> None:
        """Begin.

        Args:
            name: as cursors name it.
            first: the number of the first change, as cursors count.
        """
        self.number = number
        self.name = name
        self.first = first
        self.beginning = beginning
        self.events: list[Event] = []
        self.is_over = False
        self.online_at_first: set[Id] | None = None
        self._numbers: dict[Id, list[int]] = {}

    @property
    def users(self) -> Collection[Id]:
        """Those who ever changed."""
        return self._numbers.keys()

    @property
    def cursor(self) -> str:
        """The one after everything so far."""
        return f"{self.name}.{self.first + len(self.events)}"

    def add(self, event: Event) -> None:
        """The next change.

        Raises:
            AssertionError: it changes nothing.
        """
        index = len(self._numbers.get(event.id, ()))
        assert event.online is not None
        assert {event.online} != self.states(event.id, index), f"{event} changes nothing"
        self._numbers.setdefault(event.id, []).append(len(self.events))
        self.events.append(event)

    def index_at(self, user_id: Id, number: int) -> int:
        """How many changes of a user are among the first so many of all."""
        return bisect_left(self._numbers.get(user_id, ()), number)

    def states(self, user_id: Id, index: int) -> Collection[bool | None]:
        """What a user can be after so many changes."""
        numbers = self._numbers.get(user_id, ())
        if self.beginning is Beginning.UNKNOWN:
            return {True, None}
        if self.is_over and index >= len(numbers):
            return {True, False}
        if index:
            return {self.events[numbers[index - 1]].online}
        if self.beginning is Beginning.OFFLINE:
            return {False}
        if numbers:
            return {not self.events[numbers[0]].online}
        return {True, False} if self.online_at_first is None else {user_id in self.online_at_first}

    def event(self, user_id: Id, index: int) -> Event | None:
        """The change of a user that follows so many others; None: there is none."""
        numbers = self._numbers.get(user_id, ())
        return self.events[numbers[index]] if 0 <= index < len(numbers) else None

    def places(self, user_id: Id, index_min: int = 0) -> Iterable[tuple[Place, Collection[bool | None]]]:
        """All places of a user from one on, and what the user can be there."""
        for index in range(index_min, len(self._numbers.get(user_id, ())) + 1):
            yield Place(self.number, index), self.states(user_id, index)


class Truth:
    """All runs so far."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def begin_run(self, cursor: str, beginning: Beginning) -> Run:
        """A run that begins at a cursor."""
        name, _, first = cursor.rpartition(".")
        run = Run(len(self.runs), name, int(first), beginning)
        self.runs.append(run)
        return run

    def read(self, cursor: str) -> tuple[Run, int]:
        """The run of a cursor, and how many changes of it were before."""
        name, _, text = cursor.rpartition(".")
        run = next(run for run in reversed(self.runs) if run.name == name and run.first <= int(text))
        return run, int(text) - run.first

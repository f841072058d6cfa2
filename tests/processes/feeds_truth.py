"""What really changed on a node, run by run, and whether what a reader was told is a true account of it.

A `Run` is everything that one start of a node did, told by a connection that nobody disturbs. An `Account` goes over what a
reader saw, step by step, and keeps for each user in which *places* the reader can be: before which change of that user, of
which run. What is told must lead from a place to the next one. So a change that was left out, told twice, told too late or
made up has no place to go from, and only behind a gap may a reader find itself anywhere where the state is what it was told.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from presencedb import Change, Id

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


class Run:
    """The changes of one start of a node.

    Attributes:
        number: how many runs there were before.
        is_over: the node was killed, so that the last changes may be missing.
    """

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.events: list[Event] = []
        self.is_over = False
        self._numbers: dict[Id, list[int]] = {}

    @property
    def users(self) -> Collection[Id]:
        """Those who ever changed."""
        return self._numbers.keys()

    def add(self, event: Event) -> None:
        """The next change.

        Raises:
            AssertionError: it changes nothing, or everything begins with somebody who leaves.
        """
        before = self.state(event.id, len(self._numbers.get(event.id, ())))
        assert event.online is not before, f"{event} changes nothing"
        self._numbers.setdefault(event.id, []).append(len(self.events))
        self.events.append(event)

    def index_at(self, user_id: Id, number: int) -> int:
        """How many changes of a user are among the first so many of all."""
        return bisect_left(self._numbers.get(user_id, ()), number)

    def state(self, user_id: Id, index: int) -> bool | None:
        """What a user is after so many changes."""
        return self.events[self._numbers[user_id][index - 1]].online if index else False

    def event(self, user_id: Id, index: int) -> Event | None:
        """The change of a user that follows so many others; None: there is none."""
        numbers = self._numbers.get(user_id, ())
        return self.events[numbers[index]] if 0 <= index < len(numbers) else None

    def places(self, user_id: Id, index_min: int = 0) -> Iterable[tuple[Place, bool | None]]:
        """All places of a user from one on, and the state there."""
        for index in range(index_min, len(self._numbers.get(user_id, ())) + 1):
            yield Place(self.number, index), self.state(user_id, index)


class Truth:
    """All runs so far."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def begin_run(self, name: str) -> Run:
        run = Run(len(self.runs), name)
        self.runs.append(run)
        return run

    def read(self, cursor: str) -> tuple[Run, int]:
        """The run of a cursor, and how many changes were before it."""
        name, _, number = cursor.rpartition(".")
        return next(run for run in self.runs if run.name == name), int(number)


class Began(NamedTuple):
    """A feed was entered; with a cursor that was asked for, and the first statuses of a watch."""

    asked: str | None
    cursor: str
    statuses: dict[Id, bool | None] | None


class Told(NamedTuple):
    """A change was given out; what the cursor is after it."""

    change: Change
    cursor: str


class Gap(NamedTuple):
    """A feed, or the attempt to begin one at this cursor, ended by a GapError."""

    asked: str | None


class Adding(NamedTuple):
    """Users are about to be watched too: by when, only the answer tells."""

    ids: tuple[Id, ...]


class Added(NamedTuple):
    """They are watched; with their statuses, where those can be had at the same moment."""

    ids: tuple[Id, ...]
    statuses: dict[Id, bool | None] | None


class Removed(NamedTuple):
    """Users are watched no more. Where it is not at once so, changes of them may come until the next settling."""

    ids: tuple[Id, ...]
    at_once: bool


Record: TypeAlias = Began | Told | Gap | Adding | Added | Removed


class Account:
    """Goes over the records of one reader.

    Attributes:
        told: what each user is by what was told; of a follow only those who changed. None: not known here.
    """

    def __init__(self, truth: Truth, *, watches: bool, resyncs: bool) -> None:
        self.told: dict[Id, bool | None] = {}
        self._truth = truth
        self._watches = watches
        self._resyncs = resyncs
        self._begin = Place(-1, 0)  # the run, and the number of the change, for whom nothing else is known
        self._run = -1
        self._number = 0  # these two are the cursor
        self._places: dict[Id, set[Place]] = {}
        self._joining: dict[Id, Event | None] = {}  # what was told of them last
        self._leaving: set[Id] = set()
        self._gap_in: int | None = None
        self._had_gap = False

    def go_over(self, record: Record) -> None:
        """The next record.

        Raises:
            AssertionError: it cannot be after all that was before.
        """
        match record:
            case Began():
                self._began(record)
            case Told():
                self._heard(record.change)
                self._move(record.cursor)
            case Gap(asked):
                run = self._run if asked is None else self._truth.read(asked)[0].number
                assert not self._resyncs, "a gap was raised, where it is to be bridged"
                self._gap_in = run
            case Adding(ids):
                self._joining.update(dict.fromkeys(ids, None))
                self._leaving.difference_update(ids)
            case Added(ids, statuses):
                self._added(ids, statuses or {})
            case Removed(ids, at_once):
                for user_id in ids:
                    self.told.pop(user_id, None)
                    self._places.pop(user_id, None)
                    self._joining.pop(user_id, None)
                if not at_once:
                    self._leaving.update(ids)

    def is_at(self, run: Run, number: int) -> bool:
        """Whether the cursor is there or behind it."""
        return self._run == run.number and self._number >= number

    def unsettled(self, run: Run, number: int) -> str | None:
        """Why the reader cannot have been told everything up to this change of this run, and nothing wrong; None: it can."""
        for user_id in {*self.told} if self._watches else {*self.told, *run.users}:
            index = run.index_at(user_id, number)
            state = run.state(user_id, index)
            places = self._places_of(user_id)
            told = self.told.get(user_id)
            if Place(run.number, index) not in places:
                return f"{user_id!r} is {state} after {index} changes in run {run.number}; places {sorted(places)}"
            if told is not state and (told is not None or (not self._watches and self._had_gap and state)):
                return f"{user_id!r} is {state}, told was {told}"
        return None

    def settle(self, statuses: dict[Id, bool | None]) -> None:
        """Everything was told. Whoever was removed is told of no more, and what a watch says now is what it told."""
        self._leaving.clear()
        self.told.update(statuses)

    # --- the records -------------------------------------------------------------------------------------------------

    def _began(self, record: Began) -> None:
        run, number = self._truth.read(record.cursor)
        if self._gap_in is not None:
            assert run.number > self._gap_in, f"there was no gap in run {self._gap_in}"
        elif record.asked is not None and record.asked != record.cursor:
            asked_run, _ = self._truth.read(record.asked)
            assert self._resyncs, f"{record.asked} was asked for, {record.cursor} given"
            assert run.number > asked_run.number, f"{record.asked} was asked for, {record.cursor} given"
        self._gap_in = None
        self._had_gap = False
        self._run, self._number = run.number, number
        self._begin = Place(run.number, number)
        self._places.clear()
        self._joining.clear()
        self._leaving.clear()
        self.told = dict(record.statuses or {})
        for user_id, status in self.told.items():
            if not (run.is_over and number >= len(run.events)):
                index = run.index_at(user_id, number)
                assert status is run.state(user_id, index), f"{user_id!r} is not {status} at {record.cursor}"

    def _heard(self, change: Change) -> None:
        user_id = change.id
        if user_id in self._joining:
            self._joining[user_id] = None if change.at is None else event_of(change)
            return
        if self._watches and user_id not in self.told:
            assert user_id in self._leaving, f"{change} was told of somebody who is not watched"
            return
        told = self.told.get(user_id)
        if change.reason == "known":
            assert change.at is None, f"{change}: if it was missed nobody knows when"
            assert change.online is not None
            assert change.online is not told, f"{change} is nothing new"
            places = self._places_behind_a_gap(user_id, change.online)
        else:
            assert not self._watches or change.online is not told, f"{change} is nothing new"
            places = self._step(event_of(change), told)
        assert places, (
            f"{change} cannot come here: told {told}, cursor {self._number} in run {self._run}, "
            f"places {sorted(self._places_of(user_id))}"
        )
        self._places[user_id] = places
        self.told[user_id] = change.online

    def _step(self, event: Event, told: bool | None) -> set[Place]:
        user_id = event.id
        places = set()
        for run_number, index in self._places_of(user_id):
            run = self._truth.runs[run_number]
            next_event = run.event(user_id, index)
            if next_event == event or (next_event is None and run.is_over and event.online is not told):
                places.add(Place(run_number, index + 1))
        if self._resyncs:
            for run in self._truth.runs[self._run + 1 :]:
                for place, _ in run.places(user_id):
                    if run.event(user_id, place.at) == event:
                        places.add(Place(run.number, place.at + 1))
        return places

    def _added(self, ids: Iterable[Id], statuses: dict[Id, bool | None]) -> None:
        for user_id in ids:
            last = self._joining.pop(user_id)
            status = self.told[user_id] = statuses.get(user_id)
            places = set()
            for run in self._truth.runs[self._run :]:
                index_min = run.index_at(user_id, self._number) if run.number == self._run else 0
                for place, state in run.places(user_id, index_min):
                    if (status is None or state is status) and last in (None, run.event(user_id, place.at - 1)):
                        places.add(place)
            assert places, f"{user_id!r} was never {status} after {last}"
            self._places[user_id] = places

    def _move(self, cursor: str) -> None:
        """Everything before the cursor was given out, or need not be."""
        run, number = self._truth.read(cursor)
        if run.number == self._run:
            assert number >= self._number, f"the cursor went back from {self._number} to {number}"
            for event in run.events[self._number : number]:
                if not self._watches or event.id in self.told:
                    self._pass(event.id, run, number)
        else:
            assert self._resyncs, f"the cursor went on to {cursor} without a gap"
            assert run.number > self._run, f"the cursor went back to {cursor}"
            self._had_gap = True
            for user_id in list(self.told) if self._watches else {*self.told, *run.users}:
                self._pass(user_id, run, number)
            self._begin = Place(run.number, number)
        self._run, self._number = run.number, number

    def _pass(self, user_id: Id, run: Run, number: int) -> None:
        index_min = run.index_at(user_id, number)
        told = self.told.get(user_id)
        before = self._places_of(user_id)
        places = {place for place in before if place.run == run.number and place.at >= index_min}
        if any(place.run < run.number for place in before):
            for place, state in run.places(user_id, index_min):
                # Who was never told as online, and leaves before a follow has found out, is told as offline all the same.
                leaves = not self._watches and not told and state and run.event(user_id, place.at) is not None
                if state is bool(told) or leaves:
                    places.add(place)
        assert places, (
            f"the cursor moved to {number} of run {run.number}, past a change of {user_id!r} that was not told: "
            f"told {told}, places {sorted(before)}"
        )
        self._places[user_id] = places

    # --- places ------------------------------------------------------------------------------------------------------

    def _places_of(self, user_id: Id) -> set[Place]:
        if user_id in self._places:
            return self._places[user_id]
        run = self._truth.runs[self._begin.run]
        return {Place(run.number, run.index_at(user_id, self._begin.at))}

    def _places_behind_a_gap(self, user_id: Id, status: bool | None) -> set[Place]:
        if not self._resyncs:
            return set()
        runs = self._truth.runs[self._run + 1 :]
        return {place for run in runs for place, state in run.places(user_id) if state is status}


def event_of(change: Change) -> Event:
    """A change as a node told it, which knew the moment."""
    assert change.at is not None, f"{change} has no moment"
    return Event(change.id, change.online, (change.at - EPOCH) // timedelta(milliseconds=1), change.reason)

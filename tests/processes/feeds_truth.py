"""Whether what a reader was told is a true account of what really changed.

An `Account` goes over what a reader saw, step by step, and keeps for each user in which *places* the reader can be: before
which change of that user, of which run. What is told must lead from a place to the next one. So a change that was left out,
told twice, told too late or made up has no place to go from, and only behind a gap may a reader find itself anywhere where
the state is what it was told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from presencedb import Change, Id
from tests.processes.feeds_runs import Beginning, Event, Place, Run, Truth

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Untold(Enum):
    """Instead of a status: none was told."""

    UNTOLD = "untold"


UNTOLD: Final = Untold.UNTOLD
State: TypeAlias = bool | Untold | None


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
        told: what each user is by what was told; of a follow only those who changed.
    """

    def __init__(self, truth: Truth, *, watches: bool, resyncs: bool) -> None:
        self.told: dict[Id, State] = {}
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
        for user_id in {*self.told} if self._watches else {*self.told, *run.users, *(run.online_at_first or ())}:
            index = run.index_at(user_id, number)
            states = run.states(user_id, index)
            places = self._places_of(user_id)
            told = self.told.get(user_id, UNTOLD)
            if Place(run.number, index) not in places:
                return f"{user_id!r} is {states} after {index} changes in run {run.number}; places {sorted(places)}"
            if told is UNTOLD and not self._watches and self._had_gap:
                told = False  # whoever is online was found out
            if told is not UNTOLD and told not in states:
                return f"{user_id!r} is {states}, told was {told}"
        return None

    def settle(self) -> None:
        """Everything was told: whoever was removed is told of no more."""
        self._leaving.clear()

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
            index = run.index_at(user_id, number)
            assert status in run.states(user_id, index), f"{user_id!r} is not {status} at {record.cursor}"

    def _heard(self, change: Change) -> None:
        user_id = change.id
        if user_id in self._joining:
            self._joining[user_id] = None if change.at is None else event_of(change)
            return
        if self._watches and user_id not in self.told:
            assert user_id in self._leaving, f"{change} was told of somebody who is not watched"
            return
        told = self.told.get(user_id, UNTOLD)
        if change.reason in ("known", "unknown"):
            assert change.at is None, f"{change}: if it was missed nobody knows when"
            assert (change.online is None) == (change.reason == "unknown")
            assert change.online is not told, f"{change} is nothing new"
            places = self._places_found_out(user_id, change.online)
        else:
            assert not self._watches or change.online is not told, f"{change} is nothing new"
            places = self._step(event_of(change), told)
        assert places, (
            f"{change} cannot come here: told {told}, cursor {self._number} in run {self._run}, "
            f"places {sorted(self._places_of(user_id))}"
        )
        self._places[user_id] = places
        self.told[user_id] = change.online

    def _step(self, event: Event, told: State) -> set[Place]:
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
            status = self.told[user_id] = statuses.get(user_id, UNTOLD)
            places = set()
            for run in self._truth.runs[self._run :]:
                index_min = run.index_at(user_id, self._number) if run.number == self._run else 0
                for place, states in run.places(user_id, index_min):
                    if (status is UNTOLD or status in states) and last in (None, run.event(user_id, place.at - 1)):
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
            for user_id in list(self.told) if self._watches else {*self.told, *self._places, *run.users}:
                self._pass(user_id, run, number)
            self._begin = Place(run.number, number)
        self._run, self._number = run.number, number

    def _pass(self, user_id: Id, run: Run, number: int) -> None:
        index_min = run.index_at(user_id, number)
        told = self.told.get(user_id, UNTOLD)
        before = self._places_of(user_id)
        places = {place for place in before if place.run == run.number and place.at >= index_min}
        if any(place.run < run.number for place in before):
            places |= {place for place, _ in run.places(user_id, index_min) if self._may_be_at(run, place, user_id)}
        assert places, (
            f"the cursor moved to {number} of run {run.number}, past a change of {user_id!r} that was not told: "
            f"told {told}, places {sorted(before)}"
        )
        self._places[user_id] = places

    def _may_be_at(self, run: Run, place: Place, user_id: Id) -> bool:
        """Whether a place behind a gap is one where nothing more need be told of a user."""
        told = self.told.get(user_id, UNTOLD)
        states = run.states(user_id, place.at)
        if self._watches or told in (True, None):
            return told is UNTOLD or told in states
        # A follow says nothing of those who were not told as online and are unknown. And whoever of them is online, but
        # leaves before that was found out, is told as offline all the same.
        return False in states or run.beginning is Beginning.UNKNOWN or run.event(user_id, place.at) is not None

    # --- places ------------------------------------------------------------------------------------------------------

    def _places_of(self, user_id: Id) -> set[Place]:
        if user_id in self._places:
            return self._places[user_id]
        run = self._truth.runs[self._begin.run]
        return {Place(run.number, run.index_at(user_id, self._begin.at))}

    def _places_found_out(self, user_id: Id, status: bool | None) -> set[Place]:
        """Where a reader may be who found out that a user has another status than was told."""
        runs = self._truth.runs[self._run + 1 :] if self._resyncs else []
        if self._truth.runs[self._run].beginning is Beginning.UNKNOWN:
            runs = [self._truth.runs[self._run], *runs]  # nobody is told anything, but statuses are asked at each connection
        return {place for run in runs for place, states in run.places(user_id) if status in states}


def event_of(change: Change) -> Event:
    """A change as a node told it, which knew the moment."""
    assert change.at is not None, f"{change} has no moment"
    return Event(change.id, change.online, (change.at - EPOCH) // timedelta(milliseconds=1), change.reason)

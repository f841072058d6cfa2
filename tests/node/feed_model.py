"""What every reader of the feed must be told, held against what it was told.

The truth is what the engine emitted, in order, each with its number. A reader's messages are gone through in the order in
which it read them: what it is told leads from the place of one cursor to that of the next, and must be exactly what the
truth has between the two of those whom it watches, or of all where it follows; the statuses that it is given are those at
the place that the cursor beside them names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from presencedb.engine import Engine
from presencedb.errors import GapError
from presencedb.ids import Id
from presencedb.protocol.messages import Notification, Response
from presencedb.transitions import Transition, Transitions
from tests.node.paper_wire import PaperNode


class Recorder:
    """An engine that remembers what it emitted."""

    def __init__(self, engine: Engine) -> None:
        self._truth: list[Transition] = []
        self._taken_count = 0
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @property
    def truth(self) -> list[Transition]:
        """All that was emitted so far, by number."""
        while transitions := self._engine.drain_transitions(1000):
            self._truth += transitions
        return self._truth

    @property
    def transitions_waiting(self) -> int:
        return len(self.truth) - self._taken_count

    def drain_transitions(self, count_max: int) -> Transitions:
        taken = self.truth[self._taken_count : self._taken_count + count_max]
        self._taken_count += len(taken)
        return Transitions.of(taken)

    def discard_transitions(self) -> int:
        count = self.transitions_waiting
        self._taken_count += count
        return count

    def statuses_at(self, number: int, ids: Iterable[Id]) -> list[bool | None]:
        """Who was online at a place."""
        online = {event.id: event.online for event in self.truth[:number]}
        return [online.get(user_id, False) for user_id in ids]


class ModelReader:
    """A client with one connection, that checks what it is told.

    Attributes:
        reading: whether it reads at present.
        at: the number in the last cursor that it was given; None: it is no reader of the feed.
        cursors: all that it was given.
    """

    def __init__(self, node: PaperNode, recorder: Recorder) -> None:
        self.wire = node.connect()
        self.reading = True
        self.at: int | None = None
        self.cursors: list[str] = []
        self.gap_count = 0
        self._node = node
        self._recorder = recorder
        self._watched: dict[Id, None] = {}
        self._follows = False
        self._asked: dict[int, tuple[str, list[Id], str | None]] = {}

    @property
    def cut(self) -> bool:
        """Whether the server has ended the connection."""
        return self.wire.transport.closed

    def watch(self, ids: list[Id], cursor: str | None = None) -> None:
        self._asked[self.wire.send("watch", ids, cursor)] = ("watch", ids, cursor)

    def unwatch(self, ids: list[Id]) -> None:
        self._asked[self.wire.send("unwatch", ids)] = ("unwatch", ids, None)

    def follow(self, cursor: str | None = None) -> None:
        self._asked[self.wire.send("follow", cursor)] = ("follow", [], cursor)

    def read(self, count: int | None = None) -> None:
        """Read all that is there, or so many bytes, and check it."""
        self.wire.read(count)
        while self.wire.messages:
            message = self.wire.messages.popleft()
            if isinstance(message, Notification):
                self._told(message)
                continue
            method, ids, asked = self._asked.pop(message.msgid)
            if message.error is not None:
                self._refused(asked, message.error)
            elif method == "unwatch":
                self._unwatched(ids, message)
            else:
                self._placed(method, ids, asked, message)

    def check_complete(self, end: int) -> None:
        """Whether it was told everything before this number."""
        assert not self._asked
        assert self.at is None or self._events(self.at, end) == []

    def _refused(self, asked: str | None, error: Exception) -> None:
        assert isinstance(error, GapError)
        assert asked is not None
        assert number_of(asked) < self._node.feed.first, "refused although all is still there"

    def _unwatched(self, ids: list[Id], response: Response) -> None:
        gone = [user_id for user_id in dict.fromkeys(ids) if user_id in self._watched]
        assert response.result == len(gone)
        for user_id in gone:
            del self._watched[user_id]
        if not self._watched and not self._follows:
            self.at = None

    def _placed(self, method: str, ids: list[Id], asked: str | None, response: Response) -> None:
        cursor, statuses = response.result if method == "watch" else (response.result, [])
        place = number_of(cursor)
        if asked is not None and place != number_of(asked):
            assert self.at is not None, "a new reader begins at its cursor"
            assert self.at <= place < number_of(asked)
        if self.at is not None and self.at < place:
            assert self._events(self.at, place) == [], "it was not told of these"
        assert statuses == self._recorder.statuses_at(place, ids)
        self._watched |= dict.fromkeys(ids)
        self._follows |= method == "follow"
        self._move_to(cursor)

    def _told(self, message: Notification) -> None:
        assert self.at is not None, "told of something although it is no reader"
        cursor, told = message.params
        place = number_of(cursor)
        assert place > self.at
        if message.method == "gap":
            assert self.at < self._node.feed.first, "lost its place although all is still there"
            assert told == (self._recorder.statuses_at(place, self._watched) if self._watched else None)
            self.gap_count += 1
        else:
            assert told == [
                [event.id, event.online, self._node.wall_time.ms_at(event.tick), event.reason.text]
                for event in self._events(self.at, place)
            ]
        self._move_to(cursor)

    def _events(self, start: int, end: int) -> list[Transition]:
        return [event for event in self._recorder.truth[start:end] if self._follows or event.id in self._watched]

    def _move_to(self, cursor: str) -> None:
        self.at = number_of(cursor)
        self.cursors.append(cursor)


def number_of(cursor: str) -> int:
    """The number in a cursor."""
    return int(cursor.rpartition(".")[2])

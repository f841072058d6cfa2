"""One reader of the feed: a connection that follows, watches, or both, and how far it has got."""

from __future__ import annotations

from enum import Enum

from presencedb.transport.connection import Connection


class State(Enum):
    """What a reader waits for."""

    LIVE = "the next publication"
    READING = "its next turn to read on from the log"
    HELD = "room in its connection"
    GONE = "nothing any more"


class Reader:
    """A place in the log, and no queue of its own.

    Attributes:
        follows: whether it is told everything.
        watcher: its number in the index of watchers; None: it watches nobody.
        position: it has been told everything before this number, or was not there; one that is live may have been told more.
        cursor_number: of the last cursor that it was given.
    """

    __slots__ = ("connection", "cursor_number", "follows", "position", "state", "watcher")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.follows = False
        self.watcher: int | None = None
        self.position = 0
        self.cursor_number = 0
        self.state = State.GONE

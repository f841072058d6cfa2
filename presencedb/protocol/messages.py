"""The messages of the protocol, as a session takes them from bytes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

from presencedb.errors import Error
from presencedb.ids import IdBatch
from presencedb.protocol.command import Command
from presencedb.protocol.params import Options

PROTOCOL_VERSION: Final = 1

REQUEST: Final = 0
RESPONSE: Final = 1
NOTIFICATION: Final = 2

COLUMN_METHODS: Final = frozenset({"status", "last_seen"})
"""Methods that are answered with a value for each id, so that a client can have the answer as a column."""


class Run(Protocol):
    """Several frames of one client that asked the same of other ids, served as one request."""

    def __len__(self) -> int: ...

    @property
    def frames(self) -> Sequence[tuple[int | None, int]]:
        """`(msgid, count of ids)` of each, in order; a msgid of None is a notification."""
        ...

    @property
    def msgids(self) -> Sequence[int]:
        """Those of the requests among them, in order."""
        ...

    def encode_counts(self, marks: bytes | bytearray) -> bytes:
        """An answer to each: how many of its ids are marked with 1, of one byte an id of the whole run."""
        ...

    def encode_statuses(self, statuses: bytes) -> bytes:
        """An answer to each: an array of true, false and nil, from one `Status` byte an id of the whole run."""
        ...


@dataclass(slots=True, eq=False)
class Request:
    """A sound request or notification, held against its command.

    `msgid` is None for a notification, which gets no reply. With a `run` it stands for several frames, and `msgid` is that
    of the first of them that wants a reply. `reply` is the session's: the encoded answer while it waits for
    the answers to earlier requests.
    """

    command: Command
    msgid: int | None
    ids: IdBatch
    cursor: str | None
    limit: int
    options: Options
    run: Run | None = None
    member: str = ""
    reply: bytes | None = None

    @property
    def frame_count(self) -> int:
        """How many requests and notifications this is."""
        return 1 if self.run is None else len(self.run)

    def ids_by_frame(self) -> list[IdBatch]:
        """The ids of each of them."""
        if self.run is None:
            return [self.ids]
        ends = [0]
        for _, count in self.run.frames:
            ends.append(ends[-1] + count)
        return [self.ids.take(array("I", range(start, end))) for start, end in pairwise(ends)]


@dataclass(slots=True)
class Malformed:
    """A frame that cannot be taken as what it should be.

    `msgid` is None where nobody waits for an answer or it could not be made out. If `fatal`, what follows in the stream
    cannot be trusted and the connection is to close.
    """

    msgid: int | None
    error: Error
    fatal: bool


@dataclass(slots=True)
class Response:
    """The answer to the request with this msgid: an error, or a result."""

    msgid: int
    error: Error | None
    result: Any


@dataclass(slots=True)
class Notification:
    """Something the server tells unasked: `presence` or `gap`."""

    method: str
    params: list[Any]

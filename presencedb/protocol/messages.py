"""The messages of the protocol, as a session takes them from bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from presencedb.errors import Error
from presencedb.ids import IdBatch
from presencedb.protocol.commands import Command, Options

PROTOCOL_VERSION: Final = 1


@dataclass(slots=True, eq=False)
class Request:
    """A sound request or notification, held against its command.

    `msgid` is None for a notification, which gets no reply. `reply` is the session's: the encoded answer while it waits for
    the answers to earlier requests.
    """

    command: Command
    msgid: int | None
    ids: IdBatch
    cursor: str | None
    limit: int
    options: Options
    reply: bytes | None = None


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

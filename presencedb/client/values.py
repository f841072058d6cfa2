"""What goes in and comes out of a client's calls: ids of every kind in, answers checked and brought to Python's types out.

Nothing that a server sends is believed: an answer of another shape than the call promises is a `ProtocolError`, never a
`TypeError` somewhere in the caller's code.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import NoneType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from presencedb.errors import BadRequest, ProtocolError
from presencedb.ids import Id, IdBatch, canonical_id
from presencedb.protocol.messages import PROTOCOL_VERSION

IdLike: TypeAlias = int | str | UUID
"""An id as a caller may give it. Answers name it in its canonical form: `42` for `"42"`, the text of a UUID."""

ONLINE_OF: Final = (False, True, None)
"""What each `Status` byte says."""
C = TypeVar("C", bytes, "array[int]")

_UNSIGNED_FORMATS: Final = ("Q", "L")
_UNSIGNED_BYTES: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOOL_OR_NONE: Final[set[type]] = {bool, NoneType}
_INT_OR_TEXT: Final = {int, str}


class ConnectionState(Enum):
    """What a client's connection is doing."""

    IDLE = "idle"
    """There is none; the next call makes one."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    """The client was closed."""


class Change(NamedTuple):
    """One change of one user's status.

    Attributes:
        id: the canonical id.
        online: what the user is since then; None: the server can no longer tell.
        at: when it became true, by the server's clock, in UTC; None: that moment was missed, and the change found out later.
        reason: `heartbeat`, `timeout`, `sign_off`, `known` (it was unknown before, or missed) or `unknown`.
    """

    id: Id
    online: bool | None
    at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What a server says of itself when a connection is made.

    Attributes:
        protocol: the version of the protocol.
        version: of presencedb.
        node: the id of the node.
        run: names this start of it; another one means that it was started again.
        ttl_ms: how long a heartbeat keeps a user online.
        tick_ms: the grain of its time.
        heartbeat_interval_ms: how often to beat.
        retention: what is remembered of users who are offline, as the server words it.
        limits: its limits by name.
    """

    protocol: int
    version: str
    node: str
    run: str
    ttl_ms: int
    tick_ms: int
    heartbeat_interval_ms: int
    retention: Any
    limits: Mapping[str, Any]

    @classmethod
    def from_wire(cls, result: Any) -> ServerInfo:
        """Read the answer to `hello`.

        Raises:
            ProtocolError: it is of another shape, or of a protocol that this client does not speak.
        """
        answer = read_map("hello", result)
        protocol = answer.get("protocol")
        if protocol != PROTOCOL_VERSION:
            raise ProtocolError(f"the server speaks version {protocol!r} of the protocol, this client {PROTOCOL_VERSION}")
        for name in ("ttl_ms", "tick_ms", "heartbeat_interval_ms"):
            if type(answer.get(name)) is not int or answer[name] <= 0:
                raise _unexpected("hello", f"{name} {answer.get(name)!r}")
        return cls(
            protocol=protocol,
            version=str(answer.get("version", "")),
            node=str(answer.get("node", "")),
            run=str(answer.get("run", "")),
            ttl_ms=answer["ttl_ms"],
            tick_ms=answer["tick_ms"],
            heartbeat_interval_ms=answer["heartbeat_interval_ms"],
            retention=answer.get("retention"),
            limits=read_map("hello", answer.get("limits", {})),
        )


def read_ids(method: str, ids: Iterable[IdLike]) -> IdBatch:
    """The canonical ids of a call, in order, repeated ones included.

    A buffer of unsigned 64-bit integers is copied as it is, without an object for each.

    Raises:
        BadRequest: a value is not an id, `ids` is one id instead of several, or a buffer of anything else.
    """
    if isinstance(ids, IdBatch):
        return ids
    if type(ids) not in (tuple, list):
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise BadRequest(f"{method} takes several ids, as in {method}([42]), not one {type(ids).__name__}")
        if _is_buffer_of_ids(method, ids):
            return IdBatch(ids)
    values: list[object] = list(ids)
    if len(values) == 1:
        value = values[0]
        return IdBatch.of_canonical([canonical_id(str(value) if isinstance(value, UUID) else value)])
    if any(issubclass(kind, UUID) for kind in set(map(type, values))):
        values = [str(value) if isinstance(value, UUID) else value for value in values]
    return IdBatch(values)


def _is_buffer_of_ids(method: str, ids: object) -> bool:
    try:
        view = memoryview(ids)  # type: ignore[arg-type] # most are no buffer, which is how to find out
    except TypeError:
        return False
    if view.ndim != 1 or view.itemsize != _UNSIGNED_BYTES or view.format not in _UNSIGNED_FORMATS:
        raise BadRequest(
            f"a buffer of ids is one of unsigned 64-bit integers (array('Q'), numpy.uint64) in one dimension, not of type "
            f"{view.format!r} in {view.ndim}; {method} takes a list as well"
        )
    return True


def read_each(method: str, ids: tuple[IdLike, ...], batch: str = "") -> list[Id]:
    """The same of ids that are an argument each.

    Args:
        batch: the method that takes them all as one.

    Raises:
        BadRequest: a value is not an id, or is several of them.
    """
    try:
        return [canonical_id(ids[0])] if len(ids) == 1 and type(ids[0]) is not UUID else list(read_ids(method, ids))
    except BadRequest:
        if not any(isinstance(value, Iterable) and not isinstance(value, str | bytes) for value in ids):
            raise
    forms = f"{method}(*ids) or {batch}(ids)" if batch else f"{method}(*ids)"
    raise BadRequest(f"{method} takes each id as an argument; for several in one: {forms}")


def read_duration_ms(name: str, value: int, most: int) -> int:
    """An age or a grace.

    Raises:
        BadRequest: not an integer from 0 to `most`.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise BadRequest(f"{name} is an integer between 0 and {most}, not {value!r}")
    return value


def read_statuses(asked: int, statuses: bytes) -> bytes:
    """The answer to `status`, a `Status` byte for each of so many ids.

    Raises:
        ProtocolError: it is of another length.
    """
    return _of_length("status", asked, statuses)


def read_times(asked: int, times_ms: array[int]) -> array[int]:
    """The answer to `last_seen`, Unix milliseconds or -1 for each of so many ids.

    Raises:
        ProtocolError: it is of another length.
    """
    return _of_length("last_seen", asked, times_ms)


def read_time(method: str, time_ms: int) -> datetime:
    """A moment of the wire, in Unix milliseconds.

    Raises:
        ProtocolError: it is outside of what a `datetime` can hold.
    """
    try:
        return _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        raise _unexpected(method, f"the time {time_ms}") from None


def read_page(result: Any) -> tuple[str | None, list[Id]]:
    """The answer to `online`.

    Raises:
        ProtocolError: it is of another shape.
    """
    match result:
        case [str() | None as cursor, list(ids)] if set(map(type, ids)) <= _INT_OR_TEXT:
            return cursor, ids
    raise _unexpected("online", "something that is not a page of ids")


def read_count(method: str, result: Any) -> int:
    """An answer that is a number of users.

    Raises:
        ProtocolError: it is of another shape.
    """
    if type(result) is not int or result < 0:
        raise _unexpected(method, f"{type(result).__name__} where a number was due")
    return result


def read_map(method: str, result: Any) -> dict[str, Any]:
    """An answer that is a map.

    Raises:
        ProtocolError: it is of another shape.
    """
    if not isinstance(result, dict) or not set(map(type, result)) <= {str}:
        raise _unexpected(method, f"{type(result).__name__} where a map was due")
    return result


def read_cursor(method: str, result: Any) -> str:
    """A cursor as a server gives it.

    Raises:
        ProtocolError: it is not text.
    """
    if not isinstance(result, str):
        raise _unexpected(method, f"{type(result).__name__} where a cursor was due")
    return result


def read_watched(method: str, asked: int, result: Any) -> tuple[str, list[bool | None]]:
    """The answer to `watch`, or the parameters of a `gap` that names statuses: a cursor, and a status for each id.

    Raises:
        ProtocolError: it is of another shape.
    """
    match result:
        case [str(cursor), list(statuses)] if len(statuses) == asked and set(map(type, statuses)) <= _BOOL_OR_NONE:
            return cursor, statuses
    raise _unexpected(method, f"something that is not a cursor and {asked} statuses")


def read_presence(params: list[Any]) -> tuple[str, list[Change]]:
    """A `presence` notification: the cursor after its changes, and those.

    Raises:
        ProtocolError: it is of another shape.
    """
    match params:
        case [str(cursor), list(events)]:
            return cursor, [_read_change(event) for event in events]
    raise _unexpected("presence", "something that is not a cursor and changes")


def _read_change(event: Any) -> Change:
    if type(event) is list and len(event) == 4:
        user_id, online, at_ms, reason = event
        if type(user_id) in _INT_OR_TEXT and type(online) in _BOOL_OR_NONE and type(at_ms) is int and type(reason) is str:
            return Change(user_id, online, read_time("presence", at_ms), reason)
    raise _unexpected("presence", "a change that is not [id, online, at_ms, reason]")


def _of_length(method: str, asked: int, column: C) -> C:
    if len(column) != asked:
        raise _unexpected(method, f"{len(column)} values for {asked} ids")
    return column


def _unexpected(method: str, what: str) -> ProtocolError:
    return ProtocolError(f"the server answered {method} with {what}")

"""Messages -> MessagePack-RPC frames, on the msgpack package."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack

from presencedb.errors import Error
from presencedb.ids import IdBatch
from presencedb.protocol.messages import NOTIFICATION, REQUEST, RESPONSE
from presencedb.states import Reason, Status
from presencedb.transitions import REASON_SHIFT

# A status byte (states.Status) becomes one byte of MessagePack: false, true, nil.
_STATUS_TO_WIRE: Final = bytes([0xC2, 0xC3, 0xC0]).ljust(256, b"\xc0")
_ONLINE_OF: Final = {Status.OFFLINE: False, Status.ONLINE: True, Status.UNKNOWN: None}
MARKED: Final = {
    reason << REASON_SHIFT | status: (online, reason.text) for reason in Reason for status, online in _ONLINE_OF.items()
}
"""What a mark says on the wire: online, and the reason."""

encode_value: Callable[[Any], bytes] = msgpack.Packer().pack


def encode_request(msgid: int, method: str, params: Sequence[Any]) -> bytes:
    """A request frame. Ids, which come first, may be an `IdBatch`."""
    if params and isinstance(params[0], IdBatch):
        params = (list(params[0]), *params[1:])
    return encode_value((REQUEST, msgid, method, params))


def cut_ids(batch: IdBatch, count_max: int, bytes_max: int) -> list[IdBatch]:
    """A batch in parts, in order, of at most so many ids that take at most so many bytes in a frame.

    One that fits is given back itself, and an empty one is no part.
    """
    ids = list(batch)
    parts: list[IdBatch] = []
    start = bytes_used = 0
    for index, user_id in enumerate(ids):
        size = len(encode_value(user_id))
        if index > start and (bytes_used + size > bytes_max or index - start == count_max):
            parts.append(IdBatch.of_canonical(ids[start:index]))
            start, bytes_used = index, 0
        bytes_used += size
    if ids:
        parts.append(IdBatch.of_canonical(ids[start:]) if start else batch)
    return parts


def encode_notification(method: str, params: Sequence[Any]) -> bytes:
    """A notification frame, in either direction."""
    return encode_value((NOTIFICATION, method, params))


def encode_result(msgid: int, result: Any) -> bytes:
    """A response frame with a result."""
    return encode_value((RESPONSE, msgid, None, result))


def encode_error(msgid: int, error: Error) -> bytes:
    """A response frame with an error."""
    return encode_value((RESPONSE, msgid, (error.code, error.message), None))


def encode_statuses(msgid: int, statuses: bytes) -> bytes:
    """A response frame whose result is an array of true, false and nil, from one `Status` byte each."""
    return b"\x94\x01" + encode_value(msgid) + b"\xc0" + _statuses(statuses)


def encode_times(msgid: int, times_ms: array[int]) -> bytes:
    """A response frame whose result is an array of Unix milliseconds: what `last_seen` answers.

    Args:
        times_ms: type code 'q'; one below 0 becomes nil.

    Raises:
        ValueError: it is of another kind.
    """
    if times_ms.typecode != "q":
        raise ValueError("a column has the type code 'q'")
    return encode_result(msgid, [None if time_ms < 0 else time_ms for time_ms in times_ms])


def encode_watched(msgid: int, cursor: str, statuses: bytes) -> bytes:
    """A response frame with a cursor and the statuses there, one `Status` byte each: what `watch` answers."""
    return b"\x94\x01" + encode_value(msgid) + b"\xc0\x92" + encode_value(cursor) + _statuses(statuses)


def encode_gap(cursor: str, statuses: bytes | None) -> bytes:
    """A `gap` notification: the place where the feed goes on, and the statuses of the watched ids there.

    Args:
        statuses: one `Status` byte each, in the order in which the ids came to be watched; None where there are none.
    """
    known = encode_value(None) if statuses is None else _statuses(statuses)
    return b"\x93\x02" + encode_value("gap") + b"\x92" + encode_value(cursor) + known


def _statuses(statuses: bytes) -> bytes:
    return _array_header(len(statuses)) + statuses.translate(_STATUS_TO_WIRE)


def _array_header(size: int) -> bytes:
    if size <= 0x0F:
        return bytes([0x90 | size])
    return b"\xdc" + size.to_bytes(2, "big") if size <= 0xFFFF else b"\xdd" + size.to_bytes(4, "big")


def encode_presence(
    cursor: str, ids: IdBatch, marks: bytes, times_ms: array[int], positions: array[int] | None = None
) -> bytes:
    """A `presence` notification: the cursor after these changes, each as `[id, online, at_ms, reason]`.

    Args:
        cursor: the place after them.
        ids: who changed.
        marks: of each, how (`presencedb.transitions`).
        times_ms: of each, when: Unix milliseconds (type code 'q').
        positions: which of them to tell, by their indexes (type code 'I'); None: all.

    Raises:
        ValueError: the columns differ in length or are of another kind, a mark means nothing, or there is no change at a
            position.
    """
    count = len(ids)
    for column, typecode in ((times_ms, "q"), (positions, "I")):
        if column is not None and column.typecode != typecode:
            raise ValueError(f"a column has the type code {typecode!r}")
    if len(marks) != count or len(times_ms) != count:
        raise ValueError(f"{count} ids, {len(marks)} marks and {len(times_ms)} times are not of one length")
    events = []
    for position in range(count) if positions is None else positions:
        if position >= count:
            raise ValueError(f"position {position} of {count} changes")
        if (mark := marks[position]) not in MARKED:
            raise ValueError(f"a mark is a reason and a status, not {mark}")
        online, reason = MARKED[mark]
        events.append((ids[position], online, times_ms[position], reason))
    return encode_value((NOTIFICATION, "presence", (cursor, events)))

"""Every call as a plan, without I/O: its arguments checked, the frames to send, and what the answers to them mean.

A client of any kind of I/O makes the plan, which raises `BadRequest` before anything is sent; sends each of its frames, in
any order or at once, and again where `retry` says so; and hands the answers back in the order of the frames:

    plan = calls.status(ids)
    answers = [send(plan.method, frame.params(attempts.age_to_send_ms(now_s)), frame.id_count) for frame in plan.frames]
    return plan.result(answers)
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Final, Generic, NamedTuple, TypeVar

from presencedb.client import values
from presencedb.client.coalesce import Ids, Write, split_into_frames
from presencedb.client.values import IdLike
from presencedb.errors import BadRequest
from presencedb.ids import Id, IdBatch
from presencedb.limits import AGE_MS_MAX, GRACE_MS_MAX, SCAN_LIMIT_MAX

R = TypeVar("R")
C = TypeVar("C", bytes, "array[int]")

BEAT: Final = Write("heartbeat")
"""A heartbeat of now, which shares its frame with others."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One request of a plan.

    Attributes:
        positional: the parameters before the options.
        id_count: how many ids are in it.
        write: what is written, where the request writes.
    """

    positional: tuple[Any, ...] = ()
    id_count: int = 0
    write: Write | None = None

    def params(self, age_ms: int) -> tuple[Any, ...]:
        """The parameters to send, where it is `Attempts.age_to_send_ms` at that moment; of no matter to a read."""
        if self.write is None:
            return self.positional
        options = {}
        if age_ms:
            options["age_ms"] = age_ms
        if self.write.grace_ms:
            options["grace_ms"] = self.write.grace_ms
        return (*self.positional, options) if options else self.positional


@dataclass(frozen=True, slots=True)
class Plan(Generic[R]):
    """One call.

    Attributes:
        method: what every frame asks for.
        frames: what to send; none where there is nothing to ask.
        result: the result of the call, of the answers in the order of the frames. It raises ProtocolError where an answer is
            of another shape than the call promises.
        age_ms: how old a write is when the call begins.
    """

    method: str
    frames: Sequence[Frame]
    result: Callable[[Sequence[Any]], R]
    age_ms: int = 0

    @property
    def id_count(self) -> int:
        """How many ids it names."""
        return sum(frame.id_count for frame in self.frames)


class WriteCall(NamedTuple):
    """A write that may share its frame with others of the same moment (`coalesce`), about canonical ids."""

    write: Write
    ids: Ids

    @property
    def method(self) -> str:
        """What it asks for."""
        return self.write.method

    @property
    def id_count(self) -> int:
        """How many ids it names."""
        return len(self.ids)


# --- writes ----------------------------------------------------------------------------------------------------------


def heartbeat(ids: tuple[IdLike, ...], age_ms: int = 0) -> WriteCall:
    """`heartbeat(*ids)`.

    Raises:
        BadRequest: an id or the age is not valid.
    """
    write = BEAT if type(age_ms) is int and age_ms == 0 else _write("heartbeat", age_ms, 0)
    return WriteCall(write, values.read_each("heartbeat", ids, "heartbeat_batch"))


def heartbeat_batch(ids: Iterable[IdLike], age_ms: int = 0) -> WriteCall:
    """`heartbeat_batch(ids)`; in frames of its own.

    Raises:
        BadRequest: an id or the age is not valid.
    """
    return WriteCall(_write("heartbeat", age_ms, 0, alone=True), values.read_ids("heartbeat_batch", ids))


def offline(ids: tuple[IdLike, ...], grace_ms: int = 0, age_ms: int = 0) -> WriteCall:
    """`offline(*ids)`.

    Raises:
        BadRequest: an id, the grace or the age is not valid.
    """
    return WriteCall(_write("offline", age_ms, grace_ms), values.read_each("offline", ids, "offline_batch"))


def offline_batch(ids: Iterable[IdLike], grace_ms: int = 0, age_ms: int = 0) -> WriteCall:
    """`offline_batch(ids)`; in frames of its own.

    Raises:
        BadRequest: an id, the grace or the age is not valid.
    """
    return WriteCall(_write("offline", age_ms, grace_ms, alone=True), values.read_ids("offline_batch", ids))


def keep_online(ids: tuple[IdLike, ...], grace_ms: int = 0) -> tuple[WriteCall, WriteCall]:
    """`keep_online(*ids)`: the beat, and the sign-off at its end, where that is asked for.

    Raises:
        BadRequest: an id or the grace is not valid.
    """
    canonical = values.read_each("keep_online", ids)
    return WriteCall(BEAT, canonical), WriteCall(_write("offline", 0, grace_ms), canonical)


def writing(write: Write, ids: Ids) -> Plan[int]:
    """A write, or several that became one: the result is how many users it changed."""

    def result(answers: Sequence[Any]) -> int:
        return sum(values.read_count(write.method, answer) for answer in answers)

    batch = ids if isinstance(ids, IdBatch) else IdBatch.of_canonical(ids)
    frames = [Frame((part,), len(part), write) for part in split_into_frames(batch)]
    return Plan(write.method, frames, result, write.age_ms)


# --- reads -----------------------------------------------------------------------------------------------------------


def status(ids: Iterable[IdLike]) -> Plan[dict[Id, bool | None]]:
    """`status(ids)`.

    Raises:
        BadRequest: an id is not valid.
    """
    batch = values.read_ids("status", ids)

    def result(answers: Sequence[bytes]) -> dict[Id, bool | None]:
        statuses = chain.from_iterable(_columns(values.read_statuses, frames, answers))
        return dict(zip(batch, map(values.ONLINE_OF.__getitem__, statuses), strict=True))

    frames = _questions(batch)
    return Plan("status", frames, result)


def status_array(ids: Iterable[IdLike]) -> Plan[bytes]:
    """`status_array(ids)`.

    Raises:
        BadRequest: an id is not valid.
    """

    def result(answers: Sequence[bytes]) -> bytes:
        return b"".join(_columns(values.read_statuses, frames, answers))

    frames = _questions(values.read_ids("status_array", ids))
    return Plan("status", frames, result)


def last_seen(ids: Iterable[IdLike]) -> Plan[dict[Id, datetime | None]]:
    """`last_seen(ids)`.

    Raises:
        BadRequest: an id is not valid.
    """
    batch = values.read_ids("last_seen", ids)

    def result(answers: Sequence[array[int]]) -> dict[Id, datetime | None]:
        times_ms = chain.from_iterable(_columns(values.read_times, frames, answers))
        times = (None if time_ms < 0 else values.read_time("last_seen", time_ms) for time_ms in times_ms)
        return dict(zip(batch, times, strict=True))

    frames = _questions(batch)
    return Plan("last_seen", frames, result)


def last_seen_array(ids: Iterable[IdLike]) -> Plan[array[int]]:
    """`last_seen_array(ids)`.

    Raises:
        BadRequest: an id is not valid.
    """

    def result(answers: Sequence[array[int]]) -> array[int]:
        times_ms = array("q")
        for column in _columns(values.read_times, frames, answers):
            times_ms += column
        return times_ms

    frames = _questions(values.read_ids("last_seen_array", ids))
    return Plan("last_seen", frames, result)


def count() -> Plan[int]:
    """`count()`."""
    return _single("count", (), lambda answer: values.read_count("count", answer))


def online(cursor: str | None = None, limit: int = 1000) -> Plan[tuple[str | None, list[Id]]]:
    """`online(cursor, limit)`.

    Raises:
        BadRequest: the limit is not between 1 and 10,000.
    """
    if type(limit) is not int or not 1 <= limit <= SCAN_LIMIT_MAX:
        raise BadRequest(f"limit is an integer between 1 and {SCAN_LIMIT_MAX}, not {limit!r}")
    return _single("online", (cursor, limit), values.read_page)


def ping() -> Plan[None]:
    """`ping()`; how long it takes is measured by who does it."""
    return _single("ping", (), lambda _: None)


def info() -> Plan[dict[str, Any]]:
    """`info()`."""
    return _single("info", (), lambda answer: values.read_map("info", answer))


def topology() -> Plan[dict[str, Any]]:
    """`topology()`."""
    return _single("topology", (), lambda answer: values.read_map("topology", answer))


# --- inside ----------------------------------------------------------------------------------------------------------


def _single(method: str, params: tuple[Any, ...], read: Callable[[Any], R]) -> Plan[R]:
    return Plan(method, (Frame(params),), lambda answers: read(answers[0]))


def _questions(batch: IdBatch) -> list[Frame]:
    return [Frame((part,), len(part)) for part in split_into_frames(batch)]


def _columns(read: Callable[[int, C], C], frames: Sequence[Frame], answers: Sequence[C]) -> list[C]:
    return [read(frame.id_count, answer) for frame, answer in zip(frames, answers, strict=True)]


def _write(method: str, age_ms: int, grace_ms: int, *, alone: bool = False) -> Write:
    return Write(
        method,
        values.read_duration_ms("age_ms", age_ms, AGE_MS_MAX),
        values.read_duration_ms("grace_ms", grace_ms, GRACE_MS_MAX),
        alone,
    )

"""Drives both sessions through a stream of bytes that comes in pieces, and tells all that came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from presencedb.errors import BadRequest, ProtocolError
from presencedb.ids import IdBatch
from presencedb.protocol.messages import Request, Response
from presencedb.protocol.session import ClientSession, ServerSession

Described = tuple[Any, ...]
MISREAD_BY_MSGPACK = b"\xc9\xff\xff\xff\xff"
"""An extension of 2^32-1 bytes: the msgpack package adds the byte of its type in 32 bits, and takes it for an empty one."""


@dataclass(slots=True)
class Served:
    """What a `ServerSession` made of a stream."""

    requests: list[Described] = field(default_factory=list)
    out: bytes = b""
    bad_notifications: int = 0
    protocol_error: str | None = None


@dataclass(slots=True)
class Received:
    """What a `ClientSession` made of a stream."""

    messages: list[Described] = field(default_factory=list)
    protocol_error: str | None = None


def whole(data: bytes) -> list[bytes]:
    return [data]


def single_bytes(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def cut(data: bytes, positions: Iterable[int]) -> Iterator[bytes]:
    """The data cut at these positions, taken modulo its length; the same position twice gives an empty piece."""
    start = 0
    for position in sorted(position % (len(data) + 1) for position in positions):
        yield data[start:position]
        start = position
    yield data[start:]


def serve(pieces: Iterable[bytes], session: ServerSession | None = None) -> Served:
    """Feed a session, answer each request at once, and take its output after every piece."""
    session = session or ServerSession()
    served = Served()
    for piece in pieces:
        session.receive_data(piece)
        while True:
            while (request := session.next_request()) is not None:
                served.requests += describe_frames(request)
                answer(session, request)
            was_full = session.full
            served.out += session.data_to_send()
            if not was_full:
                break
    served.bad_notifications = session.bad_notifications
    served.protocol_error = None if session.protocol_error is None else str(session.protocol_error)
    assert session.drained, "every request was answered"
    return served


def receive(pieces: Iterable[bytes], session: ClientSession | None = None) -> Received:
    """Feed a client's session and take its messages after every piece, until it refuses the stream."""
    session = session or ClientSession()
    received = Received()
    for piece in pieces:
        session.receive_data(piece)
        try:
            while (message := session.next_message()) is not None:
                if isinstance(message, Response):
                    error = None if message.error is None else (type(message.error), str(message.error))
                    received.messages.append((message.msgid, error, repr(message.result)))
                else:
                    received.messages.append((message.method, repr(message.params)))
        except ProtocolError as error:
            received.protocol_error = str(error)
            break
    return received


def answer(session: ServerSession, request: Request) -> None:
    """An answer of each kind, which depends on nothing but the request."""
    if request.command.name == "status":
        session.reply_statuses(request, bytes(index % 3 for _, size in frames_of(request) for index in range(size)))
    elif request.command.name == "watch":
        session.reply_watched(request, "run.7", bytes(index % 3 for index in range(len(request.ids))))
    elif request.command.name == "heartbeat":
        session.reply_counts(request, bytes([1] * len(request.ids)))
    elif request.command.name == "info":
        session.fail(request, BadRequest("no"))
    else:
        session.reply(request, len(request.ids))


def frames_of(request: Request) -> Sequence[tuple[int | None, int]]:
    """The frames that a request stands for: the msgid and the count of ids of each."""
    return [(request.msgid, len(request.ids))] if request.run is None else request.run.frames


def describe_frames(request: Request) -> list[Described]:
    """The frames that a request stands for, each as if it had come out by itself."""
    if request.run is None:
        return [describe(request)]
    ids = iter(request.ids)
    described = []
    for msgid, count in request.run.frames:
        frame_ids = IdBatch.of_canonical([next(ids) for _ in range(count)])
        described.append(describe(replace(request, msgid=msgid, ids=frame_ids, run=None)))
    assert next(ids, None) is None
    assert request.msgid == next((msgid for msgid, _ in request.run.frames if msgid is not None), None)
    return described


def describe(request: Request) -> Described:
    """All of a request, as a value that compares."""
    options = request.options
    return (
        request.command.name,
        request.msgid,
        list(request.ids),
        request.cursor,
        request.limit,
        request.member,
        {name: getattr(options, name) for name in options.__slots__},
    )

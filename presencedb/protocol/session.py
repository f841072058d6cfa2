"""Both ends of a connection without I/O: bytes in, messages out, and the bytes to send.

`ServerSession` is what node and router put behind a socket, `ClientSession` what every client puts in front of one. Neither
knows of asyncio or threads; whoever owns the socket calls `receive_data`, takes messages until there are none, and sends
what `data_to_send` returns.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from presencedb.errors import Busy, Error
from presencedb.limits import MSGID_MAX, REPLIES_OWED_MAX, REQUESTS_IN_FLIGHT_MAX, WRITE_HIGH_WATER_BYTES
from presencedb.protocol.codec import (
    ClientDecoder,
    ServerDecoder,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    encode_statuses,
    encode_times,
    encode_watched,
)
from presencedb.protocol.messages import COLUMN_METHODS, Malformed, Notification, Request, Response


class ServerSession:
    """The server's end: requests come out in order, and their replies go out in that order, whenever they are given.

    Frames that cannot be taken are answered here, in their place, and never reach the caller. What a client can make a
    session hold is bounded: beyond `REQUESTS_IN_FLIGHT_MAX` requests that wait for their answers, further ones are refused;
    and when twice as many replies are owed, or much output has not been taken, the session is `full` and gives out nothing
    until that has changed. Who owns the socket then reads no more from it.
    """

    def __init__(self, *, run_frames_max: int = 1) -> None:
        """Begin a session.

        Args:
            run_frames_max: how many frames that ask the same may come out as one request, where the codec can do that.
        """
        self._decoder = ServerDecoder()
        self._run_frames_max = run_frames_max
        self._owed: deque[Request | bytes] = deque()  # requests in order, and the replies to frames refused between them
        self._owed_count = 0  # replies to them all
        self._out: list[bytes] = []
        self._encoded_bytes = 0  # replies and notifications that have not been taken, those held by order included
        self._refused_count = 0  # frames refused since output was last taken
        self.bad_notifications = 0
        """Notifications that were dropped because something in them was wrong."""
        self.protocol_error: Error | None = None
        """What ended this session. Nothing more is read; once `drained`, the connection is to close."""

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they came, in pieces of any size. The data is copied."""
        if self.protocol_error is None:
            self._decoder.feed(data)

    def next_request(self) -> Request | None:
        """The next sound request or notification; None until more bytes come, or while the session is `full`."""
        while self.protocol_error is None and not self.full:
            waiting = self._owed_count
            message = self._decoder.next_message(max(1, min(self._run_frames_max, REQUESTS_IN_FLIGHT_MAX - waiting)))
            if message is None:
                return None
            if isinstance(message, Malformed):
                self._refuse(message)
                continue
            if message.msgid is None:
                return message
            if waiting >= REQUESTS_IN_FLIGHT_MAX:
                busy = Busy(f"at most {REQUESTS_IN_FLIGHT_MAX} requests in flight, {waiting} are waiting")
                self._refuse(Malformed(message.msgid, busy, fatal=False))
                continue
            self._owed.append(message)
            self._owed_count += message.frame_count
            return message
        return None

    @property
    def full(self) -> bool:
        """Whether requests are held back although more may be there.

        It ends by taking `data_to_send`, or by answers to the requests that wait. Then call `next_request` again: it may
        have something without more bytes.
        """
        return (
            self._encoded_bytes >= WRITE_HIGH_WATER_BYTES
            or self._owed_count >= REPLIES_OWED_MAX
            or self._refused_count >= REQUESTS_IN_FLIGHT_MAX
        )

    def reply(self, request: Request, result: Any) -> None:
        """Answer a request. A notification gets no answer, so this does nothing then."""
        if request.msgid is not None:
            self._answer(request, encode_result(request.msgid, result))

    def reply_statuses(self, request: Request, statuses: bytes) -> None:
        """Answer a request with an array of true, false and nil, from one `Status` byte each."""
        if request.run is not None:
            self._answer(request, request.run.encode_statuses(statuses))
        elif request.msgid is not None:
            self._answer(request, encode_statuses(request.msgid, statuses))

    def reply_times(self, request: Request, times_ms: array[int]) -> None:
        """Answer a request with an array of Unix milliseconds (type code 'q'), and nil for those below 0."""
        if request.msgid is not None:
            self._answer(request, encode_times(request.msgid, times_ms))

    def reply_watched(self, request: Request, cursor: str, statuses: bytes) -> None:
        """Answer a request to watch with a cursor and the statuses there, from one `Status` byte each."""
        if request.msgid is not None:
            self._answer(request, encode_watched(request.msgid, cursor, statuses))

    def reply_counts(self, request: Request, marks: bytes | bytearray) -> None:
        """Answer a request with how many of its ids are marked with 1, from one byte each."""
        if request.msgid is None:
            return
        if request.run is None:
            self._answer(request, encode_result(request.msgid, sum(marks)))
        else:
            self._answer(request, request.run.encode_counts(marks))

    def reply_frames(self, request: Request, answers: Sequence[Error | int | bytes]) -> None:
        """Answer each frame of a run by itself: with an error, a number, or statuses from one `Status` byte each.

        Raises:
            ValueError: there is not one answer for each frame.
        """
        assert request.run is not None
        frames: list[bytes] = []
        for (msgid, _), answer in zip(request.run.frames, answers, strict=True):
            if msgid is None:
                self.bad_notifications += isinstance(answer, Error)
            elif isinstance(answer, Error):
                frames.append(encode_error(msgid, answer))
            elif isinstance(answer, bytes):
                frames.append(encode_statuses(msgid, answer))
            else:
                frames.append(encode_result(msgid, answer))
        if frames:
            self._answer(request, b"".join(frames))

    def fail(self, request: Request, error: Error) -> None:
        """Answer a request with an error; count it where it was a notification."""
        msgids = [request.msgid] if request.run is None else request.run.msgids
        frames = [encode_error(msgid, error) for msgid in msgids if msgid is not None]
        self.bad_notifications += request.frame_count - len(frames)
        if frames:
            self._answer(request, b"".join(frames))

    def push(self, frame: bytes) -> None:
        """Send an encoded notification, after the replies given so far."""
        self._out.append(frame)
        self._encoded_bytes += len(frame)

    def data_to_send(self) -> bytes:
        """Take what is to be sent."""
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._encoded_bytes -= len(data)
        self._refused_count = 0
        return data

    @property
    def drained(self) -> bool:
        """Whether every request has its answer on the way."""
        return not self._owed

    def _answer(self, request: Request, frame: bytes) -> None:
        self._encoded_bytes += len(frame)
        request.reply = frame
        owed = self._owed
        while owed:
            first = owed[0]
            reply = first if isinstance(first, bytes) else first.reply
            if reply is None:
                return
            owed.popleft()
            self._owed_count -= 1 if isinstance(first, bytes) else first.frame_count
            self._out.append(reply)

    def _refuse(self, malformed: Malformed) -> None:
        self._refused_count += 1
        if malformed.fatal:
            self.protocol_error = malformed.error
        if malformed.msgid is None:
            self.bad_notifications += not malformed.fatal
            return
        frame = encode_error(malformed.msgid, malformed.error)
        self._encoded_bytes += len(frame)
        if self._owed:
            self._owed.append(frame)
            self._owed_count += 1
        else:
            self._out.append(frame)


@dataclass(slots=True, eq=False)
class Traffic:
    """What went over a connection: requests and notifications sent, and all bytes both ways."""

    frames_sent: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def add(self, other: Traffic) -> None:
        """Count what went over another one too."""
        self.frames_sent += other.frames_sent
        self.bytes_sent += other.bytes_sent
        self.bytes_received += other.bytes_received


class ClientSession:
    """The client's end: numbers requests, and tells which response belongs to which."""

    def __init__(self, *, columns: bool = False) -> None:
        """Begin a session.

        Args:
            columns: the results of `status` and `last_seen` come as columns, without an object for each id: `bytes` with one
                `Status` each, and an `array('q')` of Unix milliseconds, -1 for nil. One of another shape comes as a
                ProtocolError, as if it were the server's answer.
        """
        self.traffic = Traffic()
        self._columns: dict[int, str] = {}
        self._as_columns = columns
        self._decoder = ClientDecoder(self._columns)
        self._next_msgid = 0
        self._out: list[bytes] = []

    def request(self, method: str, params: Sequence[Any]) -> int:
        """Queue a request, whose ids may be an `IdBatch`; returns its msgid."""
        msgid = self._next_msgid
        self._next_msgid = (msgid + 1) & MSGID_MAX
        self._out.append(encode_request(msgid, method, params))
        self.traffic.frames_sent += 1
        if self._as_columns and method in COLUMN_METHODS:
            self._columns[msgid] = method
        return msgid

    def notify(self, method: str, params: Sequence[Any]) -> None:
        """Queue a notification, which gets no answer."""
        self._out.append(encode_notification(method, params))
        self.traffic.frames_sent += 1

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they came, in pieces of any size. The data is copied."""
        self.traffic.bytes_received += len(data)
        self._decoder.feed(data)

    def next_message(self) -> Response | Notification | None:
        """The next response or notification, or None until more bytes come.

        Raises:
            ProtocolError: the peer does not speak this protocol; close the connection.
        """
        return self._decoder.next_message()

    def data_to_send(self) -> bytes:
        """Take what is to be sent."""
        data = b"".join(self._out)
        self._out.clear()
        self.traffic.bytes_sent += len(data)
        return data

"""Both ends of a connection without I/O: bytes in, messages out, and the bytes to send.

`ServerSession` is what node and router put behind a socket, `ClientSession` what every client puts in front of one. Neither
knows of asyncio or threads; whoever owns the socket calls `receive_data`, takes messages until there are none, and sends
what `data_to_send` returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from presencedb.errors import Busy, Error
from presencedb.limits import MSGID_MAX, REQUESTS_IN_FLIGHT_MAX
from presencedb.protocol.codec_python import (
    ClientDecoder,
    ServerDecoder,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    encode_statuses,
)
from presencedb.protocol.messages import Malformed, Notification, Request, Response


@dataclass(slots=True)
class _Answered:
    """The place, among requests that wait for their answers, of a frame that was refused at once."""

    reply: bytes | None


class ServerSession:
    """The server's end: requests come out in order, and their replies go out in that order, whenever they are given.

    Frames that cannot be taken are answered here, in their place, and never reach the caller.
    """

    def __init__(self) -> None:
        self._decoder = ServerDecoder()
        self._unanswered: deque[Request | _Answered] = deque()
        self._out: list[bytes] = []
        self.bad_notifications = 0
        """Notifications that were dropped because something in them was wrong."""
        self.protocol_error: Error | None = None
        """What ended this session. Nothing more is read; once `drained`, the connection is to close."""

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they came, in pieces of any size. The data is copied."""
        if self.protocol_error is None:
            self._decoder.feed(data)

    def next_request(self) -> Request | None:
        """The next sound request or notification, or None until more bytes come."""
        while self.protocol_error is None:
            message = self._decoder.next_message()
            if message is None:
                return None
            if isinstance(message, Malformed):
                self._reject(message)
                continue
            if message.msgid is None:
                return message
            if len(self._unanswered) >= REQUESTS_IN_FLIGHT_MAX:
                waiting = len(self._unanswered)
                self._unanswered.append(message)
                self.fail(message, Busy(f"at most {REQUESTS_IN_FLIGHT_MAX} requests in flight, {waiting} are waiting"))
                continue
            self._unanswered.append(message)
            return message
        return None

    def reply(self, request: Request, result: Any) -> None:
        """Answer a request. A notification gets no answer, so this does nothing then."""
        if request.msgid is not None:
            self._answer(request, encode_result(request.msgid, result))

    def reply_statuses(self, request: Request, statuses: bytes) -> None:
        """Answer a request with an array of true, false and nil, from one `Status` byte each."""
        if request.msgid is not None:
            self._answer(request, encode_statuses(request.msgid, statuses))

    def fail(self, request: Request, error: Error) -> None:
        """Answer a request with an error; count it where it was a notification."""
        if request.msgid is None:
            self.bad_notifications += 1
        else:
            self._answer(request, encode_error(request.msgid, error))

    def push(self, frame: bytes) -> None:
        """Send an encoded notification, after the replies given so far."""
        self._out.append(frame)

    def data_to_send(self) -> bytes:
        """Take what is to be sent."""
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return data

    @property
    def drained(self) -> bool:
        """Whether every request has its answer on the way."""
        return not self._unanswered

    def _answer(self, request: Request, frame: bytes) -> None:
        unanswered = self._unanswered
        if unanswered[0] is request:
            unanswered.popleft()
            self._out.append(frame)
            while unanswered and (reply := unanswered[0].reply) is not None:
                unanswered.popleft()
                self._out.append(reply)
        else:
            request.reply = frame

    def _reject(self, malformed: Malformed) -> None:
        if malformed.fatal:
            self.protocol_error = malformed.error
        if malformed.msgid is None:
            self.bad_notifications += not malformed.fatal
            return
        frame = encode_error(malformed.msgid, malformed.error)
        if self._unanswered:
            self._unanswered.append(_Answered(frame))
        else:
            self._out.append(frame)


class ClientSession:
    """The client's end: numbers requests, and tells which response belongs to which."""

    def __init__(self) -> None:
        self._decoder = ClientDecoder()
        self._next_msgid = 0
        self._out: list[bytes] = []

    def request(self, method: str, params: Sequence[Any]) -> int:
        """Queue a request; returns its msgid."""
        msgid = self._next_msgid
        self._next_msgid = (msgid + 1) & MSGID_MAX
        self._out.append(encode_request(msgid, method, params))
        return msgid

    def notify(self, method: str, params: Sequence[Any]) -> None:
        """Queue a notification, which gets no answer."""
        self._out.append(encode_notification(method, params))

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they came, in pieces of any size. The data is copied."""
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
        return data

"""MessagePack-RPC frames <-> messages, on the msgpack package.

A `Framer` finds where a frame ends without building anything of it, so that a header that claims four billion elements
costs nothing, and a frame is decoded only when all of it is there and within its limit. Each frame is then judged by
itself: an error in one is answered and the next is read, unless the stream itself has lost its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack

from presencedb.errors import BadRequest, Error, ProtocolError, TooLarge, UnknownMethod, from_wire
from presencedb.ids import Id
from presencedb.limits import FRAME_BYTES_MAX, METHOD_BYTES_MAX, MSGID_MAX
from presencedb.protocol.commands import COMMANDS, read_params
from presencedb.protocol.messages import Malformed, Notification, Request, Response

REQUEST: Final = 0
RESPONSE: Final = 1
NOTIFICATION: Final = 2

# A status byte (states.Status) becomes one byte of MessagePack: false, true, nil.
_STATUS_TO_WIRE: Final = bytes([0xC2, 0xC3, 0xC0]).ljust(256, b"\xc0")
_HEAD_BYTES_MAX: Final = 16
"""Enough of a frame to make out the msgid of a request whose rest is unusable."""


class Framer:
    """Cuts a stream of bytes into frames."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._start = 0  # of the current frame, in the buffer
        self._taken_bytes = 0  # of the stream, by frames already cut and dropped from the buffer
        self._skipper = msgpack.Unpacker(max_buffer_size=0)
        self._broken: Error | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they came, in pieces of any size."""
        if self._broken is None:
            self._skipper.feed(data)
            self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole frame, or None while there is none.

        Raises:
            TooLarge: the frame is above the limit. `head` still tells what it is; nothing after it can be read.
            BadRequest: the bytes are not MessagePack; the same.
        """
        if self._broken is not None:
            raise self._broken
        try:
            self._skipper.skip()
        except msgpack.OutOfData:
            self._drop_cut_frames()
            self._check_size(len(self._buffer))
            return None
        except ValueError:
            # FormatError, or nesting deeper than the unpacker's stack.
            raise self._broken_by(BadRequest("not MessagePack, or nested too deeply")) from None
        end = self._skipper.tell() - self._taken_bytes
        self._check_size(end - self._start)
        frame = bytes(memoryview(self._buffer)[self._start : end])
        self._start = end
        return frame

    @property
    def head(self) -> bytes:
        """The first bytes of the frame that is not whole yet."""
        return bytes(memoryview(self._buffer)[self._start : self._start + _HEAD_BYTES_MAX])

    def _check_size(self, size: int) -> None:
        if size > self._frame_bytes_max:
            raise self._broken_by(
                TooLarge(f"a frame has at most {self._frame_bytes_max} bytes, this one has {size} or more")
            )

    def _broken_by(self, error: Error) -> Error:
        self._broken = error
        return error

    def _drop_cut_frames(self) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._taken_bytes += self._start
            self._start = 0


class ServerDecoder:
    """Bytes from a client -> requests."""

    def __init__(self) -> None:
        self._framer = Framer()
        self.feed = self._framer.feed

    def next_message(self) -> Request | Malformed | None:
        """The next request, what is wrong with the next frame, or None while there is no whole frame."""
        try:
            frame = self._framer.next_frame()
        except (TooLarge, BadRequest) as error:
            return Malformed(_peek_msgid(self._framer.head), error, fatal=True)
        if frame is None:
            return None
        try:
            message = _unpack(frame)
        except ValueError as error:
            return Malformed(_peek_msgid(frame), BadRequest(f"not MessagePack: {error}"), fatal=True)
        return _read_request(message)


def _unpack(frame: bytes) -> Any:
    try:
        # A text that is not UTF-8 must not cost the connection: it is decoded to surrogates, which no id or option may hold.
        return msgpack.unpackb(frame, unicode_errors="surrogateescape")
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _read_request(message: Any) -> Request | Malformed:
    msgid: int | None = None
    match message:
        case [0, int(msgid), str(method), list(values)] if _is_msgid(message[0], msgid):
            pass
        case [2, str(method), list(values)] if type(message[0]) is int:
            msgid = None
        case [0, int(msgid), *_] if _is_msgid(message[0], msgid):
            return Malformed(msgid, BadRequest("a request is [0, msgid, method, params]"), fatal=True)
        case _:
            return Malformed(None, BadRequest("not a MessagePack-RPC request or notification"), fatal=True)
    try:
        command = COMMANDS.get(method)
        if command is None:
            raise UnknownMethod(f"no method {_shown_method(method)}; there are: {', '.join(COMMANDS)}")
        if msgid is None and not command.notification:
            raise BadRequest(f"{method} is of no use as a notification")
        params = read_params(command, values)
    except (BadRequest, TooLarge, UnknownMethod) as error:
        return Malformed(msgid, error, fatal=False)
    return Request(command, msgid, params.ids, params.cursor, params.limit, params.options)


def _is_msgid(kind: Any, msgid: int) -> bool:
    # True == 1 and False == 0 in a match: MessagePack booleans are neither a kind nor a msgid.
    return type(kind) is int and type(msgid) is int and 0 <= msgid <= MSGID_MAX


def _shown_method(method: str) -> str:
    text = method.encode(errors="replace")[:METHOD_BYTES_MAX].decode(errors="replace")
    return repr(text)


def _peek_msgid(head: bytes) -> int | None:
    """The msgid of a request from its first bytes: `[0, msgid, ...`, or None where they are anything else."""
    if head[:2] == b"\x94\x00":
        body = head[2:]
    elif head[:4] == b"\xdc\x00\x04\x00":
        body = head[4:]
    else:
        return None
    if not body:
        return None
    if body[0] <= 0x7F:
        return body[0]
    size = {0xCC: 1, 0xCD: 2, 0xCE: 4}.get(body[0])
    if size is None or len(body) < 1 + size:
        return None
    return int.from_bytes(body[1 : 1 + size], "big")


class ClientDecoder:
    """Bytes from a server -> responses and notifications."""

    def __init__(self) -> None:
        self._framer = Framer()
        self.feed = self._framer.feed

    def next_message(self) -> Response | Notification | None:
        """The next message, or None while there is no whole frame.

        Raises:
            ProtocolError: the peer does not speak MessagePack-RPC as presencedb does; the connection is of no more use.
        """
        try:
            frame = self._framer.next_frame()
            message = None if frame is None else _unpack(frame)
        except (TooLarge, BadRequest, ValueError) as error:
            raise ProtocolError(f"the server's answer is not understood: {error}") from None
        match message:
            case None if frame is None:
                return None
            case [1, int(msgid), None, result] if _is_msgid(message[0], msgid):
                return Response(msgid, None, result)
            case [1, int(msgid), [str(code), str(text)], None] if _is_msgid(message[0], msgid):
                return Response(msgid, from_wire(code, text), None)
            case [2, str(method), list(params)] if type(message[0]) is int:
                return Notification(method, params)
        raise ProtocolError("the server sent something that is neither a response nor a notification")


_pack: Callable[[Any], bytes] = msgpack.Packer().pack


def encode_request(msgid: int, method: str, params: Sequence[Any]) -> bytes:
    """A request frame."""
    return _pack((REQUEST, msgid, method, params))


def encode_notification(method: str, params: Sequence[Any]) -> bytes:
    """A notification frame, in either direction."""
    return _pack((NOTIFICATION, method, params))


def encode_result(msgid: int, result: Any) -> bytes:
    """A response frame with a result."""
    return _pack((RESPONSE, msgid, None, result))


def encode_error(msgid: int, error: Error) -> bytes:
    """A response frame with an error."""
    return _pack((RESPONSE, msgid, (error.code, error.message), None))


def encode_statuses(msgid: int, statuses: bytes) -> bytes:
    """A response frame whose result is an array of true, false and nil, from one `Status` byte each."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(4)
    packer.pack(RESPONSE)
    packer.pack(msgid)
    packer.pack(None)
    packer.pack_array_header(len(statuses))
    return bytes(packer.bytes()) + statuses.translate(_STATUS_TO_WIRE)


def encode_presence(cursor: str, events: Sequence[tuple[Id, bool | None, int, str]]) -> bytes:
    """A `presence` notification: the cursor after these events, each `(id, online, at_ms, reason)`."""
    return _pack((NOTIFICATION, "presence", (cursor, events)))

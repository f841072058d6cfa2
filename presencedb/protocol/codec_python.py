"""MessagePack-RPC frames -> messages, on the msgpack package.

A `Framer` finds where a frame ends without building anything of it, so that a header that claims four billion elements
costs nothing, and a frame is decoded only when all of it is there and within its limit. Each frame is then judged by
itself: an error in one is answered and the next is read, unless the stream itself has lost its shape.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from types import NoneType
from typing import Any, Final, NoReturn

import msgpack

from presencedb.errors import BadRequest, Error, ProtocolError, TooLarge, UnknownMethod, from_wire
from presencedb.limits import FRAME_BYTES_MAX, KIB, METHOD_BYTES_MAX, MSGID_MAX
from presencedb.protocol.command import Command
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.messages import NOTIFICATION, REQUEST, RESPONSE, Malformed, Notification, Request, Response
from presencedb.protocol.params import Params, read_params
from presencedb.states import Status

HEAD_BYTES_MAX: Final = 24
"""Enough of a frame to make out its kind and msgid, in the longest form of each."""
DEPTH_MAX: Final = 1024
"""Arrays and maps open at once; msgpack's unpacker can hold no more."""
NOT_MESSAGEPACK: Final = "not MessagePack, or nested too deeply"
# How much more depends on how the stream was cut, so it is not said.
FRAME_TOO_LARGE: Final = f"a frame has at most {FRAME_BYTES_MAX} bytes, this one has more"
_SKIPPER_BYTES: Final = 4 * KIB
"""An unpacker's own buffer only ever grows, so one that took more than this is not kept while a connection idles."""
_GUARDED_FRAME_BYTES: Final = 64 * KIB
_GUARDED_CONTAINERS_MAX: Final = 8
"""A sound request has five arrays and maps: frame, params, ids, options, slots. An empty one takes 1 byte on the wire and 64
in memory, so a frame above `_GUARDED_FRAME_BYTES` is refused at the ninth instead of after four million."""
_MAP_PAIRS_MAX: Final = 64 * KIB
"""Where the unpacker gives up on a map, long before it costs time. How many options a request may have is another matter."""

_STATUS_OF: Final = {False: Status.OFFLINE, True: Status.ONLINE, None: Status.UNKNOWN}
_BOOL_OR_NONE: Final[set[type]] = {bool, NoneType}
_INT_OR_NONE: Final[set[type]] = {int, NoneType}
_TIME_MS_MAX: Final = 2**63 - 1


class Framer:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0  # of the current frame, in the buffer
        self._skipper = _new_skipper()
        self._skipper_offset = 0  # of the buffer's first byte, as the skipper counts
        self._broken: Error | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they came, in pieces of any size."""
        if self._broken is None:
            self._skipper.feed(data)
            self._buffer += data

    def next_frame(self) -> bytearray | None:
        """The next whole frame, or None while there is none.

        Raises:
            TooLarge: the frame is above the limit. `head` still tells what it is; nothing after it can be read.
            BadRequest: the bytes are not MessagePack; the same.
        """
        if self._broken is not None:
            raise self._broken
        if self._start == len(self._buffer):
            self._drop_cut_frames()
            return None
        try:
            self._skipper.skip()
        except msgpack.OutOfData:
            self._drop_cut_frames()
            self._check_size(len(self._buffer))
            return None
        except ValueError:
            # FormatError, or nesting deeper than the unpacker's stack.
            raise self.break_off(BadRequest(NOT_MESSAGEPACK)) from None
        end = self._skipper.tell() - self._skipper_offset
        self._check_size(end - self._start)
        frame = self._buffer[self._start : end]
        self._start = end
        return frame

    @property
    def head(self) -> bytes:
        """The first bytes of the frame that is not whole yet."""
        return bytes(self._buffer[self._start : self._start + HEAD_BYTES_MAX])

    def _check_size(self, size: int) -> None:
        if size > FRAME_BYTES_MAX:
            raise self.break_off(TooLarge(FRAME_TOO_LARGE))

    def break_off(self, error: Error) -> Error:
        """Take no more bytes; `next_frame` raises this error from now on. Returns it."""
        self._broken = error
        self._buffer = bytearray(self.head)
        self._start = 0
        self._skipper = _new_skipper()
        return error

    def _drop_cut_frames(self) -> None:
        if not self._start:
            return
        del self._buffer[: self._start]
        self._skipper_offset += self._start
        self._start = 0
        if not self._buffer and self._skipper_offset > _SKIPPER_BYTES:
            self._skipper = _new_skipper()
            self._skipper_offset = 0


def _new_skipper() -> msgpack.Unpacker:
    return msgpack.Unpacker(max_buffer_size=0, read_size=_SKIPPER_BYTES)


class ServerDecoder:
    """Bytes from a client -> requests."""

    def __init__(self) -> None:
        self._framer = Framer()
        self.feed = self._framer.feed

    def next_message(self, frame_count_max: int = 1) -> Request | Malformed | None:  # noqa: ARG002 - makes no runs
        """The next request, what is wrong with the next frame, or None while there is no whole frame.

        A decoder may give up to `frame_count_max` frames that ask the same as one request; this one never does.
        """
        try:
            frame = self._framer.next_frame()
        except (TooLarge, BadRequest) as error:
            return Malformed(peek(self._framer.head)[1], error, fatal=True)
        return None if frame is None else read_frame(frame)


def read_frame(frame: bytes | bytearray) -> Request | Malformed:
    """The request in a whole frame, or what is wrong with it."""
    try:
        message = _unpack(frame)
    except BadRequest as error:
        kind, msgid = peek(frame[:HEAD_BYTES_MAX])
        return Malformed(msgid, error, fatal=kind is None)
    return _read_request(message)


def read_after_ids(command: Command, data: bytes) -> Params | None:
    """The one value after the ids of a call, options or a cursor; None where it is wrong for this command."""
    try:
        return read_params(command, [0, _unpack(data)])
    except (BadRequest, TooLarge):
        return None


def _unpack(frame: bytes | bytearray) -> Any:
    """The values of a whole frame, or one of them.

    Raises:
        BadRequest: one of them cannot be had, although the frame is MessagePack.
    """
    read_array, read_map = (None, _read_map) if len(frame) <= _GUARDED_FRAME_BYTES else _guarded_readers()
    try:
        return msgpack.unpackb(
            frame,
            # A text that is not UTF-8 must not cost the connection: it becomes surrogates, which no id or option may hold.
            unicode_errors="surrogateescape",
            list_hook=read_array,
            object_pairs_hook=read_map,
            ext_hook=_refuse_extension,
            strict_map_key=False,
            max_map_len=_MAP_PAIRS_MAX,
        )
    except ValueError as error:
        # A map beyond all reason, a timestamp of no known length or of too many nanoseconds.
        raise BadRequest(f"a value cannot be read: {error}") from None


def _read_map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if type(name) is not str:
            raise BadRequest("the keys of a map are text")
        if name in found:
            raise BadRequest("a map has a key twice")
        found[name] = value
    return found


def _refuse_extension(code: int, _data: bytes) -> NoReturn:
    raise BadRequest(f"a request has no extension values, but this one has one of type {code}")


def _guarded_readers() -> tuple[Callable[[list[Any]], list[Any]], Callable[[list[tuple[Any, Any]]], dict[str, Any]]]:
    container_count = 0

    def count() -> None:
        nonlocal container_count
        container_count += 1
        if container_count > _GUARDED_CONTAINERS_MAX:
            raise BadRequest(
                f"a request of this size has at most {_GUARDED_CONTAINERS_MAX} arrays and maps, nested ones counted"
            )

    def read_array(values: list[Any]) -> list[Any]:
        count()
        return values

    def read_map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        count()
        return _read_map(pairs)

    return read_array, read_map


def _read_request(message: Any) -> Request | Malformed:
    # Spelled out: a `match` statement takes three times as long, and this runs once a frame.
    if type(message) is not list or len(message) < 2 or type(message[0]) is not int:
        return _not_rpc()
    if message[0] == REQUEST and _is_msgid(message[1]):
        msgid: int | None = message[1]
        if len(message) != 4 or type(message[2]) is not str or type(message[3]) is not list:
            return Malformed(msgid, BadRequest("a request is [0, msgid, method, params]"), fatal=True)
    elif message[0] == NOTIFICATION and len(message) == 3 and type(message[1]) is str and type(message[2]) is list:
        msgid = None
    else:
        return _not_rpc()
    method: str = message[-2]
    try:
        command = COMMANDS.get(method)
        if command is None:
            raise UnknownMethod(f"no method {_shown_method(method)}; there are: {', '.join(COMMANDS)}")
        if msgid is None and not command.notification:
            raise BadRequest(f"{method} is of no use as a notification")
        params = read_params(command, message[-1])
    except (BadRequest, TooLarge, UnknownMethod) as error:
        return Malformed(msgid, error, fatal=False)
    return Request(command, msgid, params.ids, params.cursor, params.limit, params.options, member=params.member)


def _not_rpc() -> Malformed:
    return Malformed(None, BadRequest("not a MessagePack-RPC request or notification"), fatal=True)


def _is_msgid(value: Any) -> bool:
    # Not isinstance: a MessagePack boolean is no number.
    return type(value) is int and 0 <= value <= MSGID_MAX


def _shown_method(method: str) -> str:
    text = method.encode(errors="replace")[:METHOD_BYTES_MAX].decode(errors="replace")
    return repr(text)


def peek(head: bytes | bytearray) -> tuple[int | None, int | None]:
    """Kind and msgid of a request, or kind alone of a notification, from the first bytes of a frame; else nothing."""
    reader = msgpack.Unpacker(max_buffer_size=HEAD_BYTES_MAX, read_size=HEAD_BYTES_MAX)
    reader.feed(head)
    try:
        size, kind = reader.read_array_header(), reader.unpack()
        if type(kind) is not int:
            return None, None
        if size == 4 and kind == REQUEST and _is_msgid(msgid := reader.unpack()):
            return REQUEST, msgid
    except (msgpack.OutOfData, ValueError):
        return None, None
    return (NOTIFICATION, None) if size == 3 and kind == NOTIFICATION else (None, None)


class ClientDecoder:
    """Bytes from a server -> responses and notifications."""

    def __init__(self, columns: dict[int, str]) -> None:
        """Begin.

        Args:
            columns: the requests whose answers are to come as columns: the method (one of `COLUMN_METHODS`) by msgid. An
                answer takes its own out. `status` is answered by `bytes` then, one `Status` each, and `last_seen` by an
                `array('q')`, Unix milliseconds from 0 on, or -1 for nil. An answer of another shape becomes a
                ProtocolError in its place.
        """
        self._framer = Framer()
        self._columns = columns
        self.feed = self._framer.feed

    def next_message(self) -> Response | Notification | None:
        """The next message, or None while there is no whole frame.

        Raises:
            ProtocolError: the peer does not speak MessagePack-RPC as presencedb does; the connection is of no more use, and
                every later call says so again.
        """
        try:
            frame = self._framer.next_frame()
            return None if frame is None else read_answer(frame, self._columns)
        except ProtocolError as error:
            raise self._framer.break_off(error) from None
        except (TooLarge, BadRequest) as error:
            raise self._framer.break_off(not_understood(error)) from None


def not_understood(error: Exception) -> ProtocolError:
    """What a client says of a stream that it cannot read."""
    return ProtocolError(f"the server's answer is not understood: {error}")


def read_answer(frame: bytes | bytearray, columns: dict[int, str]) -> Response | Notification:
    """The message in a whole frame; `ClientDecoder` says what `columns` are.

    Raises:
        ProtocolError: it is neither a response nor a notification.
    """
    try:
        message = _read_answer(msgpack.unpackb(frame))
    except (BadRequest, ValueError) as error:
        raise not_understood(error) from None
    if not isinstance(message, Response) or not columns or (method := columns.pop(message.msgid, None)) is None:
        return message
    if message.error is None:
        try:
            message.result = _read_statuses(message.result) if method == "status" else _read_times(message.result)
        except ValueError:
            message.error = ProtocolError(f"the server answered {method} with something that is not an array of its values")
            message.result = None
    return message


def _read_statuses(result: Any) -> bytes:
    if type(result) is not list or not set(map(type, result)) <= _BOOL_OR_NONE:
        raise ValueError
    return bytes(map(_STATUS_OF.__getitem__, result))


def _read_times(result: Any) -> array[int]:
    if type(result) is not list or not set(map(type, result)) <= _INT_OR_NONE:
        raise ValueError
    if any(time_ms is not None and not 0 <= time_ms <= _TIME_MS_MAX for time_ms in result):
        raise ValueError
    return array("q", [-1 if time_ms is None else time_ms for time_ms in result])


def _read_answer(message: Any) -> Response | Notification:
    if type(message) is list and len(message) >= 3 and type(message[0]) is int:
        if message[0] == RESPONSE and len(message) == 4 and _is_msgid(message[1]):
            msgid, error, result = message[1:]
            if error is None:
                return Response(msgid, None, result)
            if _is_error(error) and result is None:
                return Response(msgid, from_wire(error[0], error[1]), None)
        elif message[0] == NOTIFICATION and len(message) == 3 and type(message[1]) is str and type(message[2]) is list:
            return Notification(message[1], message[2])
    raise BadRequest("neither a response nor a notification")


def _is_error(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and type(value[0]) is str and type(value[1]) is str

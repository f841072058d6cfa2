"""One connection: an asyncio protocol that drives a `ServerSession` and hands its requests to a service.

Requests are served at once, in the order in which they came. What bounds a connection:

- *its share of a turn*: after `TURN_REQUESTS_MAX` requests or `TURN_IDS_MAX` ids the others have their turn; and when all
  together have had theirs (see `hub`), what came waits for the next one;
- *write pressure*: while more than `WRITE_HIGH_WATER_BYTES` of answers wait for a client that does not read, no further
  request is taken from the session, whatever it holds already, and nothing is read from the socket. So a connection keeps at
  most one read of input and one frame that is not whole yet, and of output twice the high water and the one answer that
  went over it;
- *the service*: it may `hold` a connection whose requests it cannot keep up with. Notifications are owed no reply, so
  nothing else would bound those that are under way.
"""

from __future__ import annotations

import asyncio
import socket
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import structlog

from presencedb.credentials import Right
from presencedb.errors import Error
from presencedb.limits import (
    KEEPALIVE_IDLE_S,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVE_PROBES,
    LAST_WORDS_MS_MAX,
    RUN_FRAMES_MAX,
    SECOND_MS,
    SMALL_INPUT_BYTES,
    TURN_IDS_MAX,
    TURN_REQUEST_IDS,
    TURN_REQUESTS_MAX,
    WRITE_HIGH_WATER_BYTES,
    WRITE_LOW_WATER_BYTES,
)
from presencedb.protocol.messages import Request
from presencedb.protocol.session import ServerSession
from presencedb.transport.http_callers import HTTP_ANSWER, OPENING_BYTES_MAX, is_http

if TYPE_CHECKING:
    from presencedb.transport.hub import Hub

log = structlog.get_logger()


class Service(Protocol):
    """What stands behind connections: a node, a router, a test."""

    def serve(self, connection: Connection, request: Request) -> None:
        """Take a request. It is answered through the connection, at once or later; must not raise."""
        ...

    def has_room(self, connection: Connection) -> None:
        """`Connection.room` was found to be False by the service; now there is room again."""
        ...

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""
        ...


class Connection(asyncio.BufferedProtocol):
    """The server's end of one connection.

    Attributes:
        rights: what the caller may do; None while it has not shown a token that it needs.
        own_rights: whether these were given to this very connection, so that no token changes them.
        token_digest: of the token that it has shown.
        introduction: client, version and name of the token's owner, as logged.
    """

    def __init__(self, hub: Hub, service: Service, rights: frozenset[Right] | None, *, own_rights: bool = False) -> None:
        self.rights = rights
        self.own_rights = own_rights
        self.token_digest: bytes | None = None
        self.introduction = ("", "", "")
        self._hub = hub
        self._service = service
        self._session = ServerSession(run_frames_max=RUN_FRAMES_MAX)
        self._opening = b""  # the first bytes that came
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._high_water_bytes = WRITE_HIGH_WATER_BYTES
        self._turn_ids_left = 0
        self._input_bytes = 0  # that came since a request was served
        self._dirty = False  # the hub will flush this
        self._unfinished = False  # the session may hold more requests; until they are done nothing is read
        self._scheduled = False  # the hub will go on with them
        self._pressed = False  # the transport holds more than the high water
        self._held_back = False  # the service waits for room
        self._held = False  # the service takes no request for now
        self._reading = True
        self._ended = False  # no more input is wanted: the peer's end, a protocol error, or a close from here
        self._discarding = False  # input is read and thrown away, so that the peer gets to read what was written to it
        self._last_words: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """The other end, for logs: `127.0.0.1:40312`, or `unix`."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix"

    @property
    def bad_notifications(self) -> int:
        """Notifications that were dropped because something in them was wrong."""
        return self._session.bad_notifications

    # --- what a service does ---------------------------------------------------------------------------------------

    def reply(self, request: Request, result: Any) -> None:
        """Answer a request; nothing happens where it was a notification."""
        self._session.reply(request, result)
        self._answered()

    def reply_statuses(self, request: Request, statuses: bytes) -> None:
        """Answer a request with an array of true, false and nil, from one `Status` byte each."""
        self._session.reply_statuses(request, statuses)
        self._answered()

    def reply_times(self, request: Request, times_ms: array[int]) -> None:
        """Answer a request with an array of Unix milliseconds (type code 'q'), and nil for those below 0."""
        self._session.reply_times(request, times_ms)
        self._answered()

    def reply_watched(self, request: Request, cursor: str, statuses: bytes) -> None:
        """Answer a request to watch with a cursor and the statuses there, from one `Status` byte each."""
        self._session.reply_watched(request, cursor, statuses)
        self._answered()

    def reply_counts(self, request: Request, marks: bytes | bytearray) -> None:
        """Answer a request with how many of its ids are marked with 1, from one byte each."""
        self._session.reply_counts(request, marks)
        self._answered()

    def reply_frames(self, request: Request, answers: Sequence[Error | int | bytes]) -> None:
        """Answer each frame of a run by itself: with an error, a number, or statuses from one `Status` byte each."""
        self._session.reply_frames(request, answers)
        self._answered()

    def fail(self, request: Request, error: Error) -> None:
        """Answer a request with an error; where it was a notification it is counted."""
        self._session.fail(request, error)
        self._answered()

    def push(self, frame: bytes) -> None:
        """Send an encoded notification, after the replies given so far."""
        self._session.push(frame)
        self._collect()

    @property
    def room(self) -> bool:
        """Whether a service may push. If not, it is told by `has_room` when it may, unless the connection ends.

        What waits then is at most the high water and the one notification that went over it.
        """
        if self._ended or self._transport is None:
            return False
        if self._pressed or self._out_bytes + self._transport.get_write_buffer_size() > self._high_water_bytes:
            self._held_back = True
            return False
        return True

    def hold(self) -> None:
        """Take no further request, and read nothing, until `release`; for a service that has too much of it under way."""
        self._held = True

    def release(self) -> None:
        """Go on after `hold`."""
        if self._held:
            self._held = False
            self._schedule_rest()

    def limit_output(self, high_water_bytes: int, low_water_bytes: int) -> None:
        """From now on let no more than this wait for a client that does not read, instead of `WRITE_HIGH_WATER_BYTES`; once
        more does, nothing is taken or pushed before it is `low_water_bytes`."""
        self._high_water_bytes = high_water_bytes
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=high_water_bytes, low=low_water_bytes)
            _limit_unsent(self._transport.get_extra_info("socket"), low_water_bytes)

    @property
    def is_small(self) -> bool:
        """Whether what waits to be served is so little that it may go before others."""
        return self._input_bytes <= SMALL_INPUT_BYTES

    def charge(self, id_count: int) -> None:
        """Count work beyond that for the ids of a request, done for it, against this connection's share of the turn."""
        self._turn_ids_left -= id_count

    # --- what the hub does -----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what has been collected."""
        self._dirty = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._out_bytes:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            transport.write(data)
        if self._ended and not self._unfinished and self._session.drained:
            self._finish(transport)
        elif self._held_back and not self._pressed:
            self._held_back = False
            self._service.has_room(self)

    def go_on(self) -> None:
        """Take up the requests that were left over."""
        self._scheduled = False
        if self._transport is not None:
            self._work()

    def close(self) -> None:
        """Read no more; close when everything answered so far has been written."""
        if not self._ended:
            self._discarding = True
            self._end()

    def abort(self) -> None:
        """Close at once, whatever is left to write."""
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES, low=WRITE_LOW_WATER_BYTES)
        _tune(transport.get_extra_info("socket"))
        self._hub.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._transport = None
        self._ended = True
        self._out.clear()
        self._out_bytes = 0
        if self._last_words is not None:
            self._last_words.cancel()
        self._hub.remove(self)
        self._service.closed(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio names it
        return self._hub.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._hub.reads += 1
        if self._ended:
            return
        if not self._opening:
            self._opening = bytes(self._hub.read_buffer[: min(nbytes, OPENING_BYTES_MAX)])
        self._session.receive_data(self._hub.read_buffer[:nbytes])
        self._input_bytes += nbytes
        if self._unfinished:
            self._update_reading()
        elif self._hub.has_time:
            self._work()
        else:
            self._unfinished = True
            self._schedule_rest()
            if not self.is_small:  # else its turn comes sooner than more input, as a rule
                self._update_reading()

    def eof_received(self) -> bool:
        if self._transport is None:
            return False
        self._ended = True
        self._discarding = False
        if not self._unfinished:
            self.flush()
        # Plain sockets stay open for the answers that are still to be written. TLS cannot be closed on one side only.
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        self._pressed = True
        self._update_reading()

    def resume_writing(self) -> None:
        self._pressed = False
        self._update_reading()
        self._schedule_rest()
        if self._held_back:
            self._mark_dirty()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Serve what the session holds, within this connection's share of the turn."""
        session, serve = self._session, self._service.serve
        requests_left = TURN_REQUESTS_MAX
        self._turn_ids_left = TURN_IDS_MAX
        self._unfinished = False
        while self._may_serve and requests_left > 0 and self._turn_ids_left > 0:
            request = session.next_request()
            if request is None:
                self._unfinished = session.full
                if self._unfinished:  # of refusals, or of large answers: more than a share in any case
                    self._turn_ids_left = min(self._turn_ids_left, 0)
                elif requests_left < TURN_REQUESTS_MAX:
                    self._input_bytes = 0
                self._collect()
                if session.protocol_error is not None and not self._ended:
                    self._hub.protocol_errors += 1
                    log.debug("connection refused for what it sent", peer=self.peer, error=str(session.protocol_error))
                    self._discarding = True
                    if is_http(self._opening):
                        self._write(HTTP_ANSWER)
                    self._end()
                break
            requests_left -= request.frame_count
            self._turn_ids_left -= len(request.ids) + TURN_REQUEST_IDS
            serve(self, request)
        else:
            self._unfinished = True
        self._hub.spend(TURN_IDS_MAX - self._turn_ids_left)
        self._schedule_rest()
        if self._ended:
            self._mark_dirty()
        self._update_reading()

    @property
    def _may_serve(self) -> bool:
        return not self._pressed and not self._held and self._out_bytes < self._high_water_bytes

    def _collect(self) -> None:
        self._write(self._session.data_to_send())

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and self._last_words is None:
            self._out.append(data)
            self._out_bytes += len(data)
            self._mark_dirty()

    def _answered(self) -> None:
        self._collect()
        if self._unfinished:
            self._schedule_rest()

    def _schedule_rest(self) -> None:
        # A session that is still full waits for answers to earlier requests; whoever gives one comes by here again.
        may_go_on = not self._pressed and not self._held and not self._session.full
        if self._unfinished and not self._scheduled and may_go_on:
            self._scheduled = True
            self._hub.mark_unfinished(self)

    def _end(self) -> None:
        self._ended = True
        self._update_reading()
        self._mark_dirty()

    def _finish(self, transport: asyncio.Transport) -> None:
        """Everything is written: close, or let a peer that may still be sending read it before it is cut off."""
        if not self._discarding or not transport.can_write_eof():
            transport.close()
        elif self._last_words is None:
            transport.write_eof()
            self._last_words = self._hub.loop.call_later(LAST_WORDS_MS_MAX / SECOND_MS, transport.close)

    def _mark_dirty(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._hub.mark_dirty(self)

    def _update_reading(self) -> None:
        transport = self._transport
        reading = self._discarding or not (self._pressed or self._unfinished or self._ended)
        if transport is None or transport.is_closing() or reading == self._reading:
            return
        self._reading = reading
        if reading:
            transport.resume_reading()
        else:
            transport.pause_reading()


def _tune(sock: socket.socket) -> None:
    """Small answers leave at once, and a peer that vanished is noticed."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def _limit_unsent(sock: socket.socket, unsent_bytes: int) -> None:
    """Let the kernel keep no more than about this of what it cannot send yet. By itself it takes megabytes for a peer that
    does not read: memory that no figure of this process shows, and that all connections of the machine share."""
    if sock.family in {socket.AF_INET, socket.AF_INET6} and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_bytes)

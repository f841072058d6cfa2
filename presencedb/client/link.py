"""One connection of a client, in asyncio: a socket around a `ClientSession`.

Calls are pipelined without anybody asking for it: a request goes into the session, the session's bytes are written once at
the end of the loop's turn, and answers find their callers by msgid. A caller waits when the peer does not keep up: while
the transport holds more than its high water, or as many requests are in flight as a server allows.

A link ends once, with one error, which everybody who waits on it gets. It never reconnects; see `connector`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from presencedb.client.failures import copy_of, lost_error, not_asked, not_understood, silence_error
from presencedb.client.forks import close_in_child
from presencedb.client.liveness import Liveness, Verdict
from presencedb.client.values import ServerInfo
from presencedb.errors import Error, ProtocolError
from presencedb.limits import (
    CLIENT_IN_FLIGHT_MAX,
    CLIENT_UNWRITTEN_IDS_MAX,
    READ_BUFFER_BYTES,
    WRITE_HIGH_WATER_BYTES,
    WRITE_LOW_WATER_BYTES,
)
from presencedb.protocol.messages import Notification, Response
from presencedb.protocol.session import ClientSession, Traffic

CLOSE_WAIT_S: Final = 0.5
"""How long a farewell may take (TLS sends one) before the connection is simply dropped."""


class Waiter(Protocol):
    """What stands for the answer to a request. An `asyncio.Future` is one, whose callbacks run a turn later."""

    def done(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class Link(asyncio.BufferedProtocol):
    """One connection, from the moment its socket is connected until it is lost.

    Attributes:
        address: where it leads, for people.
        server: what the server said of itself; set by whoever opens the link, before it is given out.
        on_lost: called once, when the link ends after `server` was set.
        on_notification: takes what the server tells unasked; it may raise ProtocolError, which ends the link.
        on_room: called when the peer, who did not keep up, takes what is sent again.
    """

    server: ServerInfo

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, address: str) -> None:
        self.address = address
        self.on_lost: Callable[[Link, Error], None] | None = None
        self.on_notification: Callable[[Notification], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self.lost_by: Error | None = None
        """Why the link ended; None while it lives."""
        self.was_of_use = False
        """Whether anything was answered since `server` was set."""
        self._loop = loop
        self._session = ClientSession(columns=True)
        self._buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, Waiter] = {}
        self._waiting_for_room: deque[asyncio.Future[None]] = deque()
        self._writable = True
        self._flush_scheduled = False
        self._unwritten_ids = 0
        self._liveness: Liveness | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._heard_s = loop.time()
        self._gone: asyncio.Future[None] = loop.create_future()
        close_in_child(sock)

    @property
    def traffic(self) -> Traffic:
        """What went over it so far."""
        return self._session.traffic

    # --- calls -------------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether the peer keeps up: `send` is within all bounds."""
        return self._writable and len(self._pending) < CLIENT_IN_FLIGHT_MAX

    async def room(self) -> None:
        """Wait until the peer keeps up: `send` right after this is within all bounds."""
        while self.lost_by is None and not self.has_room:
            await self._wait_for_room()

    def send(self, method: str, params: Sequence[Any], id_count: int = 0) -> asyncio.Future[Any]:
        """Send a request; what to await for its result. Cancelling the wait leaves the link usable.

        Args:
            id_count: how many ids are in it, by which its size is judged.

        Raises:
            Error: the link has ended. The future ends with what the server answered, or why the link ended.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send_for(future, method, params, id_count)
        return future

    def send_for(self, waiter: Waiter, method: str, params: Sequence[Any], id_count: int = 0) -> None:
        """The same, where the answer is given to somebody at once, in its place among the notifications.

        It may raise ProtocolError, which ends the link.
        """
        if self.lost_by is not None:
            raise copy_of(self.lost_by)
        self._pending[self._session.request(method, params)] = waiter
        self._unwritten_ids += id_count
        if self._unwritten_ids > CLIENT_UNWRITTEN_IDS_MAX:
            self._flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_turn)

    def suspect(self, asked_s: float) -> None:
        """What was asked at that loop time is overdue: if nothing at all was heard since, end the link soon."""
        if self._liveness is not None and self._reading:
            self._liveness.suspect(asked_s, self._loop.time())
            self._arm_timer()

    def start_liveness(self) -> None:
        """Watch for silence from now on, at the interval that `server` asks for."""
        self._liveness = Liveness(self.server.heartbeat_interval_ms, self._heard_s)
        self._arm_timer()

    @property
    def is_paused(self) -> bool:
        """Whether nothing is read."""
        return not self._reading

    def pause_reading(self) -> None:
        """Take nothing more from the peer, who will feel it. Its silence is not judged meanwhile."""
        if self._reading and self._transport is not None and self.lost_by is None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what the peer sends again."""
        if not self._reading and self._transport is not None and self.lost_by is None:
            self._reading = True
            self._hear()
            self._transport.resume_reading()

    def end(self, error: Error, *, abort: bool = True) -> None:
        """End the link: everybody who waits gets this error. With `abort`, without a farewell to the peer."""
        if abort:
            self._drop()
        elif self._transport is not None:
            self._transport.close()
        self._lose(error)

    async def close(self, error: Error) -> None:
        """End the link politely and wait until its socket is closed."""
        self.end(error, abort=False)
        try:
            async with asyncio.timeout(CLOSE_WAIT_S):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self._drop()
            await asyncio.shield(self._gone)
        except asyncio.CancelledError:
            self._drop()
            raise

    # --- asyncio calls these -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES, low=WRITE_LOW_WATER_BYTES)
        if self.lost_by is not None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio names it
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.lost_by is not None:
            return
        self._hear()
        try:
            self._session.receive_data(self._buffer[:nbytes])
            while self.lost_by is None and (message := self._session.next_message()) is not None:
                if isinstance(message, Response):
                    self._settle(message)
                elif self.on_notification is not None:
                    self.on_notification(message)
        except ProtocolError as error:
            data = bytes(self._buffer[:nbytes])
            self.end(not_understood(self.address, error, data, greeted=self._liveness is not None))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._make_room()
        if self.on_room is not None:
            self.on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self._lose(lost_error(self.address, exc))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush_turn(self) -> None:
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        self._unwritten_ids = 0
        if self.lost_by is None and self._transport is not None and (data := self._session.data_to_send()):
            self._transport.write(data)

    def _settle(self, response: Response) -> None:
        waiter = self._pending.pop(response.msgid, None)
        if waiter is None:
            raise not_asked(response.msgid)
        self.was_of_use = self._liveness is not None
        if not waiter.done():  # else its caller was cancelled
            if response.error is None:
                waiter.set_result(response.result)
            else:
                waiter.set_exception(response.error)
        if self._waiting_for_room:
            self._make_room()

    async def _wait_for_room(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting_for_room.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # It may have been this one's turn: the next one must not wait for ever.
            self._make_room()
            raise

    def _make_room(self) -> None:
        room = CLIENT_IN_FLIGHT_MAX - len(self._pending) if self._writable or self.lost_by is not None else 0
        while self._waiting_for_room and room > 0:
            waiter = self._waiting_for_room.popleft()
            if not waiter.done():
                waiter.set_result(None)
                room -= 1

    def _hear(self) -> None:
        self._heard_s = self._loop.time()
        if self._liveness is not None:
            self._liveness.hear(self._heard_s)

    def _arm_timer(self) -> None:
        assert self._liveness is not None
        if self._timer is not None:
            self._timer.cancel()
        # Not at once again: with a timer that fires a hair early the loop would spin.
        when = max(self._liveness.next_look_s, self._loop.time() + 0.001)
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        assert self._liveness is not None
        if not self._reading:
            self._hear()
        verdict = self._liveness.look(self._loop.time())
        if verdict is Verdict.DEAD:
            self.end(silence_error(self.address, self._loop.time() - self._heard_s))
            return
        if verdict is Verdict.PING:
            self.send("ping", ()).add_done_callback(_take_exception)
        self._arm_timer()

    def _lose(self, error: Error) -> None:
        if self.lost_by is not None:
            return
        self.lost_by = error
        if self._timer is not None:
            self._timer.cancel()
        pending, self._pending = self._pending, {}
        for waiter in pending.values():
            if not waiter.done():
                waiter.set_exception(copy_of(error))
        while self._waiting_for_room:
            self._make_room()
        if self.on_lost is not None:
            self.on_lost(self, error)


def _take_exception(future: asyncio.Future[Any]) -> None:
    # The answer to a ping, good or bad, is proof enough that somebody is there.
    if not future.cancelled():
        future.exception()

"""One connection of the blocking client: a plain socket around a `ClientSession`, used by one thread at a time.

Requests are queued, and sent by whoever waits for their answers: a `turn` writes what the peer takes, waits for it, and
reads what it sends. It reads while it writes, so that two ends which both have much to say cannot wait for each other.

A channel never reconnects; see `pool` and `blocking_feed`. What goes wrong on it is its end: its owner closes it.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from presencedb.client.failures import lost_error, not_asked, not_understood
from presencedb.client.values import ServerInfo
from presencedb.client.waiting import READABLE, WRITABLE, Alarm, Waiter, now_s
from presencedb.errors import ProtocolError
from presencedb.limits import READ_BUFFER_BYTES, WRITE_HIGH_WATER_BYTES
from presencedb.protocol.messages import Notification, Response
from presencedb.protocol.session import ClientSession, Traffic

AT_ONCE_S: Final = 0.0
"""A moment that is over."""


class Channel:
    """One connection, from the moment its socket is connected (and TLS has begun) until it is closed.

    Attributes:
        address: where it leads, for people.
        server: what the server said of itself; set by whoever opens the channel, before it is given out.
        heard_s: when something came last.
        was_of_use: something was asked and answered since `server` was set; set by who asked.
        era: how often its owner had lost a connection when this one was made, or was of use last; kept by the owner.
    """

    server: ServerInfo
    _open = False

    def __init__(self, sock: socket.socket, address: str, alarm: Alarm) -> None:
        """Take over a connected socket, which must not block.

        Raises:
            Error: the alarm was ended; the socket is still the caller's.
        """
        self._waiter = Waiter(alarm, sock.fileno())
        self._socket = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._open = True
        self.address = address
        self.heard_s = now_s()
        self.was_of_use = False
        self.era = 0
        self._session = ClientSession(columns=True)
        self._buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._send_error: OSError | None = None
        self._greeted = False
        self._came = b""
        """What came last, until the server has been understood once."""

    def fileno(self) -> int:
        """The file descriptor of the socket."""
        return self._socket.fileno()

    @property
    def traffic(self) -> Traffic:
        """What went over it so far."""
        return self._session.traffic

    def request(self, method: str, params: Sequence[Any]) -> int:
        """Queue a request; returns its msgid."""
        msgid = self._session.request(method, params)
        data = self._session.data_to_send()
        self._unsent.append(memoryview(data))
        self._unsent_bytes += len(data)
        return msgid

    @property
    def has_room(self) -> bool:
        """Whether the peer keeps up with what is asked; if not, a `turn` comes first."""
        return self._unsent_bytes < WRITE_HIGH_WATER_BYTES

    def turn(self, until_s: float) -> bool:
        """Send what the peer takes, wait for it or for something to come, and receive that; returns whether something came.

        Raises:
            ConnectError: the connection is lost.
            Error: the alarm was ended.
        """
        self.send()
        wants_to_write = self._unsent and self._send_error is None
        ready = self._waiter.wait(READABLE | WRITABLE if wants_to_write else READABLE, until_s)
        if ready & ~WRITABLE:
            return self._receive()
        if ready:
            self.send()
        return False

    def send(self) -> None:
        """Send what the peer takes at once."""
        while self._unsent and self._send_error is None:
            first = self._unsent[0]
            try:
                sent = self._socket.send(first)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            except OSError as error:
                # The server may have said why before it hung up; reading tells, and then meets the end as well.
                self._send_error = error
                return
            self._unsent_bytes -= sent
            if sent == len(first):
                self._unsent.popleft()
            else:
                self._unsent[0] = first[sent:]

    def next_message(self) -> Response | Notification | None:
        """The next message that has come; None: none has, as a whole.

        Raises:
            ProtocolError: what came is not of this protocol.
        """
        try:
            message = self._session.next_message()
        except ProtocolError as error:
            raise not_understood(self.address, error, self._came, greeted=self._greeted) from None
        if message is not None:
            self._greeted = True
            self._came = b""
        return message

    def ask(self, method: str, params: Sequence[Any], until_s: float) -> Any:
        """Send a request and wait for its result, on a channel where nothing else is asked.

        Raises:
            TimeoutError: there was none in time.
            Error: what the server answered, or why the channel is of no more use.
        """
        msgid = self.request(method, params)
        while True:
            self.turn(until_s)
            while (message := self.next_message()) is not None:
                if isinstance(message, Notification):
                    continue
                if message.msgid != msgid:
                    raise not_asked(message.msgid)
                if message.error is not None:
                    raise message.error
                return message.result
            if now_s() >= until_s:
                raise TimeoutError

    def look(self) -> None:
        """See whether a channel on which nothing is asked is still there, as far as that can be seen at once.

        Raises:
            ConnectError: the server has closed it.
            ProtocolError: something came that was not asked for.
        """
        if self._waiter.wait(READABLE, AT_ONCE_S) and self._receive():
            while (message := self.next_message()) is not None:
                if isinstance(message, Response):
                    raise not_asked(message.msgid)

    def close(self) -> None:
        """Close the connection. May be called again."""
        if self._open:
            self._open = False
            self._waiter.close()
            self._socket.close()

    def __del__(self) -> None:
        # An exception that came at the worst moment (a signal's) may have taken the channel from its owner.
        self.close()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        came = False
        while True:
            try:
                size = self._socket.recv_into(self._buffer)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return came
            except OSError as error:
                raise lost_error(self.address, error) from None
            if size == 0:
                raise lost_error(self.address, self._send_error)
            self.heard_s = now_s()
            self._session.receive_data(self._buffer[:size])
            if not self._greeted:
                self._came = bytes(self._buffer[:size])
            came = True
            if self._tls is None or not self._tls.pending():
                return came

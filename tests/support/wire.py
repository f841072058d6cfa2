"""An asyncio connection for tests that speaks the protocol plainly: one request, one answer, and what was told unasked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from types import TracebackType
from typing import Any, Final, Self

from presencedb.protocol.messages import Notification, Response
from presencedb.protocol.session import ClientSession
from tests.support.waiting import DEADLINE_S

READ_BYTES: Final = 65536


class Wire:
    """A connection to (host, port) or to a Unix socket's path, open while `async with` lasts."""

    def __init__(self, address: tuple[str, int] | str, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self.notifications: deque[Notification] = deque()
        self._address = address
        self._ssl_context = ssl_context
        self._session = ClientSession()
        self._responses: dict[int, Response] = {}
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        if isinstance(self._address, str):
            self._reader, self._writer = await asyncio.open_unix_connection(self._address)
        else:
            host, port = self._address
            self._reader, self._writer = await asyncio.open_connection(host, port, ssl=self._ssl_context)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(OSError):  # it may have been cut
            await self._writer.wait_closed()

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a request.

        Raises:
            presencedb.Error: the server's.
            EOFError: it closed the connection instead.
        """
        return await self.answer(self.send(method, *params))

    def send(self, method: str, *params: Any) -> int:
        """Send a request without waiting; returns its msgid, for `answer`."""
        msgid = self._session.request(method, params)
        self._writer.write(self._session.data_to_send())
        return msgid

    def send_together(self, *calls: tuple[Any, ...]) -> list[int]:
        """Send requests, each (method, param, ...), in one write; returns their msgids."""
        msgids = [self._session.request(method, params) for method, *params in calls]
        self._writer.write(self._session.data_to_send())
        return msgids

    def notify(self, method: str, *params: Any) -> None:
        """Send a notification."""
        self._session.notify(method, params)
        self._writer.write(self._session.data_to_send())

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self._writer.write(data)

    async def answer(self, msgid: int) -> Any:
        """The result of a request sent before; errors as `call`."""
        while msgid not in self._responses:
            await self._read()
        response = self._responses.pop(msgid)
        if response.error is not None:
            raise response.error
        return response.result

    async def next_notification(self) -> Notification:
        """The next thing told unasked.

        Raises:
            EOFError: the connection was closed.
        """
        while not self.notifications:
            await self._read()
        return self.notifications.popleft()

    async def read_to_end(self) -> list[Response]:
        """All answers that come until the server closes the connection."""
        try:
            while True:
                await self._read()
        except EOFError:
            return [self._responses.pop(msgid) for msgid in sorted(self._responses)]

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._writer.write_eof()

    async def _read(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            try:
                data = await self._reader.read(READ_BYTES)
            except ConnectionResetError:
                data = b""
        if not data:
            raise EOFError("the server closed the connection")
        self._session.receive_data(data)
        while (message := self._session.next_message()) is not None:
            if isinstance(message, Response):
                self._responses[message.msgid] = message
            else:
                self.notifications.append(message)

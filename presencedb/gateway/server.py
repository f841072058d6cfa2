"""aiohttp's HTTP server with this gateway's manners, where a request cannot even be read.

What cannot be parsed never reaches a handler; here too the answer is a problem, a line that is too long has its own status,
and the answer arrives although the client is still sending: the connection is closed by us in one direction only, and
what comes meanwhile is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from yarl import URL

from presencedb.gateway.problems import Problem
from presencedb.limits import (
    HTTP_BODY_BYTES_MAX,
    HTTP_FIELD_BYTES_MAX,
    HTTP_FIELDS_MAX,
    HTTP_KEEP_ALIVE_S,
    HTTP_LINE_BYTES_MAX,
    HTTP_LINGER_S,
)

log = structlog.get_logger()

_ROOT: Final = URL("/")


class HttpServer(web.Server):
    """Makes the connections of one application.

    Args:
        handle: answers a request that could be read; raises nothing but `ConnectionError`.
        on_unreadable: told the status of the answer to one that could not.
    """

    def __init__(
        self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], on_unreadable: Callable[[int], None]
    ) -> None:
        super().__init__(self._handle, request_factory=self._make_sized_request)
        self._answer = handle
        self._loop_of_connections = asyncio.get_running_loop()
        self._on_unreadable = on_unreadable
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._draining = False

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._loop_of_connections, self._on_unreadable)

    async def drain(self, timeout_s: float) -> None:
        """Let the requests in flight be finished, those whose bodies are still on their way too; each answer from now on is
        the last on its connection."""
        self._draining = True
        if self._in_flight == 0:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("requests in flight did not end in time", count=self._in_flight, timeout_s=timeout_s)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._in_flight += 1
        try:
            response = await self._answer(request)
        finally:
            self._in_flight -= 1
            if self._draining and self._in_flight == 0:
                self._idle.set()
        if self._draining:
            response.force_close()
        return response

    def _make_sized_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        loop = self._loop_of_connections
        if isinstance(protocol, _Connection):
            protocol.body = payload
        if message.url.absolute:
            # aiohttp would decode its host here, and fall over one that cannot be. The target as it came is kept beside it.
            message = message._replace(url=_ROOT)
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=HTTP_BODY_BYTES_MAX)


class _Connection(web.RequestHandler):
    """One connection.

    Attributes:
        body: of the latest request.
    """

    __slots__ = ("_dropping", "_lost", "_on_unreadable", "body")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, on_unreadable: Callable[[int], None]) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=HTTP_KEEP_ALIVE_S,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for no log, its annotation does not say so
            max_line_size=HTTP_LINE_BYTES_MAX,
            max_field_size=HTTP_FIELD_BYTES_MAX,
            max_headers=HTTP_FIELDS_MAX,
            lingering_time=HTTP_LINGER_S,
            auto_decompress=False,
        )
        self._on_unreadable = on_unreadable
        self._dropping = False
        self._lost = asyncio.Event()
        self.body: StreamReader | None = None

    def data_received(self, data: bytes) -> None:
        if not self._dropping:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost.set()
        super().connection_lost(exc)
        if self.body is not None and not self.body.is_eof():
            # Whoever drops the rest of a body that nobody wanted would go on waiting for it.
            self.body.feed_eof()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp says 400 for whatever cannot be read
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it goes on for lines, and repeats bytes of the request
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, no other can be given")
        problem = _problem_of(exc)
        self._on_unreadable(problem.status)
        return _LastAnswer(problem, self)

    async def drop_the_rest(self) -> None:
        """Say that nothing more is to be expected from here, and drop what comes until the client has understood."""
        self._dropping = True
        transport = self.transport
        if transport is None:
            return
        if transport.can_write_eof():
            transport.write_eof()
        try:
            async with asyncio.timeout(HTTP_LINGER_S):
                await self._lost.wait()
        except TimeoutError:
            return


class _LastAnswer(web.Response):
    """An answer after which the connection ends."""

    def __init__(self, problem: Problem, connection: _Connection) -> None:
        super().__init__(status=problem.status, body=problem.body(), headers=problem.all_headers())
        self._connection = connection
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        await self._connection.drop_the_rest()


def line_too_long() -> Problem:
    """The answer to a request line beyond its bound."""
    return Problem(
        HTTPStatus.REQUEST_URI_TOO_LONG,
        f"a request line has at most {HTTP_LINE_BYTES_MAX} bytes; ask for many users with POST /status/users",
        code="line_too_long",
    )


def _problem_of(error: BaseException | None) -> Problem:
    if isinstance(error, LineTooLong):
        if error.args[1] == HTTP_LINE_BYTES_MAX:
            return line_too_long()
        detail = f"a header field has at most {HTTP_FIELD_BYTES_MAX} bytes"
        return Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
    if isinstance(error, HttpProcessingError):
        complaint = error.message.partition("\n")[0].rstrip(":")
        return Problem(HTTPStatus.BAD_REQUEST, f"this is not an HTTP request that can be read: {complaint}")
    if not isinstance(error, ConnectionError):
        log.error("an answer failed", exc_info=error)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; it has been logged")

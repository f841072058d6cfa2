"""Everything that goes wrong over HTTP is answered in one form: `application/problem+json` (RFC 9457), never a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from presencedb.errors import (
    BadRequest,
    Busy,
    CallTimeout,
    ClientClosed,
    ConnectError,
    Denied,
    Error,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

PROBLEM_TYPE: Final = "application/problem+json"

PROBLEMS: Final = {
    HTTPStatus.BAD_REQUEST: ("bad_request",),
    HTTPStatus.UNAUTHORIZED: ("unauthenticated",),
    HTTPStatus.FORBIDDEN: ("denied", "loopback_host", "loopback_origin", "loopback_proxy"),
    HTTPStatus.NOT_FOUND: ("not_found",),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed",),
    HTTPStatus.REQUEST_TIMEOUT: ("request_timeout",),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too_large",),
    HTTPStatus.REQUEST_URI_TOO_LONG: ("line_too_long",),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("unsupported_media_type",),
    HTTPStatus.EXPECTATION_FAILED: ("expectation_failed",),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ("request_header_fields_too_large",),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("internal_server_error",),
    HTTPStatus.BAD_GATEWAY: ("bad_gateway", "unauthenticated", "denied"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("unavailable", "busy", "not_ready"),
    HTTPStatus.GATEWAY_TIMEOUT: ("timeout",),
}
"""Every status of an error, with the codes that go with it. The first is what a problem has that names none."""
_OF_THE_NODE: Final = (BadRequest, TooLarge, Busy, Unavailable)
"""Errors that mean over HTTP what they mean on the wire."""
_DETAIL_CHARS_MAX: Final = 500
_RETRY_AFTER_S: Final = "1"

HEADERS: Final = CIMultiDict(
    {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "presencedb"},
)
"""What every answer carries: presence is never to be cached, and no answer is to be taken for another type."""


class Problem(Exception):
    """An answer that is an error, raised by whoever notices.

    Args:
        detail: a sentence for a person, with the limit and the value where there is one.
        code: a word for programs, one of those in `PROBLEMS`.
        headers: what the answer carries besides.
    """

    def __init__(self, status: int, detail: str, *, code: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.detail = detail
        codes = PROBLEMS.get(self.status, ())
        if not codes or (code and code not in codes):
            raise ValueError(f"{status} {code} is not in the table of problems")
        self.code = code or codes[0]
        self.headers = tuple(headers)

    def response(self) -> web.Response:
        return web.Response(status=self.status, body=self.body(), headers=self.all_headers())

    def all_headers(self) -> CIMultiDict[str]:
        headers = HEADERS.copy()
        headers.extend(self.headers)
        headers["Content-Type"] = PROBLEM_TYPE
        return headers

    def body(self) -> bytes:
        return msgspec.json.encode(
            {
                "type": "about:blank",
                "title": self.status.phrase,
                "status": int(self.status),
                "code": self.code,
                "detail": _sendable(self.detail),
            }
        )


def problem_of(error: Error) -> Problem:
    """What an error of the node, or on the way to it, is over HTTP."""
    headers = [("Retry-After", _RETRY_AFTER_S)] if error.retryable else []
    if isinstance(error, Unauthenticated | Denied):
        # It is the gateway whom the node refused, not the caller: 401 or 403 would have them look for a mistake of theirs.
        return Problem(HTTPStatus.BAD_GATEWAY, "the node refused this gateway's own token", code=error.code)
    if isinstance(error, ConnectError):
        # The error names the node's address, which is none of the caller's business.
        return Problem(error.http_status, "the node cannot be reached now", code="unavailable", headers=headers)
    if isinstance(error, CallTimeout):
        return Problem(error.http_status, "the node did not answer in time", code="timeout", headers=headers)
    if isinstance(error, ClientClosed):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "this gateway is stopping")
    if isinstance(error, _OF_THE_NODE):
        return Problem(error.http_status, error.message, code=error.code, headers=headers)
    # Whatever is left says that the node does not know, or does not keep to, the protocol as it is spoken here.
    return Problem(HTTPStatus.BAD_GATEWAY, "the node's answer makes no sense to this gateway; compare their versions")


def _sendable(text: str) -> str:
    # A detail may repeat what was sent: not all of it, and nothing that is not valid UTF-8.
    if len(text) > _DETAIL_CHARS_MAX:
        text = f"{text[:_DETAIL_CHARS_MAX]}..."
    return text.encode(errors="backslashreplace").decode()

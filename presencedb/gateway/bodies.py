"""The body of a request: read within bounds of size and time, and decoded into a type that says what may be in it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from presencedb.gateway.problems import Problem
from presencedb.limits import HTTP_BODY_BYTES_MAX, HTTP_BODY_WAIT_S

T = TypeVar("T")


class UserBody(Struct, forbid_unknown_fields=True):
    """The body of POST and DELETE /heartbeat."""

    user_id: int | str | UnsetType = UNSET


class UsersBody(Struct, forbid_unknown_fields=True):
    """The body of POST /heartbeats."""

    user_ids: list[int | str]


class IdsBody(Struct, forbid_unknown_fields=True):
    """The body of POST /status/users."""

    ids: list[int | str]


async def read_json(request: web.BaseRequest, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The body as the decoder's type, or None where there is no body.

    Raises:
        Problem: too large, too slow, not JSON, or not what the type says.
        ConnectionError: the client went away.
    """
    body = await _read(request)
    if not body:
        return None
    if request.content_type != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is JSON and says so (Content-Type: application/json), not {request.content_type}",
        )
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not what this call takes: {error}") from None
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is not valid JSON in UTF-8") from None


async def _read(request: web.BaseRequest) -> bytes:
    if not request.can_read_body:
        return b""
    if request.content_length is not None and request.content_length > HTTP_BODY_BYTES_MAX:
        raise _too_large(request.content_length)
    if "Content-Encoding" in request.headers:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as it is, without Content-Encoding")
    await _say_continue(request)
    try:
        if request.content.is_eof():
            # It came with the head, as nearly all do: nothing to wait for, and within what a connection buffers.
            return request.content.read_nowait()
        async with asyncio.timeout(HTTP_BODY_WAIT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(None) from None
    except web.RequestPayloadError:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body ends too early, or its chunks make no sense") from None
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {HTTP_BODY_WAIT_S:g} s") from None


async def _say_continue(request: web.BaseRequest) -> None:
    """Whoever asks first whether the body is welcome (curl does from 1 MiB on) is told to go on."""
    expectation = request.headers.get("Expect")
    if expectation is None:
        return
    if expectation.lower() != "100-continue":
        raise Problem(HTTPStatus.EXPECTATION_FAILED, "the only Expect that is understood is 100-continue")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # Those bytes are no part of the answer; with them counted, aiohttp would take it for begun.
    request.writer.output_size = 0


def _too_large(size: int | None) -> Problem:
    given = "" if size is None else f", not {size}"
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {HTTP_BODY_BYTES_MAX} bytes{given}", code="too_large"
    )

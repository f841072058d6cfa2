"""From a request that could be read to its answer: which call, who is asking, may they, and what if it goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from presencedb.clock import Clock
from presencedb.errors import Error
from presencedb.gateway.auth import ANYBODY, Authenticator, Caller, require
from presencedb.gateway.loopback import refuse_strangers
from presencedb.gateway.metrics import Traffic
from presencedb.gateway.problems import HEADERS, Problem, problem_of
from presencedb.gateway.routes import Route
from presencedb.gateway.server import line_too_long
from presencedb.limits import HTTP_LINE_BYTES_MAX

log = structlog.get_logger()
_NOT_IN_LINE_BYTES: Final = len("  HTTP/1.1")
NO_ROUTE: Final = "other"
"""The route under which requests for nothing that there is are counted."""


@dataclass(slots=True)
class Call:
    """One request on its way to its handler.

    Attributes:
        query: raw, what stands behind the `?`.
        segment: raw, the path's last segment where the route has braces there.
    """

    request: web.BaseRequest
    caller: Caller
    query: str
    segment: str


Handler: TypeAlias = Callable[[Call], Awaitable[web.Response]]


class _Resource:
    """A path with its methods."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.endpoints: dict[str, tuple[Route, Handler]] = {}

    @property
    def allow(self) -> str:
        return ", ".join(sorted({*self.endpoints, "OPTIONS"}))


class App:
    """Answers the requests of one listener.

    Args:
        endpoints: the calls that it serves.
        loopback_only: whether the rules of `loopback` hold for all of them.
    """

    def __init__(
        self,
        endpoints: Iterable[tuple[Route, Handler]],
        authenticator: Authenticator,
        *,
        loopback_only: bool,
        traffic: Traffic,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._loopback_only = loopback_only
        self._traffic = traffic
        self._clock = clock
        self._resources: dict[str, _Resource] = {}
        self._parents: dict[str, _Resource] = {}
        """Resources with braces, by what stands before these."""
        for route, handler in endpoints:
            resource = self._resource(route.path)
            resource.endpoints[route.method] = (route, handler)
            if route.method == "GET":
                resource.endpoints["HEAD"] = (route, handler)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, whatever happens; raises `ConnectionError` where nobody is there any more to be answered."""
        started_ns = self._clock.monotonic_ns()
        target = request.raw_path
        authority = None
        if not target.startswith("/") and "://" in target:
            authority, target = _split_absolute(target)
        path, _, query = target.partition("?")
        resource, segment = self._find(path)
        response: web.Response
        try:
            if len(target) > HTTP_LINE_BYTES_MAX - HTTP_LINE_BYTES_MAX // 64:
                _check_line(request)
            if self._loopback_only:
                refuse_strangers(request.headers, authority)
            response = await self._answer(request, resource, query, segment)
        except Problem as refusal:
            response = refusal.response()
        except Error as error:
            problem = problem_of(error)
            if problem.code == "bad_gateway":
                log.warning("the node's answer makes no sense", method=request.method, error=error.message)
            response = problem.response()
        except ConnectionError:
            raise
        except Exception:
            log.exception("a request failed", method=request.method, route=NO_ROUTE if resource is None else resource.path)
            response = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; it has been logged").response()
        duration_ns = self._clock.monotonic_ns() - started_ns
        route_path = NO_ROUTE if resource is None else resource.path
        self._traffic.count(route_path, request.method, response.status, duration_ns)
        return response

    async def _answer(self, request: web.BaseRequest, resource: _Resource | None, query: str, segment: str) -> web.Response:
        if resource is None:
            raise Problem(HTTPStatus.NOT_FOUND, "there is nothing at this path; GET / lists the calls")
        found = resource.endpoints.get(request.method)
        if found is None:
            return _other_method(request.method, resource.allow)
        route, handler = found
        caller = ANYBODY
        if route.right is not None:
            caller = await self._authenticator.caller_of(request.headers)
            require(caller, route.right)
            if route.service_only and caller.user_id is not None:
                raise Problem(HTTPStatus.FORBIDDEN, "this call is for API keys; a user token writes its own user only")
        return await handler(Call(request, caller, query, segment))

    def _find(self, path: str) -> tuple[_Resource | None, str]:
        resource = self._resources.get(path)
        if resource is not None:
            return resource, ""
        parent, slash, segment = path.rpartition("/")
        return (self._parents.get(parent + slash), segment) if segment else (None, "")

    def _resource(self, path: str) -> _Resource:
        parent, brace, _ = path.partition("{")
        table = self._parents if brace else self._resources
        return table.setdefault(parent, _Resource(path))


def _other_method(method: str, allow: str) -> web.Response:
    if method == "OPTIONS":
        headers = HEADERS.copy()
        headers["Allow"] = allow
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {allow}", headers=[("Allow", allow)])


def _check_line(request: web.BaseRequest) -> None:
    # The parser bounds the target alone, so the last bytes up to the bound of the line are counted here.
    target_bytes = len(request.raw_path.encode(errors="surrogateescape"))
    if len(request.method) + target_bytes + _NOT_IN_LINE_BYTES > HTTP_LINE_BYTES_MAX:
        raise line_too_long()


def _split_absolute(target: str) -> tuple[str, str]:
    """Authority, and path with query, of a target that is a whole URL, as clients of a proxy send it."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "", ""
    query = f"?{parts.query}" if parts.query else ""
    return parts.netloc, f"{parts.path or '/'}{query}"

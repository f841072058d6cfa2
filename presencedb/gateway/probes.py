"""Whether this gateway lives, whether it can serve, and the page of metrics: what watches over it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from presencedb.client.aio import AsyncClient
from presencedb.errors import CallTimeout, Denied, Error
from presencedb.gateway.app import Call
from presencedb.gateway.metrics import NodeFacts, Traffic, metrics_page
from presencedb.gateway.problems import HEADERS, Problem, problem_of
from presencedb.limits import SLOT_COUNT, TICK_AGE_MS_MAX

_OK: Final = msgspec.json.encode({"status": "ok"})


class Probes:
    """The handlers of /healthz, /readyz and /metrics.

    Attributes:
        stopping: whether this gateway is about to stop; it is not ready then.
    """

    def __init__(self, client: AsyncClient, traffic: Traffic, *, timeout_s: float, has_keys: Callable[[], bool]) -> None:
        """`has_keys` tells whether there is what user tokens are checked with."""
        self.stopping = False
        self._client = client
        self._has_keys = has_keys
        self._traffic = traffic
        self._timeout_s = timeout_s

    async def healthz(self, call: Call) -> web.Response:  # noqa: ARG002 - that it is answered is the answer
        return _ok()

    async def readyz(self, call: Call) -> web.Response:  # noqa: ARG002 - whoever asks
        reason = await self._reason_not_ready()
        if reason:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, reason, code="not_ready", headers=[("Retry-After", "1")])
        return _ok()

    async def metrics(self, call: Call) -> web.Response:  # noqa: ARG002 - whoever asks
        try:
            facts = NodeFacts(await self._info())
        except Error:
            facts = NodeFacts(None)
        headers = HEADERS.copy()
        headers["Content-Type"] = CONTENT_TYPE_LATEST
        return web.Response(body=metrics_page((self._traffic, facts)), headers=headers)

    async def _reason_not_ready(self) -> str:
        if self.stopping:
            return "this gateway is stopping"
        if not self._has_keys():
            return "the keys that user tokens are checked with could not be fetched yet"
        try:
            try:
                info = await self._info()
            except Denied:
                # A gateway's token need not carry the right to look inside; then an answer of any kind has to do.
                await self._client.ping()
                return ""
        except Error as error:
            return problem_of(error).detail
        return _reason_of(info)

    async def _info(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._client.info()
        except TimeoutError:
            raise CallTimeout(f"no answer within {self._timeout_s:g} s") from None


def _reason_of(info: dict[str, Any]) -> str:
    tick_age_ms = info.get("tick_age_ms", 0)
    if tick_age_ms > TICK_AGE_MS_MAX:
        return f"the node's last tick was {tick_age_ms} ms ago, {TICK_AGE_MS_MAX} ms are the limit"
    slots_synced = info.get("slots_synced", SLOT_COUNT)
    if slots_synced < SLOT_COUNT:
        return f"the node is warming up: it knows {slots_synced} of {SLOT_COUNT} slots"
    return ""


def _ok() -> web.Response:
    headers = HEADERS.copy()
    headers["Content-Type"] = "application/json"
    return web.Response(body=_OK, headers=headers)

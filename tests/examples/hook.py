"""A receiver of webhooks that fails as a test tells it to, and keeps what it is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from aiohttp import web

Answer: TypeAlias = Callable[[web.Request], Awaitable[int]]
Event: TypeAlias = tuple[str, bool | None, str | None, str]
"""Id, online, moment and reason, as a request has them."""
KEY: Final = b"the key that both sides have"
SECRET: Final = "whsec_" + base64.b64encode(KEY).decode()


async def well(request: web.Request) -> int:
    """Take it."""
    return 204


class Hook:
    """Listens on a port of 127.0.0.1, the same one after each start."""

    def __init__(self) -> None:
        self.answers: dict[int, Answer] = {}
        """How to answer the request of a number, counted from 0; others are answered well."""
        self.keys: list[str] = []
        """The `webhook-id` of each request, repeated ones too."""
        self.bodies: dict[str, bytes] = {}
        """The body by its key, in the order in which they came first."""
        self.told: list[dict[str, Any]] = []
        """What they say, each once."""
        self.change_count = 0
        """How many changes are in them."""
        self.problems: list[str] = []
        """What is wrong with requests."""
        self._port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook"

    @property
    def events(self) -> list[Event]:
        """The changes in them, but for those of a reset: what is known already."""
        changes = (change for body in self.told for change in body["data"] if change["reason"] != "known")
        return [(change["id"], change["online"], change["at"], change["reason"]) for change in changes]

    @property
    def known(self) -> list[str]:
        """Who was told as online after resets."""
        return [change["id"] for body in self.told for change in body["data"] if change["reason"] == "known"]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        key, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        digest = hmac.digest(KEY, f"{key}.{timestamp}.".encode() + body, hashlib.sha256)
        if request.headers["webhook-signature"] != f"v1,{base64.b64encode(digest).decode()}":
            self.problems.append(f"{key} has a wrong signature")
        if key not in self.bodies:
            self.bodies[key] = body
            self.told.append(json.loads(body))
            self.change_count += len(self.told[-1]["data"])
        elif self.keys[-1] != key:
            self.problems.append(f"{key} came again after the next one")
        elif self.bodies[key] != body:
            self.problems.append(f"{key} came with two bodies")
        number = len(self.keys)
        self.keys.append(key)
        return web.Response(status=await self.answers.get(number, well)(request))


def write_secret(folder: Path) -> str:
    """A file with the key in it; gives its path."""
    path = folder / "secret"
    path.write_text(SECRET + "\n")
    return str(path)

"""A gateway: HTTP in front of a node, or of whatever speaks like one. Joins the parts, starts and stops them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from presencedb.client.aio import AsyncClient
from presencedb.clock import Clock, SystemClock
from presencedb.credentials import Credentials
from presencedb.errors import ListenError
from presencedb.gateway.app import App, Handler
from presencedb.gateway.auth import Keys, NoKeys
from presencedb.gateway.index import Index
from presencedb.gateway.jwks import JwksKeys
from presencedb.gateway.keys import VerificationKey
from presencedb.gateway.metrics import Traffic
from presencedb.gateway.probes import Probes
from presencedb.gateway.rest import Rest
from presencedb.gateway.routes import ROUTES, SCRAPER_PATHS, Route
from presencedb.gateway.server import HttpServer
from presencedb.gateway.settings import GatewaySettings
from presencedb.gateway.tokens import OneKey, TokenVerifier
from presencedb.units import Address, is_loopback

log = structlog.get_logger()

_CLOSE_TIMEOUT_S: Final = 1.0
"""How long closing the connections may take once there is nothing left to answer, or no time."""


@dataclass(frozen=True, slots=True)
class _Listener:
    """One address that is listened on."""

    server: HttpServer
    runner: web.ServerRunner
    site: web.TCPSite


class Gateway:
    """One gateway. Made, started and stopped once, in one loop, which may be the node's own.

    The client belongs to the caller: it connects when it is used, and is closed by the caller after `stop`.
    """

    def __init__(self, settings: GatewaySettings, client: AsyncClient, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._traffic = Traffic()
        self._one_key, jwks, tokens = self._make_token_verifier()
        self._jwks = jwks
        self._probes = Probes(
            client, self._traffic, timeout_s=settings.probe_timeout_s, has_keys=lambda: jwks is None or jwks.ready
        )
        self._endpoints = _endpoints(Rest(client), self._probes, Index(ROUTES))
        self._keys = None if settings.keyless else Keys(settings.credentials, tokens, self._traffic.auth_failures)
        self._listeners: list[_Listener] = []
        self._http_address: tuple[str, int] | None = None
        self._metrics_address: tuple[str, int] | None = None

    async def start(self) -> None:
        """Listen. Keys that are published at a URL are fetched first; if that fails, it is tried again later.

        Raises:
            ListenError: an address is taken or not of this machine.
        """
        settings = self._settings
        try:
            if self._jwks is not None:
                await self._jwks.start()
            self._http_address = await self._listen(settings.listen, self._app(), tls=True)
            if settings.metrics_listen is not None:
                self._metrics_address = await self._listen(settings.metrics_listen, self._scraper_app(), tls=False)
        except BaseException:
            await self.stop()
            raise
        log.info("gateway started", address=str(Address(*self.http_address)), keyless=settings.keyless)
        if settings.keyless:
            served = "this machine" if is_loopback(settings.listen[0]) else "everybody"
            log.warning("no keys are asked for, so whoever is served may speak for every user", served=served)
        if settings.metrics_listen is not None and self._metrics_address and not is_loopback(settings.metrics_listen[0]):
            address = str(Address(*self._metrics_address))
            log.warning("metrics are shown to everybody who reaches their address, without keys", address=address)

    async def stop(self) -> None:
        """Accept nobody any more, finish the requests in flight within the drain timeout, and close."""
        self._probes.stopping = True
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.site.stop()
        await asyncio.gather(*(listener.server.drain(self._settings.drain_timeout_s) for listener in listeners))
        for listener in listeners:
            await listener.runner.cleanup()
        if self._jwks is not None:
            await self._jwks.close()

    @property
    def http_address(self) -> tuple[str, int]:
        """Where it listens, with the real port.

        Raises:
            RuntimeError: it is not started.
        """
        if self._http_address is None:
            raise RuntimeError("the gateway is not started")
        return self._http_address

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where the listener for scrapers is, with the real port; None: there is none."""
        return self._metrics_address

    def set_credentials(self, credentials: Credentials) -> None:
        """Take these API keys from now on.

        Raises:
            RuntimeError: it was made without API keys.
        """
        if self._keys is None or self._keys.credentials is None:
            raise RuntimeError("the gateway was made without API keys")
        self._keys.credentials = credentials

    def set_jwt_key(self, key: VerificationKey) -> None:
        """Check user tokens with this key from now on.

        Raises:
            RuntimeError: it was made without one.
        """
        if self._one_key is None:
            raise RuntimeError("the gateway was made without a key for user tokens")
        self._one_key.exchange(key)

    def _make_token_verifier(self) -> tuple[OneKey | None, JwksKeys | None, TokenVerifier | None]:
        settings = self._settings.jwt
        if settings is None:
            return None, None, None
        if settings.key is not None:
            one_key = OneKey(settings.key)
            return one_key, None, TokenVerifier(settings, one_key, self._clock)
        jwks = JwksKeys(settings, self._clock)
        return None, jwks, TokenVerifier(settings, jwks, self._clock)

    def _app(self) -> App:
        loopback_only = self._keys is None and is_loopback(self._settings.listen[0])
        authenticator = self._keys or NoKeys()
        return App(self._endpoints, authenticator, loopback_only=loopback_only, traffic=self._traffic, clock=self._clock)

    def _scraper_app(self) -> App:
        endpoints = [endpoint for endpoint in self._endpoints if endpoint[0].path in SCRAPER_PATHS]
        address = self._settings.metrics_listen
        loopback_only = address is not None and is_loopback(address[0])
        return App(endpoints, NoKeys(), loopback_only=loopback_only, traffic=self._traffic, clock=self._clock)

    async def _listen(self, address: tuple[str, int], app: App, *, tls: bool) -> tuple[str, int]:
        server = HttpServer(app.handle, self._traffic.count_unreadable)
        runner = web.ServerRunner(server, shutdown_timeout=_CLOSE_TIMEOUT_S)
        await runner.setup()
        host, port = address
        site = web.TCPSite(runner, host or None, port, ssl_context=self._settings.ssl_context if tls else None)
        try:
            await site.start()
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            # asyncio puts a sentence of its own around the system's; a failed look-up of the name has no system error.
            reason = os.strerror(number) if (number := getattr(error, "errno", None) or 0) > 0 else str(error)
            raise ListenError(f"cannot listen on {Address(host, port)}: {reason}") from None
        self._listeners.append(_Listener(server, runner, site))
        real = runner.addresses[0]
        return real[0], real[1]


def _endpoints(*parts: object) -> list[tuple[Route, Handler]]:
    """Each route of the table with the method of these parts that it names.

    Raises:
        TypeError: no part has it.
    """
    endpoints = []
    for route in ROUTES:
        handlers = [getattr(part, route.handler) for part in parts if hasattr(part, route.handler)]
        if len(handlers) != 1:
            raise TypeError(f"{route.method} {route.path} names {route.handler}, which {len(handlers)} parts have")
        endpoints.append((route, handlers[0]))
    return endpoints

"""`presencedb gateway`: HTTP alone, in front of a node elsewhere."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

from presencedb.cli.banner import curl_line, gateway_lines
from presencedb.cli.calls import make_client
from presencedb.cli.reload import Reloadable, certificate_reloadables
from presencedb.cli.secrets import load_from, load_if_given, server_tls
from presencedb.cli.serving import Signals, announce, listening, refuse_open_door, run_server
from presencedb.client.aio import AsyncClient
from presencedb.config import (
    API_KEYS,
    DRAIN_TIMEOUT,
    HTTP,
    INSECURE,
    JWKS_URL,
    JWT_AUDIENCE,
    JWT_ISSUER,
    JWT_KEY,
    METRICS_LISTEN,
    URL,
)
from presencedb.credentials import load_credentials
from presencedb.gateway.gateway import Gateway
from presencedb.gateway.keys import load_jwt_key
from presencedb.gateway.settings import GatewaySettings, JwtSettings
from presencedb.limits import SECOND_MS
from presencedb.settings import Settings
from presencedb.units import Address
from presencedb.version import __version__

CLIENT_NAME: Final = "presencedb gateway"


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_server(settings, lambda: _serve(settings))


def make_gateway(settings: Settings, client: AsyncClient, ssl_context: ssl.SSLContext | None) -> Gateway:
    """The gateway that the settings describe, not started yet.

    Raises:
        ConfigError: a file cannot be read, options do not go together, or everybody could come in.
    """
    has_secrets = any(settings[option] is not None for option in (API_KEYS, JWT_KEY, JWKS_URL))
    refuse_open_door(settings, HTTP, has_secrets=has_secrets, cure="--api-keys FILE, --jwt-key FILE or --jwks-url URL")
    return Gateway(
        GatewaySettings(
            listen=settings[HTTP],
            credentials=load_if_given(settings, API_KEYS, load_credentials),
            jwt=_jwt_settings(settings),
            ssl_context=ssl_context,
            metrics_listen=settings[METRICS_LISTEN],
            insecure=settings[INSECURE],
            drain_timeout_s=settings[DRAIN_TIMEOUT] / SECOND_MS,
        ),
        client,
    )


def gateway_addresses(gateway: Gateway) -> dict[str, str]:
    """Where a started gateway serves, for the ready line."""
    addresses = {"http": str(Address(*gateway.http_address))}
    if gateway.metrics_address is not None:
        addresses["metrics"] = str(Address(*gateway.metrics_address))
    return addresses


def gateway_reloadables(settings: Settings, gateway: Gateway) -> Iterator[Reloadable]:
    """What SIGHUP reads anew for a gateway."""
    if settings[API_KEYS] is not None:
        yield Reloadable(
            settings.origin(API_KEYS),
            lambda: gateway.set_credentials(load_from(settings, API_KEYS, load_credentials)),
        )
    if settings[JWT_KEY] is not None:
        yield Reloadable(settings.origin(JWT_KEY), lambda: gateway.set_jwt_key(load_from(settings, JWT_KEY, load_jwt_key)))


def _jwt_settings(settings: Settings) -> JwtSettings | None:
    if all(settings[option] is None for option in (JWT_KEY, JWKS_URL, JWT_AUDIENCE, JWT_ISSUER)):
        return None
    return JwtSettings(
        key=load_if_given(settings, JWT_KEY, load_jwt_key),
        jwks_url=settings[JWKS_URL],
        audience=settings[JWT_AUDIENCE],
        issuer=settings[JWT_ISSUER],
    )


async def _serve(settings: Settings) -> None:
    signals = Signals(settings)
    ssl_context = server_tls(settings)
    client = make_client(settings, CLIENT_NAME)
    gateway = make_gateway(settings, client, ssl_context)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        stack.push_async_callback(gateway.stop)
        with listening(settings, HTTP, METRICS_LISTEN):
            await gateway.start()
        signals.reloadables = [
            *gateway_reloadables(settings, gateway),
            *certificate_reloadables(settings, ssl_context),
        ]
        lines = [
            f"presencedb {__version__}: a gateway to {settings[URL]}",
            *gateway_lines(settings),
            "try:",
            f"  {curl_line(settings, Address(*gateway.http_address))}",
        ]
        announce(settings, lines, gateway_addresses(gateway))
        await signals.wait_for_end()

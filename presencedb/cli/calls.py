"""What every client command does: connect, run, close, and say in one line what went wrong."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from presencedb.client.aio import AsyncClient
from presencedb.config import TIMEOUT, TLS_CA, TOKEN_FILE, URL
from presencedb.credentials import load_token
from presencedb.errors import ConfigError, ConnectError
from presencedb.limits import SECOND_MS
from presencedb.settings import Settings

CLIENT_NAME = "presencedb command line"


def run_call(settings: Settings, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
    """Run `work` with a client of the server that the settings name.

    Raises:
        presencedb.Error: whatever the call failed with; a server that cannot be reached with the cure.
    """
    try:
        # asyncio's own loop: for one call it is ready sooner than uvloop.
        asyncio.run(_run(settings, work))
    except ConnectError as error:
        raise ConnectError(f"{error.message}; start one with `presencedb serve`") from None


def token_to_show(settings: Settings) -> str | None:
    """The token of a client: of the file if one is named, else of the environment.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = settings[TOKEN_FILE]
    if path is None:
        return settings.token
    try:
        return load_token(path)
    except ConfigError as error:
        raise ConfigError(f"{error.message} ({settings.origin(TOKEN_FILE)})") from None


def client_ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """What checks the server against `--tls-ca`; None leaves it to the client and the system's certificates.

    Raises:
        ConfigError: the file cannot be read, or there is no certificate in it.
    """
    path = settings[TLS_CA]
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=os.fspath(path))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{settings.origin(TLS_CA)}: {_reason(error, path)}") from None


def _reason(error: OSError, path: Path) -> str:
    return f"no certificate in {path}" if isinstance(error, ssl.SSLError) else f"cannot read it: {error.strerror}"


async def _run(settings: Settings, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
    client = AsyncClient(
        settings[URL],
        token=token_to_show(settings),
        ssl_context=client_ssl_context(settings),
        timeout_s=settings[TIMEOUT] / SECOND_MS,
        client_name=CLIENT_NAME,
    )
    async with client:
        await work(client)

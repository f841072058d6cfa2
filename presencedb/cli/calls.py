"""What every client command does: connect, run, close, and say in one line what went wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from presencedb.cli.secrets import client_tls, shown_token
from presencedb.client.aio import AsyncClient
from presencedb.config import TIMEOUT, URL
from presencedb.errors import ConfigError, ConnectError
from presencedb.limits import SECOND_MS
from presencedb.settings import Settings
from presencedb.transport import loop

CLIENT_NAME: Final = "presencedb command line"
_NOBODY_THERE: Final = ("connection refused", "no such file or directory")


def run_call(settings: Settings, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
    """Run `work` with a client of the server that the settings name.

    Raises:
        presencedb.Error: whatever the call failed with; a server that cannot be reached, with the cure.
    """
    try:
        # For one call asyncio's own loop is ready sooner than uvloop.
        loop.run(_run(settings, work), kind="asyncio")
    except ConnectError as error:
        if any(reason in error.reason for reason in _NOBODY_THERE):
            raise ConnectError(f"{error.message}; start one with `presencedb serve`") from None
        raise


def make_client(settings: Settings, name: str) -> AsyncClient:
    """A client of `--url`.

    Raises:
        ConfigError: the URL is not understood, or a file that an option names cannot be read.
    """
    token, ssl_context = shown_token(settings), client_tls(settings)
    try:
        return AsyncClient(
            settings[URL],
            token=token,
            ssl_context=ssl_context,
            timeout_s=settings[TIMEOUT] / SECOND_MS,
            client_name=name,
        )
    except ConfigError as error:
        raise ConfigError(f"{settings.origin(URL)}: {error.message}") from None


async def _run(settings: Settings, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
    async with make_client(settings, CLIENT_NAME) as client:
        await work(client)

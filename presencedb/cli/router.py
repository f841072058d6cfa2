"""`presencedb router`: a cluster behind one address."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog

from presencedb.cli.banner import cli_line, node_url
from presencedb.cli.members import make_dialling, member_lines, members_reloadables, read_members
from presencedb.cli.reload import certificate_reloadables, token_reloadables
from presencedb.cli.secrets import accepted_tokens, asks_for_token, server_tls
from presencedb.cli.serving import Signals, announce, listening, refuse_open_door, run_server
from presencedb.config import DRAIN_TIMEOUT, LISTEN, ROUTER_ID, UNIX
from presencedb.errors import ConfigError
from presencedb.membership.static import ClusterFile
from presencedb.router.router import Router
from presencedb.router.settings import RouterSettings
from presencedb.settings import Settings
from presencedb.units import Address
from presencedb.version import __version__

log = structlog.get_logger()

PORT: Final = 7413


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    cluster = read_members(settings)
    settings = settings.with_default(LISTEN, Address("127.0.0.1", PORT), "the default of --listen")
    if settings[LISTEN] is None and settings[UNIX] is None:
        raise ConfigError(f"{settings.origin(LISTEN)}: then nobody can reach the router; give --unix PATH")
    run_server(settings, lambda: _serve(settings, cluster))


def _make_router(settings: Settings, ssl_context: ssl.SSLContext | None, cluster: ClusterFile) -> Router:
    is_open = refuse_open_door(settings, LISTEN, has_secrets=asks_for_token(settings), cure="--token-file FILE")
    if is_open:
        log.warning("no token is asked for, so whoever reaches the router may speak for every user")
    return Router(
        RouterSettings(
            topology=cluster.topology,
            dialling=make_dialling(settings, cluster.topology, f"router {settings[ROUTER_ID]}"),
            listen=settings[LISTEN],
            unix_path=str(settings[UNIX]) if settings[UNIX] is not None else None,
            router_id=settings[ROUTER_ID],
            credentials=accepted_tokens(settings),
            ssl_context=ssl_context,
            drain_timeout_ms=settings[DRAIN_TIMEOUT],
        )
    )


async def _serve(settings: Settings, cluster: ClusterFile) -> None:
    signals = Signals(settings)
    ssl_context = server_tls(settings)
    router = _make_router(settings, ssl_context, cluster)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(router.stop)
        with listening(settings, LISTEN, UNIX):
            await router.start()
        signals.reloadables = [
            *token_reloadables(settings, router.set_credentials),
            *certificate_reloadables(settings, ssl_context),
            *members_reloadables(settings, cluster, router.set_topology),
        ]
        tcp = Address(*router.tcp_address) if router.tcp_address is not None else None
        places = {"tcp": tcp, "unix": settings[UNIX]}
        lines = [
            f"presencedb {__version__}: a router",
            f"  MessagePack-RPC asks for {'a' if asks_for_token(settings) else 'no'} token",
            *member_lines(settings, cluster),
            "try:",
            f"  {cli_line(settings, node_url(settings, tcp, settings[UNIX]))}",
        ]
        announce(settings, lines, {name: str(place) for name, place in places.items() if place is not None})
        await signals.wait_for_end()

"""`presencedb node`: a node alone, without HTTP; with `--membership` as a member of a cluster."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

import structlog

from presencedb.cli.banner import cli_line, node_lines, node_url, process_line
from presencedb.cli.members import at_home, cluster_settings, member_lines, members_reloadables, read_members
from presencedb.cli.reload import Reloadable, certificate_reloadables, token_reloadables
from presencedb.cli.secrets import accepted_tokens, asks_for_token, server_tls
from presencedb.cli.serving import Signals, announce, listening, refuse_open_door, run_server
from presencedb.config import (
    DATA_DIR,
    DRAIN_TIMEOUT,
    LISTEN,
    MEMBERSHIP,
    NODE_ID,
    RETENTION,
    TICK,
    TTL,
    UNIX,
    WARM_UP,
)
from presencedb.errors import ConfigError
from presencedb.membership.static import ClusterFile
from presencedb.node.node import Node
from presencedb.node.settings import NodeSettings
from presencedb.settings import Settings, warnings_of
from presencedb.units import Address

log = structlog.get_logger()


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    cluster = None
    if settings[MEMBERSHIP] is not None:
        cluster = read_members(settings)
        settings = at_home(settings, cluster)
    elif settings[DATA_DIR] is not None:
        raise ConfigError(f"{settings.origin(DATA_DIR)}: only members of a cluster have one; give --membership static:FILE")
    if settings[LISTEN] is None and settings[UNIX] is None:
        raise ConfigError(f"{settings.origin(LISTEN)}: then nobody can reach the node; give --unix PATH")
    run_server(settings, lambda: _serve(settings, cluster))


def make_node(settings: Settings, ssl_context: ssl.SSLContext | None, cluster: ClusterFile | None = None) -> Node:
    """The node that the settings describe, not started yet; of a cluster, where there is one.

    Raises:
        ConfigError: a file cannot be read, or everybody could come in.
    """
    is_open = refuse_open_door(settings, LISTEN, has_secrets=asks_for_token(settings), cure="--token-file FILE")
    if is_open:
        log.warning("no token is asked for, so whoever reaches the node may speak for every user")
    for warning in warnings_of(settings):
        log.warning(warning)
    unix = settings[UNIX]
    return Node(
        NodeSettings(
            listen=settings[LISTEN],
            unix_path=str(unix) if unix is not None else None,
            ttl_ms=settings[TTL],
            tick_ms=settings[TICK],
            retention_ms=settings[RETENTION],
            node_id=settings[NODE_ID],
            credentials=accepted_tokens(settings),
            ssl_context=ssl_context,
            warm_up=settings[WARM_UP],
            drain_timeout_ms=settings[DRAIN_TIMEOUT],
            cluster=cluster_settings(settings, cluster) if cluster is not None else None,
        )
    )


def node_addresses(settings: Settings, node: Node) -> dict[str, str]:
    """Where a started node serves, for the ready line."""
    addresses = {}
    if (tcp := node_tcp(node)) is not None:
        addresses["tcp"] = str(tcp)
    if settings[UNIX] is not None:
        addresses["unix"] = str(settings[UNIX])
    return addresses


def node_reloadables(settings: Settings, node: Node) -> Iterator[Reloadable]:
    """What SIGHUP reads anew for a node."""
    yield from token_reloadables(settings, node.set_credentials)


def node_tcp(node: Node) -> Address | None:
    """Where a started node listens on TCP."""
    return Address(*node.tcp_address) if node.tcp_address is not None else None


async def _serve(settings: Settings, cluster: ClusterFile | None) -> None:
    signals = Signals(settings)
    ssl_context = server_tls(settings)
    node = make_node(settings, ssl_context, cluster)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(node.stop)
        with listening(settings, LISTEN, UNIX):
            await node.start()
        signals.reloadables = [
            *node_reloadables(settings, node),
            *certificate_reloadables(settings, ssl_context),
            *members_reloadables(settings, cluster, node.set_topology),
        ]
        url = node_url(settings, node_tcp(node), settings[UNIX])
        lines = [
            process_line(),
            *node_lines(settings),
            *member_lines(settings, cluster),
            "try:",
            f"  {cli_line(settings, url)}",
        ]
        announce(settings, lines, node_addresses(settings, node))
        await signals.wait_for_end()

"""`presencedb serve`: a node and its gateway in one process and one loop; with `--nodes`, a cluster of processes.

The gateway is a client like any other, joined to the node by a pair of sockets: what works here works over a network.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack

from presencedb.cli.banner import cli_line, curl_line, gateway_lines, node_lines, node_url, process_line
from presencedb.cli.cluster_up import banner, run_cluster, shown_addresses
from presencedb.cli.gateway import CLIENT_NAME, gateway_addresses, gateway_reloadables, make_gateway
from presencedb.cli.local_cluster import LocalCluster
from presencedb.cli.node import make_node, node_addresses, node_reloadables, node_tcp
from presencedb.cli.reload import certificate_reloadables
from presencedb.cli.secrets import server_tls
from presencedb.cli.serving import Signals, announce, listening, run_server
from presencedb.client.aio import AsyncClient
from presencedb.config import DATA_DIR, HTTP, LISTEN, METRICS_LISTEN, NODES, REPLICAS, RESTART, UNIX
from presencedb.credentials import ALL_RIGHTS
from presencedb.errors import ConfigError
from presencedb.node.node import Node
from presencedb.settings import Settings
from presencedb.units import Address


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    if settings[NODES] is not None:
        run_cluster(settings, _announce_cluster)
        return
    for option in (REPLICAS, DATA_DIR, RESTART):
        if settings.given(option):
            raise ConfigError(f"{settings.origin(option)}: a single node has no use for it; it goes with --nodes COUNT")
    run_server(settings, lambda: _serve(settings))


async def _serve(settings: Settings) -> None:
    signals = Signals(settings)
    ssl_context = server_tls(settings)
    node = make_node(settings, ssl_context)
    client = AsyncClient(connect=lambda: _connect(node), client_name=CLIENT_NAME)
    gateway = make_gateway(settings, client, ssl_context)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(node.stop)
        with listening(settings, LISTEN, UNIX):
            await node.start()
        stack.push_async_callback(client.close)
        stack.push_async_callback(gateway.stop)
        with listening(settings, HTTP, METRICS_LISTEN):
            await gateway.start()
        signals.reloadables = [
            *node_reloadables(settings, node),
            *gateway_reloadables(settings, gateway),
            *certificate_reloadables(settings, ssl_context),
        ]
        _announce(settings, node, Address(*gateway.http_address), gateway_addresses(gateway))
        await signals.wait_for_end()


def _announce(settings: Settings, node: Node, http: Address, gateway_parts: dict[str, str]) -> None:
    tcp = node_tcp(node)
    lines = [process_line(), *node_lines(settings), *gateway_lines(settings), "try:", f"  {curl_line(settings, http)}"]
    if tcp is not None or settings[UNIX] is not None:
        lines.append(f"  {cli_line(settings, node_url(settings, tcp, settings[UNIX]))}")
    announce(settings, lines, node_addresses(settings, node) | gateway_parts)


def _announce_cluster(settings: Settings, cluster: LocalCluster) -> None:
    processes = [f"  {child.name} is process {child.pid}" for child in cluster.children]
    addresses = shown_addresses(settings, cluster.router) | cluster.gateway.addresses
    announce(settings, banner(settings, cluster) + processes, addresses)


async def _connect(node: Node) -> socket.socket:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    node.accept(theirs, ALL_RIGHTS)
    return ours

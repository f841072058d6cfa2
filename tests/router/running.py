"""A router over nodes, all in this process, on real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.dial import MakeSocket, socket_maker
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Greeting
from presencedb.node.node import Node, NodeSettings
from presencedb.placement import Member, Topology
from presencedb.router.router import Router
from presencedb.router.settings import RouterSettings

ANY_PORT: Final = ("127.0.0.1", 0)
SEED: Final = 4711


class Routed:
    """What runs.

    Attributes:
        nodes: in the order of their ids, n1 ...
    """

    def __init__(self, router: Router, nodes: list[Node], topology: Topology) -> None:
        self.router = router
        self.nodes = nodes
        self.topology = topology

    @property
    def address(self) -> tuple[str, int]:
        """Where the router listens."""
        assert self.router.tcp_address is not None
        return self.router.tcp_address

    @property
    def url(self) -> str:
        """The same, for a client."""
        host, port = self.address
        return f"presence://{host}:{port}"


def dialling() -> Dialling:
    """How members on real sockets are connected to."""
    settings: ClientSettings[MakeSocket] = ClientSettings(
        targets=[], greeting=Greeting("test-router"), connect_timeout_s=5, timeout_s=5
    )
    return Dialling(settings, socket_maker)


@contextlib.asynccontextmanager
async def running_router(
    *, node_count: int = 3, replicas: int = 2, router: dict[str, Any] | None = None, **node: Any
) -> AsyncIterator[Routed]:
    """A router over nodes that know nothing of each other, on free ports.

    Args:
        router: settings of the router.
        node: settings of each node.
    """
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for number in range(node_count):
            settings = {"listen": ANY_PORT, "drain_timeout_ms": 200, "seed": SEED, "node_id": f"n{number + 1}", **node}
            one = Node(NodeSettings(**settings))
            await one.start()
            stack.push_async_callback(one.stop)
            nodes.append(one)
        addresses = [one.tcp_address for one in nodes if one.tcp_address is not None]
        members = (Member(f"n{index + 1}", f"{host}:{port}") for index, (host, port) in enumerate(addresses))
        topology = Topology(1, SEED, replicas, tuple(members))
        started = Router(
            RouterSettings(
                **{
                    "topology": topology,
                    "dialling": dialling(),
                    "listen": ANY_PORT,
                    "drain_timeout_ms": 2_000,
                    **(router or {}),
                }
            )
        )
        await started.start()
        stack.push_async_callback(started.stop)
        yield Routed(started, nodes, topology)

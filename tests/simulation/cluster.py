"""A cluster in a simulated world: real nodes, routers, and the two kinds of clients; and what may happen to them.

Every process has a name, which is where it can be connected to. `n1`, `n2` ... are nodes, `r1` ... routers, `a1` ... the
processes of an application: they use the cluster through routers, or as cluster clients. The *auditor* stands beside the
nodes: it follows and asks each of them, over links that nothing ever happens to.
"""

from __future__ import annotations

import asyncio
import socket
from array import array
from collections.abc import Awaitable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

from presencedb.client.aio import AsyncClient
from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.fanout import Fanout
from presencedb.client.dial import MakeSocket
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Greeting
from presencedb.client.url import Address, TcpAddress
from presencedb.credentials import ALL_RIGHTS
from presencedb.ids import Hasher, IdBatch
from presencedb.node.cluster.settings import ClusterSettings
from presencedb.node.node import Node, NodeSettings
from presencedb.placement import Member, Topology
from presencedb.protocol.params import Options
from presencedb.router.router import Router
from presencedb.router.settings import RouterSettings
from presencedb.states import Status
from tests.simulation.network import Link, SimulatedSocket
from tests.simulation.process import Process
from tests.simulation.world import World

SEED: Final = 0x5EED
CALL_S: Final = 2.0
"""How long a call of the application may take."""
AUDITOR: Final = "auditor"
_PORT: Final = 7411
_AUDIT_DELAY_MS: Final = (0.01, 0.02)
_ONLINE: Final = {Status.ONLINE: True, Status.OFFLINE: False, Status.UNKNOWN: None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a cluster is made of.

    Attributes:
        nodes: how many.
        replicas: R.
        routers: how many.
        applications: how many processes use it; every second one is a cluster client, the others go through routers.
        ttl_ms: of the users.
        tick_ms: of the nodes.
        members: the nodes know of each other; else each stands alone with its share of the users, which allows R = 1 only.
    """

    nodes: int = 3
    replicas: int = 2
    routers: int = 1
    applications: int = 2
    ttl_ms: int = 1_500
    tick_ms: int = 50
    members: bool = True

    @property
    def node_names(self) -> list[str]:
        """The names of the nodes."""
        return [f"n{number + 1}" for number in range(self.nodes)]

    @property
    def router_names(self) -> list[str]:
        """The names of the routers."""
        return [f"r{number + 1}" for number in range(self.routers)]

    @property
    def application_names(self) -> list[str]:
        """The names of the processes of the application."""
        return [f"a{number + 1}" for number in range(self.applications)]


class Asker(Protocol):
    """How an application uses the cluster."""

    async def heartbeat(self, user_id: int) -> None:
        """Mark a user alive."""
        ...

    async def offline(self, user_id: int) -> None:
        """Sign a user off."""
        ...

    async def status(self, ids: list[int]) -> list[bool | None]:
        """Who is online, in the order asked."""
        ...


class ThroughRouters:
    """An application that knows some routers."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def heartbeat(self, user_id: int) -> None:
        """As `Asker`."""
        await self._client.heartbeat(user_id)

    async def offline(self, user_id: int) -> None:
        """As `Asker`."""
        await self._client.offline(user_id)

    async def status(self, ids: list[int]) -> list[bool | None]:
        """As `Asker`."""
        return [_ONLINE[Status(byte)] for byte in await self._client.status_array(array("Q", ids))]


class AsClusterClient:
    """An application that talks to the owners itself."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout

    async def heartbeat(self, user_id: int) -> None:
        """As `Asker`."""
        await self._ask("heartbeat", [user_id])

    async def offline(self, user_id: int) -> None:
        """As `Asker`."""
        await self._ask("offline", [user_id])

    async def status(self, ids: list[int]) -> list[bool | None]:
        """As `Asker`."""
        return [_ONLINE[Status(byte)] for byte in await self._ask("status", ids)]

    async def _ask(self, method: str, ids: list[int]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._fanout.ask(method, IdBatch(ids), Options(), answer)
        async with asyncio.timeout(CALL_S):
            return await answer


class Cluster:
    """The processes of a cluster, and what may happen to them.

    Attributes:
        world: where it runs.
        topology: the members; the same from beginning to end.
        running: the processes that run now, by name.
        nodes: the nodes among them.
    """

    def __init__(self, world: World, shape: Shape, folder: Path) -> None:
        self.world = world
        self.shape = shape
        self.topology = Topology(
            1, SEED, shape.replicas, tuple(Member(name, f"{name}:{_PORT}") for name in shape.node_names)
        )
        self.running: dict[str, Process] = {}
        self.nodes: dict[str, Node] = {}
        self.auditor = self._process(AUDITOR)
        self._folder = folder
        self._hasher = Hasher(SEED)

    # --- who is where ------------------------------------------------------------------------------------------------

    def owners_of(self, user_id: int) -> list[str]:
        """The names of the nodes that keep a user, the one asked first at the front."""
        table = self.topology.owners
        return [table.members[index].id for index in table.of_slot(self._hasher.place(user_id).slot)]

    def link(self, first: str, second: str) -> Link:
        """The link between two processes."""
        return self.world.network.between(first, second)

    # --- starting ----------------------------------------------------------------------------------------------------

    def start_node(self, name: str, *, anew: bool) -> None:
        """Start a node.

        Args:
            anew: it ran before, and has lost what it knew.
        """
        process = self._process(name)
        settings = NodeSettings(
            listen=None,
            ttl_ms=self.shape.ttl_ms,
            tick_ms=self.shape.tick_ms,
            seed=SEED,
            node_id=name,
            warm_up=anew and not self.shape.members,
            cluster=self._member(process) if self.shape.members else None,
        )
        node = self.nodes[name] = Node(settings, clock=process.clock)
        self.link(AUDITOR, name).delay_ms = _AUDIT_DELAY_MS

        async def serve() -> None:
            await node.start()
            self.world.network.listen(process, accept)

        def accept(sock: SimulatedSocket) -> None:
            node.accept(sock, ALL_RIGHTS)  # type: ignore[arg-type]  # it is all that a node asks of a socket

        process.start(serve())

    def start_router(self, name: str) -> None:
        """Start a router."""
        process = self._process(name)
        router = Router(
            RouterSettings(topology=self.topology, dialling=self.dialling(process), listen=None, router_id=name),
            random=self._random(),
        )

        async def serve() -> None:
            await router.start()
            self.world.network.listen(process, accept)

        def accept(sock: SimulatedSocket) -> None:
            process.start(router.adopt(sock, ALL_RIGHTS))  # type: ignore[arg-type]  # it is all that a router asks of one

        process.start(serve())

    def start_application(self, name: str, *, as_cluster_client: bool) -> Awaitable[Asker]:
        """Start a process of the application; the result comes in its loop."""
        process = self._process(name)
        if as_cluster_client:
            return process.start(self._cluster_client(process))
        return process.start(self._router_client(process))

    def client_of(self, process: Process, *names: str, timeout_s: float = CALL_S) -> AsyncClient:
        """A client in a process, of nodes or routers; each attempt to connect goes to the next of them."""
        turns = count()

        async def connect() -> socket.socket:
            return await self.world.network.connect(process, names[next(turns) % len(names)])

        return AsyncClient(connect=connect, timeout_s=timeout_s, random=self._random())

    def dialling(self, process: Process) -> Dialling:
        """How a process connects to the nodes."""

        def socket_maker(address: Address) -> MakeSocket:
            assert isinstance(address, TcpAddress)
            return lambda: self.world.network.connect(process, address.host)

        settings: ClientSettings[MakeSocket] = ClientSettings(
            targets=[],
            greeting=Greeting(process.name),
            connect_timeout_s=CALL_S,
            timeout_s=CALL_S,
            random=self._random(),
        )
        return Dialling(settings, socket_maker)

    # --- accidents ---------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """End a process as SIGKILL does."""
        self.running.pop(name).kill()
        self.nodes.pop(name, None)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _process(self, name: str) -> Process:
        process = self.running[name] = self.world.process(name)
        return process

    def _random(self) -> Random:
        return Random(self.world.random.random())

    def _member(self, process: Process) -> ClusterSettings:
        data_dir = self._folder / process.name
        data_dir.mkdir(exist_ok=True)
        return ClusterSettings(name="simulated", topology=self.topology, dialling=self.dialling(process), data_dir=data_dir)

    async def _router_client(self, process: Process) -> Asker:
        return ThroughRouters(self.client_of(process, *self.shape.router_names))

    async def _cluster_client(self, process: Process) -> Asker:
        fanout = Fanout(self.topology, self.dialling(process), self._random())
        await fanout.tried()
        return AsClusterClient(fanout)

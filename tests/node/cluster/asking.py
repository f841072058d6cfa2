"""A simulated cluster whose members are asked one by one, in the very words of the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from presencedb.client.dial import dial
from presencedb.client.link import Link
from presencedb.client.targets import Greeting
from presencedb.ids import IdBatch
from presencedb.node.cluster.role import ClusterRole
from presencedb.placement import Member, SlotSet, slots_of
from presencedb.states import Status
from tests.conformance import wire
from tests.simulation.cluster import SEED, Cluster, Shape
from tests.simulation.world import World

_ONLINE = {Status.ONLINE: True, Status.OFFLINE: False, Status.UNKNOWN: None}


class Members:
    """The members of a cluster, all of them synced, and somebody who asks them.

    Attributes:
        world: in which they are.
        cluster: they.
    """

    def __init__(self, world: World, folder: Path, shape: Shape) -> None:
        self.world = world
        self.cluster = Cluster(world, shape, folder)
        self.caller = world.process("caller")
        self._dialling = self.cluster.dialling(self.caller)
        self._links: dict[str, Link] = {}
        for name in shape.node_names:
            self.cluster.start_node(name, anew=False)
        world.run_until(lambda: all(node.ready for node in self.cluster.nodes.values()), 2)

    def role(self, name: str) -> ClusterRole:
        """A member as it sees itself."""
        parts = self.cluster.nodes[name]._parts
        assert parts is not None
        assert parts.cluster is not None
        return parts.cluster

    def connect(self, name: str) -> Link:
        """The caller's connection to a member."""
        link = self._links.get(name)
        if link is None or link.lost_by is not None:
            target = self._dialling.target(Member(name, f"{name}:7411"))
            link = self._links[name] = self.world.result_of(self.caller, dial(target, Greeting("caller"), 2.0))
        return link

    def ask(self, name: str, method: str, *params: Any) -> Any:
        """What a member answers.

        Raises:
            Error: it answers with one.
        """
        return self.ask_all(name, [(method, *params)])[0]()

    def ask_all(self, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What a member answers to requests that come together: for each what gives the result, or raises."""
        link = self.connect(name)

        async def ask() -> list[asyncio.Future[Any]]:
            answers = [link.send(method, params) for method, *params in calls]
            await asyncio.wait(answers)
            return answers

        return [answer.result for answer in self.world.result_of(self.caller, ask(), 5)]

    def notify(self, name: str, method: str, *params: Any) -> None:
        """Tell a member something that is not answered."""
        link = self.connect(name)

        async def tell() -> None:
            assert link._transport is not None
            link._transport.write(wire.notification(method, *params))

        self.world.result_of(self.caller, tell())
        self.ask(name, "ping")

    def status(self, name: str, ids: Sequence[int]) -> list[bool | None]:
        """What a member says of users."""
        return [_ONLINE[Status(byte)] for byte in self.ask(name, "status", list(ids))]

    def knows(self, name: str, ids: Sequence[int]) -> list[bool]:
        """Which users a member has a heartbeat of, whoever owns them."""
        ages, signed_off = self.ask(name, "ages", list(ids))
        return [age is not None and not off for age, off in zip(ages, signed_off, strict=True)]

    def info(self, name: str) -> dict[str, Any]:
        """What a member counts."""
        found: dict[str, Any] = self.ask(name, "info")
        return found

    def owed(self, name: str, to: str) -> SlotSet:
        """What a member would tell another one that it has missed."""
        return SlotSet.from_wire(self.ask(name, "missed", to))

    def users_of(self, *owners: str, count: int = 5) -> list[int]:
        """Users whom these members own, and in this order."""
        return list(islice((user for user in range(10_000) if self.cluster.owners_of(user) == list(owners)), count))

    def slots_of(self, ids: Sequence[int]) -> SlotSet:
        """Where these users are."""
        return SlotSet.of_bitmap(slots_of(IdBatch(ids), SEED))


@contextmanager
def members(folder: Path, *, nodes: int = 3, replicas: int = 2, seed: int = 1) -> Iterator[Members]:
    """A cluster of members with a ttl so long that nobody times out."""
    with World(seed) as world:
        yield Members(world, folder, Shape(nodes=nodes, replicas=replicas, ttl_ms=60_000))
        assert not world.failures

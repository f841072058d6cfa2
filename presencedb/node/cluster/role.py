"""The role of a node in its cluster: joins what this package has, and is what commands and ticks see of it."""

from __future__ import annotations

from random import Random
from typing import Any

from presencedb.engine import Engine
from presencedb.errors import Unavailable
from presencedb.ids import IdBatch
from presencedb.node.cluster.peers import Peers
from presencedb.node.cluster.settings import ClusterSettings
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.placement import NO_SLOTS, OwnerTable, SlotSet, Topology


class ClusterRole:
    """One node as a member.

    Attributes:
        topology: the members, as this node knows them.
        table: who owns what.
        own: the slots that this node owns.
        synced: those of them for which it knows who is offline.
    """

    def __init__(
        self, settings: ClusterSettings, own_id: str, run: str, *, engine: Engine, ticker: Ticker, scale: TickScale
    ) -> None:
        jitter = settings.dialling.settings.random or Random()  # noqa: S311 - nothing secret depends on it
        self.peers = Peers(own_id, settings.dialling, jitter)
        self.synced: SlotSet = NO_SLOTS
        self._settings = settings
        self._own_id = own_id
        self._run = run
        self._engine = engine
        self._ticker = ticker
        self._scale = scale
        self._go_by(settings.topology)

    def start(self) -> None:
        """Connect to the others."""
        self.peers.update(self.topology)

    async def stop(self) -> None:
        """End the connections to the others."""
        await self.peers.close()

    def update(self, topology: Topology) -> bool:
        """Go by another topology, if it is newer; returns whether it was."""
        if topology.epoch <= self.topology.epoch:
            return False
        self._go_by(topology)
        self.peers.update(topology)
        return True

    def slots(self) -> dict[str, Any]:
        """The answer to `slots`."""
        return {"epoch": self.topology.epoch, "run": self._run, "synced": self.synced.to_wire()}

    def ages(self, ids: IdBatch) -> tuple[list[int | None], list[bool]]:
        """The answer to `ages`."""
        raise Unavailable(f"no ages of {len(ids)} users are told yet")

    def pages_out(self, cursor: str | None, limit: int, slots: tuple[int, ...] | None) -> tuple[Any, ...]:
        """The answer to `pages_out`."""
        raise Unavailable(f"no page of {limit} from {cursor} of {slots} is given yet")

    def missed(self, member_id: str, pulled: tuple[int, ...] | None) -> list[list[int]]:
        """The answer to `missed`."""
        raise Unavailable(f"{member_id} is told of nothing yet, {pulled} or not")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _go_by(self, topology: Topology) -> None:
        self.topology = topology
        self.table: OwnerTable = topology.owners
        ids = [member.id for member in self.table.members]
        self.own = self.table.slots_by_member[ids.index(self._own_id)] if self._own_id in ids else NO_SLOTS

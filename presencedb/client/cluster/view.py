"""The topology that an observer goes by, and what it thinks of the members in it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.client.values import ServerInfo
from presencedb.limits import REPLICAS_MAX
from presencedb.placement import NO_SLOTS, OwnerTable, SlotSet, Topology


class View:
    """One topology, replaced by a newer one when there is one; members that stay keep their connections.

    Attributes:
        topology: the members.
        table: who owns what.
        members: the connections, in the order of the table's members.
        synced: for each of them the slots for which it knows who is offline, as far as it has said.
        mask: for each of them a byte: 1 where it is up.
        missed: the ids of those that are not, as a write tells them to the others.
        on_change: called when a member's state or the topology has changed.
    """

    def __init__(self, topology: Topology, dialling: Dialling, random: Random) -> None:
        self.on_change: Callable[[], None] = _nothing
        self._dialling = dialling
        self._random = random
        self._server: ServerInfo | None = None
        self._leaving: list[MemberConnection] = []
        self.members: list[MemberConnection] = []
        self.synced: list[SlotSet] = []
        self._take(topology)

    def update(self, topology: Topology) -> bool:
        """Go by another topology, if it is newer; returns whether it was."""
        if topology.epoch <= self.topology.epoch or topology.seed != self.topology.seed:
            return False
        self._take(topology)
        self.on_change()
        return True

    def mask_without(self, members: frozenset[str]) -> bytes:
        """The mask, with these members left out as well."""
        if not members:
            return self.mask
        return bytes(up and one.member.id not in members for up, one in zip(self.mask, self.members, strict=True))

    @property
    def any_up(self) -> MemberConnection | None:
        """A member that is up, another one each time; None where none is."""
        up = [member for member in self.members if member.state is MemberState.UP]
        return self._random.choice(up) if up else None

    @property
    def server(self) -> ServerInfo | None:
        """What a member has said of itself, which is the same for all but for names; None before any was reached."""
        for connection in self.members:
            if connection.link is not None:
                self._server = connection.link.server
                break
        return self._server

    def set_synced(self, connection: MemberConnection, slots: SlotSet) -> None:
        """A member has said in which slots it is synced."""
        if connection in self.members:
            self.synced[self.members.index(connection)] = slots

    async def close(self) -> None:
        """End all connections."""
        for connection in [*self.members, *self._leaving]:
            await connection.close()

    def drop(self) -> None:
        """The same, without waiting for the end of it."""
        for connection in [*self.members, *self._leaving]:
            connection.drop()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _take(self, topology: Topology) -> None:
        known = {
            (one.member.id, one.member.address): (one, slots) for one, slots in zip(self.members, self.synced, strict=True)
        }
        self.topology = topology
        self.table: OwnerTable = topology.owners
        self.members = []
        self.synced = []
        for member in self.table.members:
            connection, synced = known.pop((member.id, member.address), (None, NO_SLOTS))
            if connection is None:
                connection = MemberConnection(member, self._dialling, self._random)
                connection.on_state = self._state_changed
            self.members.append(connection)
            self.synced.append(synced)
        for gone, _ in known.values():
            gone.on_state = _ignored
            gone.drop()
            self._leaving.append(gone)
        self._judge()

    def _state_changed(self, connection: MemberConnection) -> None:
        if connection.state is MemberState.DOWN:
            # It may come back as another run, which knows nothing yet.
            self.set_synced(connection, NO_SLOTS)
        self._judge()
        self.on_change()

    def _judge(self) -> None:
        self.mask = bytes(connection.state is MemberState.UP for connection in self.members)
        down = [connection.member.id for connection in self.members if connection.state is not MemberState.UP]
        # More than a slot has owners cannot be told in one write; so many are not down while anybody can be served well.
        self.missed = down[:REPLICAS_MAX]


def _nothing() -> None:
    """Nobody wants to know."""


def _ignored(_connection: MemberConnection) -> None:
    """It is no member any more."""

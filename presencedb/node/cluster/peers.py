"""The other members, as a node sees them: a connection to each, kept by the same part that every observer uses."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.placement import Topology


class Peers:
    """Connections to all members but this one.

    Attributes:
        connections: by the id of the member.
        on_change: called with a connection whose state has changed.
    """

    def __init__(self, own_id: str, dialling: Dialling, random: Random) -> None:
        self.connections: dict[str, MemberConnection] = {}
        self.on_change: Callable[[MemberConnection], None] = _ignore
        self._own_id = own_id
        self._dialling = dialling
        self._random = random
        self._leaving: list[MemberConnection] = []

    def update(self, topology: Topology) -> None:
        """Connect to the members of this topology, and let go of those that are none any more."""
        members = {member.id: member for member in topology.members if member.id != self._own_id}
        for member_id, connection in list(self.connections.items()):
            if member_id not in members or members[member_id].address != connection.member.address:
                connection.on_state = _ignore
                connection.drop()
                self._leaving.append(self.connections.pop(member_id))
        for member_id, member in members.items():
            if member_id not in self.connections:
                connection = self.connections[member_id] = MemberConnection(member, self._dialling, self._random)
                connection.on_state = self._state_changed

    def is_up(self, member_id: str) -> bool:
        """Whether a member may be asked."""
        connection = self.connections.get(member_id)
        return connection is not None and connection.state is MemberState.UP

    def is_down(self, member_id: str) -> bool:
        """Whether it is a member, and there is no connection to it."""
        connection = self.connections.get(member_id)
        return connection is not None and connection.state is not MemberState.UP and connection.link is None

    def is_gone(self, member_id: str) -> bool:
        """Whether nobody is there: no process listens at its address, or it is no member."""
        connection = self.connections.get(member_id)
        return connection is None or (connection.state is MemberState.DOWN and connection.refused)

    async def close(self) -> None:
        """End all connections."""
        for connection in [*self.connections.values(), *self._leaving]:
            await connection.close()

    def _state_changed(self, connection: MemberConnection) -> None:
        self.on_change(connection)


def _ignore(_connection: MemberConnection) -> None:
    """Nobody wants to know."""

"""The topology that an observer goes by, and what it thinks of the members in it."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any, Final

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.client.failures import connect_error
from presencedb.client.values import ServerInfo
from presencedb.placement import NO_MEMBER, NO_SLOTS, OwnerTable, SlotSet, Topology

_NO_OPTIONS: Final[dict[str, Any]] = {}
_UNKNOWN_EPOCH: Final = -1
_NO_TOPOLOGY: Final = 0
"""What a node says that is no member of a cluster: any epoch is all the same to it."""


class View:
    """One topology, replaced by a newer one when there is one; members that stay keep their connections.

    Attributes:
        topology: the members.
        table: who owns what.
        members: the connections, in the order of the table's members.
        synced: for each of them the slots for which it knows who is offline, as far as it has said since it was up.
        options: for each of them what goes with a request: the epoch, to one that is not known to go by it already.
        mask: for each of them a byte: 1 where it is up, as far as is known.
        down: the ids of those that are not.
        on_change: called when a member's state or the topology has changed.
        on_up: called with a member that is up from now on.
        on_room: called when a member that did not keep up does so again.
    """

    def __init__(self, topology: Topology, dialling: Dialling, random: Random) -> None:
        self.on_change: Callable[[], None] = _nothing
        self.on_up: Callable[[MemberConnection], None] = _ignored
        self.on_room: Callable[[], None] = _nothing
        self._dialling = dialling
        self._random = random
        self._server: ServerInfo | None = None
        self._leaving: list[MemberConnection] = []
        self._epochs: dict[MemberConnection, int] = {}
        self._live: OwnerTable | None = None
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

    @property
    def live_table(self) -> OwnerTable:
        """The owners that are up, those asked first at the front."""
        if self._live is None:
            self._live = self.table if not self.down else _without(self.table, self.mask)
        return self._live

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
    def keeps_up(self) -> bool:
        """Whether every member takes what it is asked."""
        return all(member.keeps_up for member in self.members)

    @property
    def server(self) -> ServerInfo | None:
        """What a member has said of itself, which is the same for all but for names; None before any was reached."""
        return self._server

    def set_told(self, connection: MemberConnection, synced: SlotSet, epoch: int) -> None:
        """A member has said in which slots it is synced, and by which epoch it goes."""
        if connection in self._epochs:
            index = self.members.index(connection)
            self.synced[index] = synced
            self._epochs[connection] = epoch
            self.options[index] = self._options_for(connection)

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
                connection.on_room = self._has_room
            self.members.append(connection)
            self.synced.append(synced)
        self._epochs = {one: self._epochs.get(one, _UNKNOWN_EPOCH) for one in self.members}
        self._epoch_options = {"epoch": topology.epoch}
        self.options = [self._options_for(one) for one in self.members]
        self._judge()
        self._leaving = [one for one in self._leaving if not one.has_ended]
        for gone, _ in known.values():
            # What they were asked goes to others at once, by the new topology.
            gone.drop(connect_error(gone.member.address, "it is no member any more"))
            self._leaving.append(gone)

    def _state_changed(self, connection: MemberConnection) -> None:
        index = self.members.index(connection)
        if connection.state is not MemberState.UP:
            # It may come back as another run, or have lost its confidence.
            self.synced[index] = NO_SLOTS
            self._epochs[connection] = _UNKNOWN_EPOCH
            self.options[index] = self._epoch_options
        self._judge()
        self.on_change()
        if connection.state is MemberState.UP and connection.link is not None:
            self._server = connection.link.server
            self.on_up(connection)

    def _has_room(self) -> None:
        self.on_room()

    def _options_for(self, connection: MemberConnection) -> dict[str, Any]:
        told = self._epochs[connection]
        return _NO_OPTIONS if told == _NO_TOPOLOGY or told >= self.topology.epoch else self._epoch_options

    def _judge(self) -> None:
        self.mask = bytes(connection.may_be_asked for connection in self.members)
        self.down = [connection.member.id for connection in self.members if not connection.may_be_asked]
        self._live = None


@lru_cache(maxsize=4)
def _without(table: OwnerTable, mask: bytes) -> OwnerTable:
    """The table with the members left out that the mask has 0 for: those behind them move up."""
    depth = table.depth
    cells = memoryview(table.cells).cast("H")
    left_out = {NO_MEMBER, *(index for index, is_up in enumerate(mask) if not is_up)}
    rows: dict[tuple[int, ...], list[int]] = {}
    live = array("H")
    for start in range(0, len(cells), depth):
        row = tuple(cells[start : start + depth])
        if row not in rows:
            owners = [member for member in row if member not in left_out]
            rows[row] = owners + [NO_MEMBER] * (depth - len(owners))
        live.extend(rows[row])
    return OwnerTable(table.members, depth, live.tobytes())


def _nothing() -> None:
    """Nobody wants to know."""


def _ignored(_connection: MemberConnection) -> None:
    """Nobody wants to know."""

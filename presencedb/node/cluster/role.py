"""The role of a node in its cluster: joins what this package has, and is what commands and ticks see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.engine import Engine
from presencedb.errors import Unavailable
from presencedb.ids import Id, IdBatch
from presencedb.limits import STALL_TICKS
from presencedb.node.cluster.agreement import Agreement
from presencedb.node.cluster.copies import ages_to_send_ms
from presencedb.node.cluster.epochs import Epochs
from presencedb.node.cluster.forwarding import Forwarding
from presencedb.node.cluster.founding import Founding
from presencedb.node.cluster.owed import Owed
from presencedb.node.cluster.ownership import Ownership
from presencedb.node.cluster.peers import Peers
from presencedb.node.cluster.settings import ClusterSettings
from presencedb.node.cluster.sync import Sync
from presencedb.node.scan_cursor import scan_cursor, scan_position
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.placement import ALL_SLOTS, NO_SLOTS, OwnerTable, SlotSet, Topology


class ClusterRole:
    """One node as a member.

    Attributes:
        table: who owns what.
        own: the slots that this node owns.
        ownership: what is done about users whom it does not own, and about owners that a writer has missed.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        own_id: str,
        run: str,
        *,
        engine: Engine,
        ticker: Ticker,
        scale: TickScale,
        on_synced: Callable[[], None],
    ) -> None:
        """Begin as a member that knows nothing yet.

        Args:
            run: names this start.
            on_synced: called after slots have become synced.

        Raises:
            ConfigError: the data directory is another's.
        """
        jitter = settings.dialling.settings.random or Random()  # noqa: S311 - nothing secret depends on it
        self.peers = Peers(own_id, settings.dialling, jitter)
        self.owed = Owed()
        loop = asyncio.get_running_loop()
        self._epochs = Epochs(settings.topology, self.peers, loop, on_newer=self._changed)
        self.forwarding = Forwarding(own_id, self.peers, self.owed, loop)
        self.ownership = Ownership(self._epochs, self.forwarding, self._late_ms)
        self._known: list[str] = []
        self._settings = settings
        self._own_id = own_id
        self._run = run
        self._engine = engine
        self._ticker = ticker
        founding = Founding(settings.data_dir, settings.name, own_id)
        self.sync = Sync(own_id, founding, self.peers, engine=engine, ticker=ticker, scale=scale, on_synced=on_synced)
        self.agreement = Agreement(engine, ticker, self.peers, self._others_of)
        self._last_tick = ticker.now()
        self._away_ticks = 0
        self._paused_at_tick = -1
        self._go_by(settings.topology)
        self.peers.on_change = self._peer_changed

    def start(self) -> None:
        """Connect to the others."""
        self.peers.update(self.topology)

    async def stop(self) -> None:
        """End the connections to the others."""
        await self.peers.close()

    @property
    def topology(self) -> Topology:
        """The members, as this node knows them."""
        return self._epochs.topology

    def update(self, topology: Topology) -> bool:
        """Go by another topology, if it is newer and of the same cluster; returns whether it was."""
        return self._epochs.take(topology)

    def look(self) -> None:
        """Before anything is answered: see whether this node was away, for then it knows less than it did."""
        jump_ticks = self._ticker.now() - self._last_tick
        self._away_ticks = jump_ticks if jump_ticks > STALL_TICKS else 0
        if self._away_ticks and self._paused_at_tick != self._last_tick:
            self._paused_at_tick = self._last_tick
            self.sync.pause(jump_ticks)

    @property
    def late_ticks(self) -> int:
        """By how much a write may be older than it seems that was read when it was last looked: this node was away since.

        Other owners have these writes too, and later ones: one that came late must not be taken for later than those.
        """
        return self._away_ticks if self._has_co_owners else 0

    def step(self, tick: int) -> None:
        """After the engine has advanced to this tick."""
        self.look()
        self._last_tick = tick
        self.sync.step(tick)
        self.agreement.step(tick)

    @property
    def ready(self) -> bool:
        """Whether it knows all that it is asked about."""
        return self.sync.all_synced

    def topology_to_tell(self) -> dict[str, Any]:
        """The answer to `topology`: of the runs of the members it knows its own."""
        told = self.topology.to_wire()
        for member in told["members"]:
            if member["id"] == self._own_id:
                member["run"] = self._run
        return told

    @property
    def peers_up(self) -> int:
        """How many of the other members are up, as far as this one can tell."""
        return sum(connection.state is MemberState.UP for connection in self.peers.connections.values())

    def slots(self) -> dict[str, Any]:
        """The answer to `slots`."""
        return {
            "epoch": self.topology.epoch,
            "run": self._run,
            "synced": self.sync.synced.to_wire(),
            "first_start": self.sync.is_first_start,
        }

    def ages(self, ids: IdBatch) -> tuple[list[int | None], list[bool]]:
        """The answer to `ages`: of each id the age in milliseconds, or None, and whether it is a sign-off."""
        copies = self._engine.export(ids, self._ticker.now())
        ages_ms = ages_to_send_ms(copies, self._ticker)
        found = {
            user_id: (age_ms, signed_off != 0)
            for user_id, age_ms, signed_off in zip(copies.ids, ages_ms, copies.signed_off, strict=True)
        }
        answers = [found.get(user_id, (None, False)) for user_id in ids]
        return [age_ms for age_ms, _ in answers], [signed_off for _, signed_off in answers]

    def pages_out(
        self, cursor: str | None, limit: int, slots: tuple[int, ...] | None
    ) -> tuple[str | None, list[Id], list[int], list[bool]]:
        """The answer to `pages_out`: what is here of these slots, synced or not; who asks knows for which it is all."""
        wanted = ALL_SLOTS if slots is None else slots
        position, copies = self._engine.export_slots(
            wanted, self._ticker.now(), count_max=limit, cursor=scan_position(cursor)
        )
        signed_off = [mark != 0 for mark in copies.signed_off]
        return scan_cursor(position), list(copies.ids), ages_to_send_ms(copies, self._ticker), signed_off

    def missed(self, member_id: str, pulled: tuple[int, ...] | None) -> list[list[int]]:
        """The answer to `missed`. The member itself always says what it has pulled; others may look.

        Raises:
            Unavailable: what it misses cannot be passed on to it: it is asked to wait until it can be.
        """
        if pulled is not None and self.peers.is_down(member_id):
            self.peers.connections[member_id].hurry()
            raise Unavailable(f"{member_id} cannot be reached from here yet")
        return self.owed.answer(member_id, NO_SLOTS if pulled is None else SlotSet(pulled)).to_wire()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _late_ms(self) -> int:
        return self._away_ticks * self._ticker.tick_ms

    def _changed(self, topology: Topology) -> None:
        self._go_by(topology)
        self.peers.update(topology)

    def _peer_changed(self, connection: MemberConnection) -> None:
        self.sync.hurry()
        if connection.state is MemberState.UP:
            # It may have heard of a newer topology while it was away from here, or be new itself.
            self._epochs.ask(connection)

    def _go_by(self, topology: Topology) -> None:
        self.table: OwnerTable = topology.owners
        ids = [member.id for member in self.table.members]
        by_id = dict(zip(ids, self.table.slots_by_member, strict=True))
        self.own = by_id.pop(self._own_id, NO_SLOTS)
        self.ownership.own(self.own)
        self.forwarding.go_by(topology)
        shared_with = {member_id: slots & self.own for member_id, slots in by_id.items()}
        shared_with = {member_id: slots for member_id, slots in shared_with.items() if len(slots)}
        self._has_co_owners = bool(shared_with)
        self.sync.own(self.own, shared_with)
        for member_id in set(self._known) - set(ids):
            self.owed.forget(member_id)
        self._known = ids

    def _others_of(self, slot: int) -> tuple[str, ...]:
        members = self.table.members
        return tuple(members[owner].id for owner in self.table.of_slot(slot) if members[owner].id != self._own_id)

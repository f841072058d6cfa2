"""What a member passes on of the writes that it gets: to owners that the writer could not reach, and of users that it does
not own itself to those who do.

A write that is passed on carries `forwarded: true`: whoever gets it applies it and passes it on to nobody, so that members
that go by different topologies cannot send a write in a circle. An owner that cannot be reached from here either is *owed*
the slots of these users; it pulls them when it is back.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any, NamedTuple

import structlog

from presencedb.client.cluster.member import MemberConnection
from presencedb.errors import Error, Unavailable
from presencedb.ids import IdBatch
from presencedb.limits import AGE_MS_MAX, REPLICAS_MAX, SECOND_MS
from presencedb.node.cluster.owed import Owed
from presencedb.node.cluster.peers import Peers
from presencedb.placement import NO_MEMBER, NO_SLOTS, SlotSet, Topology, slots_of, split_reads, split_writes

log = structlog.get_logger()


class Told(NamedTuple):
    """What a write says of its users: `heartbeat` or `offline`, how long ago, and the grace of a sign-off."""

    method: str
    age_ms: int
    grace_ms: int


class Forwarding:
    """Passes writes on to other members.

    Attributes:
        ids: how many ids there were in what was passed on.
    """

    def __init__(self, own_id: str, peers: Peers, owed: Owed, loop: AbstractEventLoop) -> None:
        self.ids = 0
        self.owed = owed
        self._own_id = own_id
        self._peers = peers
        self._loop = loop

    def go_by(self, topology: Topology) -> None:
        """These are the owners from now on."""
        self.topology = topology
        self.table = topology.owners
        self._index_of = {member.id: index for index, member in enumerate(self.table.members)}

    def write(self, what: Told, count: int, on_end: Callable[[int | Error], None]) -> ForwardedWrite:
        """Begin to pass on a write that was applied here.

        Args:
            count: what it has changed here.
            on_end: called with what it has changed in all, or why it has failed, once everybody has answered.
        """
        return ForwardedWrite(self, what, count, on_end)

    def note(self, ids: IdBatch, member_ids: Iterable[str], *, newer: bool = False) -> None:
        """These members have missed a write of these users.

        Args:
            newer: whoever says so goes by a newer topology, in which they may own more.
        """
        slots = NO_SLOTS
        for member_id in member_ids:
            index = self._index_of.get(member_id)
            if index is None or member_id == self._own_id:
                continue
            slots = slots or SlotSet.of_bitmap(slots_of(ids, self.topology.seed))
            missed = slots if newer else slots & self.table.slots_by_member[index]
            if len(missed):
                self.owed.note(member_id, missed)

    def reachable(self, member_id: str) -> MemberConnection | None:
        """The connection to a member that can be told something now."""
        connection = self._peers.connections.get(member_id)
        return connection if connection is not None and self._peers.is_up(member_id) and connection.keeps_up else None

    def mask_of(self, members: Iterable[str]) -> bytes:
        """The members of the table, as a split takes them: a byte each, 1 for those named."""
        named = set(members)
        return bytes(member.id in named for member in self.table.members)

    def reachable_members(self, without: frozenset[str]) -> frozenset[str]:
        """All members that can be told something now, but for these."""
        return frozenset(
            member.id for member in self.table.members if member.id not in without and self.reachable(member.id) is not None
        )

    @property
    def now_s(self) -> float:
        """This moment, by the time of the loop."""
        return self._loop.time()


class ForwardedWrite:
    """One write on its way to others. It ends when each of them has answered or is given up."""

    def __init__(self, forwarding: Forwarding, what: Told, count: int, on_end: Callable[[int | Error], None]) -> None:
        self._forwarding = forwarding
        self._what = what
        self._count = count
        self._on_end = on_end
        self._began_s = forwarding.now_s
        self._error: Error | None = None
        self._left = 1

    def to_missed(self, ids: IdBatch, member_ids: Iterable[str], *, newer: bool) -> None:
        """Tell those of the users' owners that the writer has missed, as far as they can be reached from here.

        Args:
            newer: as with `Forwarding.note`.
        """
        forwarding = self._forwarding
        for member_id in member_ids:
            connection = forwarding.reachable(member_id)
            if connection is None:
                forwarding.note(ids, [member_id], newer=newer)
                continue
            mask = forwarding.mask_of([member_id])
            for part in split_writes(ids, forwarding.topology.seed, forwarding.table, mask=mask):
                if part.member != NO_MEMBER:
                    self._ask(connection, _Missed(self, part.ids, member_id), part.ids, self._wire_options())
                elif newer:
                    forwarding.note(part.ids, [member_id], newer=True)

    def to_owners(self, ids: IdBatch) -> None:
        """Tell all owners of these users; what changes for a user is what its first one says that can be reached."""
        forwarding = self._forwarding
        seed, table = forwarding.topology.seed, forwarding.table
        reachable = forwarding.reachable_members(frozenset())
        mask = forwarding.mask_of(reachable)
        slots = SlotSet.of_bitmap(slots_of(ids, seed))
        unreachable = [
            member.id
            for member, owned in zip(table.members, table.slots_by_member, strict=True)
            if member.id not in reachable and len(owned & slots)
        ]
        counted = {part.member: part.positions for part in split_reads(ids, seed, table, mask=mask)}
        for part in split_writes(ids, seed, table, mask=mask):
            if part.member == NO_MEMBER:
                self._fail(Unavailable("no member that keeps some of these users can be reached"))
                continue
            member_id = table.members[part.member].id
            own = counted.get(part.member)
            others = part.positions if own is None else part.positions[:0]
            if own is not None and len(own) < len(part.positions):
                first = frozenset(own)
                others = type(own)("I", [position for position in part.positions if position not in first])
            if own is not None:
                self._tell_owner(ids.take(own), member_id, unreachable, counts=True)
            if others:
                self._tell_owner(ids.take(others), member_id, unreachable, counts=False)

    def end_one(self) -> None:
        """One of those told has come to its end."""
        self._left -= 1
        if self._left == 0:
            self._on_end(self._count if self._error is None else self._error)

    # --- what its questions call -------------------------------------------------------------------------------------

    def taken(self, count: Any, *, counts: bool) -> None:
        """A member has taken its part."""
        if type(count) is int and counts:
            self._count += count
        self.end_one()

    def not_taken_by_missed(self, ids: IdBatch, member_id: str) -> None:
        """An owner that the writer has missed cannot be reached from here either."""
        self._forwarding.note(ids, [member_id])
        self.end_one()

    def not_taken_by_owner(self, ids: IdBatch, failed: frozenset[str], *, counts: bool) -> None:
        """An owner was lost on the way: another one is told that it was missed."""
        forwarding = self._forwarding
        mask = forwarding.mask_of(forwarding.reachable_members(failed))
        for part in split_reads(ids, forwarding.topology.seed, forwarding.table, mask=mask):
            if part.member == NO_MEMBER:
                self._fail(Unavailable("no member that keeps some of these users can be reached any more"))
            else:
                member_id = forwarding.table.members[part.member].id
                self._tell_owner(part.ids, member_id, sorted(failed), counts=counts, failed=failed)
        self.end_one()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _tell_owner(
        self, ids: IdBatch, member_id: str, missed: list[str], *, counts: bool, failed: frozenset[str] = frozenset()
    ) -> None:
        connection = self._forwarding.reachable(member_id)
        if connection is None:
            self._left += 1
            self.not_taken_by_owner(ids, failed | {member_id}, counts=counts)
            return
        # Where more were missed than one frame names, it is sent again with the others: a write does no harm twice.
        for start in range(0, len(missed) or 1, REPLICAS_MAX):
            options = self._wire_options(again=bool(failed))
            if missed:
                options["missed"] = missed[start : start + REPLICAS_MAX]
            question = _Owner(self, ids, failed | {member_id}, counts=counts and start == 0)
            self._ask(connection, question, ids, options)

    def _ask(self, connection: MemberConnection, question: _Missed | _Owner, ids: IdBatch, options: dict[str, Any]) -> None:
        self._left += 1
        self._forwarding.ids += len(ids)
        connection.ask(question, self._what.method, (ids, options), len(ids))

    def _wire_options(self, *, again: bool = False) -> dict[str, Any]:
        options: dict[str, Any] = {"forwarded": True, "epoch": self._forwarding.topology.epoch}
        # Older rather than younger than the truth.
        elapsed_ms = ceil((self._forwarding.now_s - self._began_s) * SECOND_MS) if again else 0
        if age_ms := self._what.age_ms + elapsed_ms:
            options["age_ms"] = min(age_ms, AGE_MS_MAX)
        if self._what.grace_ms:
            options["grace_ms"] = self._what.grace_ms
        return options

    def _fail(self, error: Error) -> None:
        self._error = self._error or error


class _Missed:
    """An owner that the writer could not reach is told; a `Question`."""

    __slots__ = ("_ids", "_member_id", "_write")

    def __init__(self, write: ForwardedWrite, ids: IdBatch, member_id: str) -> None:
        self._write = write
        self._ids = ids
        self._member_id = member_id

    def answered(self, result: Any) -> None:
        self._write.taken(result, counts=False)

    def failed(self, error: Error) -> None:
        log.debug("a write cannot be passed on", member=self._member_id, error=str(error))
        self._write.not_taken_by_missed(self._ids, self._member_id)


class _Owner:
    """An owner of users that this node does not own is told; a `Question`."""

    __slots__ = ("_counts", "_failed", "_ids", "_write")

    def __init__(self, write: ForwardedWrite, ids: IdBatch, failed: frozenset[str], *, counts: bool) -> None:
        self._write = write
        self._ids = ids
        self._failed = failed
        self._counts = counts

    def answered(self, result: Any) -> None:
        self._write.taken(result, counts=self._counts)

    def failed(self, error: Error) -> None:
        log.debug("a write cannot be passed on", members=sorted(self._failed), error=str(error))
        self._write.not_taken_by_owner(self._ids, self._failed, counts=self._counts)

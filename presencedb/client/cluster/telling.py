"""One teller a slot: the changes of a cluster as one stream, in which each change comes once, whatever the replicas do.

Every owner of a slot tells its changes. Of each slot one owner is listened to, the *teller*: the first that is up, synced
and tells in time; it stays the teller until it is that no more. When another one takes over, or the teller's own stream has
a hole, the statuses of the *known* users in the slot are read in step with the new stream, and what differs from what was
told last is told: reason `known`, or `unknown` where nobody can tell any more. What an owner tells of a user before that
answer is contained in it, and left out.

Known are the users that somebody watches. Of the others nobody remembers what was told, so whoever follows everything is
told that there may be a hole whenever a teller changes.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.stream import MemberStream
from presencedb.client.cluster.sweeps import slots_by_rank
from presencedb.client.cluster.view import View
from presencedb.errors import BadRequest, ProtocolError
from presencedb.ids import Id, IdBatch
from presencedb.limits import MEMBER_LATE_MS, SECOND_MS, SLOT_COUNT, WATCHED_IDS_MAX
from presencedb.placement import ALL_SLOTS, NO_MEMBER, NO_SLOTS, OwnerTable, SlotSet, positions_outside, split_reads
from presencedb.states import Reason, Status
from presencedb.transitions import REASON_SHIFT

_NOBODY_ANYWHERE: Final = array("H", [NO_MEMBER] * SLOT_COUNT).tobytes()
_STATUS_OF: Final[dict[bool | None, Status]] = {False: Status.OFFLINE, True: Status.ONLINE, None: Status.UNKNOWN}
_SETTLE_S: Final = MEMBER_LATE_MS / SECOND_MS
"""At the beginning a slot without a teller is waited for as long."""
_REASON_OF: Final = {reason.text: reason for reason in Reason}


class Sink(Protocol):
    """Where the stream goes."""

    def tell(self, ids: list[Id], marks: bytes, times_ms: list[int]) -> None:
        """Changes, in order: a mark and Unix milliseconds each."""
        ...

    def break_followers(self) -> None:
        """There may be a hole in what is told of users that are not known."""
        ...


class Telling:
    """The stream of a cluster. It begins with `start`, and is to be stepped about once a tick.

    Attributes:
        switches: how often slots got another teller.
    """

    def __init__(self, view: View, dialling: Dialling, random: Random, sink: Sink, now_ms: Callable[[], int]) -> None:
        self.switches = 0
        self._loop = asyncio.get_running_loop()
        self._view = view
        self._dialling = dialling
        self._random = random
        self._sink = sink
        self._now_ms = now_ms
        self._streams: dict[str, MemberStream] = {}
        self._tellers = OwnerTable((), 1, _NOBODY_ANYWHERE)
        self._told_by: dict[str, SlotSet] = {}
        self._anew: set[str] = set()  # members whose stream has begun since the last step
        self._statuses: dict[Id, int] = {}
        self._awaited: dict[Id, str] = {}  # whose status is being read, and of whom
        self._waiting: list[_Wait] = []
        self._unread: list[Id] = []  # whose status was asked for in vain
        self._begun_s = 0.0
        self._settled = False
        self._begun = False

    # --- what a reader of it does ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen to the members."""
        if not self._begun:
            self._begun = True
            self._settled = False
            self._begun_s = self._loop.time()
            self.step()

    def stop(self) -> None:
        """Listen to nobody any more, and forget what was told."""
        self._begun = False
        for stream in self._streams.values():
            stream.drop()
        self._streams.clear()
        self._told_by.clear()
        self._tellers = OwnerTable((), 1, _NOBODY_ANYWHERE)
        self._statuses.clear()
        self._awaited.clear()
        self._unread.clear()
        self._anew.clear()
        waiting, self._waiting = self._waiting, []
        for wait in waiting:
            wait.then()

    async def close(self) -> None:
        """The same, and wait until the connections are closed."""
        streams = list(self._streams.values())
        self.stop()
        for stream in streams:
            await stream.close()

    def know(self, ids: IdBatch, then: Callable[[], None]) -> None:
        """Know these users from now on; calls back, perhaps at once, when their statuses are known, and all tellers."""
        missing = [user_id for user_id in dict.fromkeys(ids) if user_id not in self._statuses]
        if not missing and self._settled:
            then()
            return
        self._waiting.append(_Wait(set(missing), then))
        self._read([user_id for user_id in missing if user_id not in self._awaited])

    def status(self, ids: IdBatch) -> bytes:
        """The statuses as told last; of who is not known: unknown."""
        known = self._statuses
        return bytes([known.get(user_id, Status.UNKNOWN) for user_id in ids])

    def forget_all_but(self, ids: set[Id]) -> None:
        """Know nobody else any more, beside those who are being read."""
        self._statuses = {user_id: status for user_id, status in self._statuses.items() if user_id in ids}

    @property
    def known_count(self) -> int:
        """Users whose statuses are known."""
        return len(self._statuses)

    def step(self) -> None:
        """See who is to be listened to. Once a tick."""
        if not self._begun:
            return
        self._listen()
        self._choose()
        if not self._settled and self._loop.time() - self._begun_s >= _SETTLE_S:
            self._settle()
        unread, self._unread = self._unread, []
        self._read([user_id for user_id in unread if user_id in self._awaited])

    # --- what streams tell -----------------------------------------------------------------------------------------

    def began(self, stream: MemberStream) -> None:
        """The stream has begun, or has a hole behind it."""
        self._anew.add(stream.member_id)
        self._choose()

    def ended(self, stream: MemberStream) -> None:  # noqa: ARG002 - whoever it was, all are looked at
        """Nothing comes any more, or nothing in time: somebody else has to tell."""
        if self._begun:
            self._choose()

    def told(self, stream: MemberStream, events: list[Any]) -> None:
        """Changes of one member: those of which it is the teller go on."""
        try:
            ids = [event[0] for event in events]
            mine = self._positions_of(stream.member_id, IdBatch(ids))
            marks = bytes(_REASON_OF[reason] << REASON_SHIFT | _STATUS_OF[online] for _, online, _, reason in events)
            times_ms = [int(at_ms) for _, _, at_ms, _ in events]
        except (BadRequest, TypeError, ValueError, KeyError, IndexError):
            raise ProtocolError("a member told changes that are not understood") from None
        kept = [index for index in mine if ids[index] not in self._awaited]
        if len(kept) < len(ids):
            ids = [ids[index] for index in kept]
            marks = bytes(marks[index] for index in kept)
            times_ms = [times_ms[index] for index in kept]
        if not ids:
            return
        statuses = self._statuses
        for user_id, mark in zip(ids, marks, strict=True):
            if user_id in statuses:
                statuses[user_id] = mark & 3
        self._sink.tell(ids, marks, times_ms)

    # --- who tells -------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        members = {member.id: member for member in self._view.table.members}
        for member_id, stream in list(self._streams.items()):
            member = members.get(member_id)
            if member is None or member.address != stream.connection.member.address:
                del self._streams[member_id]
                stream.drop()
        for member_id, member in members.items():
            if member_id not in self._streams:
                self._streams[member_id] = MemberStream(member, self._dialling, self._random, self)

    def _choose(self) -> None:
        """Give every slot whose teller is none any more another one."""
        good: dict[str, SlotSet] = {}
        for member, owned, synced in zip(
            self._view.table.members, self._view.table.slots_by_member, self._view.synced, strict=True
        ):
            stream = self._streams.get(member.id)
            if stream is not None and stream.is_on:
                good[member.id] = owned & synced
        kept = {
            member_id: NO_SLOTS if member_id in self._anew else slots & good.get(member_id, NO_SLOTS)
            for member_id, slots in self._told_by.items()
        }
        self._anew.clear()
        left = _all_slots(self._view) - _union(kept)
        given: dict[str, SlotSet] = {}
        for by_member in slots_by_rank(self._view.table):
            for member, owned in zip(self._view.table.members, by_member, strict=True):
                taken = left & owned & good.get(member.id, NO_SLOTS)
                if len(taken):
                    given[member.id] = given.get(member.id, NO_SLOTS) | taken
                    left -= taken
        lost = left & _union(self._told_by)
        self._told_by = {
            member_id: kept.get(member_id, NO_SLOTS) | given.get(member_id, NO_SLOTS) for member_id in {*kept, *given}
        }
        if len(lost) or given:
            self._switch(lost, given)
        if not self._settled and not len(left):
            self._settle()

    def _switch(self, lost: SlotSet, given: dict[str, SlotSet]) -> None:
        self.switches += 1
        changed = lost
        for slots in given.values():
            changed |= slots
        self._tellers = self._table()
        if self._settled:
            self._sink.break_followers()
        concerned = [*self._statuses, *self._awaited]
        if not concerned:
            return
        positions = positions_outside(IdBatch(concerned), self._view.topology.seed, (ALL_SLOTS - changed).to_bitmap())
        self._read([concerned[position] for position in positions or ()])

    def _table(self) -> OwnerTable:
        """The tellers as a table of owners, which a batch is split by."""
        members = self._view.table.members
        cells = array("H", [NO_MEMBER]) * SLOT_COUNT
        for index, member in enumerate(members):
            for slot in self._told_by.get(member.id, NO_SLOTS):
                cells[slot] = index
        return OwnerTable(members, 1, cells.tobytes())

    def _positions_of(self, member_id: str, ids: IdBatch) -> array[int]:
        """Where in a batch the users stand of whom a member is the teller."""
        for part in split_reads(ids, self._view.topology.seed, self._tellers):
            if part.member != NO_MEMBER and self._tellers.members[part.member].id == member_id:
                return part.positions
        return array("I")

    # --- statuses in step ------------------------------------------------------------------------------------------

    def _read(self, ids: list[Id]) -> None:
        """Read the statuses of these users from their tellers."""
        if not ids:
            return
        for part in split_reads(IdBatch(ids), self._view.topology.seed, self._tellers):
            of_teller = [ids[position] for position in part.positions]
            if part.member == NO_MEMBER and not self._settled:
                self._awaited.update(dict.fromkeys(of_teller, ""))
                continue
            if part.member == NO_MEMBER:
                for user_id in of_teller:
                    self._awaited.pop(user_id, None)
                self._learn(of_teller, bytes([Status.UNKNOWN]) * len(of_teller))
                continue
            teller = self._tellers.members[part.member].id
            for start in range(0, len(of_teller), WATCHED_IDS_MAX):
                some = of_teller[start : start + WATCHED_IDS_MAX]
                self._awaited.update(dict.fromkeys(some, teller))
                self._streams[teller].read(IdBatch(some), _Reading(self, teller, some).came)

    def came(self, member_id: str, ids: list[Id], statuses: bytes | None) -> None:
        """A member has answered. Who is read of another one meanwhile waits for that one's answer."""
        mine = [index for index, user_id in enumerate(ids) if self._awaited.get(user_id) == member_id]
        if statuses is None:
            self._unread += [ids[index] for index in mine]
            return
        for index in mine:
            del self._awaited[ids[index]]
        self._learn([ids[index] for index in mine], bytes(statuses[index] for index in mine))

    def _learn(self, ids: list[Id], statuses: bytes) -> None:
        """These are the statuses now: what differs from what was told is told."""
        told = self._statuses
        differing = [index for index, user_id in enumerate(ids) if told.get(user_id, statuses[index]) != statuses[index]]
        told.update(zip(ids, statuses, strict=True))
        if differing:
            marks = bytes(_mark_of(statuses[index]) for index in differing)
            self._sink.tell([ids[index] for index in differing], marks, [self._now_ms()] * len(differing))
        self._look_who_waits()

    def _settle(self) -> None:
        """It is known who tells what, or who does not."""
        self._settled = True
        self._read([user_id for user_id, member_id in self._awaited.items() if not member_id])
        self._look_who_waits()

    def _look_who_waits(self) -> None:
        if not self._settled:
            return
        for wait in list(self._waiting):
            wait.left = {user_id for user_id in wait.left if user_id not in self._statuses}
            if not wait.left and wait in self._waiting:
                self._waiting.remove(wait)
                wait.then()


class _Wait:
    """Somebody who waits until some users are known."""

    def __init__(self, left: set[Id], then: Callable[[], None]) -> None:
        self.left = left
        self.then = then


class _Reading:
    """Statuses that are being read of one member."""

    def __init__(self, telling: Telling, member_id: str, ids: list[Id]) -> None:
        self._telling = telling
        self._member_id = member_id
        self._ids = ids

    def came(self, statuses: bytes | None) -> None:
        """They have come, or will not."""
        self._telling.came(self._member_id, self._ids, statuses)


def _mark_of(status: int) -> int:
    reason = Reason.UNKNOWN if status == Status.UNKNOWN else Reason.KNOWN
    return reason << REASON_SHIFT | status


def _union(sets: dict[str, SlotSet]) -> SlotSet:
    slots = NO_SLOTS
    for some in sets.values():
        slots |= some
    return slots


def _all_slots(view: View) -> SlotSet:
    slots = NO_SLOTS
    for some in view.table.slots_by_member:
        slots |= some
    return slots

"""The reference engine: the contract of `interface.py` in plain dicts.

It is the oracle that the compiled kernel is compared with, and what serves where there is no compiler. So it is written to
be read, and its loops over a batch are kept short. What a register is and how one changes is in `reference_registers.py`;
here are the calls of the contract: batches, reads, time, copies.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Container, Iterable, Iterator
from typing import Final, TypeVar

from presencedb.engine.copies import Copies, Copy
from presencedb.engine.interface import LATENESS_BUCKETS, RETENTION_ONLINE, EngineConfig, EngineStats, TickWentBack
from presencedb.engine.reference_registers import SIGNED_OFF, Registers
from presencedb.engine.reference_slots import checked_slots
from presencedb.ids import Id, IdBatch
from presencedb.ids.hashing import WIDTH_BITS, Place
from presencedb.limits import SLOT_COUNT, TICK_MAX
from presencedb.states import Reason, Status
from presencedb.transitions import Transitions

Item = TypeVar("Item")

HASH_BITS: Final = 128
KIND_BITS: Final = 2
EXAMINED_PER_EXPIRY: Final = 4
"""How many timers one call of `advance` may look at for each user it may emit: after a stall nearly all are too early."""
BYTES_PER_TRANSITION: Final = 120
"""An estimate of what a transition takes that waits: the tuple and its tick."""
BYTES_PER_REGISTER: Final = 160
"""An estimate of what a register takes beside the tables that are measured: its number, a small id, its entry by slot."""


class ReferenceEngine:
    """A store of presence in plain Python. `interface.Engine` says what each method promises."""

    def __init__(self, config: EngineConfig, *, tick: int) -> None:
        self._config = config
        self._tick = 0
        self._accept(tick)
        self._registers = Registers(config, tick)
        self._timeouts = 0
        self._lateness = [0] * LATENESS_BUCKETS

    @property
    def config(self) -> EngineConfig:
        return self._config

    @property
    def tick(self) -> int:
        return self._tick

    def _accept(self, tick: int, age_ticks: int = 0) -> None:
        if tick < self._tick:
            raise TickWentBack(f"the tick went back from {self._tick} to {tick}")
        if tick >= TICK_MAX:
            raise ValueError(f"a tick is at most {TICK_MAX - 1}, not {tick}")
        if age_ticks < 0:
            raise ValueError(f"an age is not negative: {age_ticks}")
        self._tick = tick

    # --- writes ------------------------------------------------------------------------------------------------------

    def heartbeat(self, ids: IdBatch, tick: int, *, age_ticks: int = 0) -> int:
        self._accept(tick, age_ticks)
        registers = self._registers
        stamp = max(tick - age_ticks, 0)
        if registers.requests:
            registers.drop_requests(ids, None if age_ticks == 0 else stamp)
        online = registers.online
        online_before = len(online)
        register = stamp << 1
        for user_id in ids:
            known = online.get(user_id)
            if known is not None:
                if known < register:
                    online[user_id] = register
            elif age_ticks == 0:
                registers.arrive(user_id, tick)
            else:
                registers.put(user_id, register)
        return len(online) - online_before

    def heartbeat_each(self, ids: IdBatch, tick: int) -> bytearray:
        self._accept(tick)
        return bytearray(self.heartbeat(IdBatch.of_canonical([user_id]), tick) for user_id in ids)

    def sign_off(self, ids: IdBatch, tick: int, *, age_ticks: int = 0, grace_ticks: int = 0) -> int:
        if grace_ticks < 0:
            raise ValueError(f"a grace is not negative: {grace_ticks}")
        self._accept(tick, age_ticks)
        registers = self._registers
        online_before = len(registers.online)
        written = max(tick - age_ticks, 0) << 1 | SIGNED_OFF
        for user_id in ids:
            known = registers.get(user_id)
            if known is None and registers.is_synced(user_id):
                continue
            register = written
            if known is not None and age_ticks == 0:
                register = max(written, known | SIGNED_OFF)
            if grace_ticks == 0:
                registers.put(user_id, register)
            elif known is None or register > known:
                registers.request(user_id, register, tick + grace_ticks)
        return online_before - len(registers.online)

    # --- reads -------------------------------------------------------------------------------------------------------

    def status(self, ids: IdBatch) -> bytes:
        online = self._registers.online
        if self._registers.slots.synced_count == SLOT_COUNT and not self._registers.agreements.shared:
            return bytes(map(online.__contains__, ids))
        return bytes([self._status_of(user_id) for user_id in ids])

    def _status_of(self, user_id: Id) -> Status:
        if user_id in self._registers.online:
            in_doubt = self._registers.is_in_doubt(user_id, self._config.doubt_ticks)
            return Status.UNKNOWN if in_doubt else Status.ONLINE
        return Status.OFFLINE if self._registers.is_synced(user_id) else Status.UNKNOWN

    def last_seen(self, ids: IdBatch) -> array[int]:
        return array("q", [self._last_seen(user_id) for user_id in ids])

    def _last_seen(self, user_id: Id) -> int:
        register = self._registers.online.get(user_id)
        if register is not None:
            return register >> 1
        register = self._registers.offline.get(user_id)
        retention = self._config.retention_ticks
        if register is None or retention == RETENTION_ONLINE:
            return -1
        stamp = register >> 1
        return stamp if retention is None or self._tick - stamp <= retention else -1

    def count(self, slots: Iterable[int] | None = None) -> int:
        if slots is None:
            return len(self._registers.online)
        return sum(self._registers.slots.online_counts[slot] for slot in checked_slots(slots))

    def scan(self, cursor: int, limit: int, slots: Iterable[int] | None = None) -> tuple[int | None, list[Id]]:
        if limit < 1:
            raise ValueError(f"a page of a scan has room for one id at least, not {limit}")
        first_slot = max(cursor, 0) >> (KIND_BITS + HASH_BITS)
        wanted = self._registers.slots.occupied(first_slot) if slots is None else checked_slots(slots)
        online = (slot for slot in wanted if self._registers.slots.online_counts[slot])
        return _page(self._in_order(online, self._registers.online, cursor), limit)

    def _in_order(self, slots: Iterable[int], among: Container[Id] | None, cursor: int) -> Iterator[tuple[int, Id]]:
        """Whoever has a register in some slots and is among these, from a cursor on, in the order of their positions."""
        registers = self._registers
        for slot in slots:
            if (slot + 1) << (KIND_BITS + HASH_BITS) <= cursor:
                continue
            users = [user_id for user_id in registers.slots.members(slot) if among is None or user_id in among]
            ordered = sorted((position_of(registers.hasher.place(user_id)), user_id) for user_id in users)
            yield from ((position, user_id) for position, user_id in ordered if position >= cursor)

    @property
    def synced_count(self) -> int:
        return self._registers.slots.synced_count

    def stats(self) -> EngineStats:
        registers = self._registers
        users = len(registers.online) + len(registers.offline)
        tables = (registers.online, registers.offline, registers.requests, registers.transitions)
        timers = (registers.timers, registers.grace_ends)
        size = sum(map(sys.getsizeof, tables)) + sum(timer.bytes_estimate() for timer in timers)
        return EngineStats(
            users=users,
            online=len(registers.online),
            pending_sign_offs=len(registers.requests),
            bytes=size + users * BYTES_PER_REGISTER + len(registers.transitions) * BYTES_PER_TRANSITION,
            timeouts=self._timeouts,
            lateness_ticks=tuple(self._lateness),
        )

    # --- time --------------------------------------------------------------------------------------------------------

    def advance(self, tick: int, *, expiry_count_max: int) -> bool:
        if expiry_count_max < 1:
            raise ValueError(f"a call emits one user at least, not {expiry_count_max}")
        self._accept(tick)
        registers = self._registers
        registers.advanced_to = tick
        held = tick < registers.hold
        if not held:
            registers.expired_through = tick
            for user_id in registers.agreements.bring_into_force(registers.hold):
                registers.timers.arm(user_id, registers.deadline(registers.online[user_id]))
        applied = self._end_graces(tick, expiry_count_max)
        if applied is None:
            return False
        if not held and not self._expire(tick, expiry_count_max - applied, expiry_count_max * EXAMINED_PER_EXPIRY):
            return False
        registers.compact()
        return True

    def hold_timeouts(self, until_tick: int) -> None:
        self._registers.hold = max(self._registers.hold, until_tick)

    def _end_graces(self, tick: int, count_max: int) -> int | None:
        """Apply the sign-offs whose grace has ended; returns how many there were, or None if there are more."""
        registers = self._registers
        applied = 0
        while (entry := registers.grace_ends.pop(tick)) is not None:
            end, user_id = entry
            if applied == count_max:
                registers.grace_ends.arm(user_id, end)
                return None
            applied += 1
            register = registers.requests.pop(user_id)
            known = registers.get(user_id)
            nothing_to_sign_off = known is None and registers.is_synced(user_id)
            left_to_timeout = False
            if user_id in registers.online:
                deadline = registers.deadline(registers.online[user_id])
                left_to_timeout = deadline <= end and registers.is_agreed(registers.slot(user_id), deadline)
            if not nothing_to_sign_off and not left_to_timeout:
                registers.put(user_id, register, end)
        return applied

    def _expire(self, tick: int, count_max: int, examined_max: int) -> bool:
        """Emit timeouts and remove what is not kept any more, within the bounds; returns whether that was all."""
        registers = self._registers
        count = 0
        for _ in range(examined_max):
            entry = registers.timers.pop(tick)
            if entry is None:
                return True
            due, user_id = entry
            register = registers.online.get(user_id)
            if register is None:
                registers.remove_or_rearm(user_id)
                continue
            deadline = registers.deadline(register)
            if deadline > tick:
                registers.timers.arm(user_id, deadline)
                continue
            if registers.agreements and not registers.is_agreed(slot := registers.slot(user_id), deadline):
                registers.agreements.put_aside(user_id, slot)
                continue
            if count == count_max:
                registers.timers.arm(user_id, due)
                return False
            count += 1
            if registers.go_offline(user_id, register, deadline, Reason.TIMEOUT):
                self._timeouts += 1
                self._lateness[min((tick - deadline).bit_length(), LATENESS_BUCKETS - 1)] += 1
        return False

    # --- what changed, and copies ------------------------------------------------------------------------------------

    @property
    def transitions_waiting(self) -> int:
        return len(self._registers.transitions)

    def drain_transitions(self, count_max: int) -> Transitions:
        if count_max < 1:
            raise ValueError(f"a drain takes one transition at least, not {count_max}")
        waiting = self._registers.transitions
        return Transitions.of([waiting.popleft() for _ in range(min(count_max, len(waiting)))])

    def discard_transitions(self) -> int:
        count = len(self._registers.transitions)
        self._registers.transitions.clear()
        return count

    def export_slots(self, slots: Iterable[int], tick: int, *, count_max: int, cursor: int = 0) -> tuple[int | None, Copies]:
        if count_max < 1:
            raise ValueError(f"a page of copies has room for one at least, not {count_max}")
        chosen = checked_slots(slots)
        self._accept(tick)
        copied = ((at, copy) for at, user_id in self._in_order(chosen, None, cursor) for copy in self._copy(user_id))
        following, copies = _page(copied, count_max)
        return following, Copies.of(copies)

    def export(self, ids: IdBatch, tick: int) -> Copies:
        self._accept(tick)
        return Copies.of(copy for user_id in ids for copy in self._copy(user_id))

    def _copy(self, user_id: Id) -> Iterator[Copy]:
        """The copy of a register, where there is one that says something."""
        registers = self._registers
        known = registers.get(user_id)
        if known is not None:
            age = max(self._tick - (known >> 1), 0)
            if registers.keep is None or age <= registers.keep:
                yield Copy(user_id, age, bool(known & SIGNED_OFF))

    def merge(self, copies: Copies, tick: int) -> int:
        if not len(copies.ids) == len(copies.ages_ticks) == len(copies.signed_off):
            lengths = f"{len(copies.ages_ticks)} ages and {len(copies.signed_off)} signs"
            raise ValueError(f"{len(copies.ids)} copies have {lengths}")
        self._accept(tick)
        registers = self._registers
        changed = 0
        for user_id, age_ticks, signed_off in copies:
            stamp = max(tick - age_ticks, 0)
            changed += registers.put(user_id, stamp << 1 | signed_off)
            if not signed_off:
                registers.drop_requests((user_id,), stamp)
        return changed

    def drop_slots(self, slots: Iterable[int]) -> None:
        registers = self._registers
        dropped = checked_slots(slots)
        for slot in dropped:
            if registers.slots.synced[slot]:
                raise ValueError(f"slot {slot} is synced, it cannot be dropped")
        for slot in dropped:
            registers.drop_slot(slot)
        gone = set(dropped)
        for user_id in [user_id for user_id in registers.requests if registers.slot(user_id) in gone]:
            registers.drop_request(user_id)

    # --- slots -------------------------------------------------------------------------------------------------------

    def set_synced(self, slots: Iterable[int], synced: bool) -> None:
        self._registers.slots.set_synced(slots, synced)

    def set_shared(self, slots: Iterable[int], shared: bool) -> None:
        self._registers.agreements.share(checked_slots(slots), shared, self._registers.expired_through)

    def overdue_slots(self) -> array[int]:
        registers = self._registers
        if registers.hold > registers.expired_through:
            return array("H")
        return array("H", sorted(registers.agreements.shared.intersection(registers.agreements.aside)))

    def overdue(self, slots: Iterable[int]) -> IdBatch:
        found = [user_id for slot in checked_slots(slots) for user_id in self._registers.overdue(slot)]
        return IdBatch.of_canonical(found)

    def agree(self, slots: Iterable[int], through_tick: int) -> None:
        chosen = checked_slots(slots)
        advanced_to = self._registers.advanced_to
        if through_tick > advanced_to:
            raise ValueError(f"the last advance was to tick {advanced_to}, nothing is agreed through {through_tick}")
        self._registers.agreements.agree(chosen, through_tick)


def _page(ordered: Iterable[tuple[int, Item]], count_max: int) -> tuple[int | None, list[Item]]:
    """The first of these, and the position of the one behind them. Two of one position are not parted."""
    found: list[Item] = []
    last = -1
    for position, item in ordered:
        if len(found) >= count_max and position != last:
            return position, found
        found.append(item)
        last = position
    return None, found


def position_of(place: Place) -> int:
    """The place as one number, which is what a cursor of a scan is."""
    aligned = place.hash << (HASH_BITS - WIDTH_BITS[place.kind])
    return (place.slot << KIND_BITS | place.kind) << HASH_BITS | aligned

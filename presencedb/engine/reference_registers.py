"""The registers of the reference engine, and the rules by which one changes.

A *register* is one integer, `tick << 1 | signed_off`. The larger one is the later write, and at the same tick the sign-off,
so "the later write wins" is a comparison of integers. Registers are in one of two dicts: `online` (whoever is in it is
online, nobody else is) and `offline`. One of the second kind that is not *kept* any more (see `interface.py`) counts as not
there, even before it is removed.

Every register that will have to be timed out or removed has one entry in the timers, for that moment or an earlier one.
Heartbeats do not touch it: an entry that comes up too early is armed again for when it will be due. Only whoever is overdue
in a shared slot has none, but stands aside (see `reference_agreement.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from presencedb.engine.interface import RETENTION_ONLINE, EngineConfig
from presencedb.engine.reference_agreement import Agreements
from presencedb.engine.reference_slots import Slots
from presencedb.engine.reference_timers import Timers, compact
from presencedb.ids import Hasher, Id
from presencedb.states import Reason
from presencedb.transitions import Transition

SIGNED_OFF: Final = 1


class Registers:
    """Who is online, what is remembered of the others, and what changed.

    Attributes:
        advanced_to: the tick of the last advance.
        expired_through: the tick of the last advance that was not below `hold`.
        hold: no timeout is due before this tick.
        keep: how many ticks the register of somebody who is not online is kept; None for ever.
        requests: the sign-offs that wait for their grace: id -> the register to write at the end of it.
        grace_ends: when that is.
    """

    def __init__(self, config: EngineConfig, tick: int) -> None:
        self.hasher = Hasher(config.seed)
        self.advanced_to = tick
        self.expired_through = tick
        self.hold = 0
        self.online: dict[Id, int] = {}
        self.offline: dict[Id, int] = {}
        self.timers = Timers()
        self.slots = Slots(config.synced)
        self.agreements = Agreements()
        self.requests: dict[Id, int] = {}
        self.grace_ends = Timers()
        self.transitions: deque[Transition] = deque()
        self.keep = None if config.retention_ticks is None else max(config.retention_ticks, config.ttl_ticks)
        self._ttl = config.ttl_ticks
        self._only_sign_offs_kept = config.retention_ticks == RETENTION_ONLINE

    def slot(self, user_id: Id) -> int:
        return self.hasher.place(user_id).slot

    def is_synced(self, user_id: Id) -> bool:
        return bool(self.slots.synced[self.slot(user_id)])

    def get(self, user_id: Id) -> int | None:
        """The register, or None where there is none, or none that counts any more."""
        known = self.online.get(user_id)
        return self._get_offline(user_id) if known is None else known

    def deadline(self, register: int) -> int:
        """When whoever is online by this register may be timed out."""
        return max((register >> 1) + self._ttl + 1, self.hold)

    def agreed_through(self, slot: int) -> int:
        """Through which tick timeouts of this slot count as agreed to."""
        return self.agreements.through(slot, self.expired_through)

    def is_agreed(self, slot: int, deadline: int) -> bool:
        """Whether a timeout with this deadline, which is no earlier than `hold`, may be emitted."""
        return deadline <= self.agreed_through(slot)

    def overdue(self, slot: int) -> list[Id]:
        """Everybody overdue in a slot. Whoever stood aside there and beat since goes back to the timers."""
        if slot not in self.agreements.shared or self.hold > self.expired_through:
            return []
        for user_id in list(self.agreements.aside.get(slot, ())):
            if self.deadline(self.online[user_id]) > self.expired_through:
                self.agreements.take_back(user_id, slot)
                self.timers.arm(user_id, self.deadline(self.online[user_id]))
        online = [(user_id, self.online[user_id]) for user_id in self.slots.members(slot) if user_id in self.online]
        through = self.agreed_through(slot)
        return [user_id for user_id, known in online if through < self.deadline(known) <= self.expired_through]

    def is_in_doubt(self, user_id: Id, doubt_ticks: int) -> bool:
        """Whether somebody who is online is overdue for longer than that."""
        long_overdue = self.deadline(self.online[user_id]) + doubt_ticks < self.expired_through
        return long_overdue and self.slot(user_id) in self.agreements.shared

    def arrive(self, user_id: Id, tick: int) -> None:
        """A heartbeat of age 0 of a user who is not online: here arrival decides, so a sign-off is always overcome."""
        known = self._get_offline(user_id)
        stamp = tick
        if known is not None and known & SIGNED_OFF:
            stamp = min(max(tick, (known >> 1) + 1), tick + 1)
        if self._is_fresh(stamp << 1):
            self._come_online(user_id, stamp << 1, stamp)
        else:
            self.put(user_id, stamp << 1)

    def put(self, user_id: Id, register: int, at: int | None = None) -> bool:
        """Write a register if it is later than the one there is.

        Args:
            at: the tick of the transition. By default that of the register, but no earlier than the last advance: what
                that emitted for this user may have a later tick than news that come with an age.

        Returns:
            Whether anything was written.
        """
        known = self.get(user_id)
        if known is not None and register <= known:
            return False
        at = max(register >> 1, self.advanced_to) if at is None else at
        if user_id in self.online:
            if register & SIGNED_OFF:
                self.go_offline(user_id, register, at, Reason.SIGN_OFF)
            else:
                self.online[user_id] = register
        elif self._is_fresh(register):
            self._come_online(user_id, register, at)
        else:
            register = self._settled(user_id, register)
            if (known is not None and register <= known) or not self._is_kept(register):
                return False
            if known is None:
                self.slots.add(user_id, self.slot(user_id))
            self._store_offline(user_id, register)
        if register & SIGNED_OFF:
            self.drop_request(user_id)
        return True

    def go_offline(self, user_id: Id, register: int, at: int, reason: Reason) -> bool:
        """Take a user offline, and keep the register if it says something still; returns whether it was emitted."""
        slot = self.slot(user_id)
        del self.online[user_id]
        self.agreements.take_back(user_id, slot)
        self.slots.online_counts[slot] -= 1
        self.drop_request(user_id)
        if self._is_kept(register):
            self._store_offline(user_id, register)
        else:
            self._leave(user_id, slot)
        if not self.slots.synced[slot]:
            return False
        self.transitions.append(Transition(user_id, False, at, reason))
        return True

    def remove_or_rearm(self, user_id: Id) -> None:
        """The timer of a user who is not online came up."""
        register = self.offline[user_id]
        if not self._is_kept(register):
            self._forget(user_id)
        elif self.keep is not None:
            self.timers.arm(user_id, (register >> 1) + self.keep + 1)

    def request(self, user_id: Id, register: int, end: int) -> None:
        """Keep a sign-off aside until the end of its grace; of two, the earlier end and the later tick count."""
        self.grace_ends.arm(user_id, end)
        self.requests[user_id] = max(register, self.requests.get(user_id, 0))

    def drop_requests(self, ids: Iterable[Id], stamp: int | None) -> None:
        """Drop the sign-offs that wait for their grace and were requested before `stamp`; None: whenever."""
        for user_id in ids:
            request = self.requests.get(user_id)
            if request is not None and (stamp is None or stamp > request >> 1):
                self.drop_request(user_id)

    def drop_request(self, user_id: Id) -> None:
        if self.requests.pop(user_id, None) is not None:
            self.grace_ends.disarm(user_id)

    def drop_slot(self, slot: int) -> None:
        """Forget everybody in a slot, without a word."""
        for user_id in list(self.slots.members(slot)):
            if self.online.pop(user_id, None) is not None:
                self.slots.online_counts[slot] -= 1
            self.offline.pop(user_id, None)
            self.agreements.take_back(user_id, slot)
            self._leave(user_id, slot)

    def compact(self) -> None:
        """Give back the memory of who is gone."""
        self.online = compact(self.online)
        self.offline = compact(self.offline)
        self.requests = compact(self.requests)
        self.timers.compact()
        self.grace_ends.compact()

    def _get_offline(self, user_id: Id) -> int | None:
        known = self.offline.get(user_id)
        if known is None or self._is_kept(known):
            return known
        self._forget(user_id)
        return None

    def _is_fresh(self, register: int) -> bool:
        """Whether this write, being the latest, brings a user online."""
        stamp = register >> 1
        return not register & SIGNED_OFF and stamp > 0 and stamp + self._ttl + 1 > self.expired_through

    def _is_kept(self, register: int) -> bool:
        """Whether the register of a user who is not online is there: to be told, or to withstand older news."""
        if self._only_sign_offs_kept and not register & SIGNED_OFF:
            return False
        return self.keep is None or (register >> 1) + self.keep + 1 > self.expired_through

    def _settled(self, user_id: Id, register: int) -> int:
        """What is kept of a heartbeat that does not bring online: a stamp of which the deadline is agreed to."""
        if register & SIGNED_OFF or not self.agreements:
            return register
        latest = max(self.agreed_through(self.slot(user_id)) - self._ttl - 1, 0)
        return min(register, latest << 1)

    def _come_online(self, user_id: Id, register: int, at: int) -> None:
        slot = self.slot(user_id)
        if self.offline.pop(user_id, None) is None:
            self.slots.add(user_id, slot)
        self.online[user_id] = register
        self.slots.online_counts[slot] += 1
        self.timers.arm(user_id, (register >> 1) + self._ttl + 1)
        if self.slots.synced[slot]:
            self.transitions.append(Transition(user_id, True, at, Reason.HEARTBEAT))

    def _store_offline(self, user_id: Id, register: int) -> None:
        self.offline[user_id] = register
        if self.keep is not None:
            self.timers.arm(user_id, (register >> 1) + self.keep + 1)

    def _forget(self, user_id: Id) -> None:
        del self.offline[user_id]
        self._leave(user_id, self.slot(user_id))

    def _leave(self, user_id: Id, slot: int) -> None:
        self.timers.disarm(user_id)
        self.slots.remove(user_id, slot)

"""What happens to an engine, as events, and what becomes of one user: a story told by the letter of the contract.

The model in `model.py` takes every answer from such stories.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from presencedb.engine import Copy, EngineConfig, Transition
from presencedb.ids import Id
from presencedb.states import Reason, Status


class Write(NamedTuple):
    """A register: a write at a tick. Tuples compare as registers do: the later wins, at a tie the sign-off."""

    tick: int
    signed_off: bool


class Beat(NamedTuple):
    ids: tuple[Id, ...]
    tick: int
    age: int


class SignOff(NamedTuple):
    ids: tuple[Id, ...]
    tick: int
    age: int
    grace: int


class Merge(NamedTuple):
    copies: tuple[Copy, ...]
    tick: int


class Advance(NamedTuple):
    tick: int


class Hold(NamedTuple):
    until: int


class Sync(NamedTuple):
    slots: frozenset[int]
    synced: bool


class Share(NamedTuple):
    slots: frozenset[int]
    shared: bool


class Agree(NamedTuple):
    slots: frozenset[int]
    through: int


class Drop(NamedTuple):
    slots: frozenset[int]


class Seen(NamedTuple):
    """Time went by, and nothing else happened."""

    tick: int


Event = Beat | SignOff | Merge | Advance | Hold | Sync | Share | Agree | Drop | Seen
TIMELESS: Final = (Hold, Sync, Share, Agree, Drop)


@dataclass
class Story:
    """What has become of one user, and what the node knew of time on the way."""

    config: EngineConfig
    user_id: Id
    slot: int
    synced: bool
    advanced: int
    expired: int
    settled: int
    """Through which tick timeouts were emitted at the last advance."""
    agreed: int | None = None
    """Through which tick the owners agreed, in a shared slot."""
    hold: int = 0
    write: Write | None = None
    online: bool = False
    request: Write | None = None
    request_end: int = 0
    said: list[Transition] = field(default_factory=list)
    lateness: list[int] = field(default_factory=list)
    changes: int = 0

    def tell(self, event: Event) -> None:
        match event:
            case Beat(ids, tick, age):
                for _ in range(ids.count(self.user_id)):
                    self._beat(tick, age)
            case SignOff(ids, tick, age, grace):
                for _ in range(ids.count(self.user_id)):
                    self._sign_off(tick, age, grace)
            case Merge(copies, tick):
                for copy in copies:
                    if copy.id == self.user_id:
                        self._news(Write(max(tick - copy.age_ticks, 0), copy.signed_off))
            case Advance(tick):
                self._advance(tick)
            case Hold(until):
                self.hold = max(self.hold, until)
            case Seen():
                pass
            case _:
                if self.slot in event.slots:
                    self._tell_of_slot(event)

    def _tell_of_slot(self, event: Sync | Share | Agree | Drop) -> None:
        match event:
            case Sync(_, synced):
                self.synced = synced
            case Share(_, shared):
                if shared != (self.agreed is not None):
                    self.agreed = self.expired if shared else None
            case Agree(_, through):
                if self.agreed is not None:
                    self.agreed = max(self.agreed, through)
            case Drop():
                self.write = self.request = None
                self.online = False

    def known(self) -> Write | None:
        """The register that counts: of whoever is online, or one that is still kept."""
        return self.write if self.write is not None and (self.online or self._is_kept(self.write)) else None

    def _is_kept(self, write: Write) -> bool:
        retention = self.config.retention_ticks
        if retention is None:
            return True
        if retention == 0 and not write.signed_off:
            return False
        return write.tick + max(retention, self.config.ttl_ticks) >= self.expired

    def _own_deadline(self, write: Write) -> int:
        return write.tick + self.config.ttl_ticks + 1

    def _say(self, online: bool, tick: int, reason: Reason) -> None:
        if self.synced:
            self.said.append(Transition(self.user_id, online, tick, reason))

    def _beat(self, tick: int, age: int) -> None:
        known = self.known()
        if age:
            self._news(Write(max(tick - age, 0), False))
            return
        self.request = None
        if known is not None and known.signed_off and known.tick >= tick:
            # Arrival decides, so this is no news but a fact: the sign-off is as if it had never been.
            self.write = None
            self._accept(Write(tick + 1, False), tick + 1)
        else:
            self._news(Write(tick, False))

    def _sign_off(self, tick: int, age: int, grace: int) -> None:
        known = self.known()
        if known is None and self.synced:
            return
        write = Write(max(tick - age, 0), True)
        if age == 0 and known is not None:
            write = Write(max(tick, known.tick), True)
        if grace == 0:
            self._news(write)
        elif known is None or write > known:
            waiting = self.request is not None
            self.request_end = min(self.request_end, tick + grace) if waiting else tick + grace
            self.request = max(write, self.request) if self.request is not None else write

    def _news(self, write: Write) -> None:
        if self.request is not None and not write.signed_off and write.tick > self.request.tick:
            self.request = None
        self._accept(write, max(write.tick, self.advanced))

    def _accept(self, write: Write, at: int) -> None:
        known = self.known()
        if known is not None and write <= known:
            return
        comes_online = (
            not self.online and not write.signed_off and write.tick > 0 and self._own_deadline(write) > self.expired
        )
        if not self.online and not comes_online and not self._is_kept(write):
            return
        if not self.online and not comes_online and not write.signed_off:
            write = Write(max(min(write.tick, self.settled - self.config.ttl_ticks - 1), 0), False)
            if (known is not None and write <= known) or not self._is_kept(write):
                return
        self.changes += 1
        self.write = write
        if write.signed_off:
            self.request = None
            if self.online:
                self._say(False, at, Reason.SIGN_OFF)
            self.online = False
        elif comes_online:
            self.online = True
            self._say(True, at, Reason.HEARTBEAT)

    def _advance(self, tick: int) -> None:
        self.advanced = tick
        held = tick < self.hold
        if not held:
            self.expired = tick
            if self.agreed is None or self.agreed >= self.hold:
                self.settled = tick if self.agreed is None else self.agreed
        if self.request is not None and self.request_end <= tick:
            request, self.request = self.request, None
            known = self.known()
            timed_out_before = self._is_settled() and known is not None and self._deadline(known) <= self.request_end
            if not timed_out_before and (known is not None or not self.synced):
                self._accept(request, self.request_end)
        if self.write is not None and self._is_settled():
            self.online = False
            self.request = None
            deadline = self._deadline(self.write)
            self._say(False, deadline, Reason.TIMEOUT)
            if self.synced:
                self.lateness.append(tick - deadline)

    def _is_settled(self) -> bool:
        """Whether there is a timeout to emit, and it may be."""
        return self.online and self.write is not None and self._deadline(self.write) <= self.settled

    def is_overdue(self) -> bool:
        past = self.online and self.write is not None and self._deadline(self.write) <= self.expired
        return past and self.agreed is not None and not self._is_settled()

    def is_in_doubt(self) -> bool:
        if self.write is None or self.agreed is None:
            return False
        return self.online and self._deadline(self.write) + self.config.doubt_ticks < self.expired

    def status(self) -> Status:
        if self.online:
            return Status.UNKNOWN if self.is_in_doubt() else Status.ONLINE
        return Status.OFFLINE if self.synced else Status.UNKNOWN

    def copy(self, tick: int) -> list[Copy]:
        """The copy of the register, if there is one that says something."""
        known = self.known()
        retention = self.config.retention_ticks
        age_max = None if retention is None else max(retention, self.config.ttl_ticks)
        if known is None or (age_max is not None and tick - known.tick > age_max):
            return []
        return [Copy(self.user_id, max(tick - known.tick, 0), known.signed_off)]

    def _deadline(self, write: Write) -> int:
        return max(self._own_deadline(write), self.hold)

"""Engines that are broken on purpose, each in one way: what compares engines has to notice every one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from presencedb.engine import Copies, EngineConfig, Transition, Transitions
from presencedb.engine.reference import ReferenceEngine
from presencedb.engine.reference_registers import SIGNED_OFF, Registers
from presencedb.ids import Id, IdBatch
from presencedb.states import Reason
from tests.engine.implementations import MakeEngine


class _WithRegisters(ReferenceEngine):
    """A reference engine with other rules for its registers."""

    rules: ClassVar[type[Registers]]

    def __init__(self, config: EngineConfig, *, tick: int) -> None:
        super().__init__(config, tick=tick)
        self._registers.__class__ = self.rules


class LateByOneTick(_WithRegisters):
    class rules(Registers):  # noqa: N801 - stands for the attribute
        def deadline(self, register: int) -> int:
            return super().deadline(register) + 1


class IgnoresHold(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def deadline(self, register: int) -> int:
            return min(super().deadline(register), (register >> 1) + self._ttl + 1)


class HeartbeatWinsTie(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def put(self, user_id: Id, register: int, at: int | None = None) -> bool:
            known = self.get(user_id)
            if known is not None and not register & SIGNED_OFF and known == register | SIGNED_OFF:
                self.offline[user_id] = register - 1
            return super().put(user_id, register, at)


class RevivesByOldNews(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def _is_fresh(self, register: int) -> bool:
            return not register & SIGNED_OFF and register > 0


class ForgetsSignOffs(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def _is_kept(self, register: int) -> bool:
            return self.keep is None


class TicksGoBack(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def put(self, user_id: Id, register: int, at: int | None = None) -> bool:
            return super().put(user_id, register, register >> 1 if at is None else at)


class SpeaksOfUnsyncedSlots(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def go_offline(self, user_id: Id, register: int, at: int, reason: Reason) -> bool:
            said_before = len(self.transitions)
            super().go_offline(user_id, register, at, reason)
            if len(self.transitions) == said_before:
                self.transitions.append(Transition(user_id, False, at, reason))
            return True


class GraceOutlivesHeartbeat(ReferenceEngine):
    def heartbeat(self, ids: IdBatch, tick: int, *, age_ticks: int = 0) -> int:
        self._registers.requests, kept = {}, self._registers.requests
        try:
            return super().heartbeat(ids, tick, age_ticks=age_ticks)
        finally:
            self._registers.requests = kept


class SaysEverythingTwice(ReferenceEngine):
    def drain_transitions(self, count_max: int) -> Transitions:
        return Transitions.of(transition for transition in super().drain_transitions(count_max) for _ in range(2))


class TakesTheNewestFirst(ReferenceEngine):
    def drain_transitions(self, count_max: int) -> Transitions:
        waiting = self._registers.transitions
        newest = [waiting.pop() for _ in range(min(count_max, len(waiting)))]
        return Transitions.of(reversed(newest))


class LosesTheRest(ReferenceEngine):
    def drain_transitions(self, count_max: int) -> Transitions:
        taken = super().drain_transitions(count_max)
        self.discard_transitions()
        return taken


class CountsWhatWasTaken(ReferenceEngine):
    @property
    def transitions_waiting(self) -> int:
        return self.stats().timeouts + super().transitions_waiting


class CountsWhoWasNotThere(ReferenceEngine):
    def sign_off(self, ids: IdBatch, tick: int, *, age_ticks: int = 0, grace_ticks: int = 0) -> int:
        super().sign_off(ids, tick, age_ticks=age_ticks, grace_ticks=grace_ticks)
        return len(set(ids))


class ScansOnlyFullPages(ReferenceEngine):
    def scan(self, cursor: int, limit: int, slots: Iterable[int] | None = None) -> tuple[int | None, list[Id]]:
        following, page = super().scan(cursor, limit, slots)
        return (None, page) if len(page) < limit or limit > 1 else (following, page)


class CountsLate(ReferenceEngine):
    def count(self, slots: Iterable[int] | None = None) -> int:
        return super().count(slots) + len(self._registers.requests) // 3


class WaitsForNobody(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def is_agreed(self, slot: int, deadline: int) -> bool:
            return True


class LosesWhoIsOverdue(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def overdue(self, slot: int) -> list[Id]:
            return [user_id for user_id in super().overdue(slot) if user_id in self.agreements.aside.pop(slot, ())]


class DoubtsTooLate(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def is_in_doubt(self, user_id: Id, doubt_ticks: int) -> bool:
            return super().is_in_doubt(user_id, doubt_ticks + 1)


class DropsOnlyWhoIsOnline(_WithRegisters):
    class rules(Registers):  # noqa: N801
        def drop_slot(self, slot: int) -> None:
            kept = {user_id: self.offline[user_id] for user_id in self.slots.members(slot) if user_id in self.offline}
            super().drop_slot(slot)
            for user_id, register in kept.items():
                self.slots.add(user_id, slot)
                self.offline[user_id] = register


class ExportsOneTooFew(ReferenceEngine):
    def export_slots(self, slots: Iterable[int], tick: int, *, count_max: int, cursor: int = 0) -> tuple[int | None, Copies]:
        following, copies = super().export_slots(slots, tick, count_max=count_max, cursor=cursor)
        return following if following is None else following + 1, copies


MUTANTS: Final[tuple[MakeEngine, ...]] = (
    LateByOneTick,
    IgnoresHold,
    HeartbeatWinsTie,
    RevivesByOldNews,
    ForgetsSignOffs,
    TicksGoBack,
    SpeaksOfUnsyncedSlots,
    GraceOutlivesHeartbeat,
    SaysEverythingTwice,
    TakesTheNewestFirst,
    LosesTheRest,
    CountsWhatWasTaken,
    CountsWhoWasNotThere,
    WaitsForNobody,
    LosesWhoIsOverdue,
    DoubtsTooLate,
)
"""Each differs from the reference."""

INCONSISTENT: Final[tuple[MakeEngine, ...]] = (
    LateByOneTick,
    RevivesByOldNews,
    TicksGoBack,
    SpeaksOfUnsyncedSlots,
    SaysEverythingTwice,
    TakesTheNewestFirst,
    LosesTheRest,
    ScansOnlyFullPages,
    CountsLate,
    WaitsForNobody,
    LosesWhoIsOverdue,
    DropsOnlyWhoIsOnline,
    ExportsOneTooFew,
)
"""Each contradicts itself, so that it can be told without another engine."""

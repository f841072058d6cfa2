"""What holds after any interleaving of operations, in the middle of a bounded expiry too.

`count`, the statuses, the scan by any page size, the counts by slot and the sum of the transitions say the same. A user's
transitions alternate, their ticks never go back, no timeout comes before its deadline, nor, in a shared slot, before it is
agreed to. What is exported gives the same statuses elsewhere, and merged a second time, or back, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from presencedb.engine import Copy, Engine, EngineConfig, TickWentBack, Transition
from presencedb.ids import Id, IdBatch
from presencedb.limits import SLOT_COUNT
from presencedb.states import Reason, Status
from tests.engine.implementations import IMPLEMENTATIONS, MakeEngine
from tests.engine.mutants import INCONSISTENT
from tests.engine.operations import POOL, configs, slots_of
from tests.engine.tools import drained, merge, pull, scan_all
from tests.support import strategies

USERS: Final[tuple[Id, ...]] = (*POOL[::2], "alice", "user-1")
BATCH: Final = IdBatch.of_canonical(list(USERS))
few = st.integers(0, 12)
far = st.sampled_from([64, 257, 4097, 10_000])
some_ids = st.lists(st.sampled_from(USERS), min_size=1, max_size=4)
steps = st.one_of(st.sampled_from([0, 0, 1, 1, 2]), st.sampled_from([0, 1, 2, 3]), few, few, far)
ages = st.one_of(st.just(0), st.integers(0, 3), few, few, far)
graces = st.one_of(st.just(0), st.just(0), few, few, far)
copies = st.lists(st.builds(Copy, st.sampled_from(USERS), ages, st.booleans()), max_size=4)


class Invariants(RuleBasedStateMachine):
    """Random operations on one engine, which is watched as an observer would watch it."""

    make_engine: ClassVar[MakeEngine]

    @initialize(config=configs(), start=strategies.start_ticks())
    def begin(self, config: EngineConfig, start: int) -> None:
        self.engine: Engine = self.make_engine(config, tick=start)
        self.hold = 0
        self.synced = dict.fromkeys(USERS, config.synced)
        self.told: dict[Id, bool] = dict.fromkeys(USERS, False)
        self.tick_of: dict[Id, int] = {}
        self.expired = start
        self.agreed: dict[Id, int] = {}

    def listen(self) -> list[Transition]:
        """Drain, one by one, and hold each transition against what was told of its user before."""
        waiting = self.engine.transitions_waiting
        said: list[Transition] = []
        while taken := list(self.engine.drain_transitions(1)):
            said += taken
            assert self.engine.transitions_waiting == waiting - len(said), "what waits is counted"
        assert len(said) == waiting, "nothing is lost"
        for transition in said:
            user_id = transition.id
            assert transition.online is not None
            assert self.told[user_id] != transition.online, "transitions alternate"
            assert transition.tick >= self.tick_of.get(user_id, 0), "ticks never go back"
            assert transition.tick <= self.engine.tick + 1
            assert transition.online == (transition.reason is Reason.HEARTBEAT)
            if transition.reason is Reason.TIMEOUT:
                assert transition.tick <= self.agreed.get(user_id, transition.tick), "no timeout but those agreed to"
            self.told[user_id] = transition.online
            self.tick_of[user_id] = transition.tick
        return said

    def online(self) -> set[Id]:
        return set(scan_all(self.engine, len(USERS)))

    def advanced(self) -> None:
        """Time was brought to where the engine is."""
        if self.engine.tick >= self.hold:
            self.expired = self.engine.tick

    def slots(self, ids: Iterable[Id]) -> list[int]:
        return slots_of(tuple(ids), self.engine.config.seed)

    def users_of(self, slots: list[int]) -> list[Id]:
        return [user_id for user_id in USERS if self.slots([user_id])[0] in slots]

    @rule(ids=some_ids, step=steps, age=ages)
    def heartbeat(self, ids: list[Id], step: int, age: int) -> None:
        before = self.engine.count()
        came = self.engine.heartbeat(IdBatch(ids), self.engine.tick + step, age_ticks=age)
        assert came == self.engine.count() - before
        if age == 0 and self.engine.tick > 0:
            assert set(self.engine.status(IdBatch(ids))) == {Status.ONLINE}

    @rule(ids=some_ids, step=steps, age=ages, grace=graces)
    def sign_off(self, ids: list[Id], step: int, age: int, grace: int) -> None:
        before = self.engine.count()
        went = self.engine.sign_off(IdBatch(ids), self.engine.tick + step, age_ticks=age, grace_ticks=grace)
        assert went == before - self.engine.count()
        if age == grace == 0:
            assert Status.ONLINE not in self.engine.status(IdBatch(ids))

    @rule(step=steps, count_max=st.integers(1, 3))
    def advance_a_little(self, step: int, count_max: int) -> None:
        self.engine.advance(self.engine.tick + step, expiry_count_max=count_max)
        self.advanced()

    @rule(step=steps)
    def advance(self, step: int) -> None:
        self.advance_to(self.engine.tick + step)

    def advance_to(self, tick: int) -> None:
        self.listen()
        while not self.engine.advance(tick, expiry_count_max=2):
            pass
        self.advanced()
        ttl = self.engine.config.ttl_ticks
        overdue = set(self.engine.overdue(self.engine.overdue_slots()))
        assert overdue <= set(self.agreed), "nobody waits whose slot is not shared"
        for transition in self.listen():
            assert transition.tick <= tick, "nothing is emitted before it is due"
        online = self.online()
        for user_id, seen in zip(USERS, self.engine.last_seen(BATCH), strict=True):
            if user_id in online:
                past = max(seen + ttl + 1, self.hold) <= tick
                assert past == (user_id in overdue), "everything due is emitted, or overdue"

    @rule(ids=some_ids, over=st.integers(0, 3), age=st.integers(0, 5))
    def news_that_were_on_their_way(self, ids: list[Id], over: int, age: int) -> None:
        """Everybody is silent for a ttl, and only then a heartbeat of before comes in."""
        tick = self.engine.tick + self.engine.config.ttl_ticks + 1 + over
        self.advance_to(tick)
        self.engine.heartbeat(IdBatch(ids), tick, age_ticks=age)

    @rule(ids=some_ids, shared=st.sampled_from([True, True, False]))
    def set_shared(self, ids: list[Id], shared: bool) -> None:
        slots = self.slots(ids)
        self.engine.set_shared(slots, shared)
        for user_id in self.users_of(slots):
            if shared:
                self.agreed.setdefault(user_id, self.expired)
            else:
                self.agreed.pop(user_id, None)

    @rule(ids=some_ids, back=st.integers(0, 3), over=st.integers(0, 3))
    def agree(self, ids: list[Id], back: int, over: int) -> None:
        """After everybody was silent for a ttl."""
        tick = self.engine.tick + self.engine.config.ttl_ticks + 1 + over
        self.advance_to(tick)
        slots = self.slots(ids)
        self.engine.agree(slots, tick - back)
        for user_id in self.users_of(slots):
            if user_id in self.agreed:
                self.agreed[user_id] = max(self.agreed[user_id], tick - back)

    @rule(ahead=st.integers(0, 12))
    def hold_timeouts(self, ahead: int) -> None:
        self.hold = max(self.hold, self.engine.tick + ahead)
        self.engine.hold_timeouts(self.engine.tick + ahead)

    @rule(new=copies, step=steps)
    def merge(self, new: list[Copy], step: int) -> None:
        merge(self.engine, new, self.engine.tick + step)
        before = self.engine.status(BATCH)
        assert merge(self.engine, new, self.engine.tick) == 0
        assert self.engine.status(BATCH) == before

    @rule(ids=some_ids, synced=st.booleans())
    def set_synced(self, ids: list[Id], synced: bool) -> None:
        self.listen()
        slots = self.slots(ids)
        self.engine.set_synced(slots, synced)
        assert drained(self.engine) == []
        online = self.online()
        for user_id in self.users_of(slots):
            # From here on the caller compares by itself: what was told counts anew from what is so now.
            self.synced[user_id] = synced
            self.told[user_id] = user_id in online

    @rule(ids=some_ids)
    def drop_slots(self, ids: list[Id]) -> None:
        slots = self.slots(ids)
        self.engine.set_synced(slots, False)
        self.engine.drop_slots(slots)
        assert self.engine.count(slots) == 0
        for user_id in self.users_of(slots):
            self.synced[user_id] = False
            assert self.engine.export(IdBatch([user_id]), self.engine.tick).signed_off == b""

    @rule(back=st.integers(1, 5), ids=some_ids)
    def time_goes_back(self, back: int, ids: list[Id]) -> None:
        before = self.engine.status(BATCH), self.engine.last_seen(BATCH), self.engine.tick
        for call in (self.engine.heartbeat, self.engine.sign_off):
            with pytest.raises(TickWentBack):
                call(IdBatch(ids), self.engine.tick - back)
        assert (self.engine.status(BATCH), self.engine.last_seen(BATCH), self.engine.tick) == before

    @rule(page=st.integers(1, 20))
    def all_that_is_exported_gives_the_same_statuses_elsewhere(self, page: int) -> None:
        tick = self.engine.tick
        exported = pull(self.engine, self.slots(USERS), tick, page)
        assert sorted(self.engine.export(BATCH, tick), key=repr) == sorted(exported, key=repr)
        assert merge(self.engine, exported, tick) == 0, "it changes nothing where it comes from"
        other = self.make_engine(self.engine.config, tick=tick)
        for first in range(0, len(exported), page):
            merge(other, exported[first : first + page], tick)
        assert merge(other, exported, tick) == 0, "merged again it changes nothing"
        other.set_synced(range(SLOT_COUNT), True)
        deadlines = [seen + self.engine.config.ttl_ticks + 1 for seen in self.engine.last_seen(BATCH)]
        for user_id, status, deadline in zip(USERS, self.engine.status(BATCH), deadlines, strict=True):
            # Whoever is past the deadline and not emitted yet is not sent as one who is online.
            online = status == Status.ONLINE and deadline > tick
            assert other.status(IdBatch([user_id]))[0] == (Status.ONLINE if online else Status.OFFLINE)

    @rule(new=copies, ids=some_ids, page=st.integers(1, 20))
    def copies_back_and_forth_change_nothing(self, new: list[Copy], ids: list[Id], page: int) -> None:
        """With an engine that knows other things, and shares some slots."""
        tick = self.engine.tick
        other = self.make_engine(self.engine.config, tick=tick)
        other.set_shared(self.slots(ids), True)
        merge(other, new, tick)
        self.engine.merge(other.export(BATCH, tick), tick)
        merge(other, pull(self.engine, self.slots(USERS), tick, page), tick)
        for _ in range(2):
            assert merge(self.engine, pull(other, self.slots(USERS), tick, page), tick) == 0
            assert other.merge(self.engine.export(BATCH, tick), tick) == 0

    @invariant()
    def everything_agrees(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.listen()
        statuses = self.engine.status(BATCH)
        online = self.online()
        assert self.engine.count() == len(online) == self.engine.stats().online
        assert self.engine.count(self.slots(USERS)) == len(online)
        for limit in (1, 3, len(USERS)):
            found = scan_all(self.engine, limit)
            assert len(found) == len(online)
            assert set(found) == online
        long_ago = self.expired - self.engine.config.doubt_ticks - self.engine.config.ttl_ticks - 1
        for user_id, status, seen in zip(USERS, statuses, self.engine.last_seen(BATCH), strict=True):
            if self.synced[user_id]:
                assert self.told[user_id] == (user_id in online), "the transitions add up to who is online"
            in_doubt = user_id in self.agreed and seen < long_ago and self.hold <= self.expired
            if user_id in online and not in_doubt:
                assert status == Status.ONLINE
            elif user_id not in online:
                assert status == (Status.OFFLINE if self.synced[user_id] else Status.UNKNOWN)
            else:
                assert status != Status.OFFLINE


def machine_of(make_engine: MakeEngine) -> type[Invariants]:
    return type("InvariantsOfOne", (Invariants,), {"make_engine": staticmethod(make_engine)})


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
def test_invariants(name: str) -> None:
    run_state_machine_as_test(
        machine_of(IMPLEMENTATIONS[name]),
        settings=settings(
            max_examples=settings().max_examples, stateful_step_count=40, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("mutant", INCONSISTENT, ids=lambda mutant: mutant.__name__)
def test_a_broken_engine_is_caught(mutant: MakeEngine) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine_of(mutant),
            settings=settings(
                max_examples=1_000,
                stateful_step_count=40,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )

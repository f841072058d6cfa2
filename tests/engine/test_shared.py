"""Slots that other nodes have registers of too: no timeout there that is not agreed to, and each exactly once then."""

from __future__ import annotations

import pytest

from presencedb.engine import RETENTION_ONLINE, Copy, Engine, EngineConfig
from presencedb.ids import IdBatch
from presencedb.limits import SLOT_COUNT
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL, overdue_of, slots_of
from tests.engine.tools import (
    OFFLINE,
    ONLINE,
    TTL,
    UNKNOWN,
    T,
    advance,
    batch,
    came,
    drained,
    last_seen,
    merge,
    scan_all,
    signed_off,
    slot_of,
    status,
    timed_out,
)

DUE = T + TTL + 1
"""When whoever beat at T and not again is past the deadline."""
DOUBT = 20
ALL = range(SLOT_COUNT)


def make(make_engine: MakeEngine, retention: int | None = RETENTION_ONLINE) -> Engine:
    """An engine that shares every slot, and where everybody of the pool beat at T."""
    config = EngineConfig(ttl_ticks=TTL, retention_ticks=retention, doubt_ticks=DOUBT)
    engine = make_engine(config, tick=T)
    engine.set_shared(ALL, True)
    engine.heartbeat(batch(*POOL), T)
    engine.discard_transitions()
    return engine


def overdue(engine: Engine) -> set[int | str]:
    """Everybody overdue, asked as a node asks."""
    return set(engine.overdue(engine.overdue_slots()))


def agree(engine: Engine, tick: int) -> None:
    """The others have nothing to say of whoever is overdue by this tick."""
    engine.agree(engine.overdue_slots(), tick)


def test_a_lone_engine_agrees_with_itself(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    assert advance(engine, DUE) == [came("alice", T), timed_out("alice", DUE)]
    assert list(engine.overdue_slots()) == []
    engine.agree(ALL, DUE)
    assert len(engine.overdue(ALL)) == 0


class TestOverdue:
    def test_until_it_is_agreed_they_are_online_for_everybody_who_asks(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        assert advance(engine, DUE - 1) == []
        assert overdue(engine) == set()
        assert advance(engine, DUE) == []
        assert overdue(engine) == set(POOL)
        assert engine.status(batch(*POOL)) == bytes([ONLINE]) * len(POOL)
        assert engine.count() == len(scan_all(engine, 3)) == len(POOL)
        assert engine.stats().timeouts == 0

    def test_they_are_told_slot_by_slot(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        assert list(engine.overdue_slots()) == slots_of(POOL, 0)
        assert engine.overdue_slots().typecode == "H"
        assert overdue_of(engine, list(ALL)) == sorted(((slot_of(engine, one), one) for one in POOL), key=repr)
        assert list(engine.overdue([slot_of(engine, "alice"), 0])) == ["alice"]

    def test_agreed_they_are_emitted_by_the_next_advance_each_once_at_their_deadline(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        agree(engine, DUE)
        assert drained(engine) == []
        assert engine.count() == len(POOL)
        said = advance(engine, DUE + 2)
        assert sorted(said, key=repr) == sorted((timed_out(one, DUE) for one in POOL), key=repr)
        assert (engine.count(), overdue(engine), list(engine.overdue_slots())) == (0, set(), [])
        assert engine.stats().lateness_ticks[2] == engine.stats().timeouts == len(POOL)
        agree(engine, DUE + 2)
        assert advance(engine, DUE + 50) == []

    def test_in_a_bounded_expiry_each_once(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.set_shared(ALL, True)
        engine.heartbeat(IdBatch(range(5_000)), T)
        engine.discard_transitions()
        assert advance(engine, DUE + 1) == []
        assert overdue(engine) == set(range(5_000))
        agree(engine, DUE + 1)
        calls = 1
        while not engine.advance(DUE + 2, expiry_count_max=100):
            calls += 1
            assert engine.count() == 5_000 - engine.transitions_waiting
            assert len(engine.overdue(ALL)) == 0
        assert calls > 2
        assert sorted(drained(engine)) == [timed_out(user_id, DUE) for user_id in range(5_000)]

    def test_only_as_far_as_it_is_agreed(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.heartbeat(batch("alice"), T + 1)
        engine.heartbeat(batch("bob"), T + 3)
        engine.discard_transitions()
        advance(engine, DUE + 3)
        engine.agree(ALL, DUE + 2)
        engine.agree(ALL, DUE)
        assert len(advance(engine, DUE + 4)) == len(POOL)
        assert overdue(engine) == {"bob"}

    def test_in_the_slots_that_it_is_agreed_for(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        engine.agree([slot_of(engine, "alice")], DUE)
        assert advance(engine, DUE + 1) == [timed_out("alice", DUE)]
        assert overdue(engine) == {*POOL} - {"alice"}

    def test_what_has_not_been_cannot_be_agreed(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        engine.heartbeat(batch("bob"), DUE + 1)
        with pytest.raises(ValueError, match=str(DUE + 1)):
            engine.agree(ALL, DUE + 1)
        assert len(advance(engine, DUE + 1)) == 1


class TestPeople:
    """What whoever is overdue may do about it."""

    def test_a_heartbeat_prolongs_and_nothing_was_ever_said(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        engine.heartbeat(batch("alice"), DUE)
        assert merge(engine, [Copy(42, TTL, False), Copy("042", TTL + 1, False)], DUE) == 1
        assert overdue(engine) == {*POOL} - {"alice", 42}
        agree(engine, DUE)
        assert {change.id for change in advance(engine, DUE + 1)} == {*POOL} - {"alice", 42}
        assert advance(engine, DUE + TTL) == []
        assert overdue(engine) == {42}
        assert advance(engine, DUE + TTL + 1) == []
        assert overdue(engine) == {42, "alice"}

    def test_a_slot_where_all_of_them_beat_need_not_be_asked_about(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        engine.heartbeat(batch(*POOL), DUE + 1)
        assert len(engine.overdue(engine.overdue_slots())) == 0
        assert list(engine.overdue_slots()) == []
        assert advance(engine, DUE + 1 + TTL) == []
        assert overdue(engine) == set()
        advance(engine, DUE + 2 + TTL)
        assert overdue(engine) == set(POOL)

    def test_a_sign_off_needs_no_agreement(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE + 5)
        assert engine.sign_off(batch("alice"), DUE + 5) == 1
        assert merge(engine, [Copy(42, 2, True)], DUE + 5) == 1
        assert drained(engine) == [signed_off("alice", DUE + 5), signed_off(42, DUE + 5)]
        assert overdue(engine) == {*POOL} - {"alice", 42}

    @pytest.mark.parametrize("agreed", [False, True])
    def test_the_end_of_a_grace_needs_none_either(self, make_engine: MakeEngine, agreed: bool) -> None:
        engine = make(make_engine)
        engine.sign_off(batch("alice"), DUE - 2, grace_ticks=4)
        assert advance(engine, DUE + 1) == []
        if agreed:
            engine.agree(ALL, DUE + 1)
        said = [change for change in advance(engine, DUE + 3) if change.id == "alice"]
        assert said == ([timed_out("alice", DUE)] if agreed else [signed_off("alice", DUE + 2)])
        assert engine.stats().pending_sign_offs == 0

    def test_in_doubt_after_a_while_and_out_of_it_by_a_heartbeat(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE + DOUBT)
        assert status(engine, "alice") is ONLINE
        advance(engine, DUE + DOUBT + 1)
        assert engine.status(batch(*POOL)) == bytes([UNKNOWN]) * len(POOL)
        assert engine.count() == len(scan_all(engine, 3)) == len(POOL)
        engine.heartbeat(batch("alice"), DUE + DOUBT + 2)
        assert engine.status(batch("alice", 42)) == bytes([ONLINE, UNKNOWN])
        agree(engine, DUE + DOUBT + 1)
        assert len(advance(engine, DUE + DOUBT + 2)) == len(POOL) - 1
        assert engine.status(batch("alice", 42)) == bytes([ONLINE, OFFLINE])

    @pytest.mark.parametrize("late", [1, 5])
    def test_old_news_bring_nobody_online_who_would_be_overdue(self, make_engine: MakeEngine, late: int) -> None:
        engine = make(make_engine)
        advance(engine, DUE + 5)
        assert engine.heartbeat(batch("new"), DUE + 5, age_ticks=TTL + late) == 0
        assert status(engine, "new") is OFFLINE
        assert engine.heartbeat(batch("newer"), DUE + 5, age_ticks=TTL) == 1


class TestRetention:
    def test_who_timed_out_stays_so_while_others_of_the_slot_are_overdue(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine, None)
        slots = [slot_of(engine, "alice")]
        advance(engine, DUE)
        agree(engine, DUE)
        advance(engine, DUE + 1)
        for step in range(1, 40):
            engine.heartbeat(batch("alice"), DUE + step)
            advance(engine, DUE + step)
        assert advance(engine, DUE + 70) == []
        assert list(engine.overdue(slots)) == ["alice"]
        assert engine.count() == 1

    def test_a_late_heartbeat_is_kept_as_far_as_it_is_agreed(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine, None)
        advance(engine, DUE)
        engine.agree(ALL, DUE)
        advance(engine, DUE + 9)
        for _ in range(2):
            assert engine.heartbeat(batch("alice"), DUE + 9, age_ticks=TTL + 4) == 0
            assert last_seen(engine, "alice") == T
        assert merge(engine, [Copy("new", TTL + 4, False)], DUE + 9) == 1
        assert merge(engine, [Copy("new", TTL + 4, False)], DUE + 9) == 0
        assert last_seen(engine, "new") == T
        engine.agree(ALL, DUE + 9)
        assert advance(engine, DUE + 10) == []
        assert merge(engine, [Copy("new", TTL + 5, False)], DUE + 10) == 1
        assert last_seen(engine, "new") == DUE + 5 - TTL

    def test_a_lone_engine_keeps_it_as_it_is(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=None), tick=T)
        assert merge(engine, [Copy("new", TTL + 4, False)], T) == 1
        assert last_seen(engine, "new") == T - TTL - 4


class TestBecomingShared:
    def test_what_is_due_then_needs_no_agreement(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(IdBatch(range(2_000)), T)
        engine.heartbeat(batch("alice"), T + 1)
        engine.discard_transitions()
        engine.advance(DUE, expiry_count_max=1)
        engine.set_shared(ALL, True)
        assert len(advance(engine, DUE + 5)) == 2_000
        assert overdue(engine) == {"alice"}

    def test_shared_no_more_everything_is_agreed(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        engine.set_shared(ALL, False)
        assert drained(engine) == []
        assert (list(engine.overdue_slots()), len(engine.overdue(ALL))) == ([], 0)
        assert {change.tick for change in advance(engine, DUE + 3)} == {DUE}
        assert engine.count() == 0

    def test_shared_again_before_that_came_into_force(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.heartbeat(batch("alice"), T + 1)
        advance(engine, DUE)
        engine.set_shared(ALL, False)
        engine.set_shared(ALL, True)
        assert len(advance(engine, DUE + 3)) == len(POOL) - 1
        assert overdue(engine) == {"alice"}

    def test_told_twice_it_changes_nothing(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        engine.set_shared(ALL, True)
        assert advance(engine, DUE + 1) == []
        assert overdue(engine) == set(POOL)

    def test_in_an_unsynced_slot_it_ends_without_a_word(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.set_synced(ALL, False)
        advance(engine, DUE)
        agree(engine, DUE)
        assert engine.count() == len(POOL)
        assert advance(engine, DUE + 1) == []
        assert engine.count() == 0


class TestHold:
    """No deadline is before the hold, so nobody is overdue by then, and nothing agreed to."""

    def test_while_it_lasts_nobody_is_overdue(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE + DOUBT + 1)
        engine.hold_timeouts(DUE + 50)
        assert (list(engine.overdue_slots()), len(engine.overdue(ALL))) == ([], 0)
        assert status(engine, "alice") is ONLINE
        assert advance(engine, DUE + 49) == []
        assert overdue(engine) == set()
        assert advance(engine, DUE + 50) == []
        assert overdue(engine) == set(POOL)
        agree(engine, DUE + 50)
        assert {change.tick for change in advance(engine, DUE + 51)} == {DUE + 50}

    def test_what_was_agreed_before_it_says_nothing(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        advance(engine, DUE)
        agree(engine, DUE)
        engine.hold_timeouts(DUE + 5)
        assert advance(engine, DUE + 6) == []
        assert overdue(engine) == set(POOL)
        engine.agree(ALL, DUE + 4)
        assert advance(engine, DUE + 7) == []
        engine.agree(ALL, DUE + 7)
        assert {change.tick for change in advance(engine, DUE + 8)} == {DUE + 5}

    @pytest.mark.parametrize("retention", [RETENTION_ONLINE, None])
    def test_nor_what_was_agreed_before_it_and_not_emitted_yet(self, make_engine: MakeEngine, retention: int | None) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=retention), tick=T)
        engine.set_shared(ALL, True)
        engine.heartbeat(IdBatch(range(2_000)), T)
        engine.discard_transitions()
        advance(engine, DUE)
        agree(engine, DUE)
        engine.advance(DUE + 1, expiry_count_max=1)
        engine.hold_timeouts(DUE + 5)
        emitted = {change.id for change in drained(engine)}
        assert 0 < len(emitted) < 2_000
        assert advance(engine, DUE + 6) == []
        assert overdue(engine) == set(range(2_000)) - emitted
        late = [Copy(user_id, TTL + 7, False) for user_id in range(4_000)]
        merge(engine, late, DUE + 6)
        assert merge(engine, late, DUE + 6) == 0
        assert engine.count() == 2_000 - len(emitted)
        agree(engine, DUE + 6)
        said = advance(engine, DUE + 7)
        assert sorted(said) == [timed_out(user_id, DUE + 5) for user_id in range(2_000) if user_id not in emitted]

    def test_nor_does_it_count_for_a_late_heartbeat(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine, None)
        advance(engine, DUE)
        engine.agree(ALL, DUE)
        engine.hold_timeouts(DUE + 5)
        advance(engine, DUE + 6)
        assert merge(engine, [Copy("new", TTL + 7, False), Copy("alice", TTL + 7, False)], DUE + 6) == 1
        assert list(engine.last_seen(batch("new", "alice"))) == [T - TTL - 1, T]


class TestReplicas:
    """Two owners of the slots, and what they say to each other."""

    def ask(self, asker: Engine, owner: Engine, tick: int) -> None:
        """One round: whoever is overdue here, is anything later known there?"""
        slots = asker.overdue_slots()
        merge(asker, owner.export(asker.overdue(slots), tick), tick)
        asker.agree(slots, tick)

    def test_whoever_beats_to_one_of_them_is_online_at_both(self, make_engine: MakeEngine) -> None:
        first, second = make(make_engine), make(make_engine)
        for tick in range(T + 1, T + 60):
            first.heartbeat(batch("alice"), tick)
            second.heartbeat(batch(42), tick)
            for asker, owner in ((first, second), (second, first)):
                assert {change.id for change in advance(asker, tick)} <= {*POOL} - {"alice", 42}
                self.ask(asker, owner, tick)
                assert asker.status(batch("alice", 42)) == bytes([ONLINE, ONLINE])
        assert set(scan_all(first, 5)) == set(scan_all(second, 5)) == {"alice", 42}

    def test_a_sign_off_at_the_other_is_no_timeout(self, make_engine: MakeEngine) -> None:
        first, second = make(make_engine), make(make_engine)
        second.sign_off(batch("alice"), DUE - 1)
        advance(first, DUE)
        self.ask(first, second, DUE)
        assert drained(first) == [signed_off("alice", DUE)]

"""Copies between engines: what is sent, what wins, and that any number of pulls back and forth changes nothing."""

from __future__ import annotations

import itertools
import random

import pytest

from presencedb.engine import RETENTION_ONLINE, Copy, Engine, EngineConfig
from presencedb.ids import Hasher, IdKind
from presencedb.limits import SLOT_COUNT
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL, slots_of
from tests.engine.tools import (
    OFFLINE,
    ONLINE,
    TTL,
    T,
    advance,
    batch,
    came,
    drained,
    last_seen,
    merge,
    pull,
    signed_off,
    slot_of,
    status,
    timed_out,
)

RETENTION = 100
RETENTIONS = pytest.mark.parametrize("retention", [RETENTION_ONLINE, RETENTION, None], ids=["online", "duration", "forever"])


def make(make_engine: MakeEngine, retention: int | None = RETENTION_ONLINE, tick: int = T) -> Engine:
    return make_engine(EngineConfig(ttl_ticks=TTL, retention_ticks=retention), tick=tick)


def export(engine: Engine, tick: int) -> list[Copy]:
    return pull(engine, slots_of((*POOL, "a", "b", "beat", "left"), 0), tick, 3)


@RETENTIONS
def test_a_slot_holds_its_users_with_their_ages(make_engine: MakeEngine, retention: int | None) -> None:
    engine = make(make_engine, retention)
    engine.heartbeat(batch(*POOL), T)
    engine.heartbeat(batch("alice"), T + 3)
    engine.sign_off(batch(42), T + 4)
    copies = export(engine, T + 5)
    assert len(copies) == len(POOL)
    by_id = {copy.id: copy for copy in copies}
    assert by_id["alice"] == Copy("alice", 2, False)
    assert by_id[42] == Copy(42, 1, True)
    assert by_id[0] == Copy(0, 5, False)
    assert pull(engine, [slot_of(engine, "alice")], T + 5) == [Copy("alice", 2, False)]


def test_an_age_is_never_below_zero(make_engine: MakeEngine) -> None:
    engine = make(make_engine)
    engine.heartbeat(batch("alice"), T)
    engine.sign_off(batch("alice"), T)
    engine.heartbeat(batch("alice"), T)
    assert last_seen(engine, "alice") == T + 1
    assert export(engine, T) == [Copy("alice", 0, False)]


@RETENTIONS
def test_what_says_nothing_any_more_is_left_out(make_engine: MakeEngine, retention: int | None) -> None:
    engine = make(make_engine, retention)
    engine.heartbeat(batch("beat", "left"), T)
    engine.sign_off(batch("left"), T)
    window = TTL if retention == RETENTION_ONLINE else retention
    if window is None:
        assert len(export(engine, T + 10_000)) == 2
        return
    # Time has gone by, but nothing has been expired yet.
    assert len(export(engine, T + window)) == 2
    assert export(engine, T + window + 1) == []


@RETENTIONS
def test_after_a_timeout(make_engine: MakeEngine, retention: int | None) -> None:
    engine = make(make_engine, retention)
    engine.heartbeat(batch("alice"), T)
    advance(engine, T + TTL + 1)
    wanted = [] if retention == RETENTION_ONLINE else [Copy("alice", TTL + 1, False)]
    assert export(engine, T + TTL + 1) == wanted


def test_export_tells_the_time_too(make_engine: MakeEngine) -> None:
    engine = make(make_engine)
    engine.export_slots([0], T + 7, count_max=1)
    assert engine.tick == T + 7
    engine.export(batch(), T + 8)
    assert engine.tick == T + 8
    merge(engine, [], T + 9)
    assert engine.tick == T + 9


@pytest.mark.parametrize("page", [1, 7, 100])
def test_who_is_there_all_along_appears_exactly_once_while_others_come_and_go(make_engine: MakeEngine, page: int) -> None:
    hasher, generator = Hasher(0), random.Random(page)
    users = [hasher.id_of(IdKind.INT64, 77 << 50 | generator.getrandbits(50)) for _ in range(60 * min(page, 40))]
    stay, leave = users[::2], users[1::2]
    engine = make(make_engine, RETENTION_ONLINE, T - TTL)
    engine.heartbeat(batch(*leave), T - TTL)
    engine.heartbeat(batch(*stay), T)
    found: list[Copy] = []
    cursor: int | None = 0
    while cursor is not None:
        cursor, copies = engine.export_slots([77], engine.tick, count_max=page, cursor=cursor)
        assert len(copies) == page or (cursor is None and len(copies) < page)
        found += copies
        come = [hasher.id_of(IdKind.INT64, 77 << 50 | generator.getrandbits(50)) for _ in range(page // 4)]
        engine.heartbeat(batch(*come), engine.tick)
        if 2 * len(found) > len(stay):
            advance(engine, T + 1)
    assert len({copy.id for copy in found}) == len(found)
    assert {copy.id for copy in found} >= set(stay)
    assert {copy.age_ticks for copy in found if copy.id in set(stay)} <= {0, 1}


class TestWhatWins:
    """The later write; at the same tick the sign-off."""

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_the_order_in_which_copies_come_does_not_matter(self, make_engine: MakeEngine, order: tuple[int, ...]) -> None:
        copies = [Copy("a", 3, False), Copy("a", 2, True), Copy("a", 2, False), Copy("a", 5, True)]
        for retention in (RETENTION_ONLINE, RETENTION, None):
            engine = make(make_engine, retention)
            merge(engine, [copies[index] for index in order], T)
            assert status(engine, "a") is OFFLINE
            assert export(engine, T) == [Copy("a", 2, True)]

    def test_a_later_heartbeat_brings_online(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.heartbeat(batch("a"), T)
        engine.sign_off(batch("a"), T + 1)
        assert merge(engine, [Copy("a", 2, False)], T + 4) == 1
        assert drained(engine) == [came("a", T), signed_off("a", T + 1), came("a", T + 2)]

    def test_at_a_tie_the_sign_off_stays(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.heartbeat(batch("a"), T)
        engine.sign_off(batch("a"), T + 1)
        assert merge(engine, [Copy("a", 3, False)], T + 4) == 0
        assert status(engine, "a") is OFFLINE

    def test_at_a_tie_the_sign_off_wins(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.heartbeat(batch("a"), T + 1)
        assert merge(engine, [Copy("a", 3, True)], T + 4) == 1
        assert drained(engine) == [came("a", T + 1), signed_off("a", T + 1)]

    def test_an_older_sign_off_loses(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.heartbeat(batch("a"), T + 2)
        assert merge(engine, [Copy("a", 3, True)], T + 4) == 0
        assert status(engine, "a") is ONLINE

    def test_a_heartbeat_stamped_ahead_is_not_undone_by_its_own_copy(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        engine.heartbeat(batch("a"), T)
        engine.sign_off(batch("a"), T)
        engine.heartbeat(batch("a"), T)
        assert merge(engine, export(engine, T), T) == 0
        assert status(engine, "a") is ONLINE


class TestUnknownUsers:
    """Somebody this engine has never heard of."""

    def test_a_fresh_copy_brings_online_until_its_own_deadline(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        assert merge(engine, [Copy("a", 4, False)], T) == 1
        assert last_seen(engine, "a") == T - 4
        assert advance(engine, T + 6) == [came("a", T)]
        assert advance(engine, T + 7) == [timed_out("a", T + 7)]

    @pytest.mark.parametrize(("age", "stored"), [(TTL, True), (TTL + 1, False), (10**12, False)])
    def test_in_online_retention_nothing_is_stored_that_is_past_the_ttl(
        self, make_engine: MakeEngine, age: int, stored: bool
    ) -> None:
        engine = make(make_engine)
        assert merge(engine, [Copy("a", age, False), Copy("b", age, True)], T) == 2 * stored
        assert engine.stats().users == 2 * stored
        assert engine.count() == stored

    @pytest.mark.parametrize(("age", "stored"), [(TTL + 1, True), (RETENTION, True), (RETENTION + 1, False)])
    def test_with_a_retention_nothing_is_stored_that_is_past_it(
        self, make_engine: MakeEngine, age: int, stored: bool
    ) -> None:
        engine = make(make_engine, RETENTION)
        assert merge(engine, [Copy("a", age, False), Copy("b", age, True)], T) == 2 * stored
        assert engine.count() == 0
        assert drained(engine) == []
        assert last_seen(engine, "a") == (T - age if stored else -1)

    def test_for_ever_everything_is_stored(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine, None)
        assert merge(engine, [Copy("a", 500, False), Copy("b", 10**12, False)], T) == 2
        assert list(engine.last_seen(batch("a", "b"))) == [T - 500, 0]
        assert engine.count() == 0

    def test_a_copy_of_a_sign_off_withstands_older_news(self, make_engine: MakeEngine) -> None:
        engine = make(make_engine)
        assert merge(engine, [Copy("a", 2, True)], T + 9) == 1
        assert engine.heartbeat(batch("a"), T + 9, age_ticks=2) == 0
        assert engine.heartbeat(batch("a"), T + 9, age_ticks=1) == 1


@RETENTIONS
def test_pulls_back_and_forth_change_nothing(make_engine: MakeEngine, retention: int | None) -> None:
    first, second = make(make_engine, retention), make(make_engine, retention)
    for step in range(30):
        tick = T + step
        first.heartbeat(batch(POOL[step % 10], POOL[step * 3 % 10]), tick)
        second.heartbeat(batch(POOL[step * 7 % 10]), tick)
        (first if step % 2 else second).sign_off(batch(POOL[step * 5 % 10]), tick)
        for engine in (first, second):
            advance(engine, tick)
        merge(first, export(second, tick), tick)
        merge(second, export(first, tick), tick)
        assert first.status(batch(*POOL)) == second.status(batch(*POOL))
        for _ in range(3):
            assert merge(first, export(second, tick), tick) == 0
            assert merge(second, export(first, tick), tick) == 0
        assert sorted(export(first, tick), key=repr) == sorted(export(second, tick), key=repr)


class TestReplicas:
    """Two owners of one slot, as far as an engine is concerned."""

    def test_a_signed_off_user_is_not_brought_back_by_a_replica_that_did_not_hear_of_it(
        self, make_engine: MakeEngine
    ) -> None:
        first, second = make(make_engine), make(make_engine)
        for engine in (first, second):
            engine.heartbeat(batch("alice"), T)
        first.sign_off(batch("alice"), T + 2)
        assert merge(first, export(second, T + 3), T + 3) == 0
        assert status(first, "alice") is OFFLINE
        assert merge(second, export(first, T + 3), T + 3) == 1
        assert status(second, "alice") is OFFLINE
        assert merge(first, export(second, T + 4), T + 4) == 0
        for engine in (first, second):
            assert advance(engine, T + 100) == [came("alice", T), signed_off("alice", T + 2)]

    def test_the_order_in_which_replicas_hear_of_it_does_not_matter(self, make_engine: MakeEngine) -> None:
        first, second = make(make_engine), make(make_engine)
        first.heartbeat(batch("alice"), T + 5, age_ticks=4)
        first.sign_off(batch("alice"), T + 5, age_ticks=2)
        second.set_synced(range(SLOT_COUNT), False)
        second.sign_off(batch("alice"), T + 5, age_ticks=2)
        second.heartbeat(batch("alice"), T + 5, age_ticks=4)
        second.set_synced(range(SLOT_COUNT), True)
        assert export(first, T + 5) == export(second, T + 5) == [Copy("alice", 2, True)]

    @pytest.mark.parametrize("delay", [0, 2, 9, TTL])
    def test_a_delayed_write_runs_out_at_the_same_tick_on_both(self, make_engine: MakeEngine, delay: int) -> None:
        first, second = make(make_engine), make(make_engine)
        first.heartbeat(batch("alice"), T)
        second.heartbeat(batch("alice"), T + delay, age_ticks=delay)
        for engine in (first, second):
            advance(engine, T + TTL)
            assert status(engine, "alice") is ONLINE
            assert advance(engine, T + TTL + 1) == [timed_out("alice", T + TTL + 1)]

    def test_a_replica_does_not_revive_what_has_run_out_here(self, make_engine: MakeEngine) -> None:
        first, second = make(make_engine), make(make_engine)
        for engine in (first, second):
            engine.heartbeat(batch("alice"), T)
        advance(first, T + TTL + 1)
        copies = export(second, T + TTL)
        assert copies == [Copy("alice", TTL, False)]
        assert merge(first, [Copy("alice", TTL + 1, False)], T + TTL + 1) == 0
        assert status(first, "alice") is OFFLINE

    def test_engines_whose_ticks_have_nothing_in_common(self, make_engine: MakeEngine) -> None:
        first, second = make(make_engine, tick=50), make(make_engine, tick=2**30)
        first.heartbeat(batch("alice"), 60)
        merge(second, export(first, 64), 2**30 + 7)
        assert last_seen(second, "alice") == 2**30 + 3
        assert advance(second, 2**30 + 3 + TTL) == [came("alice", 2**30 + 3)]
        assert advance(second, 2**30 + 4 + TTL) == [timed_out("alice", 2**30 + 4 + TTL)]

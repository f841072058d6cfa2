"""Timeouts: each at its deadline, exactly once, whatever the ttl, however time moves, and although nobody asks."""

from __future__ import annotations

import random
from typing import Final

import pytest

from presencedb.engine import EngineConfig
from presencedb.limits import TICK_ORIGIN
from tests.engine.implementations import MakeEngine
from tests.engine.tools import EVERYBODY, OFFLINE, ONLINE, TTL, T, advance, batch, came, drained, status, timed_out

YEAR: Final = 365 * 24 * 3600 * 10
MONTH: Final = 30 * 24 * 3600 * 10
TTLS: Final = [1, 2, 3, 63, 64, 65, 255, 256, 257, 300, 1023, 1024, 1025, 4095, 4096, 4097, 65_536, MONTH, YEAR]
"""Around the sizes that a timing wheel may have, and the longest."""
STRIDES: Final = [0, 1, 2, 7, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4096, 4097, 1_000_000_000]


@pytest.mark.parametrize("ttl", TTLS)
@pytest.mark.parametrize("start", [1, TICK_ORIGIN - 1, TICK_ORIGIN + 4095])
def test_at_the_deadline_and_not_a_tick_earlier(make_engine: MakeEngine, ttl: int, start: int) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=ttl), tick=start)
    engine.heartbeat(batch("alice"), start)
    assert advance(engine, start + ttl) == [came("alice", start)]
    assert status(engine, "alice") is ONLINE
    assert advance(engine, start + ttl + 1) == [timed_out("alice", start + ttl + 1)]
    assert status(engine, "alice") is OFFLINE


@pytest.mark.parametrize("ttl", [1, 2, 64, 65, 300, 1025, 4097])
def test_at_the_deadline_when_every_tick_is_told(make_engine: MakeEngine, ttl: int) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=ttl), tick=T)
    engine.heartbeat(batch("alice"), T)
    engine.heartbeat(batch("bob"), T + 1)
    emitted = [(tick, t) for tick in range(T + 1, T + 2 * ttl + 3) for t in advance(engine, tick) if not t.online]
    assert emitted == [(T + ttl + 1, timed_out("alice", T + ttl + 1)), (T + ttl + 2, timed_out("bob", T + ttl + 2))]


@pytest.mark.parametrize("ttl", TTLS)
def test_a_user_that_goes_on_beating_is_never_timed_out_and_then_on_time(make_engine: MakeEngine, ttl: int) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=ttl), tick=T)
    tick = T
    step = max(ttl // 3, 1)
    for _ in range(min(300, 1_500_000_000 // step)):
        engine.heartbeat(batch("alice"), tick)
        assert [t for t in advance(engine, tick) if not t.online] == []
        tick += step
    last = tick - step
    assert advance(engine, last + ttl) == []
    assert advance(engine, last + ttl + 1) == [timed_out("alice", last + ttl + 1)]


@pytest.mark.parametrize("ttl", [1, 2, 64, 256, 300, 1024, 4097])
@pytest.mark.parametrize("stride", STRIDES)
def test_whatever_the_stride_everybody_exactly_once_and_none_early(make_engine: MakeEngine, ttl: int, stride: int) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=ttl), tick=T)
    generator = random.Random(stride * 10_007 + ttl)
    deadlines: dict[int, int] = {}
    tick = T
    for user_id in range(60):
        tick += generator.randrange(ttl // 7 + 2)
        advance(engine, tick)
        engine.heartbeat(batch(user_id), tick)
        deadlines[user_id] = tick + ttl + 1
    engine.discard_transitions()
    still_online = engine.count()
    emitted: dict[int, int] = {}
    calls = 0
    while engine.count():
        # A stride of 0 asks twice for each tick.
        tick += calls % 2 if stride == 0 else stride
        calls += 1
        for transition in advance(engine, tick):
            assert isinstance(transition.id, int)
            assert transition.id not in emitted
            assert transition == timed_out(transition.id, deadlines[transition.id])
            assert deadlines[transition.id] <= tick
            emitted[transition.id] = tick
        assert all(status(engine, user_id) is OFFLINE for user_id, due in deadlines.items() if due <= tick)
    assert len(emitted) == still_online


def test_random_strides(make_engine: MakeEngine) -> None:
    generator = random.Random(1959)
    for _ in range(200):
        ttl = generator.choice([1, 2, 5, 63, 64, 65, 255, 256, 1024, 4096])
        engine = make_engine(EngineConfig(ttl_ticks=ttl), tick=T)
        tick = T
        deadlines: dict[int, int] = {}
        for _ in range(30):
            user_id = generator.randrange(8)
            engine.heartbeat(batch(user_id), tick)
            deadlines[user_id] = tick + ttl + 1
            tick += generator.choice([0, 1, 2, 7, ttl - 1, ttl, ttl + 1, generator.randrange(3 * ttl)])
            wanted = {timed_out(user_id, due) for user_id, due in deadlines.items() if due <= tick}
            said = [t for t in advance(engine, tick) if not t.online]
            assert len(said) == len(wanted)
            assert set(said) == wanted
            deadlines = {user_id: due for user_id, due in deadlines.items() if due > tick}


def test_a_jump_over_everything(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=YEAR), tick=1)
    for tick in range(1, 200):
        engine.heartbeat(batch(tick), tick)
    said = advance(engine, 1 + 2_000_000_000)
    assert sorted(t for t in said if not t.online) == [timed_out(tick, tick + YEAR + 1) for tick in range(1, 200)]


def test_the_same_tick_twice_says_nothing_new(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    assert len(advance(engine, T + TTL + 1)) == 2
    assert advance(engine, T + TTL + 1) == []


def test_what_comes_online_behind_a_jump_is_timed_out_in_its_turn(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    engine.heartbeat(batch("alice"), T)
    advance(engine, T + 1_000_000)
    engine.heartbeat(batch("alice"), T + 1_000_000)
    assert advance(engine, T + 1_000_000 + TTL) == [came("alice", T + 1_000_000)]
    assert advance(engine, T + 1_000_001 + TTL) == [timed_out("alice", T + 1_000_001 + TTL)]


class TestBounded:
    """The work of one call is bounded; until a timeout is emitted the user is online, for everybody who asks."""

    COUNT: Final = 5_000

    def test_it_says_that_there_is_more_and_finishes_when_called_again(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch(*range(self.COUNT)), T)
        engine.discard_transitions()
        tick = T + 3 * TTL
        assert not engine.advance(tick, expiry_count_max=100)
        gone = drained(engine)
        assert 0 < len(gone) < self.COUNT
        assert engine.count() == self.COUNT - len(gone)
        assert sum(engine.status(batch(*range(self.COUNT)))) == self.COUNT - len(gone)
        while not engine.advance(tick, expiry_count_max=100):
            assert engine.count() > 0
        assert engine.count() == 0
        assert sorted(gone + drained(engine)) == [timed_out(i, T + TTL + 1) for i in range(self.COUNT)]

    def test_whoever_beats_meanwhile_stays(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch(*range(self.COUNT)), T)
        tick = T + 3 * TTL
        engine.discard_transitions()
        assert not engine.advance(tick, expiry_count_max=100)
        gone = sorted(drained(engine))
        assert engine.heartbeat(batch(*range(self.COUNT)), tick) == len(gone)
        assert advance(engine, tick + TTL) == [came(t.id, tick) for t in gone]
        assert engine.count() == self.COUNT

    def test_time_may_go_on_between_two_calls(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        for tick in range(T, T + 20):
            engine.heartbeat(batch(*range(tick * 100, tick * 100 + 100)), tick)
        tick = T + 20
        while engine.count():
            engine.advance(tick, expiry_count_max=30)
            tick += 1
        said = [t for t in drained(engine) if not t.online]
        wanted = [timed_out(user_id, user_id // 100 + TTL + 1) for user_id in range(T * 100, (T + 20) * 100)]
        assert sorted(said) == wanted

    def test_exactly_as_many_as_the_bound_is_all(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch(*range(100)), T)
        assert engine.advance(T + TTL + 1, expiry_count_max=100)
        assert engine.count() == 0

    def test_a_crowd_that_is_not_due_does_not_stop_it(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch(*range(self.COUNT), "alice"), T)
        engine.heartbeat(batch(*range(self.COUNT)), T + TTL)
        calls = 1
        while not engine.advance(T + TTL + 1, expiry_count_max=1):
            calls += 1
            assert calls <= self.COUNT
        assert drained(engine)[-1] == timed_out("alice", T + TTL + 1)
        assert engine.count() == self.COUNT


class TestHold:
    """When the node itself was away, silence proves nothing."""

    def test_nothing_is_timed_out_before_its_end(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch("alice", "bob"), T)
        engine.hold_timeouts(T + 50)
        assert advance(engine, T + 49) == [came("alice", T), came("bob", T)]
        assert engine.count() == 2
        engine.heartbeat(batch("bob"), T + 49)
        assert advance(engine, T + 50) == [timed_out("alice", T + 50)]
        assert advance(engine, T + 50 + TTL) == [timed_out("bob", T + 50 + TTL)]

    def test_the_deadline_of_those_held_is_its_end_however_late(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch("alice"), T)
        engine.hold_timeouts(T + 50)
        assert advance(engine, T + 500) == [came("alice", T), timed_out("alice", T + 50)]

    def test_it_is_only_ever_raised(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch("alice"), T)
        engine.hold_timeouts(T + 50)
        engine.hold_timeouts(T + 20)
        assert advance(engine, T + 49) == [came("alice", T)]
        engine.hold_timeouts(T + 60)
        assert advance(engine, T + 59) == []
        assert advance(engine, T + 60) == [timed_out("alice", T + 60)]

    def test_one_in_the_past_changes_nothing(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.heartbeat(batch("alice"), T)
        engine.hold_timeouts(T - 5)
        assert advance(engine, T + TTL + 1) == [came("alice", T), timed_out("alice", T + TTL + 1)]

    def test_while_it_lasts_late_news_count_as_if_nothing_had_been_expired(self, make_engine: MakeEngine) -> None:
        engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
        engine.hold_timeouts(T + 50)
        advance(engine, T + 40)
        assert engine.heartbeat(batch("alice"), T + 40, age_ticks=35) == 1
        assert engine.heartbeat(batch("bob"), T + 40, age_ticks=40 + TTL + 1) == 0
        assert advance(engine, T + 50) == [came("alice", T + 40), timed_out("alice", T + 50)]


def test_lateness_is_counted_from_the_deadline(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    tick = T
    for lateness in (0, 0, 1, 2, 3, 4, 7, 8, 2**14 - 1, 2**14, 2**20):
        engine.heartbeat(batch("alice"), tick)
        tick += TTL + 1 + lateness
        assert engine.advance(tick, expiry_count_max=EVERYBODY)
    stats = engine.stats()
    assert stats.timeouts == 11
    assert stats.lateness_ticks == (2, 1, 2, 2, 1, *[0] * 9, 1, 2)


def test_although_nobody_asks_a_crowd_that_stops_is_gone_and_its_memory_too(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineConfig(ttl_ticks=TTL), tick=T)
    empty = engine.stats().bytes
    for first in range(0, 50_000, 1_000):
        engine.heartbeat(batch(*range(first, first + 1_000)), T)
    full = engine.stats().bytes
    for tick in range(T, T + 10 * TTL):
        advance(engine, tick)
    stats = engine.stats()
    assert (stats.users, stats.online, engine.count()) == (0, 0, 0)
    assert stats.bytes - empty < (full - empty) / 20

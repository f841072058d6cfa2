"""The time that is shown: close to the wall clock where that is even, and never going back where it is not."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from presencedb.clock import ManualClock
from presencedb.limits import SLEW_PPM, TICK_ORIGIN
from presencedb.node.wall_time import MILLION, PIECE_COUNT_MAX, WallTime

TICK_MS = 100
START_MS = 1_800_000_000_000
HOUR_TICKS = 3600 * 1000 // TICK_MS


def new_wall_time(clock: ManualClock) -> WallTime:
    return WallTime(clock, TICK_MS, TICK_ORIGIN, clock.monotonic_ns())


def run(clock: ManualClock, wall_time: WallTime, ticks: int) -> None:
    for _ in range(ticks):
        clock.advance_ms(TICK_MS)
        wall_time.observe()


def now_ms(clock: ManualClock, wall_time: WallTime) -> int:
    return wall_time.ms_at(TICK_ORIGIN + clock.monotonic_ns() // (TICK_MS * MILLION))


def test_an_even_clock_is_shown_as_it_is() -> None:
    clock = ManualClock(wall_ms=START_MS)
    wall_time = new_wall_time(clock)
    run(clock, wall_time, 1000)
    assert wall_time.ms_at(TICK_ORIGIN) == START_MS
    assert now_ms(clock, wall_time) == clock.wall_ms()
    assert wall_time.error_ms == 0
    assert wall_time.piece_count == 1


def test_before_the_start_the_line_goes_on_backwards() -> None:
    wall_time = new_wall_time(ManualClock(wall_ms=START_MS))
    assert wall_time.ms_at(TICK_ORIGIN - HOUR_TICKS) == START_MS - 3_600_000
    assert wall_time.ms_at(0) == START_MS - TICK_ORIGIN * TICK_MS


def test_a_clock_set_forward_is_followed_slowly_and_then_evenly() -> None:
    clock = ManualClock(wall_ms=START_MS)
    wall_time = new_wall_time(clock)
    clock.set_wall_ms(clock.wall_ms() + 10_000)
    run(clock, wall_time, 1000)
    # 100 s at 5 ms a second.
    assert abs(wall_time.error_ms - 9_500) <= 2
    run(clock, wall_time, 40_000)
    assert abs(wall_time.error_ms) <= 2
    assert abs(now_ms(clock, wall_time) - clock.wall_ms()) <= 3
    assert wall_time.piece_count == 3


def test_a_clock_set_back_slows_time_down_and_never_turns_it() -> None:
    clock = ManualClock(wall_ms=START_MS)
    wall_time = new_wall_time(clock)
    run(clock, wall_time, 10)
    clock.set_wall_ms(clock.wall_ms() - 365 * 24 * 3600 * 1000)
    shown = []
    for _ in range(500):
        run(clock, wall_time, 1)
        shown.append(now_ms(clock, wall_time))
    assert all(later > earlier for earlier, later in itertools.pairwise(shown))


def test_what_was_shown_stays_when_the_clock_is_set() -> None:
    """Up to one tick ahead, since a heartbeat may be stamped there."""
    clock = ManualClock(wall_ms=START_MS)
    wall_time = new_wall_time(clock)
    run(clock, wall_time, 50)
    ticks = range(TICK_ORIGIN - 10, TICK_ORIGIN + 50 + 2)
    before = [wall_time.ms_at(tick) for tick in ticks]
    for jump_ms in (5_000, -60_000, 86_400_000):
        clock.set_wall_ms(clock.wall_ms() + jump_ms)
        run(clock, wall_time, 3)
        assert [wall_time.ms_at(tick) for tick in ticks] == before


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-10_000_000, 10_000_000)), max_size=400))
def test_however_the_clock_is_set_no_time_goes_back(moves: list[tuple[int, int]]) -> None:
    """What was shown of a tick never falls, later ticks are later, and the pieces stay few."""
    clock = ManualClock(wall_ms=START_MS)
    wall_time = new_wall_time(clock)
    shown: dict[int, int] = {}
    for ticks, jump_ms in moves:
        clock.set_wall_ms(max(0, clock.wall_ms() + jump_ms))
        run(clock, wall_time, ticks)
        now = TICK_ORIGIN + clock.monotonic_ns() // (TICK_MS * MILLION)
        for tick in {*shown, now, now + 1}:
            value = wall_time.ms_at(tick)
            assert value >= shown.get(tick, 0)
            shown[tick] = value
    assert wall_time.piece_count <= PIECE_COUNT_MAX
    in_order = [shown[tick] for tick in sorted(shown)]
    assert in_order == sorted(in_order)


def test_a_clock_that_is_set_all_day_makes_no_more_than_so_many_pieces() -> None:
    clock = ManualClock(wall_ms=START_MS)
    wall_time = new_wall_time(clock)
    first_ms = wall_time.ms_at(TICK_ORIGIN)
    for index in range(5 * PIECE_COUNT_MAX):
        clock.set_wall_ms(clock.wall_ms() + (1000 if index % 2 else -1000))
        run(clock, wall_time, 5)
    assert wall_time.piece_count == PIECE_COUNT_MAX
    # The joined past has moved up by next to nothing.
    assert 0 <= wall_time.ms_at(TICK_ORIGIN) - first_ms <= 5 * PIECE_COUNT_MAX * 5 * TICK_MS * SLEW_PPM / MILLION

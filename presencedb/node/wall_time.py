"""Ticks -> Unix time, for people. Nothing is decided by it.

The wall clock may be set at any moment, ticks go on evenly. What is shown is a piecewise linear function of the tick: it
starts at what the wall said at the start of the node, and when the wall says something else it is slewed towards it, at most
`SLEW_PPM` faster or slower than a tick. It always rises, and a tick that has been shown is shown the same way later, so that
a user's last_seen never goes back.

Only a wall clock that is set again and again makes many pieces. Beyond `PIECE_COUNT_MAX` two neighbours are joined, those
where it shows least, by a line that ends where they ended and lies nowhere below them: the past may move up, never back.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from presencedb.clock import Clock
from presencedb.limits import SLEW_PPM

PIECE_COUNT_MAX: Final = 256
MILLION: Final = 1_000_000
_NOT_NOTICED_US: Final = 2_000
"""A smaller difference is left alone: the wall is read in milliseconds, and not at the same moment as the tick."""
_READING_NS_MAX: Final = 1_000_000
"""If two readings of the monotonic clock around the wall's are further apart, the wall's is not of their moment."""
_AHEAD_TICKS: Final = 2
"""A new piece begins this much later than now: a heartbeat may be stamped one tick ahead, and shown."""


@dataclass(frozen=True, slots=True)
class _Piece:
    start_tick: int
    start_us: int
    step_us: int

    def us_at(self, tick: int) -> int:
        return self.start_us + (tick - self.start_tick) * self.step_us


class WallTime:
    """Unix time as a function of the tick."""

    def __init__(self, clock: Clock, tick_ms: int, start_tick: int, start_ns: int) -> None:
        self._clock = clock
        self._tick_us = tick_ms * 1000
        self._slew_us = max(1, self._tick_us * SLEW_PPM // MILLION)
        self._start_tick = start_tick
        self._start_ns = start_ns
        elapsed_us = (clock.monotonic_ns() - start_ns) // 1000
        self._pieces = [_Piece(start_tick, clock.wall_ms() * 1000 - elapsed_us, self._tick_us)]
        self._starts = [start_tick]
        self._error_us = 0

    @property
    def error_ms(self) -> int:
        """How far what is shown lay behind the wall clock when it was last looked at."""
        return round(self._error_us / 1000)

    @property
    def piece_count(self) -> int:
        return len(self._pieces)

    def ms_at(self, tick: int) -> int:
        """Unix milliseconds at the beginning of a tick."""
        # Before the first piece nothing is known of the wall: its line is drawn backwards.
        index = max(0, bisect_right(self._starts, tick) - 1)
        return self._pieces[index].us_at(tick) // 1000

    def observe(self) -> None:
        """Look at the wall clock and decide how to go on; called about once a tick."""
        before_ns = self._clock.monotonic_ns()
        wall_us = self._clock.wall_ms() * 1000
        after_ns = self._clock.monotonic_ns()
        if after_ns - before_ns > _READING_NS_MAX:
            return
        tick, rest_us = divmod((before_ns - self._start_ns) // 1000, self._tick_us)
        tick += self._start_tick
        last = self._pieces[-1]
        self._error_us = wall_us - last.us_at(tick) - rest_us * last.step_us // self._tick_us
        step_us = self._step_us(last.step_us)
        start_tick = tick + _AHEAD_TICKS
        if step_us != last.step_us and start_tick > last.start_tick:
            self._append(_Piece(start_tick, last.us_at(start_tick), step_us))

    def _step_us(self, current_us: int) -> int:
        slewing = current_us - self._tick_us
        # Once begun, it goes on until nothing is left or it has gone beyond.
        if abs(self._error_us) <= _NOT_NOTICED_US or slewing * self._error_us < 0:
            done = slewing == 0 or slewing * self._error_us <= 0
            return self._tick_us if done else current_us
        return self._tick_us + (self._slew_us if self._error_us > 0 else -self._slew_us)

    def _append(self, piece: _Piece) -> None:
        self._pieces.append(piece)
        if len(self._pieces) > PIECE_COUNT_MAX:
            self._join_two()
        self._starts = [known.start_tick for known in self._pieces]

    def _join_two(self) -> None:
        candidates = [self._joined(index) for index in range(len(self._pieces) - 2)]
        rise_us, index, joined = min(candidates, key=lambda candidate: candidate[0])
        assert rise_us >= 0
        self._pieces[index : index + 2] = [joined]

    def _joined(self, index: int) -> tuple[int, int, _Piece]:
        """Two neighbours as one: how far it rises above them, the index of the first, and the line."""
        first, second, end = self._pieces[index : index + 3]
        ticks = end.start_tick - first.start_tick
        step_us = min(second.step_us, (end.start_us - first.start_us) // ticks)
        joined = _Piece(first.start_tick, end.start_us - ticks * step_us, step_us)
        rise_us = max(joined.start_us - first.start_us, joined.us_at(second.start_tick) - second.start_us)
        return rise_us, index, joined

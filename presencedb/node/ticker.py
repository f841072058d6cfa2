"""The clock of a node: the one place where a tick is made of time, and the one caller of `Engine.advance`.

A tick is `TICK_ORIGIN + (now - start) // tick`, in integers, from the monotonic clock: nothing adds up, so nothing drifts.
The ticker wakes at each boundary of a tick, whether there is traffic or not. If more is due than one turn may do, it comes
back in the next turn, after the loop has served its sockets.

**The stall rule.** When the tick has jumped by more than `STALL_TICKS`, the node itself was away: stopped, swapped out, or
kept busy. Heartbeats sent meanwhile lie in its sockets, and in which order a loop runs timers and sockets after a pause is
its own affair. So nothing expires before the loop has turned without finding input, or `STALL_READ_MS_MAX` have gone by, and
then the timeouts are held for as long as the pause lasted, at most a ttl. Who really left may look online that much longer.

**A clock that stands still** would leave everybody online for ever, in silence. The ticker wakes by the loop's own time, and
`age_ms` tells by it how long ago the tick last moved: so a clock that stops shows even though the ticker goes on waking, and
a ticker that has died shows too. (Where the machine's monotonic time itself stands still no timer fires and no process can
tell.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from presencedb.clock import Clock
from presencedb.engine import Engine
from presencedb.limits import EXPIRIES_PER_TURN_MAX, SECOND_MS, STALL_READ_MS_MAX, STALL_TICKS, TICK_MAX, TICK_ORIGIN
from presencedb.node.tick_scale import TickScale
from presencedb.transport.hub import Hub

log = structlog.get_logger()

NS_PER_MS: Final = 1_000_000


class Ticker:
    """Makes ticks of time and brings the engine to each.

    `each_tick` is called after every advance, several times in a tick when there is much to expire; it publishes.
    """

    def __init__(self, engine: Engine, clock: Clock, scale: TickScale, hub: Hub, each_tick: Callable[[int], None]) -> None:
        self.ticks = 0
        """Ticks that the engine was brought to."""
        self.stalls = 0
        self.stall_longest_ms = 0
        self.hold_until_tick = 0
        """No timeout is emitted before this tick."""
        self.start_ns = clock.monotonic_ns()
        self._engine = engine
        self._clock = clock
        self._scale = scale
        self._hub = hub
        self._each_tick = each_tick
        self._tick_ns = scale.tick_ms * NS_PER_MS
        self._last_tick = TICK_ORIGIN
        self._moved_at_s = hub.loop.time()
        self._timer: asyncio.Handle | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._running = False

    def now(self) -> int:
        """The tick of this moment. It never goes back, even if the clock does."""
        tick = TICK_ORIGIN + (self._clock.monotonic_ns() - self.start_ns) // self._tick_ns
        return min(max(tick, self._last_tick), TICK_MAX)

    @property
    def tick_ms(self) -> int:
        """How long a tick is."""
        return self._scale.tick_ms

    @property
    def phase_ms(self) -> int:
        """How long ago the tick of this moment began."""
        return (self._clock.monotonic_ns() - self.start_ns) % self._tick_ns // NS_PER_MS

    @property
    def age_ms(self) -> int:
        """How long ago, by the loop's time, the engine was last brought to a new tick."""
        return int((self._hub.loop.time() - self._moved_at_s) * SECOND_MS)

    @property
    def uptime_ms(self) -> int:
        """Time since the start, by the node's clock."""
        return (self._clock.monotonic_ns() - self.start_ns) // NS_PER_MS

    @property
    def hold_ms(self) -> int:
        """How much longer timeouts are held after a stall."""
        return self._scale.duration_ms(max(0, self.hold_until_tick - self.now()))

    def start(self) -> None:
        """Begin to tick."""
        self._running = True
        self._wake_at_next_tick()

    def stop(self) -> None:
        """Stop ticking."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._catching_up is not None:
            self._catching_up.cancel()

    def _wake(self) -> None:
        if self._last_tick == self.now() < TICK_MAX:
            # Up to a millisecond too early, as loops do. What is new would be told twice in this tick.
            self._wake_at_next_tick()
        else:
            self._begin_step()

    def _begin_step(self) -> None:
        if self.now() - self._last_tick > STALL_TICKS:
            self._catching_up = self._hub.loop.create_task(self._catch_up())
        else:
            self._step()

    async def _catch_up(self) -> None:
        all_read = await self._hub.wait_until_quiet(STALL_READ_MS_MAX)
        self._step(all_read=all_read)

    def _hold(self, tick: int, *, all_read: bool) -> None:
        jump = tick - self._last_tick
        stall_ms = self._scale.duration_ms(jump)
        self.stalls += 1
        self.stall_longest_ms = max(self.stall_longest_ms, stall_ms)
        self.hold_until_tick = max(self.hold_until_tick, tick + min(jump, self._engine.config.ttl_ticks))
        self._engine.hold_timeouts(self.hold_until_tick)
        log.warning("the node was away: timeouts are held", stall_ms=stall_ms, hold_ms=self.hold_ms, all_input_read=all_read)

    def _step(self, *, all_read: bool = True) -> None:
        tick = self.now()
        all_emitted = True
        try:
            if tick - self._last_tick > STALL_TICKS:
                self._hold(tick, all_read=all_read)
            all_emitted = self._engine.advance(tick, expiry_count_max=EXPIRIES_PER_TURN_MAX)
            if tick != self._last_tick:
                self._last_tick = tick
                self._moved_at_s = self._hub.loop.time()
                self.ticks += 1
            self._each_tick(tick)
        except Exception:
            # The ticker must live: what failed is tried again at the next tick, and `age_ms` shows it meanwhile.
            log.exception("a tick failed", tick=tick)
        if not self._running:
            return
        if all_emitted:
            self._wake_at_next_tick()
        else:
            self._timer = self._hub.loop.call_soon(self._begin_step)

    def _wake_at_next_tick(self) -> None:
        elapsed_ns = self._clock.monotonic_ns() - self.start_ns
        left_ns = self._tick_ns - elapsed_ns % self._tick_ns
        # Loops count in milliseconds: rounded up, so that it seldom wakes a moment too early and again.
        delay_ms = -(-left_ns // NS_PER_MS)
        self._timer = self._hub.loop.call_later(delay_ms / SECOND_MS, self._wake)

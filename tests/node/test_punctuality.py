"""When a node does what it has to do, in virtual time: to the tick, whatever the machine is busy with."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from presencedb.clock import ManualClock
from presencedb.credentials import ALL_RIGHTS
from presencedb.ids import IdBatch
from presencedb.limits import STALL_READ_MS_MAX, STALL_TICKS, TICK_ORIGIN, TURN_REQUESTS_MAX
from presencedb.states import Status
from tests.node.running import running_node
from tests.node.ticking import TICK_MS, TTL_TICKS, ticking
from tests.node.virtual_time import run_in_virtual_time
from tests.support.wire import Wire

TTL_MS: Final = TTL_TICKS * TICK_MS
USERS: Final = 60
BETWEEN_BEATS_MS: Final = 17
"""No divisor of a tick, so that heartbeats come at every part of one."""
NOT_AT_A_BOUNDARY_NS: Final = 31_400_000


def test_the_engine_is_brought_to_every_tick_as_it_begins() -> None:
    clock = ManualClock(monotonic_ns=NOT_AT_A_BOUNDARY_NS)

    async def main() -> None:
        async with ticking(clock) as node:
            began = clock.wall_ms()
            await asyncio.sleep(100.5 * TICK_MS / 1000)
            assert node.published == [(TICK_ORIGIN + number, 0) for number in range(1, 101)]
            assert node.ticker.ticks == 100
            assert clock.wall_ms() - began < 101 * TICK_MS

    run_in_virtual_time(clock, main())


def test_a_loop_that_wakes_too_early_does_not_have_it_tell_twice_in_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(monotonic_ns=NOT_AT_A_BOUNDARY_NS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later
        early_s = 0.001

        def call_early(delay_s: float, *rest: Any) -> asyncio.TimerHandle:
            return call_later(delay_s - early_s if delay_s > 2 * early_s else delay_s, *rest)

        monkeypatch.setattr(loop, "call_later", call_early)
        async with ticking(clock) as node:
            await asyncio.sleep(20.5 * TICK_MS / 1000)
            assert node.published == [(TICK_ORIGIN + number, 0) for number in range(1, 21)]

    run_in_virtual_time(clock, main())


def test_a_follower_is_told_of_a_timeout_in_the_tick_of_its_deadline(tmp_path: Path) -> None:
    clock = ManualClock(monotonic_ns=NOT_AT_A_BOUNDARY_NS, wall_ms=1_700_000_000_000)
    path = str(tmp_path / "socket")

    async def main() -> None:
        settings = {"listen": None, "unix_path": path, "ttl_ms": TTL_MS, "tick_ms": TICK_MS}
        async with running_node(clock=clock, **settings), Wire(path) as follower, Wire(path) as client:
            await follower.call("follow")
            came_ms: dict[int, int] = {}
            for user_id in range(USERS):
                came_ms[user_id] = clock.wall_ms()
                client.notify("heartbeat", [user_id])
                await asyncio.sleep(BETWEEN_BEATS_MS / 1000)
            left: set[int] = set()
            while len(left) < USERS:
                changes = (await follower.next_notification()).params[1]
                for user_id, online, at_ms, reason in changes:
                    if online:
                        continue
                    assert reason == "timeout"
                    assert at_ms - came_ms[user_id] + TICK_MS > TTL_MS
                    assert at_ms - came_ms[user_id] <= TTL_MS + TICK_MS
                    assert 0 <= clock.wall_ms() - at_ms < TICK_MS
                    left.add(user_id)
            lateness = (await client.call("info"))["lateness_ms"]
            assert lateness["0"] == sum(lateness.values()) == USERS

    run_in_virtual_time(clock, main())


def test_after_a_stall_all_that_waits_is_read_before_the_hold_is_counted() -> None:
    """Reading takes longer than the pause took: if it were not waited for, the hold would end before the last heartbeat."""
    clock = ManualClock()
    jump = STALL_TICKS + 1
    count = 900
    request_cost_ms = 1
    reading_ms = (count - TURN_REQUESTS_MAX) * request_cost_ms
    assert (jump + TTL_TICKS // 4) * TICK_MS < reading_ms < STALL_READ_MS_MAX

    async def main() -> None:
        ours, theirs = socket.socketpair()
        async with ticking(clock) as node:
            with ours:
                await node.listener.adopt(theirs, ALL_RIGHTS)
                users = IdBatch(list(range(count)))
                node.engine.heartbeat(users, node.ticker.now())
                await asyncio.sleep((TTL_TICKS - 2) * TICK_MS / 1000)
                ours.sendall(b"".join(msgpack.packb([2, "heartbeat", [user_id]]) for user_id in range(count)))
                node.request_cost_ms = request_cost_ms
                clock.advance_ms(jump * TICK_MS)
                await asyncio.sleep(reading_ms / 1000)
                await asyncio.sleep((jump + STALL_TICKS) * TICK_MS / 1000)
                assert node.ticker.stalls == 1
                assert node.timeouts() == []
                assert node.engine.status(users) == bytes([Status.ONLINE]) * count

    run_in_virtual_time(clock, main())

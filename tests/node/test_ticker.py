"""The ticker: ticks from the clock and nothing else, expiry in bounded steps, and the stall rule on a clock that jumps."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import msgpack
import pytest

from presencedb.clock import ManualClock
from presencedb.ids import IdBatch
from presencedb.limits import EXPIRIES_PER_TURN_MAX, STALL_TICKS, TICK_AGE_MS_MAX, TICK_MAX, TICK_ORIGIN
from presencedb.node import ticker as ticker_module
from presencedb.states import Status
from tests.node.running import address_of, running_node
from tests.node.ticking import TICK_MS, TTL_TICKS, ticking
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire


async def test_a_tick_is_the_time_since_the_start_in_whole_ticks() -> None:
    async with ticking() as node:
        assert node.ticker.now() == TICK_ORIGIN
        node.clock.advance_ms(TICK_MS - 1)
        assert node.ticker.now() == TICK_ORIGIN
        node.clock.advance_ms(1)
        assert node.ticker.now() == TICK_ORIGIN + 1
        await node.reached()
        await node.pass_ticks(20)
        assert node.ticker.now() == TICK_ORIGIN + 21
        assert node.ticker.stalls == 0
        assert node.ticker.uptime_ms == 21 * TICK_MS
        node.clock.advance_ms(10**9 * TICK_MS)
        assert node.ticker.now() == TICK_ORIGIN + 10**9 + 21
        node.clock.advance_ms(10**9 * TICK_MS)
        assert node.ticker.now() == TICK_MAX


async def test_a_user_goes_offline_a_ttl_after_the_heartbeat_and_not_a_tick_earlier() -> None:
    async with ticking() as node:
        node.engine.heartbeat(IdBatch(["alice"]), node.ticker.now())
        await node.pass_ticks(TTL_TICKS)
        assert node.engine.count() == 1
        await node.pass_ticks(1)
        assert node.timeouts() == [("alice", TTL_TICKS + 1)]


async def test_the_wall_clock_changes_nothing() -> None:
    async with ticking() as node:
        node.engine.heartbeat(IdBatch(["alice"]), node.ticker.now())
        node.clock.set_wall_ms(10**13)
        await node.pass_ticks(TTL_TICKS)
        node.clock.set_wall_ms(0)
        assert node.engine.count() == 1


async def test_a_crowd_expires_over_several_turns_with_input_between(event_loop_kind: str) -> None:
    async with ticking() as node:
        crowd = list(range(3 * EXPIRIES_PER_TURN_MAX))
        node.engine.heartbeat(IdBatch(crowd), node.ticker.now())
        await node.pass_ticks(TTL_TICKS)
        node.published.clear()
        address = await node.listener.listen_tcp("127.0.0.1", 0, None)
        with socket.create_connection(address) as sock:
            await wait_until_async(lambda: node.hub.connection_count)
            node.clock.advance_ms(TICK_MS)
            # Who comes back while the others are being expired is not among them: input is served between the turns.
            sock.sendall(msgpack.packb([2, "heartbeat", [crowd[-1]]]))
            await wait_until_async(lambda: node.engine.count() == 1)
        counts = [count for tick, count in node.published if tick == TICK_ORIGIN + TTL_TICKS + 1 and count]
        assert len(counts) >= 3
        assert max(counts) <= EXPIRIES_PER_TURN_MAX


class TestStall:
    async def test_input_is_read_before_anybody_expires(self, event_loop_kind: str) -> None:
        async with ticking() as node:
            address = await node.listener.listen_tcp("127.0.0.1", 0, None)
            ids = list(range(1000))
            node.engine.heartbeat(IdBatch([*ids, "gone"]), node.ticker.now())
            sockets = [socket.create_connection(address) for _ in range(20)]
            # The loop has not turned since: not one connection is accepted when the clock jumps.
            for number, sock in enumerate(sockets):
                sock.sendall(b"".join(msgpack.packb([2, "heartbeat", [i]]) for i in ids[number::20]))
            await node.stall(2 * TTL_TICKS * TICK_MS)
            resume = 2 * TTL_TICKS
            assert node.engine.status(IdBatch(ids)) == bytes([Status.ONLINE]) * len(ids)
            await node.pass_ticks(TTL_TICKS)
            assert node.timeouts() == [("gone", resume + TTL_TICKS)]
            # Their heartbeats count from the moment at which they were read.
            await node.pass_ticks(1)
            assert len(node.timeouts()) == 1 + len(ids)
            for sock in sockets:
                sock.close()

    @pytest.mark.parametrize(("jump", "hold"), [(6, 6), (18, 18), (20, 20), (40, 20), (100_000, 20)])
    async def test_timeouts_are_held_as_long_as_the_pause_but_a_ttl_at_most(self, jump: int, hold: int) -> None:
        async with ticking() as node:
            node.engine.heartbeat(IdBatch(["gone"]), node.ticker.now())
            await node.stall(jump * TICK_MS)
            assert node.ticker.hold_ms == hold * TICK_MS
            assert node.ticker.stall_longest_ms == jump * TICK_MS
            await node.pass_ticks(TTL_TICKS + 1)
            assert node.timeouts() == [("gone", max(TTL_TICKS + 1, jump + hold))]
            assert node.ticker.hold_ms == 0

    async def test_a_small_jump_is_none(self) -> None:
        async with ticking() as node:
            node.engine.heartbeat(IdBatch(["gone"]), node.ticker.now())
            await node.pass_ticks(TTL_TICKS - 1)
            node.clock.advance_ms(STALL_TICKS * TICK_MS)
            await node.reached()
            assert node.timeouts() == [("gone", TTL_TICKS + 1)]
            assert node.ticker.stalls == 0

    async def test_a_second_stall_holds_anew(self) -> None:
        async with ticking() as node:
            node.engine.heartbeat(IdBatch(["gone"]), node.ticker.now())
            for _ in range(3):
                await node.stall((TTL_TICKS - 1) * TICK_MS)
                assert node.timeouts() == []
            await node.pass_ticks(TTL_TICKS)
            assert node.timeouts() == [("gone", 4 * (TTL_TICKS - 1))]

    async def test_endless_input_does_not_hold_expiry_for_ever(
        self, event_loop_kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ticker_module, "STALL_READ_MS_MAX", 50)
        async with ticking() as node:
            address = await node.listener.listen_tcp("127.0.0.1", 0, None)
            node.engine.heartbeat(IdBatch(["gone"]), node.ticker.now())
            flooding = True

            async def flood() -> None:
                async with Wire(address) as client:
                    while flooding:
                        client.send_bytes(msgpack.packb([2, "heartbeat", [1]]) * 100)
                        await asyncio.sleep(0)

            task = asyncio.create_task(flood())
            await wait_until_async(lambda: node.engine.count() == 2)
            await node.stall(2 * TTL_TICKS * TICK_MS)
            await node.pass_ticks(TTL_TICKS)
            assert [user_id for user_id, _ in node.timeouts()] == ["gone"]
            flooding = False
            await task


class TestAClockThatStops:
    async def test_the_age_of_the_tick_grows_and_the_node_is_not_ready(self) -> None:
        clock = ManualClock()
        async with running_node(clock=clock) as node, Wire(address_of(node)) as client:
            assert node.ready
            await wait_until_async(lambda: not node.ready)
            assert node.tick_age_ms > TICK_AGE_MS_MAX
            info = await client.call("info")
            assert info["tick_age_ms"] > TICK_AGE_MS_MAX
            clock.advance_ms(60)
            await wait_until_async(lambda: node.ready)

    async def test_a_tick_that_fails_does_not_end_the_ticking(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with ticking() as node:

            def fail(tick: int, *, expiry_count_max: int) -> bool:
                failures.append(tick)
                raise MemoryError("for a moment")

            failures: list[int] = []
            failing = SimpleNamespace(advance=fail, config=node.engine.config, hold_timeouts=node.engine.hold_timeouts)
            monkeypatch.setattr(node.ticker, "_engine", failing)
            node.clock.advance_ms(TICK_MS)
            await wait_until_async(lambda: len(failures) > 2)
            monkeypatch.setattr(node.ticker, "_engine", node.engine)
            await node.reached()

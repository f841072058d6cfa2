"""What becomes of readers that take nothing, of those for whom nothing happens, and of those who are told of a crowd."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from presencedb.limits import EVENTS_HIGH_WATER_BYTES, EXPIRIES_PER_TURN_MAX, SLOW_READER_MS
from presencedb.node import feed as feed_module
from presencedb.node import subscribers as subscribers_module
from tests.node.feed_model import number_of
from tests.node.paper_wire import PaperNode, PaperWire, turns
from tests.node.playing import TICK_MS, changes, play, tick


class TestSlowReaders:
    @pytest.fixture(autouse=True)
    def little_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subscribers_module, "EVENTS_HIGH_WATER_BYTES", 100)
        monkeypatch.setattr(subscribers_module, "EVENTS_LOW_WATER_BYTES", 50)

    async def toggle(self, writer: PaperWire, count: int, user_id: int = 1) -> None:
        """One user, changing once a tick."""
        for number in range(count):
            await writer.call("offline" if number % 2 else "heartbeat", [user_id])
            await tick()

    def test_it_reads_on_where_it_was(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            await reader.call("watch", [1])
            await self.toggle(writer, 20)
            assert node.subscribers.delivery.behind_count == 1
            told: list[tuple[Any, Any]] = []
            while node.subscribers.delivery.behind_count:
                told += changes(reader.notifications())
                await turns()
            assert told + changes(reader.notifications()) == [(1, True), (1, False)] * 10
            await self.toggle(writer, 1)
            assert changes(reader.notifications()) == [(1, True)]

        play(main)

    def test_what_waits_for_it_is_bounded(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            await reader.call("follow")
            await self.toggle(writer, 200)
            assert reader.transport.size_max < 200

        play(main)

    @pytest.mark.parametrize("watches", [True, False])
    def test_it_is_told_that_the_log_has_moved_past_it(self, watches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feed_module, "FEED_EVENTS_MAX", 5)

        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            if watches:
                await reader.call("watch", [3, 1])
                await reader.call("watch", [2, 1])
            else:
                await reader.call("follow")
            await self.toggle(writer, 30)
            await writer.call("heartbeat", [2])
            reader.read()
            await turns()
            method, (cursor, statuses) = reader.notifications()[-1]
            assert method == "gap"
            assert statuses == ([False, False, True] if watches else None)
            await writer.call("heartbeat", [1])
            await tick()
            assert changes(reader.notifications()) == ([(1, True)])
            info = await writer.call("info")
            assert info["feed_gaps"] == {"overrun": 1}
            # The cursor of the gap is one to go on from.
            late = node.connect()
            assert await late.call("follow", cursor) == cursor
            await turns()
            assert changes(late.notifications()) == [(1, True)]

        play(main)

    def test_without_room_for_long_it_is_cut(self) -> None:
        async def main(node: PaperNode) -> None:
            deaf, quick, writer = node.connect(), node.connect(), node.connect()
            await deaf.call("watch", [1])
            await quick.call("watch", [1])
            slow_ticks = SLOW_READER_MS // TICK_MS
            told: list[tuple[Any, Any]] = []
            for _ in range(slow_ticks // 4):
                await self.toggle(writer, 2)
                told += changes(quick.notifications())
            assert (await writer.call("info"))["readers_cut"] == {}
            await tick(slow_ticks)
            assert deaf.transport.closed
            assert not quick.transport.closed
            assert told == [(1, True), (1, False)] * (slow_ticks // 4)
            info = await writer.call("info")
            assert info["readers_cut"] == {"slow": 1}
            assert (info["watchers"], info["readers_behind"]) == (1, 0)

        play(main)

    def test_one_that_reads_now_and_then_is_not_cut(self) -> None:
        async def main(node: PaperNode) -> None:
            slow, writer = node.connect(), node.connect()
            await slow.call("watch", [1])
            for _ in range(4):
                await self.toggle(writer, 20)
                await tick(SLOW_READER_MS // TICK_MS - 30)
                slow.read()
                await turns()
            assert not slow.transport.closed
            assert (await writer.call("info"))["readers_cut"] == {}

        play(main)


def test_those_for_whom_nothing_happens_get_newer_cursors(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they can go on where they were, though the log has long dropped what was when they began to watch."""
    monkeypatch.setattr(feed_module, "FEED_EVENTS_MAX", 40)

    async def main(node: PaperNode) -> None:
        quiet, busy, writer = node.connect(), node.connect(), node.connect()
        cursor, _ = await quiet.call("watch", ["quiet"])
        await busy.call("watch", [1])
        told_count = 0
        for number in range(400):
            await writer.call("offline" if number % 2 else "heartbeat", [1])
            await tick()
            for method, params in quiet.notifications():
                assert (method, params[1]) == ("presence", [])
                assert number_of(params[0]) > number_of(cursor)
                cursor = params[0]
                told_count += 1
            assert number_of(cursor) >= node.feed.first
        assert 400 // 40 <= told_count <= 8 * 400 // 40
        assert all(params[1] for _, params in busy.notifications())
        late = node.connect()
        assert await late.call("watch", ["quiet"], cursor) == [cursor, [False]]

    play(main)


@pytest.mark.parametrize(
    "count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)], ids=["a-hundred-thousand", "a-million"]
)
def test_a_crowd_that_goes_at_one_moment(count: int) -> None:
    """A follower that reads is told of everybody, once, in order and without a gap; so is one that watches a few of them."""
    ttl_ms = 30_000

    async def main(node: PaperNode) -> None:
        follower, watcher, writer = node.connect(), node.connect(), node.connect()
        for start in range(0, count, 50_000):
            await writer.call("heartbeat", list(range(start, start + 50_000)))
        watched = list(range(0, count, count // 1000))
        await watcher.call("watch", watched)
        await follower.call("follow")
        left: list[Any] = []
        seen: list[Any] = []
        turn_sizes: list[int] = []
        await asyncio.sleep(ttl_ms / 1000 - 10 * TICK_MS / 1000)
        while len(left) < count:
            told = changes(follower.notifications())
            turn_sizes.append(len(told))
            left += [user_id for user_id, _ in told]
            seen += [user_id for user_id, _ in changes(watcher.notifications())]
            # Nothing is told before the deadline, and then in every turn: only while nothing comes does time go by.
            await (turns(1) if told else tick())
        await tick()
        seen += [user_id for user_id, _ in changes(watcher.notifications())]
        assert sorted(left) == list(range(count))
        among = set(watched)
        assert seen == [user_id for user_id in left if user_id in among]
        assert max(turn_sizes) <= 4 * EXPIRIES_PER_TURN_MAX
        assert follower.transport.size_max < 2 * EVENTS_HIGH_WATER_BYTES
        info = await writer.call("info")
        assert (info["feed_gaps"], info["readers_cut"], info["timeouts"]) == ({}, {}, count)

    play(main, ttl_ms=ttl_ms)

"""Who is told what and when: one notification a tick, and slices where many are told."""

from __future__ import annotations

import asyncio
from array import array

import pytest

from presencedb.credentials import Credentials, Principal, Right
from presencedb.errors import GapError, TooLarge
from presencedb.limits import FEED_FRAME_EVENTS_MAX, STALL_TICKS
from presencedb.node import delivery as delivery_module
from presencedb.node import subscribers as subscribers_module
from presencedb.node.feed import Chunk, Feed
from tests.node.feed_model import number_of
from tests.node.paper_wire import PaperNode, PaperWire, turns
from tests.node.playing import TICK_MS, changes, play, tick


def count_encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of notifications made from now on, in changes."""
    sizes: list[int] = []
    encode = Feed.encode

    def counting(feed: Feed, chunk: Chunk, positions: array[int] | None = None) -> bytes:
        sizes.append(chunk.end - chunk.start if positions is None else len(positions))
        return encode(feed, chunk, positions)

    monkeypatch.setattr(Feed, "encode", counting)
    return sizes


class TestPublication:
    def test_one_notification_a_tick_with_only_those_that_are_watched(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            await reader.call("watch", [1, 2])
            await writer.call("heartbeat", [1, 3])
            await writer.call("heartbeat", [2])
            await writer.call("offline", [1])
            assert reader.notifications() == []
            await tick()
            told = reader.notifications()
            assert len(told) == 1
            assert changes(told) == [(1, True), (2, True), (1, False)]

        play(main)

    def test_others_that_subscribe_in_the_middle_of_a_tick_do_not_part_it(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer, other = node.connect(), node.connect(), node.connect()
            cursor = await reader.call("follow")
            for user_id in range(5):
                await writer.call("heartbeat", [user_id])
                await other.call("watch", [user_id], cursor)
            await tick()
            told = reader.notifications()
            assert len(told) == 1
            assert changes(told) == [(user_id, True) for user_id in range(5)]

        play(main)

    def test_many_changes_are_told_before_the_tick_is_over(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            await reader.call("follow")
            await writer.call("heartbeat", list(range(FEED_FRAME_EVENTS_MAX - 1)))
            await turns()
            assert reader.notifications() == []
            await writer.call("heartbeat", ["one more"])
            await turns()
            assert len(changes(reader.notifications())) == FEED_FRAME_EVENTS_MAX

        play(main)

    def test_what_many_are_told_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main(node: PaperNode) -> None:
            writer = node.connect()
            watchers = [node.connect() for _ in range(20)]
            followers = [node.connect() for _ in range(10)]
            for number, reader in enumerate(watchers):
                await reader.call("watch", ["celebrity", number])
            for reader in followers:
                await reader.call("follow")
            sizes = count_encodings(monkeypatch)
            await writer.call("heartbeat", ["celebrity", "nobody watches"])
            await tick()
            assert sorted(sizes) == [1, 2]
            assert all(changes(reader.notifications()) == [("celebrity", True)] for reader in watchers)
            assert all(len(changes(reader.notifications())) == 2 for reader in followers)

        play(main)

    def test_one_that_watches_and_follows_is_told_once(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            await reader.call("watch", [1])
            await reader.call("follow")
            await writer.call("heartbeat", [1, 2])
            await tick()
            assert changes(reader.notifications()) == [(1, True), (2, True)]

        play(main)


class TestSlices:
    """Many are told over several turns of the loop: bounds of a few readers make it so."""

    @pytest.fixture(autouse=True)
    def small_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(delivery_module, "FEED_TURN_EVENTS_MAX", 10)
        monkeypatch.setattr(delivery_module, "FEED_PUSH_EVENTS", 5)

    async def told_half(self, node: PaperNode) -> list[PaperWire]:
        """Watchers of one user, in the middle of being told that this user came online."""
        readers = [node.connect() for _ in range(20)]
        for reader in readers:
            await reader.call("watch", ["celebrity"])
        await node.connect().call("heartbeat", ["celebrity"])
        while node.feed.told < node.feed.now:  # noqa: ASYNC110 - time is virtual, and goes by in steps below a tick
            await asyncio.sleep(TICK_MS / 1000 / 10)
        await turns(2)
        return readers

    def test_everybody_is_told_in_the_end(self) -> None:
        async def main(node: PaperNode) -> None:
            readers = await self.told_half(node)
            told = [changes(reader.notifications()) for reader in readers]
            assert 0 < told.count([]) < len(readers)
            await turns(20)
            for reader, before in zip(readers, told, strict=True):
                assert before + changes(reader.notifications()) == [("celebrity", True)]

        play(main)

    def test_nobody_is_told_of_an_id_after_it_was_unwatched(self) -> None:
        async def main(node: PaperNode) -> None:
            readers = await self.told_half(node)
            assert any(not reader.notifications() for reader in readers)
            for reader in readers:
                assert await reader.call("unwatch", ["celebrity"]) == 1
                reader.messages.clear()
            await turns(20)
            assert all(reader.notifications() == [] for reader in readers)

        play(main)

    def test_who_leaves_meanwhile_leaves_nothing_behind(self) -> None:
        async def main(node: PaperNode) -> None:
            readers = await self.told_half(node)
            for reader in readers:
                reader.transport.abort()
            await turns(20)
            assert node.subscribers.index.watcher_count == 0
            assert node.subscribers.delivery.behind_count == 0

        play(main)

    def test_who_asks_again_meanwhile_is_told_first(self) -> None:
        async def main(node: PaperNode) -> None:
            readers = await self.told_half(node)
            for reader in readers:
                cursor, statuses = await reader.call("watch", ["celebrity", "another"])
                assert statuses == [True, False]
                assert changes(reader.notifications()) == [("celebrity", True)]
                assert number_of(cursor) == 1
            await turns(20)
            assert all(reader.notifications() == [] for reader in readers)

        play(main)

    def test_a_backlog_is_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(delivery_module, "FEED_UNTOLD_EVENTS_MAX", 100)

        async def main(node: PaperNode) -> None:
            readers = [node.connect() for _ in range(20)]
            for reader in readers:
                await reader.call("follow")
            await node.connect().call("heartbeat", list(range(3 * FEED_FRAME_EVENTS_MAX)))
            assert node.feed.end - node.feed.told <= 100

        play(main)


class TestPlaces:
    def test_statuses_are_those_at_the_cursor(self) -> None:
        async def main(node: PaperNode) -> None:
            first, writer = node.connect(), node.connect()
            await first.call("watch", [1])
            await writer.call("heartbeat", [1])
            # In the middle of what will be one chunk.
            cursor, statuses = await node.connect().call("watch", [1])
            assert statuses == [True]
            await writer.call("offline", [1])
            await tick()
            late = node.connect()
            assert await late.call("watch", [1, 2], cursor) == [cursor, [True, False]]
            await turns()
            assert changes(late.notifications()) == [(1, False)]

        play(main)

    def test_a_connection_that_watches_is_placed_anew_by_a_cursor(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            cursor, _ = await reader.call("watch", [1])
            await writer.call("heartbeat", [1, 2])
            await tick()
            assert changes(reader.notifications()) == [(1, True)]
            assert await reader.call("watch", [2], cursor) == [cursor, [False]]
            await turns()
            assert changes(reader.notifications()) == [(1, True), (2, True)]

        play(main)

    def test_a_refused_cursor_changes_nothing(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            await reader.call("watch", [1])
            for wrong in ("made up", "ffff.0"):
                with pytest.raises(GapError):
                    await reader.call("watch", [2], wrong)
            assert node.subscribers.index.watch_count == 1
            await writer.call("heartbeat", [1, 2])
            await tick()
            assert changes(reader.notifications()) == [(1, True)]

        play(main)

    def test_too_many_ids_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subscribers_module, "WATCHED_IDS_MAX", 3)

        async def main(node: PaperNode) -> None:
            reader, other, writer = node.connect(), node.connect(), node.connect()
            await reader.call("watch", [1, 2])
            for connection, ids in ((reader, [3, 4]), (other, [1, 2, 3, 4])):
                with pytest.raises(TooLarge, match="at most 3 ids, not 4"):
                    await connection.call("watch", ids)
            index = node.subscribers.index
            assert (index.watcher_count, index.watch_count) == (1, 2)
            await reader.call("watch", [1, 2, 3, 3])
            await writer.call("heartbeat", [1, 4])
            await tick()
            assert changes(reader.notifications()) == [(1, True)]
            assert other.notifications() == []

        play(main)

    def test_without_ids_nothing_is_watched(self) -> None:
        async def main(node: PaperNode) -> None:
            reader = node.connect()
            _, statuses = await reader.call("watch", [])
            assert statuses == []
            assert await reader.call("unwatch", [1]) == 0
            index = node.subscribers.index
            assert (index.watcher_count, len(node.subscribers.delivery.watching)) == (0, 0)

        play(main)

    def test_who_watches_nobody_any_more_goes_on_following(self) -> None:
        async def main(node: PaperNode) -> None:
            reader, writer = node.connect(), node.connect()
            await reader.call("follow")
            await reader.call("watch", [1, 2])
            assert await reader.call("unwatch", [1, 1, 2, 3]) == 2
            await writer.call("heartbeat", [1, 3])
            await tick()
            assert changes(reader.notifications()) == [(1, True), (3, True)]
            assert node.subscribers.index.watcher_count == 0

        play(main)


def test_the_end_of_the_warm_up_is_a_gap_for_everybody() -> None:
    async def main(node: PaperNode) -> None:
        watcher, follower, writer = node.connect(), node.connect(), node.connect()
        await writer.call("heartbeat", [1])
        cursor, statuses = await watcher.call("watch", [1, 2])
        assert statuses == [True, None]
        await follower.call("follow")
        while node.feed.first == 0:
            await writer.call("heartbeat", [1])
            await tick(STALL_TICKS)
        ((method, (place, now)),) = watcher.notifications()
        assert (method, now) == ("gap", [True, False])
        assert number_of(place) > number_of(cursor)
        assert follower.notifications() == [("gap", [place, None])]
        with pytest.raises(GapError):
            await node.connect().call("watch", [1], cursor)
        await writer.call("heartbeat", [2])
        await tick()
        assert changes(watcher.notifications()) == changes(follower.notifications()) == [(2, True)]
        assert (await writer.call("info"))["feed_gaps"] == {"warm_up": 2, "too_old": 1}

    play(main, warm_up=True, ttl_ms=2_000)


def test_a_connection_that_loses_its_right_is_told_nothing_more() -> None:
    credentials = Credentials([("a token to read with", Principal("reader", frozenset({Right.READ})))])

    async def main(node: PaperNode) -> None:
        reader = node.connect()
        await reader.call("hello", {"token": "a token to read with"})
        await reader.call("watch", [1])
        node.node.set_credentials(Credentials([]))
        await turns()
        assert reader.transport.closed
        assert node.subscribers.index.watcher_count == 0

    play(main, credentials=credentials)


def test_the_info_of_readers() -> None:
    async def main(node: PaperNode) -> None:
        first, second, writer = node.connect(), node.connect(), node.connect()
        await first.call("watch", [1, 2, 3])
        await second.call("watch", [3, 4])
        await second.call("follow")
        info = await writer.call("info")
        assert (info["watchers"], info["watches"], info["watched_ids"], info["followers"]) == (2, 5, 4, 1)
        assert info["watch_bytes"] > 0
        assert (info["readers_behind"], info["readers_cut"]) == (0, {})

    play(main)

"""The feed: every change once and in order, over lost connections, or an error that says that some are missing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import pytest

from presencedb import (
    AsyncClient,
    Busy,
    Change,
    ClientClosed,
    ConnectError,
    ConnectionState,
    Denied,
    GapError,
    Id,
    ProtocolError,
)
from presencedb.limits import FOLLOW_QUEUE_CHANGES_MAX
from presencedb.protocol.messages import Request
from tests.client.fake_server import SILENCE, FakeServer, Peer
from tests.client.running import node_and_client, running_node, turn, url_of
from tests.support.proxy import Direction, HostileProxy
from tests.support.waiting import wait_until_async

AT_MS = 1_700_000_000_123
CHANGES_WERE_MISSED = "changes were missed: the server was started again or its warm-up ended, or this reader was too slow"


async def take(changes: AsyncIterator[Change], count: int) -> list[Change]:
    """The next so many changes."""
    return [await anext(changes) for _ in range(count)]


def online(*ids: Id) -> list[tuple[Id, bool | None, int, str]]:
    return [(user_id, True, AT_MS, "heartbeat") for user_id in ids]


def followers(server: FakeServer) -> list[Peer]:
    """The connections that follow."""
    return [peer for peer in server.peers if any(request.command.name == "follow" for request in peer.seen)]


async def follower(server: FakeServer) -> Peer:
    """The one connection that follows."""
    (peer,) = await wait_until_async(lambda: followers(server))
    return peer


async def test_changes_as_they_happen() -> None:
    async with node_and_client(ttl_ms=300, tick_ms=50) as db, db.follow() as changes:
        await db.heartbeat(1, "a")
        await db.offline("a")
        first, second, third, fourth = await take(changes, 4)
        assert [(change.id, change.online, change.reason) for change in (first, second, third, fourth)] == [
            (1, True, "heartbeat"),
            ("a", True, "heartbeat"),
            ("a", False, "sign_off"),
            (1, False, "timeout"),
        ]
        assert first.at is not None
        assert fourth.at is not None
        assert first.at.tzinfo is UTC
        assert 0.2 < (fourth.at - first.at).total_seconds() < 0.6


async def test_entering_the_block_is_the_moment_from_which_on_nothing_is_missed() -> None:
    async with node_and_client() as db:
        for number in range(20):
            async with db.follow() as changes:
                assert changes.cursor is not None
                await db.heartbeat(number)
                assert (await anext(changes)).id == number


async def test_going_on_at_a_cursor() -> None:
    async with node_and_client() as db:
        async with db.follow() as changes:
            await db.heartbeat(1)
            assert (await anext(changes)).id == 1
            cursor = changes.cursor
            await db.heartbeat(2)
        await db.heartbeat(3)
        async with db.follow(cursor) as changes:
            assert [change.id for change in await take(changes, 2)] == [2, 3]


async def test_a_cursor_in_the_middle_of_a_portion_repeats_and_never_misses() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db, db.follow() as changes:
        peer = await follower(server)
        peer.tell("c1", *online(1, 2))
        peer.tell("c2", *online(3))
        cursors = [changes.cursor]
        for _ in range(3):
            await anext(changes)
            cursors.append(changes.cursor)
        assert cursors == ["start", "start", "c1", "c2"]
        peer.tell("c3")  # no changes, but further
        peer.tell("c4", *online(4, 5))
        await anext(changes)
        assert changes.cursor == "c3"


async def test_a_cursor_without_a_block_is_where_telling_began() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        changes = db.follow()
        assert changes.cursor is None
        waiting = asyncio.ensure_future(anext(changes))
        peer = await follower(server)
        peer.tell("c1", *online(1, 2))
        cursors: list[str | None] = []
        for change in (waiting, anext(changes)):
            await change
            cursors.append(changes.cursor)
        assert cursors == ["start", "c1"]
        await changes.aclose()


async def test_every_change_once_over_many_lost_connections() -> None:
    async with running_node() as node:
        assert node.tcp_address is not None
        with HostileProxy(node.tcp_address) as proxy:
            async with AsyncClient(url_of(node)) as writer, AsyncClient(proxy.url) as db, db.follow() as changes:
                seen: list[Id] = []
                for round_number in range(8):
                    batch = range(round_number * 100, round_number * 100 + 100)
                    await writer.heartbeat_batch(batch)
                    if round_number % 2:
                        await asyncio.to_thread(proxy.cut, reset=round_number % 4 == 1)
                    seen += [change.id for change in await take(changes, 50)]
                    await asyncio.to_thread(proxy.cut)
                    seen += [change.id for change in await take(changes, 50)]
                assert seen == list(range(800))


async def test_a_half_open_feed_is_noticed_and_goes_on_where_it_was() -> None:
    async with running_node(ttl_ms=1_800) as node:
        assert node.tcp_address is not None
        with HostileProxy(node.tcp_address) as proxy:
            async with AsyncClient(url_of(node)) as writer, AsyncClient(proxy.url) as db, db.follow() as changes:
                await asyncio.to_thread(proxy.stall, Direction.TO_CLIENT)
                await writer.heartbeat(1)
                waiting = asyncio.ensure_future(anext(changes))
                await wait_until_async(lambda: changes.state is not ConnectionState.CONNECTED)
                await asyncio.to_thread(proxy.resume)
                assert (await waiting).id == 1


async def test_a_server_that_was_started_again_gives_a_gap() -> None:
    async with running_node() as node:
        address, url = node.tcp_address, url_of(node)
        db = AsyncClient(url, timeout_s=30)
        changes = db.follow()
        waiting = asyncio.ensure_future(anext(changes))
        await wait_until_async(lambda: changes.cursor is not None)
    async with running_node(listen=address):
        with pytest.raises(GapError, match=CHANGES_WERE_MISSED):
            await waiting
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        async with db.follow() as anew:
            await db.heartbeat(5)
            assert (await anext(anew)).id == 5
        await db.close()


@pytest.mark.parametrize("cursor", ["nonsense", "", "abcdef0123456789.5"])
async def test_a_cursor_that_was_made_up_is_a_gap(cursor: str) -> None:
    async with node_and_client() as db:
        with pytest.raises(GapError, match="this cursor is not of this run"):
            await anext(db.follow(cursor))
        with pytest.raises(GapError):
            async with db.follow(cursor):
                raise AssertionError("entered")


async def test_a_reader_that_was_left_behind_is_told_after_what_it_got() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db, db.follow() as changes:
        peer = await follower(server)
        peer.tell("c1", *online(1))
        peer.notify("gap", "c9", None)
        peer.tell("c10", *online(2))
        assert (await anext(changes)).id == 1
        with pytest.raises(GapError, match=CHANGES_WERE_MISSED):
            await anext(changes)
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        await wait_until_async(lambda: not followers(server))


async def test_changes_that_come_with_the_answer_are_ahead_of_it() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:

        def answer_and_tell(peer: Peer, request: Request) -> Any:
            peer.session.reply(request, "c0")
            peer.tell("c1", *online(1))
            peer.tell("c2", *online(2))
            return SILENCE

        server.script["follow"] = answer_and_tell
        async with db.follow() as changes:
            del server.script["follow"]
            server.cut()
            assert [change.id for change in await take(changes, 2)] == [1, 2]
            waiting = asyncio.ensure_future(anext(changes))
            await wait_until_async(lambda: len(server.seen("follow")) == 2)
            peer = await follower(server)
            assert peer.seen[-1].cursor == "c2"
            peer.tell("c3", *online(3))
            assert (await waiting).id == 3


async def test_what_was_received_is_given_out_although_the_connection_is_lost() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db, db.follow() as changes:
        peer = await follower(server)
        peer.tell("c1", *online(1, 2))
        assert (await anext(changes)).id == 1
        await server.stop()
        assert (await anext(changes)).id == 2
        waiting = asyncio.ensure_future(anext(changes))
        await turn(5)
        await server.start()
        peer = await follower(server)
        assert peer.seen[-1].cursor == "c1"
        peer.tell("c2", *online(3))
        assert (await waiting).id == 3


async def test_nobody_is_there_to_follow() -> None:
    async with FakeServer() as server:
        url = server.url
    db = AsyncClient(url)
    changes = db.follow()
    with pytest.raises(ConnectError):
        await anext(changes)
    with pytest.raises(StopAsyncIteration):
        await anext(changes)
    with pytest.raises(ConnectError):
        async with db.follow():
            raise AssertionError("entered")
    await db.close()


async def test_a_refusal_that_may_pass_is_tried_again_and_another_is_raised() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        refusals: list[Exception] = [Busy("full"), Busy("full"), Denied("no")]

        def refuse(peer: Peer, request: Request) -> Any:
            raise refusals.pop(0)

        server.script["follow"] = refuse
        with pytest.raises(Denied):
            await anext(db.follow())
        assert refusals == []
        await wait_until_async(lambda: not followers(server))


@pytest.mark.parametrize(
    "params",
    [
        [],
        ["c"],
        ["c", 5],
        [5, []],
        ["c", [1]],
        ["c", [[1, True, 5]]],
        ["c", [[1, 1, AT_MS, "x"]]],
        ["c", [[1, True, "x", "y"]]],
    ],
)
async def test_a_change_of_another_shape_is_a_protocol_error(params: list[Any]) -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db, db.follow() as changes:
        (await follower(server)).notify("presence", *params)
        with pytest.raises(ProtocolError):
            await anext(changes)


async def test_a_cursor_of_another_kind_is_a_protocol_error() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        server.script["follow"] = lambda peer, request: 5
        with pytest.raises(ProtocolError):
            await anext(db.follow())


async def test_a_status_that_can_no_longer_be_told_is_none() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db, db.follow() as changes:
        (await follower(server)).tell("c1", ("a", None, AT_MS, "unknown"))
        change = await anext(changes)
        assert (change.online, change.reason) == (None, "unknown")


async def test_waiting_can_be_cancelled_at_any_await_and_taken_up_again() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        changes = db.follow()
        for turn_count in range(25):
            task = asyncio.ensure_future(anext(changes))
            await turn(turn_count)
            task.cancel()
            await asyncio.wait([task])
        waiting = asyncio.ensure_future(anext(changes))
        (await follower(server)).tell("c1", *online(1, 2))
        assert (await waiting).id == 1
        assert (await anext(changes)).id == 2
        assert server.connection_count == 2
        await changes.aclose()


async def test_a_reader_that_does_not_read_stops_its_server_and_loses_nothing() -> None:
    async with FakeServer(heartbeat_interval_ms=400) as server, AsyncClient(server.url) as db, db.follow() as changes:
        peer = await follower(server)
        portion = 4_000
        portions = 4 * FOLLOW_QUEUE_CHANGES_MAX // portion
        for number in range(portions):
            peer.tell(f"c{number}", *online(*range(number * portion, (number + 1) * portion)))
        subscription = changes._feed.subscription
        await wait_until_async(lambda: subscription.change_count > FOLLOW_QUEUE_CHANGES_MAX)
        await wait_until_async(lambda: server.counts["ping"] >= 2)  # silence that is its own doing is not judged
        assert subscription.change_count < 2 * FOLLOW_QUEUE_CHANGES_MAX
        assert changes.state is ConnectionState.CONNECTED
        assert [change.id for change in await take(changes, portion * portions)] == list(range(portion * portions))
        assert len(followers(server)) == 1


async def test_a_loop_that_was_left_closes_its_connection() -> None:
    async with node_and_client() as db:
        await db.heartbeat(1)

        async def first_of(cursor: str | None) -> Id | None:
            async for change in db.follow(cursor):
                return change.id
            return None

        async with db.follow() as changes:
            cursor = changes.cursor
        await db.heartbeat(2)
        assert await first_of(cursor) == 2
        gc.collect()

        async def only_one_is_connected() -> bool:
            return bool((await db.info())["connections"] == 1)

        await wait_until_async(only_one_is_connected)


async def test_closing_ends_the_iteration() -> None:
    async with FakeServer() as server:
        db = AsyncClient(server.url)

        async def follow_to_the_end() -> list[Id]:
            return [change.id async for change in db.follow()]

        task = asyncio.create_task(follow_to_the_end())
        (await follower(server)).tell("c1", *online(1))
        await turn(5)
        await db.close()
        assert await task == [1]
        await wait_until_async(lambda: not server.peers)


async def test_closing_a_feed_that_connects() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        server.script["hello"] = lambda peer, request: SILENCE
        for turn_count in range(10):
            changes = db.follow()
            waiting = asyncio.ensure_future(anext(changes, None))
            await turn(turn_count)
            await changes.aclose()
            await changes.aclose()
            assert await waiting is None
        await wait_until_async(lambda: len(server.peers) == 1)


async def test_a_feed_that_was_closed_cannot_be_entered_again() -> None:
    async with node_and_client() as db:
        changes = db.follow()
        async with changes:
            pass
        with pytest.raises(ClientClosed):
            async with changes:
                pass

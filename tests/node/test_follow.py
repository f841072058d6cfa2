"""Following over the wire: every change once, resumed exactly, or a gap; and slow readers that harm nobody."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any, Final

import msgpack
import pytest

from presencedb.errors import GapError
from presencedb.node import feed as feed_module
from presencedb.node.node import Node
from tests.node.running import address_of, running_node
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire

LONG_TTL_MS: Final = 60_000
Event = tuple[Any, bool]


async def events_until(client: Wire, last: Event) -> tuple[str, list[Event]]:
    """What a follower is told up to and with an event, and the cursor after it."""
    events: list[Event] = []
    while True:
        notification = await client.next_notification()
        assert notification.method == "presence"
        cursor, changes = notification.params
        events += [(change[0], change[1]) for change in changes]
        if last in events:
            return cursor, events


async def test_a_follower_is_told_of_everything_after_the_cursor_it_got() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", ["before"])
        cursor = await client.call("follow")
        await client.call("heartbeat", ["after", 7])
        await client.call("offline", [7, "before"])
        end, events = await events_until(client, ("before", False))
        assert events == [("after", True), (7, True), (7, False), ("before", False)]
        assert end != cursor


async def test_users_who_time_out_are_told_without_any_traffic() -> None:
    """Nothing but the wheel wakes the node between the two events."""
    async with running_node(ttl_ms=500, tick_ms=100) as node, Wire(address_of(node)) as client:
        await client.call("follow")
        await client.call("heartbeat", ["alice", "bob"])
        reads = (await client.call("info"))["requests"]["info"]
        online = (await client.next_notification()).params[1]
        offline = (await client.next_notification()).params[1]
        assert sorted(offline) == sorted([user_id, False, at_ms + 600, "timeout"] for user_id, _, at_ms, _ in online)
        info = await client.call("info")
        assert info["requests"]["info"] == reads + 1
        assert (info["users"], info["online"]) == (0, 0)


async def test_a_heartbeat_again_is_no_event() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        await client.call("follow")
        for _ in range(3):
            await client.call("heartbeat", [1])
        await client.call("heartbeat", [2])
        assert (await events_until(client, (2, True)))[1] == [(1, True), (2, True)]


async def test_a_cut_follower_resumes_exactly_under_churn() -> None:
    """Cut after cut at arbitrary points while users come and go: in the end each change was told once, in order."""
    users = list(range(200))
    truth: list[Event] = []
    told: list[Event] = []
    churning = True
    randomness = random.Random(5)

    async def churn(node: Node) -> None:
        online: set[int] = set()
        async with Wire(address_of(node)) as writer:
            while churning:
                chosen = randomness.sample(users, 20)
                coming = [user for user in chosen if user not in online]
                going = [user for user in chosen if user in online]
                assert await writer.call("heartbeat", coming) == len(coming)
                assert await writer.call("offline", going) == len(going)
                online ^= set(chosen)
                truth.extend([(user, True) for user in coming] + [(user, False) for user in going])
            await writer.call("heartbeat", ["the last"])

    async with running_node(ttl_ms=LONG_TTL_MS) as node:
        async with Wire(address_of(node)) as client:
            cursor = await client.call("follow")
        churner = asyncio.create_task(churn(node))
        for _ in range(15):
            async with Wire(address_of(node)) as client:
                assert await client.call("follow", cursor) == cursor
                for _ in range(randomness.randrange(4)):
                    cursor, changes = (await client.next_notification()).params
                    told += [(change[0], change[1]) for change in changes]
        churning = False
        await churner
        async with Wire(address_of(node)) as client:
            await client.call("follow", cursor)
            told += (await events_until(client, ("the last", True)))[1][:-1]
    assert told == truth
    assert len(truth) > 100


async def test_cursors_that_give_a_gap() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", [1])
        cursor = await client.call("follow")
        run, _, number = cursor.rpartition(".")
        for wrong in ("", "nonsense", f"{run}.{int(number) + 1}", f"{run}.-1", f"ffff.{number}"):
            with pytest.raises(GapError):
                await client.call("follow", wrong)
        # It goes on following as it did.
        await client.call("heartbeat", [2])
        assert (await events_until(client, (2, True)))[1] == [(2, True)]
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        with pytest.raises(GapError, match="not of this run"):
            await client.call("follow", cursor)
        info = await client.call("info")
        assert info["feed_gaps"] == {"other_run": 1}
        assert info["followers"] == 0


async def test_following_twice_does_not_tell_twice() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        await client.call("follow")
        await client.call("follow")
        await client.call("heartbeat", [1])
        await client.call("heartbeat", [2])
        assert (await events_until(client, (2, True)))[1] == [(1, True), (2, True)]
        assert (await client.call("info"))["followers"] == 1


async def test_all_followers_are_told_the_same() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node:
        clients = [Wire(address_of(node)) for _ in range(30)]
        for client in clients:
            await client.__aenter__()
            await client.call("follow")
        await clients[0].call("heartbeat", list(range(20_000)))
        expected = {(user_id, True) for user_id in range(20_000)}
        for client in clients:
            events: list[Event] = []
            while len(events) < 20_000:
                events += [(change[0], change[1]) for change in (await client.next_notification()).params[1]]
            assert set(events) == expected
        info = await clients[0].call("info")
        assert (info["followers"], info["feed_events"]) == (30, 20_000)
        for client in clients:
            await client.__aexit__(None, None, None)
        await wait_until_async(lambda: node.ready)


async def test_a_follower_that_does_not_read_gets_a_gap_and_others_everything(
    event_loop_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "FEED_EVENTS_MAX", 20_000)
    names = [f"{number:0200}" for number in range(10_000)]
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as quick:
        deaf = socket.create_connection(address_of(node))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        deaf.sendall(msgpack.packb([0, 1, "follow", []]))
        await quick.call("follow")
        await wait_until_async(lambda: _info_is(quick, "followers", 2))
        for _ in range(10):
            await quick.call("heartbeat", names)
            await quick.call("offline", names)
            for online in (True, False):
                await events_until(quick, (names[-1], online))
        assert (await quick.call("info"))["feed_dropped_events"] > 0
        # Now it reads: what was on its way, then the gap, and from there on everything.
        deaf.setblocking(False)
        unpacker = msgpack.Unpacker()
        seen: list[Any] = []
        while not any(message[1] == "gap" for message in seen[1:]):
            unpacker.feed(await asyncio.get_running_loop().sock_recv(deaf, 1 << 20))
            seen += unpacker
        gap = next(message for message in seen[1:] if message[1] == "gap")
        assert gap[2][1] is None
        async with Wire(address_of(node)) as again:
            assert await again.call("follow", gap[2][0]) == gap[2][0]
        seen.clear()
        await quick.call("heartbeat", ["news"])
        while not seen:
            unpacker.feed(await asyncio.get_running_loop().sock_recv(deaf, 1 << 20))
            seen += unpacker
        assert [change[0] for change in seen[-1][2][1]] == ["news"]
        assert (await quick.call("info"))["feed_gaps"] == {"overrun": 1}
        deaf.close()


async def _info_is(client: Wire, entry: str, value: Any) -> bool:
    return bool((await client.call("info"))[entry] == value)

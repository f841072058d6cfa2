"""Each command over the wire: what is asked, what is answered."""

from __future__ import annotations

import time
from typing import Any

import pytest

from presencedb.errors import BadRequest
from presencedb.ids import Hasher
from presencedb.limits import DAY_MS, SLOT_COUNT
from presencedb.version import __version__
from tests.node.running import address_of, running_node
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire

LONG_TTL_MS = 60_000


async def test_hello_says_what_is_promised() -> None:
    async with running_node(ttl_ms=30_000, tick_ms=100) as node, Wire(address_of(node)) as client:
        answer = await client.call("hello", {"client": "a test", "version": "1"})
        run = answer.pop("run")
        assert answer == {
            "protocol": 1,
            "version": __version__,
            "node": "n1",
            "ttl_ms": 30_000,
            "tick_ms": 100,
            "heartbeat_interval_ms": 10_000,
            "retention": "online",
            "limits": {
                "frame_bytes": 4 * 1024 * 1024,
                "ids_per_frame": 100_000,
                "requests_in_flight": 1024,
                "scan_limit": 10_000,
                "watched_ids": 10_000,
                "grace_ms": 365 * DAY_MS,
            },
        }
        assert (await client.call("hello"))["run"] == run
    async with running_node() as node, Wire(address_of(node)) as client:
        assert (await client.call("hello"))["run"] != run


async def test_ping() -> None:
    async with running_node() as node, Wire(address_of(node)) as client:
        assert await client.call("ping") == "pong"


async def test_heartbeat_tells_how_many_came_online() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        assert await client.call("heartbeat", [42, "alice", "42", "alice"]) == 2
        assert await client.call("heartbeat", [42, "bob"]) == 1
        assert await client.call("heartbeat", "carol") == 1
        assert await client.call("heartbeat", []) == 0


async def test_a_heartbeat_as_a_notification_counts_too() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        client.notify("heartbeat", [1, 2])
        assert await client.call("count") == 2


async def test_a_batch_with_a_bad_id_changes_nothing() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        with pytest.raises(BadRequest, match="id 2 of the batch"):
            await client.call("heartbeat", [1, 2, -3])
        client.notify("heartbeat", [4, None])
        assert await client.call("count") == 0
        assert (await client.call("info"))["bad_notifications"] == 1


async def test_an_old_heartbeat_brings_nobody_online() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS, tick_ms=100) as node, Wire(address_of(node)) as client:
        assert await client.call("heartbeat", ["late"], {"age_ms": LONG_TTL_MS + 1000}) == 0
        assert await client.call("heartbeat", ["in time"], {"age_ms": LONG_TTL_MS - 10_000}) == 1
        assert await client.call("status", ["late", "in time"]) == [False, True]


async def test_an_age_is_rounded_up() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS, tick_ms=1000) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", ["now"])
        await client.call("heartbeat", ["a moment ago"], {"age_ms": 1})
        now_ms, earlier_ms = await client.call("last_seen", ["now", "a moment ago"])
        assert now_ms - earlier_ms >= 1000 or (now_ms - earlier_ms) == 0  # 0: a tick went by between the two


async def test_offline_signs_off_at_once() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", [1, 2])
        assert await client.call("offline", [1, 3]) == 1
        assert await client.call("status", [1, 2, 3]) == [False, True, False]
        client.notify("offline", [2])
        assert await client.call("count") == 0
        assert await client.call("heartbeat", [1]) == 1


async def test_a_grace_lets_another_device_keep_the_user_online() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        await client.call("follow")
        await client.call("heartbeat", ["left", "stays"])
        assert await client.call("offline", ["left", "stays"], {"grace_ms": 300}) == 0
        assert await client.call("status", ["left", "stays"]) == [True, True]
        await client.call("heartbeat", ["stays"])
        events: list[Any] = []
        while len(events) < 3:
            events += (await client.next_notification()).params[1]
        assert [(event[0], event[1], event[3]) for event in events] == [
            ("left", True, "heartbeat"),
            ("stays", True, "heartbeat"),
            ("left", False, "sign_off"),
        ]
        assert await client.call("status", ["left", "stays"]) == [False, True]
        assert (await client.call("info"))["pending_sign_offs"] == 0


async def test_status_answers_in_order_and_each_time() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", [1, "alice"])
        assert await client.call("status", ["alice", "bob", 1, "1", 1]) == [True, False, True, True, True]
        assert await client.call("status", "alice") == [True]
        assert await client.call("status", []) == []


async def test_last_seen_is_the_time_of_the_heartbeat() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        before_ms = time.time_ns() // 1_000_000
        await client.call("heartbeat", ["alice"])
        after_ms = time.time_ns() // 1_000_000
        seen_ms, never = await client.call("last_seen", ["alice", "bob"])
        assert before_ms - 60 <= seen_ms <= after_ms + 5
        assert never is None


async def test_last_seen_is_forgotten_with_the_user_by_default() -> None:
    async with running_node(ttl_ms=300) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", ["alice"])
        await wait_until_async(lambda: _is(client, "count", 0))
        assert await client.call("last_seen", ["alice"]) == [None]
        assert (await client.call("info"))["users"] == 0


async def test_last_seen_is_kept_for_ever_and_is_not_the_moment_of_expiry() -> None:
    async with running_node(ttl_ms=300, retention_ms=None) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", ["alice"])
        seen = await client.call("last_seen", ["alice"])
        await wait_until_async(lambda: _is(client, "count", 0))
        assert await client.call("last_seen", ["alice"]) == seen
        await client.call("heartbeat", ["alice"])
        later = await client.call("last_seen", ["alice"])
        assert later[0] > seen[0]
        await client.call("offline", ["alice"])
        assert (await client.call("last_seen", ["alice"]))[0] >= later[0]


async def test_count_by_slots() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS, seed=7) as node, Wire(address_of(node)) as client:
        ids = list(range(500))
        await client.call("heartbeat", ids)
        hasher = Hasher(7)
        low = [user_id for user_id in ids if hasher.place(user_id).slot < 1000]
        assert await client.call("count") == 500
        assert await client.call("count", {"slots": list(range(1000))}) == len(low)
        assert await client.call("count", {"slots": []}) == 0
        assert await client.call("online", None, 1000, {"slots": list(range(1000))}) == [
            None,
            sorted(low, key=hasher.place),
        ]


async def test_online_lists_everybody_once_page_by_page() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS) as node, Wire(address_of(node)) as client:
        everybody = {*range(1000), *(f"user-{number}" for number in range(1000))}
        await client.call("heartbeat", list(everybody))
        found: list[Any] = []
        cursor = None
        while True:
            cursor, page = await client.call("online", cursor, 150)
            found += page
            if cursor is None:
                break
            assert len(page) == 150
        assert len(found) == len(everybody)
        assert set(found) == everybody


@pytest.mark.parametrize("cursor", ["", "xyz", "-1", "FF", "1" * 37, "0x1", " 1", "é"])
async def test_online_refuses_a_cursor_that_is_none(cursor: str) -> None:
    async with running_node() as node, Wire(address_of(node)) as client:
        with pytest.raises(BadRequest, match="not a cursor"):
            await client.call("online", cursor, 10)


@pytest.mark.parametrize("cursor", ["0", "f" * 36])
async def test_online_takes_any_position(cursor: str) -> None:
    async with running_node() as node, Wire(address_of(node)) as client:
        assert await client.call("online", cursor, 10) == [None, []]


async def test_the_topology_of_a_lone_node() -> None:
    async with running_node(seed=2**64 - 1, node_id="alone") as node, Wire(address_of(node)) as client:
        host, port = address_of(node)
        run = (await client.call("hello"))["run"]
        assert await client.call("topology") == {
            "epoch": 0,
            "seed": 2**64 - 1,
            "replicas": 1,
            "members": [{"id": "alone", "address": f"{host}:{port}", "weight": 1, "state": "up", "run": run}],
        }


async def test_a_seed_is_chosen_at_random() -> None:
    seeds = set()
    for _ in range(3):
        async with running_node(seed=None) as node, Wire(address_of(node)) as client:
            seeds.add((await client.call("topology"))["seed"])
    assert len(seeds) == 3


async def test_a_node_that_warms_up_says_unknown_for_a_ttl() -> None:
    async with running_node(ttl_ms=500, warm_up=True) as node, Wire(address_of(node)) as client:
        assert await client.call("status", ["nobody"]) == [None]
        await client.call("heartbeat", ["alice"])
        assert await client.call("status", ["alice", "nobody"]) == [True, None]
        cursor = await client.call("follow")
        await wait_until_async(lambda: _is(client, "status", [False], ["nobody"]))
        # Nothing was told while it was unknown: who follows begins anew.
        gap = await client.next_notification()
        assert gap.method == "gap"
        assert gap.params[0] != cursor
        assert (await client.call("info"))["slots_synced"] == SLOT_COUNT


async def _is(client: Wire, method: str, expected: Any, *params: Any) -> bool:
    return bool(await client.call(method, *params) == expected)

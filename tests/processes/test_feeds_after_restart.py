"""What a restart of the node means for cursors of before, and for users who are kept online."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from presencedb import AsyncClient, GapError
from tests.client.in_threads import InThreads
from tests.processes.feeds_node import FragileNode, now_ms
from tests.support.waiting import wait_until_async

CLIENTS: Final[tuple[Any, ...]] = (AsyncClient, InThreads)
WATCHED: Final = ("stays", "leaves", "comes")
LONG_TTL_MS: Final = 12_000
INTERVAL_MS: Final = LONG_TTL_MS // 3


async def test_a_cursor_of_before_a_restart_is_a_gap_or_gives_the_state_of_now() -> None:
    with FragileNode(ttl_ms=LONG_TTL_MS) as node:
        node.write([("heartbeat", ["stays", "leaves"])])
        async with AsyncClient(node.proxy.url) as db, db.watch(WATCHED) as watch, db.follow() as changes:
            assert watch.cursor is not None
            assert changes.cursor is not None
            cursors = (watch.cursor, changes.cursor)
            node.write([("offline", ["leaves"]), ("heartbeat", ["leaves"])])  # which would be told again
            assert [(await anext(feed)).id for feed in (watch, changes)] == ["leaves", "leaves"]
        await asyncio.to_thread(_restart, node)
        node.write([("heartbeat", ["stays", "comes"])])
        for make_client in CLIENTS:
            async with make_client(node.proxy.url) as db:
                for cursor in cursors:
                    await _is_a_gap(db, cursor)
                    await _gives_the_state_of_now(db, cursor)


def _restart(node: FragileNode) -> None:
    node.kill()
    node.start()


async def _is_a_gap(db: Any, cursor: str) -> None:
    for feed in (db.watch(WATCHED, cursor), db.follow(cursor)):
        with pytest.raises(GapError):
            await feed.__aenter__()


async def _gives_the_state_of_now(db: Any, cursor: str) -> None:
    async with db.watch(WATCHED, cursor, on_gap="resync") as watch, db.follow(cursor, on_gap="resync") as changes:
        assert dict(watch.statuses) == {"stays": True, "leaves": False, "comes": True}
        found = [await anext(changes), await anext(changes)]
        assert {(change.id, change.online, change.at, change.reason) for change in found} == {
            ("stays", True, None, "known"),
            ("comes", True, None, "known"),
        }
        await db.heartbeat("leaves")
        await db.offline("leaves")
        for feed in (watch, changes):
            told = [await anext(feed), await anext(feed)]
            assert [(change.id, change.online, change.reason) for change in told] == [
                ("leaves", True, "heartbeat"),
                ("leaves", False, "sign_off"),
            ]


async def test_who_is_kept_online_is_online_again_within_a_heartbeat_interval() -> None:
    with FragileNode(ttl_ms=LONG_TTL_MS) as node:
        url = node.proxy.url
        async with (
            AsyncClient(url) as db,
            InThreads(url) as blocking_db,
            db.keep_online("asyncio"),
            blocking_db.keep_online("blocking"),
        ):
            assert node.hand.call("status", ["asyncio", "blocking"]) == [True, True]
            await asyncio.to_thread(_restart, node)
            back_ms = now_ms()
            await wait_until_async(lambda: all(node.hand.call("status", ["asyncio", "blocking"])))
            await asyncio.to_thread(node.collect)
            assert {event.id for event in node.run.events} == {"asyncio", "blocking"}
            assert max(event.at_ms for event in node.run.events) <= back_ms + INTERVAL_MS

"""Many users who go at one moment: everybody who reads the feed is told of each once, on time, whoever else is there."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from presencedb import AsyncClient, Client
from presencedb.engine import IMPLEMENTATION
from tests.processes.crowd import (
    GAP_TTLS_MAX,
    TICK_MS,
    id_array,
    keep_beating,
    timeouts_on_time,
    told_blocking_until,
    told_until,
)
from tests.support.process import ServerProcess, serve
from tests.support.waiting import wait_until_async

LEAVING_COUNT: Final = 1_000
FIRST_LEAVING: Final = 2**32 - 2 * LEAVING_COUNT
BEATS: Final = 3
LAST: Final = "who comes last"
ROUNDS_MAX: Final = 5
WAIT_S: Final = 100.0


async def leave_together(server: ServerProcess, db: AsyncClient, beating_count: int, ttl_s: float) -> bool:
    """One round; whether it says that all were told of on time. What was told is right in any round that says anything."""
    leaving = range(FIRST_LEAVING, FIRST_LEAVING + LEAVING_COUNT)
    left = [(user_id, False, "timeout") for user_id in leaving]

    async def leave() -> None:
        for _ in range(BEATS):
            await db.heartbeat_batch(id_array(leaving))
            await asyncio.sleep(ttl_s / BEATS)
        await wait_until_async(are_gone, WAIT_S, what="the end of those who left")
        await db.heartbeat(LAST)

    async def are_gone() -> bool:
        return not any((await db.status(leaving)).values())

    async with keep_beating(db, id_array(range(beating_count)), ttl_s) as beating:
        await db.heartbeat_batch(id_array(leaving))
        before = await db.info()
        with Client(server.url) as blocking, blocking.follow() as follow, blocking.watch([*leaving, LAST]) as watch:
            async with db.follow() as async_follow, db.watch([*leaving, LAST]) as async_watch:
                *told, _ = await asyncio.gather(
                    told_until(async_follow, LAST),
                    told_until(async_watch, LAST),
                    asyncio.to_thread(told_blocking_until, follow, LAST),
                    asyncio.to_thread(told_blocking_until, watch, LAST),
                    leave(),
                )
                after = await db.info()
                statuses = async_watch.statuses
                assert not any(statuses[user_id] for user_id in leaving)
                assert statuses[LAST] is True
        await db.offline(LAST)
    if beating.gap_s > GAP_TTLS_MAX * ttl_s:
        return False
    for changes in told:
        assert sorted(changes) == left
        assert changes == told[0]
    assert (after["readers_cut"], after["feed_gaps"]) == ({}, {})
    assert after["online"] == beating_count + 1
    on_time_count, count = timeouts_on_time(before, after)
    assert count == LEAVING_COUNT
    return bool(on_time_count == LEAVING_COUNT)


@pytest.mark.parametrize(
    ("beating_count", "ttl_s"),
    [
        pytest.param(50_000 if IMPLEMENTATION == "c" else 10_000, 1.5, id="beside-many"),
        pytest.param(1_000_000, 10.0, marks=[pytest.mark.heavy, pytest.mark.deadline(600)], id="beside-a-million"),
    ],
)
async def test_all_who_stop_at_one_moment_are_told_of_on_time_beside_those_who_beat(
    beating_count: int, ttl_s: float
) -> None:
    """On time is by the node's own count. A busy machine can make any round late; that it is none of the node's doing shows
    in one that is not."""
    with serve("--ttl", str(ttl_s), "--tick", str(TICK_MS)) as server:
        async with AsyncClient(server.url) as db:
            for _ in range(ROUNDS_MAX):
                if await leave_together(server, db, beating_count, ttl_s):
                    break
            else:
                raise AssertionError(f"in {ROUNDS_MAX} rounds somebody was always told of late: {await db.info()}")
        assert "Traceback" not in server.stderr


@pytest.mark.parametrize(
    ("count", "ttl_s"),
    [
        pytest.param(100_000 if IMPLEMENTATION == "c" else 20_000, 2, id="many"),
        pytest.param(1_000_000, 10, marks=[pytest.mark.heavy, pytest.mark.deadline(600)], id="a-million"),
    ],
)
async def test_followers_are_told_of_a_crowd_that_comes_and_goes_at_one_moment(count: int, ttl_s: int) -> None:
    """With ticks this long they all have one deadline."""
    users = range(count)
    with serve("--ttl", str(ttl_s), "--tick", "1000") as server, Client(server.url) as blocking, blocking.follow() as follow:
        # A process that keeps millions of changes may be busy with its own memory for seconds.
        async with AsyncClient(server.url, timeout_s=WAIT_S) as db, db.follow() as async_follow:

            async def come_and_go() -> None:
                await db.heartbeat_batch(id_array(users))
                await wait_until_async(lambda: is_empty(db), WAIT_S, what="the end of the crowd")
                await db.heartbeat(LAST)

            told, told_blocking, _ = await asyncio.gather(
                told_until(async_follow, LAST), asyncio.to_thread(told_blocking_until, follow, LAST), come_and_go()
            )
            info = await db.info()
        assert "Traceback" not in server.stderr
    assert told == told_blocking
    assert [change[1:] for change in told] == [(True, "heartbeat")] * count + [(False, "timeout")] * count
    assert sorted(change[0] for change in told[:count]) == list(users)
    assert sorted(change[0] for change in told[count:]) == list(users)
    assert (info["readers_cut"], info["feed_gaps"], info["timeouts"]) == ({}, {}, count)


async def is_empty(db: AsyncClient) -> bool:
    return await db.count() == 0

"""Every call of `AsyncClient`, cancelled after each step of the loop until it completes: the client is as usable as before.

`test_lifecycle` does the same where the server is cut, and with many calls at once.
"""

from __future__ import annotations

import asyncio
import inspect
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from presencedb import AsyncClient, Change, ConnectionState
from presencedb.client.watch import AsyncWatch
from tests.client.running import open_fd_count, running_node, turn, url_of
from tests.support.waiting import wait_until_async

STEPS_MAX: Final = 400
SHORT_STEPS: Final = 300
LONG_STEP_S: Final = 0.01
"""Changes come with a tick of the node, which no number of steps brings about; behind the short ones it passes surely."""
KEPT: Final = "one who is kept online"
BEATING_TASK: Final = "presencedb-keep-online"

Call = Callable[[AsyncClient], Awaitable[Any]]


async def enter_watch(db: AsyncClient) -> None:
    async with db.watch([1, 2]):
        pass


async def enter_follow(db: AsyncClient) -> None:
    async with db.follow():
        pass


async def next_of_watch(db: AsyncClient) -> Change:
    async with db.watch([1, 2]) as watch:
        await db.offline(1)
        await db.heartbeat(1)
        return await anext(watch)


async def next_of_follow(db: AsyncClient) -> Change:
    feed = db.follow()
    try:
        first = asyncio.ensure_future(anext(feed))
        try:
            while not first.done():
                await db.offline(1)
                await db.heartbeat(1)
        finally:
            first.cancel()
        return first.result()
    finally:
        await feed.aclose()


async def keep_online(db: AsyncClient) -> None:
    async with db.keep_online(KEPT):
        await asyncio.sleep(0)


async def keep_online_and_sign_off(db: AsyncClient) -> None:
    async with db.keep_online(KEPT, sign_off=True):
        await asyncio.sleep(0)


async def scan(db: AsyncClient) -> list[Any]:
    return [user_id async for user_id in db.scan(limit=1)]


CALLS: Final[dict[str, Call]] = {
    "connect": lambda db: db.connect(),
    "close": lambda db: db.close(),
    "heartbeat": lambda db: db.heartbeat(1, 2),
    "heartbeat_batch": lambda db: db.heartbeat_batch(range(1, 4)),
    "offline": lambda db: db.offline(1),
    "offline_batch": lambda db: db.offline_batch([1, 2]),
    "status": lambda db: db.status([1, 2]),
    "status_array": lambda db: db.status_array(array("Q", [1, 2])),
    "last_seen": lambda db: db.last_seen([1, 2]),
    "last_seen_array": lambda db: db.last_seen_array(array("Q", [1, 2])),
    "count": lambda db: db.count(),
    "online": lambda db: db.online(),
    "scan": scan,
    "hello": lambda db: db.hello(),
    "ping": lambda db: db.ping(),
    "info": lambda db: db.info(),
    "topology": lambda db: db.topology(),
    "watch": enter_watch,
    "follow": enter_follow,
    "watch, a change": next_of_watch,
    "follow, a change": next_of_follow,
    "keep_online": keep_online,
    "keep_online, sign_off": keep_online_and_sign_off,
}


async def is_cancelled_after(step_count: int, call: Awaitable[Any]) -> bool:
    """Cancel a call after so many steps of the loop; whether it had not ended before. It may end in no other way."""
    task: asyncio.Future[Any] = asyncio.ensure_future(call)
    for step in range(step_count):
        if task.done():
            break
        await asyncio.sleep(0 if step < SHORT_STEPS else LONG_STEP_S)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        return True
    task.result()
    return False


def is_beating() -> bool:
    return any(task.get_name() == BEATING_TASK for task in asyncio.all_tasks())


@asynccontextmanager
async def two_online() -> AsyncIterator[str]:
    """Where a node listens on which two users are online."""
    async with running_node() as node, AsyncClient(url_of(node), timeout_s=20) as db:
        await db.heartbeat(1, 2)
        yield url_of(node)


def test_no_call_is_left_out() -> None:
    functions = dict(inspect.getmembers(AsyncClient, inspect.isfunction))
    awaited = {
        name for name, call in functions.items() if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
    }
    public = {name for name in awaited if not name.startswith("_")} | {"watch", "follow", "keep_online"}
    assert public == {name.partition(",")[0] for name in CALLS}


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not connected yet"])
@pytest.mark.parametrize("name", CALLS)
async def test_a_call_cancelled_after_any_step_leaves_a_usable_client(name: str, connected: bool) -> None:
    async with two_online() as url:
        await turn(3)
        before = open_fd_count()
        for step_count in range(STEPS_MAX):
            db = AsyncClient(url, timeout_s=20)
            if connected:
                await db.connect()
            was_cancelled = await is_cancelled_after(step_count, CALLS[name](db))
            assert not is_beating()
            if db.state is not ConnectionState.CLOSED:
                await db.heartbeat("after it")
                assert await db.status(["after it"]) == {"after it": True}
            await db.close()
            if not was_cancelled:
                break
        else:
            # What waits for the server's next tick may take more turns of a loop that does nothing else; it completes.
            async with AsyncClient(url, timeout_s=20) as db:
                await CALLS[name](db)
        assert step_count > 0 or not inspect.iscoroutinefunction(getattr(AsyncClient, name, None))
        await wait_until_async(lambda: open_fd_count() <= before, what="the end of every connection")


@pytest.mark.parametrize("method", ["add", "remove"])
async def test_a_change_of_a_watch_cancelled_after_any_step_leaves_it_usable(method: str) -> None:
    async with two_online() as url, AsyncClient(url, timeout_s=20) as db:
        for step_count in range(STEPS_MAX):
            async with db.watch([1, 2, "always"]) as watch:
                was_cancelled = await is_cancelled_after(step_count, getattr(watch, method)([2, 3]))
                await follows_on(db, watch, method)
            if not was_cancelled:
                break
        else:
            raise AssertionError(f"it did not complete in {STEPS_MAX} steps")
        assert step_count > 0


async def follows_on(db: AsyncClient, watch: AsyncWatch, method: str) -> None:
    """A watch tells the truth of whom it watches, whatever became of a cancelled `add` or `remove`."""
    await watch.add(["later"])
    assert set(watch.statuses) >= {1, "always", "later"}
    assert set(watch.statuses) <= {1, 2, 3, "always", "later"}
    assert method == "add" or 3 not in watch.statuses
    for user_id in ("always", "later"):
        await db.offline(user_id)
        await db.heartbeat(user_id)
        while True:
            change = await anext(watch)
            assert watch.statuses[change.id] is change.online
            if change.id == user_id and change.online:
                break


async def test_waiting_for_a_change_can_be_cancelled_at_any_step_and_misses_none() -> None:
    async with two_online() as url, AsyncClient(url, timeout_s=20) as db, db.watch(["alice"]) as watch:
        seen: list[bool | None] = []
        for step_count in range(60):
            await (db.offline("alice") if step_count % 2 else db.heartbeat("alice"))
            waiting = asyncio.ensure_future(anext(watch))
            await turn(step_count % 12)
            waiting.cancel()
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                seen.append(waiting.result().online)
        await db.offline("alice")
        await db.heartbeat("alice", "the last")
        while len(seen) < 61:
            seen.append((await anext(watch)).online)
        assert seen == [True, False] * 30 + [True]

"""Who beats stays online, whichever way the heartbeats come: each entry path renews, for several ttls, on a real process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

import aiohttp

from presencedb import AsyncClient
from tests.support.process import ServerProcess, serve
from tests.support.wire import Wire

TTL_S: Final = 1.0
INTERVAL_S: Final = TTL_S / 3
BEATS: Final = 15
USERS_A_PATH: Final = 5
ROUNDS_MAX: Final = 4
GAP_S_MAX: Final = 0.8 * TTL_S
"""If two beats of this very test are further apart, it is the machine that was away, and the round says nothing."""

Users: TypeAlias = list[str]
Beat: TypeAlias = Callable[[Users], Awaitable[object]]


async def open_paths(stack: AsyncExitStack, server: ServerProcess) -> dict[str, Beat]:
    """Each way in by its name, over connections of its own."""
    tcp = await stack.enter_async_context(Wire(server.tcp))
    silent = await stack.enter_async_context(Wire(server.tcp))
    unix = await stack.enter_async_context(Wire(str(server.folder / "work" / "socket")))
    db = await stack.enter_async_context(AsyncClient(server.url))
    http = await stack.enter_async_context(aiohttp.ClientSession(server.http_url, raise_for_status=True))

    async def notify(users: Users) -> None:
        silent.notify("heartbeat", users)

    async def post_each(users: Users) -> None:
        for user_id in users:
            async with http.post("/heartbeat", json={"user_id": user_id}):
                pass

    async def post_all(users: Users) -> None:
        async with http.post("/heartbeats", json={"user_ids": users}):
            pass

    return {
        "TCP request": lambda users: tcp.call("heartbeat", users),
        "TCP notification": notify,
        "Unix socket": lambda users: unix.call("heartbeat", users),
        "HTTP single": post_each,
        "HTTP batch": post_all,
        "Python client": lambda users: db.heartbeat(*users),
    }


async def keep_beating(beat: Beat, users: Users) -> float:
    """Beat every third of a ttl, and give the longest time that may have gone by between two beats, in seconds."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    gap_s, began = 0.0, start
    for number in range(BEATS):
        await asyncio.sleep(start + number * INTERVAL_S - loop.time())
        previous, began = began, loop.time()
        await beat(users)
        gap_s = max(gap_s, loop.time() - previous)
    return gap_s


async def soak(server: ServerProcess, label: str) -> tuple[float, dict[str, Users], list[tuple[str, bool]]]:
    """One round: the longest gap, the users of each path, and all that a follower was told."""
    async with AsyncExitStack() as stack:
        follower = await stack.enter_async_context(Wire(server.tcp))
        await follower.call("follow")
        paths = await open_paths(stack, server)
        users = {name: [f"{label}, {name}, {number}" for number in range(USERS_A_PATH)] for name in [*paths, "keep_online"]}
        keeper = await stack.enter_async_context(AsyncClient(server.url))
        async with keeper.keep_online(*users["keep_online"]):
            gaps_s = await asyncio.gather(*(keep_beating(beat, users[name]) for name, beat in paths.items()))
            last = f"{label}, the end"
            await follower.call("heartbeat", last)
            events: list[tuple[str, bool]] = []
            while (last, True) not in events:
                notification = await follower.next_notification()
                assert notification.method == "presence"
                events += [(change[0], change[1]) for change in notification.params[1]]
        return max(gaps_s), users, events


async def test_whoever_beats_stays_online_on_every_path() -> None:
    with serve("--ttl", str(TTL_S), "--tick", "50", "--unix", "socket") as server:
        for round_number in range(ROUNDS_MAX):
            label = f"round {round_number}"
            gap_s, users, events = await soak(server, label)
            if gap_s < GAP_S_MAX:
                break
        else:
            raise AssertionError(f"in {ROUNDS_MAX} rounds there was always a beat {gap_s:.2f} s after the one before it")
        counts = Counter(event for event in events if event[0].startswith(f"{label},"))
        for name, path_users in users.items():
            assert [counts[user_id, True] for user_id in path_users] == [1] * USERS_A_PATH, name
            assert [counts[user_id, False] for user_id in path_users] == [0] * USERS_A_PATH, name
        assert "Traceback" not in server.stderr

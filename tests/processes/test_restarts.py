"""Real servers that crash, stop, freeze and come back under both clients, which come back by themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Self, TypeAlias

import pytest

from presencedb import AsyncClient, CallTimeout, Change, ConnectError, Unavailable
from tests.client.in_threads import InThreads
from tests.processes.restarting import RestartingServer
from tests.support.process import serve
from tests.support.waiting import wait_until_async

AnyClient: TypeAlias = Any
"""An `AsyncClient`, or a `Client` behind the same face."""
MakeClient: TypeAlias = Callable[..., AnyClient]

CLIENTS: Final = pytest.mark.parametrize("make_client", [AsyncClient, InThreads], ids=["asyncio", "blocking"])
ARGUMENTS: Final = ("--ttl", "3", "--tick", "50")
KEPT: Final = "one who is kept online"
SEEN: Final = "one who comes and goes"
DOCUMENTED: Final = (ConnectError, CallTimeout, Unavailable)
"""What a call may end with when there is no server for it."""

FREEZING_TTL_S: Final = 12
INTERVAL_S: Final = FREEZING_TTL_S / 3
ATTEMPT: Final = timedelta(seconds=INTERVAL_S / 2)
"""How long a client waits for an answer before it asks elsewhere."""


def calls_of(db: AnyClient) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Calls to be made all the time."""
    return {
        "heartbeat": lambda: db.heartbeat("beating", 42),
        "status": lambda: db.status(["beating", 42]),
        "heartbeat_batch": lambda: db.heartbeat_batch(range(1_000)),
        "count": db.count,
        "ping": db.ping,
    }


class CallsAllTheTime:
    """Makes calls, one after the other of each kind, while `async with` lasts; it fails if any of them did."""

    def __init__(self, db: AnyClient) -> None:
        self.counts: Counter[str] = Counter()
        self._calls = calls_of(db)
        self._ending = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._make(name)) for name in self._calls]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)

    async def _make(self, name: str) -> None:
        while not self._ending:
            await self._calls[name]()
            self.counts[name] += 1
            await asyncio.sleep(0.01)

    async def go_on(self) -> None:
        """Wait until calls of each kind have succeeded that began after this moment."""
        before = self.counts.copy()
        await wait_until_async(
            lambda: (
                any(task.done() for task in self._tasks)
                or all(self.counts[name] >= before[name] + 2 for name in self._calls)
            ),
            what="a call of each kind",
        )


async def read_until(feed: AsyncIterator[Change], online: bool) -> None:
    """Take changes until that user is told as online or offline."""
    async for change in feed:
        if change.id == SEEN and change.online is online:
            return


async def check_that_all_is_back(db: AnyClient, server: RestartingServer, feeds: list[AsyncIterator[Change]]) -> None:
    """Whoever is kept online is online on this server, and the feeds tell of it, without anybody doing anything."""
    async with AsyncClient(server.server.url) as other:

        async def is_kept() -> bool:
            return (await other.status([KEPT]))[KEPT] is True

        await wait_until_async(is_kept, what="the beat of keep_online")
    for online in (True, False):
        await (db.heartbeat(SEEN) if online else db.offline(SEEN))
        await asyncio.gather(*(read_until(feed, online) for feed in feeds))


@CLIENTS
async def test_clients_come_back_after_a_crash_and_after_a_stop_and_no_call_fails(make_client: MakeClient) -> None:
    with RestartingServer(*ARGUMENTS) as server:
        async with (
            make_client(server.url, timeout_s=30) as db,
            db.keep_online(KEPT),
            db.watch([SEEN], on_gap="resync") as watch,
            db.follow(on_gap="resync") as follow,
            CallsAllTheTime(db) as calls,
        ):
            await check_that_all_is_back(db, server, [watch, follow])
            for end in (server.kill, server.terminate):
                await calls.go_on()
                assert await asyncio.to_thread(end) in (None, 0)
                await asyncio.to_thread(server.start)
                await calls.go_on()
                await check_that_all_is_back(db, server, [watch, follow])


async def end_in_time(db: AnyClient, kill: Callable[[], Awaitable[None]]) -> None:
    """Calls in flight end with a result or a documented error, and those that begin later with that there is nobody."""
    in_flight = [asyncio.ensure_future(call()) for call in list(calls_of(db).values()) * 4]
    await kill()
    outcomes = await asyncio.gather(*in_flight, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert not [failure for failure in failures if not isinstance(failure, DOCUMENTED)]
    outcomes = await asyncio.gather(*(call() for call in calls_of(db).values()), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectError] * len(calls_of(db))


async def is_served(db: AnyClient) -> bool:
    try:
        await db.heartbeat(1)
    except DOCUMENTED:
        return False
    return True


async def test_calls_without_a_server_end_with_a_documented_error() -> None:
    with RestartingServer(*ARGUMENTS) as server:
        async with AsyncClient(server.url, timeout_s=0.5) as db, InThreads(server.url, timeout_s=0.5) as blocking:
            both_are_asking = asyncio.Barrier(2)

            async def kill() -> None:
                if await both_are_asking.wait() == 0:
                    await asyncio.to_thread(server.kill)
                await both_are_asking.wait()

            await asyncio.gather(end_in_time(db, kill), end_in_time(blocking, kill))
            await asyncio.to_thread(server.start)
            for client in (db, blocking):
                await wait_until_async(partial(is_served, client), what="a call that succeeds")


async def leave_the_frozen(db: AnyClient, other: AsyncClient, name: str, freeze: Callable[[], Awaitable[None]]) -> None:
    """A client of two servers goes to the other one, with its calls, its beats and its feeds."""
    kept, sent_again, seen_to_come = f"{name}, kept", f"{name}, sent again", f"{name}, seen"
    async with db.keep_online(kept), db.watch([seen_to_come], on_gap="resync") as watch:
        assert await db.status([kept]) == {kept: True}
        await freeze()
        began = datetime.now(UTC)
        await db.heartbeat(sent_again)
        ended = datetime.now(UTC)
        assert ended - began >= ATTEMPT
        seen = (await other.last_seen([sent_again]))[sent_again]
        # It was on its way for that long, and says so: it is no heartbeat of the moment of its arrival.
        assert seen is not None
        assert seen <= ended - ATTEMPT

        async def is_kept() -> bool:
            return (await other.status([kept]))[kept] is True

        await wait_until_async(is_kept, what="the beat of keep_online on the other server")
        await other.heartbeat(seen_to_come)
        async for change in watch:
            if change.online:
                break


async def test_a_server_that_freezes_is_left_for_another_within_a_heartbeat_interval() -> None:
    """The time of the calls is that interval: they end with an error if the other server is not asked within it."""
    with serve("--ttl", str(FREEZING_TTL_S)) as first, serve("--ttl", str(FREEZING_TTL_S)) as second:
        url = f"presence://{first.ready['tcp']},{second.ready['tcp']}"
        barrier = asyncio.Barrier(2)

        async def freeze() -> None:
            if await barrier.wait() == 0:
                first.sigstop()
            await barrier.wait()

        async with (
            AsyncClient(second.url) as other,
            AsyncClient(url, timeout_s=INTERVAL_S) as db,
            InThreads(url, timeout_s=INTERVAL_S) as blocking,
        ):
            await asyncio.gather(
                leave_the_frozen(db, other, "asyncio", freeze), leave_the_frozen(blocking, other, "blocking", freeze)
            )

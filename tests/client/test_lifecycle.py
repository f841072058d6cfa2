"""Opening, closing and cancelling: whatever is interrupted where, nothing leaks and the client stays usable."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from presencedb import AsyncClient, ClientClosed, ConnectionState, Error
from tests.client.fake_server import SILENCE, FakeServer
from tests.client.running import open_fd_count, running_node, turn, url_of
from tests.support.waiting import wait_until_async

CALLS: dict[str, Callable[[AsyncClient], Awaitable[Any]]] = {
    "connect": lambda db: db.connect(),
    "heartbeat": lambda db: db.heartbeat(1, 2),
    "heartbeat_batch": lambda db: db.heartbeat_batch(range(100_001)),
    "offline": lambda db: db.offline(1),
    "status": lambda db: db.status([1, 2]),
    "online": lambda db: db.online(),
    "hello": lambda db: db.hello(),
    "ping": lambda db: db.ping(),
}


def is_in(db: AsyncClient, state: ConnectionState) -> bool:
    return db.state is state


async def cancelled_after(turn_count: int, call: Awaitable[Any]) -> bool:
    """Cancel a call after so many turns of the loop; whether that was before its end."""
    task: asyncio.Future[Any] = asyncio.ensure_future(call)
    await turn(turn_count)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return task.cancelled()


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_cancelled_at_any_await_leaves_a_usable_client(name: str) -> None:
    async with FakeServer() as server:
        for turn_count in range(30):
            async with AsyncClient(server.url, timeout_s=20) as db:
                if turn_count % 2:
                    server.cut()  # so that connecting is part of what is cancelled
                    await wait_until_async(partial(is_in, db, ConnectionState.IDLE))
                was_cancelled = await cancelled_after(turn_count, CALLS[name](db))
                await db.heartbeat(3)
                assert await db.status([3]) == {3: True}
            if not was_cancelled and turn_count % 2:
                break


async def test_a_connect_cancelled_at_any_await_leaves_nothing_open() -> None:
    async with FakeServer() as server:
        await turn(3)
        before = open_fd_count()

        async def come_and_go() -> None:
            async with AsyncClient(server.url) as db, db.follow(), db.keep_online(1, sign_off=True):
                pass

        for turn_count in range(60):
            await cancelled_after(turn_count, come_and_go())
        await wait_until_async(lambda: open_fd_count() == before and not server.peers)


async def test_a_storm_of_cancellations() -> None:
    random = Random(11)
    calls = [call for name, call in CALLS.items() if name != "heartbeat_batch"]
    async with running_node() as node, AsyncClient(url_of(node), timeout_s=30) as db:
        for _ in range(20):
            tasks = [asyncio.ensure_future(random.choice(calls)(db)) for _ in range(40)]
            tasks += [asyncio.ensure_future(db.status([number])) for number in range(200)]
            await turn(random.randrange(12))
            for task in random.sample(tasks, 120):
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        await db.heartbeat("at the end")
        assert await db.status(["at the end"]) == {"at the end": True}


async def test_callers_that_wait_for_room_are_not_forgotten_when_others_are_cancelled() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=30) as db:
        server.script["count"] = lambda peer, request: SILENCE
        stuck = [asyncio.create_task(db.count()) for _ in range(1_100)]
        waiting = [asyncio.create_task(db.status([number])) for number in range(100)]
        await wait_until_async(lambda: server.counts["count"] >= 1_000)
        for task in stuck[1_000:] + waiting[::2]:
            task.cancel()
        await turn(2)
        del server.script["count"]
        for request in server.seen("count"):
            server.peers[0].session.reply(request, 5)
        server.peers[0].flush()
        answers = await asyncio.gather(*waiting[1::2])
        assert len(answers) == 50
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_a_thousand_clients_that_come_and_go_leave_nothing() -> None:
    async with FakeServer() as server:
        await turn(3)
        fds, tasks = open_fd_count(), len(asyncio.all_tasks())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for index in range(1_000):
                async with AsyncClient(server.url) as db:
                    if index % 3 == 0:
                        await db.heartbeat(index)
                    if index % 7 == 0:
                        db.follow()
                if index % 100 == 0:
                    gc.collect()
            gc.collect()
        assert len(asyncio.all_tasks()) == tasks
        await wait_until_async(lambda: open_fd_count() == fds and not server.peers)
        assert server.connection_count == 1_000


async def test_closing_fails_every_call_that_waits() -> None:
    async with FakeServer() as server:
        db = AsyncClient(server.url)
        await db.connect()
        for method in ("count", "heartbeat", "offline"):
            server.script[method] = lambda peer, request: SILENCE
        calls = [asyncio.ensure_future(call) for call in (db.count(), db.heartbeat(1), db.offline_batch([1]), db.count())]
        await wait_until_async(lambda: server.counts["count"] == 2 and server.counts["offline"] == 1)
        calls.append(asyncio.ensure_future(db.heartbeat(2)))  # it has not left yet
        await turn()
        await db.close()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ClientClosed] * 5


async def test_closing_while_it_connects() -> None:
    async with FakeServer() as server:
        server.script["hello"] = lambda peer, request: SILENCE
        for turn_count in range(15):
            db = AsyncClient(server.url)
            calls = [asyncio.ensure_future(call) for call in (db.connect(), db.count(), db.heartbeat(1))]
            await turn(turn_count)
            await db.close()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ClientClosed] * 3
        await wait_until_async(lambda: not server.peers)


async def test_a_closed_client_says_so() -> None:
    async with FakeServer() as server:
        db = AsyncClient(server.url)
        await db.close()
        for call in (db.connect(), db.heartbeat(1), db.status([1]), db.ping(), db.hello(), db.status([])):
            with pytest.raises(ClientClosed):
                await call
        with pytest.raises(ClientClosed):
            db.follow()
        with pytest.raises(ClientClosed):
            db.keep_online(1)
        await db.close()
        assert db.state is ConnectionState.CLOSED
        assert server.connection_count == 0


async def test_closing_twice_and_at_once() -> None:
    async with FakeServer() as server:
        db = AsyncClient(server.url)
        await db.connect()
        await asyncio.gather(db.close(), db.close())
        await db.close()
        await wait_until_async(lambda: not server.peers)


async def test_a_server_that_does_not_let_go_does_not_hold_up_closing() -> None:
    async with FakeServer() as server:
        db = AsyncClient(server.url)
        await db.connect()
        server.peers[0].transport.pause_reading()
        beat = asyncio.ensure_future(db.heartbeat(*(f"{number:x>250}" for number in range(60_000))))
        await turn(20)
        await db.close()
        with pytest.raises(ClientClosed):
            await beat
        server.cut()


@pytest.mark.parametrize("farewell_is_stuck", [False, True])
async def test_closing_cancelled_at_any_await_closes_all_the_same(farewell_is_stuck: bool) -> None:
    async with FakeServer() as server:
        await turn(3)
        before = open_fd_count()
        for turn_count in range(12):
            db = AsyncClient(server.url)
            async with db.follow():
                await db.connect()
                beat = asyncio.ensure_future(db.heartbeat(*(f"{number:x>250}" for number in range(8_000))))
                if farewell_is_stuck:
                    for peer in server.peers:
                        peer.transport.pause_reading()
                await turn(10)
                await cancelled_after(turn_count, db.close())
            await asyncio.wait([beat])
            beat.exception()
            server.cut()
        await wait_until_async(lambda: open_fd_count() == before and not server.peers)


async def test_the_first_call_connects() -> None:
    async with FakeServer() as server:
        db = AsyncClient(server.url)
        assert db.state is ConnectionState.IDLE
        await asyncio.gather(*(db.count() for _ in range(50)))
        assert server.connection_count == 1
        await db.close()


def test_a_client_belongs_to_one_loop() -> None:
    async def use(db: AsyncClient, url: str | None = None) -> None:
        await db.count()

    async def both() -> None:
        async with FakeServer() as server:
            db = AsyncClient(server.url)
            await db.count()

            def elsewhere() -> None:
                with pytest.raises(RuntimeError, match="another event loop"):
                    asyncio.run(use(db))

            await asyncio.to_thread(elsewhere)
            await db.count()
            await db.close()

    asyncio.run(both())


def test_a_client_goes_on_in_a_new_loop_when_its_own_is_closed() -> None:
    db = AsyncClient("presence://127.0.0.1:1", connect_timeout_s=1, timeout_s=0.2)

    async def use() -> None:
        with pytest.raises(Error):
            await db.count()

    asyncio.run(use())
    asyncio.run(use())
    asyncio.run(db.close())

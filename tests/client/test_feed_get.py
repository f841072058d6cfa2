"""Waiting for a change for a limited time, which loses none."""

from __future__ import annotations

from pathlib import Path

import pytest

from presencedb import AsyncClient, AsyncFollow, AsyncWatch, Change, ClientClosed, ConnectError, GapError
from presencedb.errors import Error
from tests.client.fake_server import SILENCE, FakeServer, Peer
from tests.client.running import node_and_client
from tests.client.test_follow import follower, followers, online
from tests.support.waiting import wait_until_async


async def next_of(changes: AsyncFollow | AsyncWatch) -> Change:
    """The next change, by many waits that are too short."""
    while (change := await changes.get(0.01)) is None:
        pass
    return change


async def test_none_when_nothing_came_in_time() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db, db.follow() as changes:
        for timeout_s in (0, 0.05, -1):
            assert await changes.get(timeout_s) is None
        (await follower(server)).tell("c1", *online(1, 2))
        first = await changes.get()
        assert first is not None
        assert first.id == 1
        assert await changes.get(0) == first._replace(id=2)
        assert changes.cursor == "c1"


async def test_nothing_is_lost_by_waits_that_end_too_early() -> None:
    async with node_and_client() as db, db.watch([1]) as changes:
        for number in range(10):
            if number % 2:
                await db.offline(1)
            else:
                await db.heartbeat(1)
            change = await next_of(changes)
            assert (change.id, change.online) == (1, number % 2 == 0)
        assert changes.statuses == {1: False}


async def test_a_lost_connection_is_made_anew_between_waits() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db, db.follow() as changes:
        (await follower(server)).reset()
        await wait_until_async(lambda: not followers(server))
        while not followers(server):
            assert await changes.get(0.01) is None
        (await follower(server)).tell("c1", *online(1))
        assert (await next_of(changes)).id == 1


async def test_a_first_connection_that_cannot_be_made_is_an_error_however_short_the_wait(tmp_path: Path) -> None:
    db = AsyncClient(f"presence+unix://{tmp_path}/nobody")
    changes = db.follow()
    with pytest.raises(ConnectError):
        await changes.get(0)
    with pytest.raises(ClientClosed):
        await changes.get(0)
    await db.close()


async def test_a_server_that_does_not_begin_to_tell_is_waited_for_as_long_as_asked() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        server.script["follow"] = lambda peer, request: SILENCE
        changes = db.follow()
        assert await changes.get(0.01) is None
        assert await changes.get(0.01) is None
        assert server.counts["follow"] == 1
        await changes.aclose()


async def test_why_it_ended_is_raised_once_and_then_that_it_has() -> None:
    def gone(peer: Peer, request: object) -> object:
        raise GapError("what came after this cursor is not kept any more")

    async with FakeServer() as server, AsyncClient(server.url) as db:
        server.script["follow"] = gone
        changes = db.follow("long-ago")
        with pytest.raises(GapError):
            await next_of(changes)
        for _ in range(2):
            with pytest.raises(ClientClosed):
                await changes.get()


async def test_closing_is_the_end_of_it() -> None:
    async with node_and_client() as db:
        changes = db.follow()
        assert await changes.get(0) is None
        await changes.aclose()
        with pytest.raises(Error, match="closed"):
            await changes.get(0)

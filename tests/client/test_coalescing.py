"""Heartbeats of one turn of the loop become one frame, and no caller suffers for another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from presencedb import AsyncClient, BadRequest, Denied, Error
from presencedb.protocol.messages import Request
from tests.client.fake_server import FakeServer, Peer
from tests.client.running import turn


async def test_heartbeats_of_one_turn_are_one_frame() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        await asyncio.gather(*(db.heartbeat(number) for number in range(100)))
        (frame,) = server.seen("heartbeat")
        assert list(frame.ids) == list(range(100))
        assert frame.options.age_ms == 0


async def test_writes_that_say_something_else_have_their_own_frame_in_the_order_called() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        await asyncio.gather(
            db.heartbeat(1), db.heartbeat(2, age_ms=5), db.heartbeat(3, age_ms=5), db.offline(1), db.heartbeat(1)
        )
        frames = [(request.command.name, list(request.ids), request.options.age_ms) for request in server.requests[1:]]
        assert frames == [
            ("heartbeat", [1], 0),
            ("heartbeat", [2, 3], 5),
            ("offline", [1], 0),
            ("heartbeat", [1], 0),
        ]


async def test_a_batch_shares_its_frame_with_nobody() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        _, came_online, _ = await asyncio.gather(db.heartbeat(1), db.heartbeat_batch([2, 3]), db.heartbeat(4))
        assert came_online == 2
        assert [list(request.ids) for request in server.seen("heartbeat")] == [[1], [2, 3], [4]]


async def test_one_callers_bad_id_does_not_fail_the_others() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        wrong: Any = 1.5
        outcomes = await asyncio.gather(db.heartbeat(1), db.heartbeat(wrong), db.heartbeat(2), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), BadRequest, type(None)]
        assert [list(request.ids) for request in server.seen("heartbeat")] == [[1, 2]]


async def test_one_callers_cancellation_does_not_cancel_the_others() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        tasks = [asyncio.create_task(db.heartbeat(number)) for number in range(3)]
        await turn()
        tasks[1].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), asyncio.CancelledError, type(None)]
        assert server.online >= {0, 2}


async def test_each_caller_gets_an_error_of_its_own() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:

        def deny(peer: Peer, request: Request) -> None:
            raise Denied("this token may not write")

        server.script["heartbeat"] = deny
        outcomes = await asyncio.gather(*(db.heartbeat(number) for number in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["this token may not write"] * 3
        assert len({id(outcome) for outcome in outcomes}) == 3
        assert all(isinstance(outcome, Denied) for outcome in outcomes)


async def test_more_ids_than_a_frame_takes_are_several_frames() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=30) as db:
        await asyncio.gather(*(db.heartbeat(*range(start, start + 60_000)) for start in range(0, 240_000, 60_000)))
        assert [len(request.ids) for request in server.seen("heartbeat")] == [100_000, 100_000, 40_000]
        assert len(server.online) == 240_000


async def test_a_frame_that_fails_fails_its_callers_and_no_other_frame() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:

        def deny(peer: Peer, request: Request) -> None:
            raise Denied("no signing off")

        server.script["offline"] = deny
        outcomes = await asyncio.gather(db.heartbeat(1), db.offline(2), db.heartbeat(3), return_exceptions=True)
        assert [isinstance(outcome, Error) for outcome in outcomes] == [False, True, False]


async def test_the_next_turn_is_another_frame() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        await db.heartbeat(1)
        await db.heartbeat(2)
        assert [list(request.ids) for request in server.seen("heartbeat")] == [[1], [2]]


@pytest.mark.parametrize("count", [1, 2, 7])
async def test_one_call_with_several_ids_is_one_frame(count: int) -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        await db.heartbeat(*range(count))
        assert [list(request.ids) for request in server.seen("heartbeat")] == [list(range(count))]

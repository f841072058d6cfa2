"""A server that answers nonsense gets a ProtocolError out of the client: nothing else, and no hang."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from presencedb import AsyncClient, BadRequest, ConnectError, ProtocolError, UnknownError, UnknownMethod
from presencedb.protocol.codec import encode_request, encode_result
from presencedb.protocol.messages import Request
from tests.client.fake_server import SILENCE, FakeServer, Peer
from tests.support.waiting import wait_until_async

Call = Callable[[AsyncClient], Awaitable[Any]]

NOT_MAPS: list[Any] = [None, 1, "x", [], True, {1: 2}]
WRONG: list[tuple[str, Call, list[Any]]] = [
    ("heartbeat", lambda db: db.heartbeat(1), [None, "1", -1, True, [], 1.0]),
    ("offline", lambda db: db.offline_batch([1]), [None, "1", -1, True]),
    ("status", lambda db: db.status([1, 2]), [None, 1, [True], [True] * 3, [True, 1], ["true", True], {}, [[], True]]),
    ("last_seen", lambda db: db.last_seen([1]), [None, [], [1.5], [True], ["1"], [2**62], [-(2**62)], [1, 2]]),
    ("count", lambda db: db.count(), [None, -1, 1.0, "1", True]),
    ("online", lambda db: db.online(), [None, [], [None], [1, []], [None, [1.5]], [None, [None]], [None, 5], [None, [], 1]]),
    ("info", lambda db: db.info(), NOT_MAPS),
    ("topology", lambda db: db.topology(), NOT_MAPS),
]


@pytest.mark.parametrize(
    ("method", "call", "result"),
    [pytest.param(method, call, result, id=f"{method}-{result}") for method, call, results in WRONG for result in results],
)
async def test_an_answer_of_another_shape_is_a_protocol_error(method: str, call: Call, result: Any) -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        server.script[method] = lambda peer, request: result
        with pytest.raises(ProtocolError, match=rf"the server answered {method} with|not understood"):
            await call(db)
        server.script.clear()
        await db.ping()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"protocol": 2},
        {"protocol": 1},
        {"protocol": 1, "ttl_ms": 30_000, "tick_ms": 100, "heartbeat_interval_ms": 0},
        {"protocol": 1, "ttl_ms": 30_000, "tick_ms": 100, "heartbeat_interval_ms": "10"},
        {"protocol": 1, "ttl_ms": 30_000, "tick_ms": 100, "heartbeat_interval_ms": 10_000, "limits": 5},
    ],
)
async def test_a_hello_that_makes_no_sense_ends_the_attempt(answer: Any) -> None:
    async with FakeServer() as server:
        server.script["hello"] = lambda peer, request: answer
        db = AsyncClient(server.url)
        with pytest.raises(ProtocolError):
            await db.connect()
        with pytest.raises(ProtocolError):
            await db.count()
        await wait_until_async(lambda: not server.peers)
        await db.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xc1",
        b"\xff" * 100,
        b"\x93\x01\x02\x03",
        encode_result(77, "an answer to what nobody asked"),
        encode_request(0, "ping", []),
        b"\x94\x01\x00\xa5error\xc0",
        b"\x91" * 2000,
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * 50,
        b"\xc6\xff\xff\xff\xff",
    ],
)
async def test_garbage_fails_the_calls_that_wait_and_the_next_call_connects_anew(garbage: bytes) -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=1) as db:

        def send_garbage(peer: Peer, request: Request) -> object:
            del server.script["count"]
            peer.transport.write(garbage)
            if garbage[0] in (0xDD, 0xC6):  # a frame that never ends: only the end of the connection ends it
                peer.transport.close()
            return SILENCE

        server.script["count"] = send_garbage
        if garbage[0] in (0xDD, 0xC6):
            assert await db.count() == 0  # the lost connection was made again
        else:
            with pytest.raises(ProtocolError):
                await db.count()
        assert await db.count() == 0
        assert server.connection_count == 2


async def test_a_frame_in_single_bytes_is_understood() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        trickle: list[asyncio.Task[None]] = []

        async def send_slowly(peer: Peer, data: bytes) -> None:
            for index in range(len(data)):
                peer.transport.write(data[index : index + 1])
                await asyncio.sleep(0)

        def answer(peer: Peer, request: Request) -> object:
            assert request.msgid is not None
            trickle.append(asyncio.create_task(send_slowly(peer, encode_result(request.msgid, 123_456))))
            return SILENCE

        server.script["count"] = answer
        assert await db.count() == 123_456
        await asyncio.gather(*trickle)


async def test_half_a_frame_and_the_end_is_a_lost_connection() -> None:
    async with FakeServer() as server:
        db = AsyncClient(server.url, timeout_s=0.5)

        def answer(peer: Peer, request: Request) -> object:
            assert request.msgid is not None
            peer.transport.write(encode_result(request.msgid, "x" * 100)[:-1])
            peer.transport.close()
            return SILENCE

        server.script["info"] = answer
        with pytest.raises(ConnectError, match="the server closed the connection"):
            await db.info()
        assert len(server.seen("info")) > 1
        await db.close()


async def test_errors_of_the_server_arrive_as_they_are() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:

        class Later(UnknownMethod):
            code = "invented_later"

        def fail(error: Exception) -> Callable[[Peer, Request], Any]:
            def script(peer: Peer, request: Request) -> Any:
                raise error

            return script

        server.script["count"] = fail(BadRequest("so it is"))
        with pytest.raises(BadRequest, match="so it is"):
            await db.count()
        server.script["count"] = fail(Later("from a newer server"))
        with pytest.raises(UnknownError, match="invented_later: from a newer server"):
            await db.count()
        assert server.connection_count == 1


async def test_notifications_that_nobody_asked_for_are_passed_over() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        server.peers[0].notify("presence", "c", [])
        server.peers[0].notify("news", 1, 2)
        assert await db.count() == 0
        assert server.connection_count == 1

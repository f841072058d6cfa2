"""What a client counts of itself, and what it tells of each call; on both clients."""

from __future__ import annotations

import asyncio
import dataclasses
from array import array
from typing import Any

import pytest

from presencedb import AsyncClient, BadRequest, Busy, CallTimeout, CallTrace, ClientStats, ConnectError, Denied
from presencedb.limits import IDS_PER_FRAME_MAX
from presencedb.protocol.messages import Request
from tests.client.fake_server import SILENCE, FakeServer, Peer
from tests.client.running import node_and_client
from tests.support.waiting import DEADLINE_S, wait_until_async

NOTHING = ClientStats(
    calls=0,
    calls_in_flight=0,
    errors={},
    retries=0,
    timeouts=0,
    connections_made=0,
    connections_lost=0,
    frames_sent=0,
    bytes_sent=0,
    bytes_received=0,
    round_trip_s=None,
)


def told(traces: list[CallTrace]) -> list[tuple[str, int, int, str | None]]:
    """What was told, without what depends on time."""
    return [
        (trace.method, trace.id_count, trace.attempts, None if trace.error is None else type(trace.error).__name__)
        for trace in traces
    ]


# --- stats -----------------------------------------------------------------------------------------------------------


async def test_a_client_that_has_done_nothing_has_counted_nothing() -> None:
    db = AsyncClient("presence://127.0.0.1:1")  # nobody is there
    assert db.stats() == NOTHING
    await db.heartbeat()
    await db.status([])
    with pytest.raises(BadRequest):
        await db.heartbeat(-1)
    assert db.stats() == NOTHING
    await db.close()


async def test_calls_frames_and_bytes_are_counted() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        after_hello = db.stats()
        assert (after_hello.calls, after_hello.connections_made, after_hello.frames_sent) == (0, 1, 1)
        assert min(after_hello.bytes_sent, after_hello.bytes_received) > 10
        await db.heartbeat(1, 2)
        await db.status_array(array("Q", range(1000)))
        assert await db.count() == 2
        stats = db.stats()
        assert (stats.calls, stats.calls_in_flight, stats.frames_sent) == (3, 0, 4)
        assert 2000 < stats.bytes_sent - after_hello.bytes_sent < 4000
        assert 1000 < stats.bytes_received - after_hello.bytes_received < 1100
        assert (stats.errors, stats.retries, stats.timeouts, stats.connections_lost) == ({}, 0, 0, 0)
        assert stats.round_trip_s is not None
        assert 0 < stats.round_trip_s < DEADLINE_S
        assert after_hello.calls == 0, "it is a picture of its moment"
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(stats, "calls", 1)  # noqa: B010 - a type checker would see it otherwise


async def test_a_batch_of_several_frames_is_one_call() -> None:
    async with node_and_client() as db:
        await db.status_array(array("Q", range(IDS_PER_FRAME_MAX + 1)))
        assert (db.stats().calls, db.stats().frames_sent) == (1, 3)


async def test_writes_of_one_turn_are_a_call_each() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as db:
        await asyncio.gather(*(db.heartbeat(number) for number in range(5)), db.heartbeat_batch([1, 2]))
        stats = db.stats()
        assert (stats.calls, stats.calls_in_flight, stats.frames_sent) == (6, 0, 3)


async def test_calls_in_flight_and_timeouts_are_counted() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=0.3) as db:
        server.script["count"] = lambda peer, request: SILENCE
        call = asyncio.ensure_future(db.count())
        await wait_until_async(lambda: bool(server.seen("count")))
        assert (db.stats().calls, db.stats().calls_in_flight) == (1, 1)
        with pytest.raises(CallTimeout):
            await call
        stats = db.stats()
        assert (stats.calls, stats.calls_in_flight, stats.errors) == (1, 0, {"CallTimeout": 1})
        assert (stats.timeouts, stats.retries) == (1, 0)


async def test_an_attempt_that_got_no_answer_is_a_timeout_and_a_retry() -> None:
    async with FakeServer(heartbeat_interval_ms=200) as server, AsyncClient(server.url, timeout_s=DEADLINE_S) as db:

        def fall_silent_once(peer: Peer, request: Request) -> Any:
            del server.script["count"]
            return SILENCE

        server.script["count"] = fall_silent_once
        assert await db.count() == 0
        stats = db.stats()
        assert (stats.calls, stats.errors) == (1, {})
        assert min(stats.timeouts + stats.connections_lost, stats.retries) >= 1


async def test_errors_and_retries_are_counted() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=DEADLINE_S) as db:
        answers: list[Any] = [Busy("later"), Busy("later"), 5, Denied("no"), Denied("no")]

        def answer(peer: Peer, request: Request) -> Any:
            result = answers.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

        server.script["count"] = server.script["heartbeat"] = answer
        assert await db.count() == 5
        assert (db.stats().calls, db.stats().retries, db.stats().errors) == (1, 2, {})
        with pytest.raises(Denied):
            await db.count()
        with pytest.raises(Denied):
            await db.heartbeat(7)
        assert (db.stats().calls, db.stats().retries, db.stats().errors) == (3, 2, {"Denied": 2})


async def test_lost_connections_are_counted_and_what_went_over_them_stays_counted() -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=DEADLINE_S) as db:
        await db.heartbeat(1)
        before = db.stats()
        server.cut()
        await wait_until_async(lambda: not server.peers)
        assert await db.count() == 1
        after = db.stats()
        assert (after.connections_made, after.connections_lost) == (2, 1)
        assert after.frames_sent >= before.frames_sent + 2
        assert after.bytes_received > before.bytes_received
    assert db.stats().connections_lost == 1, "a connection that was closed is not lost"
    assert db.stats().bytes_received >= after.bytes_received


async def test_the_connections_of_feeds_are_counted() -> None:
    async with node_and_client() as db, db.follow() as changes:
        await db.heartbeat(1)
        assert (await anext(changes)).id == 1
        stats = db.stats()
        assert (stats.calls, stats.connections_made) == (1, 2)
        assert stats.frames_sent == 4, "two hellos, a follow and a heartbeat"


async def test_beats_of_keep_online_are_calls() -> None:
    async with node_and_client() as db:
        async with db.keep_online(1, 2, sign_off=True):
            assert db.stats().calls == 1
        assert db.stats().calls == 2


# --- traces ----------------------------------------------------------------------------------------------------------


async def test_every_call_is_told_of_when_it_has_ended() -> None:
    traces: list[CallTrace] = []
    async with FakeServer() as server, AsyncClient(server.url, on_call=traces.append) as db:
        await db.heartbeat(1, 2)
        assert told(traces) == [("heartbeat", 2, 1, None)], "it is told before the caller goes on"
        await db.heartbeat_batch([1, 2, 3])
        await db.status([1, 1])
        await db.status_array(array("Q", [5]))
        await db.last_seen(["alice"])
        await db.count()
        await db.offline(1)
        await db.ping()
        await db.heartbeat()
        assert told(traces[1:]) == [
            ("heartbeat", 3, 1, None),
            ("status", 2, 1, None),
            ("status", 1, 1, None),
            ("last_seen", 1, 1, None),
            ("count", 0, 1, None),
            ("offline", 1, 1, None),
            ("ping", 0, 1, None),
        ]
        assert {trace.address for trace in traces} == {server.url}
        assert all(0 < trace.duration_s < DEADLINE_S for trace in traces)


async def test_a_trace_tells_of_errors_and_attempts() -> None:
    traces: list[CallTrace] = []
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=DEADLINE_S, on_call=traces.append) as db:
        answers: list[Any] = [Busy("later"), 5, Denied("no"), Denied("no")]

        def answer(peer: Peer, request: Request) -> Any:
            result = answers.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

        server.script["count"] = server.script["heartbeat"] = answer
        await db.count()
        with pytest.raises(Denied) as raised:
            await db.count()
        with pytest.raises(Denied):
            await db.heartbeat(7)
        assert told(traces) == [("count", 0, 2, None), ("count", 0, 1, "Denied"), ("heartbeat", 1, 1, "Denied")]
        assert traces[1].error is raised.value


async def test_a_call_that_reached_nobody_has_no_attempts_and_no_address() -> None:
    traces: list[CallTrace] = []
    db = AsyncClient("presence://127.0.0.1:1", timeout_s=0.2, on_call=traces.append)
    with pytest.raises(ConnectError):
        await db.count()
    with pytest.raises(ConnectError):
        await db.heartbeat(1)
    await db.close()
    assert told(traces) == [("count", 0, 0, "ConnectError"), ("heartbeat", 1, 0, "ConnectError")]
    assert [trace.address for trace in traces] == [None, None]


async def test_a_call_that_is_cancelled_is_told_of() -> None:
    traces: list[CallTrace] = []
    async with FakeServer() as server, AsyncClient(server.url, on_call=traces.append) as db:
        server.script["count"] = lambda peer, request: SILENCE
        call = asyncio.create_task(db.count())
        await wait_until_async(lambda: bool(server.seen("count")))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert told(traces) == [("count", 0, 1, "CancelledError")]
        assert db.stats().errors == {"CancelledError": 1}


async def test_an_error_in_the_hook_does_not_break_a_call() -> None:
    def fail(trace: CallTrace) -> None:
        raise RuntimeError("a hook that fails")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with FakeServer() as server, AsyncClient(server.url, on_call=fail) as db:
        await db.heartbeat(1)
        assert await db.count() == 1
        server.script["count"] = lambda peer, request: "nonsense"
        with pytest.raises(Exception, match="the server answered count with"):
            await db.count()
        assert db.stats().calls == 3


async def test_an_error_in_the_hook_goes_to_the_handler_of_the_loop() -> None:
    failures: list[Any] = []

    def fail(trace: CallTrace) -> None:
        raise RuntimeError("a hook that fails")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context["exception"]))
    async with FakeServer() as server, AsyncClient(server.url, on_call=fail) as db:
        await db.count()
    assert [str(failure) for failure in failures] == ["a hook that fails"]

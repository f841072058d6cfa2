"""Ids as buffers, answers as columns: the same as with lists, on both clients, without an object for each id."""

from __future__ import annotations

import tracemalloc
from array import array
from collections.abc import Iterable
from typing import Any

import pytest

from presencedb import AsyncClient, BadRequest, ProtocolError
from presencedb.client import calls
from presencedb.ids import IdBatch
from presencedb.implementation import COMPILED
from presencedb.limits import IDS_PER_FRAME_MAX
from presencedb.protocol import codec
from presencedb.protocol.messages import Request
from presencedb.states import Status
from tests.client.fake_server import FakeServer, Peer
from tests.client.running import node_and_client
from tests.support.waiting import DEADLINE_S

OFFLINE, ONLINE, UNKNOWN = (bytes([status]) for status in (Status.OFFLINE, Status.ONLINE, Status.UNKNOWN))
IDS = array("Q", [7, 2**64 - 1, 0, 2**32, 8])
BUFFERS: list[Any] = [IDS, memoryview(IDS), memoryview(array("Q", [9, *IDS[::-1].tolist()]))[:0:-1], IdBatch(IDS)]
STRIDED = memoryview(array("Q", [value for user_id in IDS for value in (user_id, 99)]))[::2]


@pytest.mark.parametrize("ids", [*BUFFERS, STRIDED], ids=["array", "view", "reversed", "batch", "strided"])
async def test_every_call_with_several_ids_takes_a_buffer(ids: Any) -> None:
    async with node_and_client() as db:
        assert await db.heartbeat_batch(ids, age_ms=5) == 5
        assert await db.count() == 5
        assert await db.status(ids) == dict.fromkeys(IDS, True)
        assert await db.status_array(ids) == ONLINE * 5
        seen = await db.last_seen(ids)
        assert list(seen) == IDS.tolist()
        times_ms = await db.last_seen_array(ids)
        assert [round(time.timestamp() * 1000) for time in seen.values() if time is not None] == times_ms.tolist()
        async with db.watch(ids) as watch:
            assert watch.statuses == dict.fromkeys(IDS, True)
            await watch.remove(ids)
            await watch.add(ids)
            assert watch.statuses == dict.fromkeys(IDS, True)
        assert await db.offline_batch(ids) == 5
        assert await db.status_array(ids) == OFFLINE * 5


@pytest.mark.parametrize(
    "wrong",
    [
        array("q", [1]),
        array("I", [1]),
        array("d", [1.0]),
        bytearray(b"12345678"),
        memoryview(b"12345678"),
        memoryview(bytes(16)).cast("B").cast("Q", (1, 2)),
        array("q"),
    ],
    ids=lambda wrong: f"{type(wrong).__name__}-{memoryview(wrong).format}",
)
async def test_a_buffer_of_anything_else_is_refused_and_named(wrong: Any) -> None:
    async with node_and_client() as db:
        for name in ("heartbeat_batch", "offline_batch", "status", "last_seen", "status_array", "last_seen_array"):
            with pytest.raises(BadRequest, match=rf"unsigned 64-bit integers .*'{memoryview(wrong).format}'.*{name} takes"):
                await getattr(db, name)(wrong)
        with pytest.raises(BadRequest, match="unsigned 64-bit integers"):
            async with db.watch(wrong):
                pass
        assert await db.count() == 0


async def test_answers_come_in_the_order_asked_and_for_repeated_ids_each_time() -> None:
    async with node_and_client(retention_ms=None) as db:
        await db.heartbeat("alice", 42)
        ids: list[int | str] = ["bob", "alice", "42", 42, "bob", "alice"]
        assert await db.status_array(ids) == OFFLINE + ONLINE * 3 + OFFLINE + ONLINE
        assert await db.status_array(user_id for user_id in ids) == OFFLINE + ONLINE * 3 + OFFLINE + ONLINE
        times_ms = await db.last_seen_array(ids)
        assert times_ms.typecode == "q"
        assert times_ms[0] == times_ms[4] == -1
        assert times_ms[1] == times_ms[5] > 1_700_000_000_000
        assert times_ms[2] == times_ms[3] > 1_700_000_000_000


async def test_what_is_unknown_is_a_byte_of_its_own() -> None:
    async with node_and_client(warm_up=True) as db:
        await db.heartbeat(1)
        assert await db.status_array([1, 2]) == ONLINE + UNKNOWN
        assert await db.status(array("Q", [1, 2])) == {1: True, 2: None}


async def test_no_ids_are_no_call() -> None:
    db = AsyncClient("presence://127.0.0.1:1")  # nobody is there
    nothing: list[Iterable[int]] = [[], array("Q"), (number for number in range(0))]
    for none in nothing:
        assert await db.heartbeat_batch(none) == 0
        assert await db.status(none) == {}
        assert await db.status_array(none) == b""
        assert await db.last_seen_array(none) == array("q")
    await db.close()


@pytest.mark.parametrize("wrong", ["", -1, 1.5, None])
async def test_what_is_no_id_is_refused(wrong: Any) -> None:
    async with node_and_client() as db:
        for call in (db.status_array, db.last_seen_array):
            with pytest.raises(BadRequest, match="id 1 of the batch"):
                await call([1, wrong])
            with pytest.raises(BadRequest, match="takes several ids"):
                await call("alice")


async def test_a_batch_above_a_frame_is_split_and_put_together() -> None:
    ids = array("Q", range(IDS_PER_FRAME_MAX + 5))
    async with node_and_client() as db:
        assert await db.heartbeat_batch(ids[:10] + ids[-3:]) == 13
        assert await db.status_array(ids) == ONLINE * 10 + OFFLINE * (len(ids) - 13) + ONLINE * 3
        times_ms = await db.last_seen_array(ids)
        assert len(times_ms) == len(ids)
        assert [index for index, time_ms in enumerate(times_ms) if time_ms >= 0] == [*range(10), *range(len(ids))[-3:]]
        assert await db.offline_batch(ids) == 13


async def test_a_buffer_may_change_once_the_call_is_made() -> None:
    async with node_and_client() as db:
        ids = array("Q", [1, 2])
        plan = calls.status_array(ids)
        ids[0] = 99
        ids.append(3)
        assert list(plan.frames[0].positional[0]) == [1, 2]
        assert await db.status_array(ids) == OFFLINE * 3


@pytest.mark.parametrize("result", [None, 7, [True], [True] * 3, [True, 1], b"\x01\x01", [None, "x"]])
async def test_an_answer_of_another_shape_is_a_protocol_error_of_that_call(result: Any) -> None:
    async with FakeServer() as server, AsyncClient(server.url, timeout_s=DEADLINE_S) as db:

        def answer(peer: Peer, request: Request) -> Any:
            return result

        server.script["status"] = server.script["last_seen"] = answer
        with pytest.raises(ProtocolError, match="the server answered status with"):
            await db.status_array([1, 2])
        with pytest.raises(ProtocolError, match="the server answered last_seen with"):
            await db.last_seen_array([1, 2])
        server.script.clear()
        assert await db.status_array([1, 2]) == OFFLINE * 2
        assert server.connection_count == 1


@pytest.mark.parametrize("ids", [IDS, ["alice"]], ids=["buffer", "list"])
def test_a_plan_holds_ids_as_a_batch(ids: Iterable[int | str]) -> None:
    for plan in (calls.status(ids), calls.status_array(ids), calls.last_seen(ids), calls.last_seen_array(ids)):
        assert [type(frame.positional[0]) for frame in plan.frames] == [IdBatch]
    assert type(calls.heartbeat_batch(ids).ids) is IdBatch
    assert type(calls.offline_batch(ids).ids) is IdBatch


@pytest.mark.skipif(codec.IMPLEMENTATION != COMPILED, reason="the twins make objects")
def test_no_object_is_made_for_an_id() -> None:
    count = 50_000
    ids = array("Q", range(2**40, 2**40 + count))
    plan = calls.status_array(ids)
    answer = bytes(count)
    tracemalloc.start()
    try:
        plan = calls.status_array(ids)
        frame = codec.encode_request(1, plan.method, plan.frames[0].params(0))
        assert plan.result([answer]) == answer
        held_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(frame) > 9 * count
    assert held_bytes < 11 * count, "an integer object alone has 32 bytes"

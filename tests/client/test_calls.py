"""Every call, against a real node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from presencedb import AsyncClient, BadRequest, Id, ServerInfo
from presencedb.limits import IDS_PER_FRAME_MAX, SCAN_LIMIT_MAX
from tests.client.running import node_and_client
from tests.support.waiting import wait_until_async

SOME_UUID = UUID("12345678-9abc-def0-1234-56789abcdef0")


async def test_a_heartbeat_in_and_a_status_out() -> None:
    async with node_and_client() as db:
        await db.heartbeat(42, "alice")
        assert await db.status([42, "bob", "alice"]) == {42: True, "bob": False, "alice": True}
        await db.offline("alice")
        assert await db.status(["alice"]) == {"alice": False}
        assert await db.count() == 1


async def test_ids_of_every_kind_are_answered_in_their_canonical_form() -> None:
    async with node_and_client() as db:
        await db.heartbeat(SOME_UUID, 7, "2", "ü")
        answer = await db.status([str(SOME_UUID).upper(), SOME_UUID, "7", 2, "02", "ü"])
        assert answer == {str(SOME_UUID).upper(): False, str(SOME_UUID): True, 7: True, 2: True, "02": False, "ü": True}


@pytest.mark.parametrize(
    "ids",
    [[1, 2, 3], (1, 2, 3), {1, 2, 3}, range(1, 4), {1: "a", 2: "b", 3: "c"}.keys(), ["1", 2, "3", 1, "2"]],
    ids=lambda ids: type(ids).__name__,
)
async def test_ids_come_from_any_iterable_and_repeated_ones_are_in_the_answer_once(ids: Iterable[int | str]) -> None:
    async with node_and_client() as db:
        assert await db.heartbeat_batch(ids) == 3
        assert await db.status(ids) == {1: True, 2: True, 3: True}
        assert await db.status(user_id for user_id in ids) == {1: True, 2: True, 3: True}


async def test_no_ids_are_no_call() -> None:
    db = AsyncClient("presence://127.0.0.1:1")  # nobody is there
    await db.heartbeat()
    await db.offline()
    assert await db.heartbeat_batch([]) == 0
    assert await db.offline_batch([]) == 0
    assert await db.status([]) == {}
    assert await db.last_seen(()) == {}
    await db.close()


@pytest.mark.parametrize("wrong", ["", "x" * 256, -1, 2**64, 1.5, True, None, b"x", "a\0", "\ud800"])
async def test_what_is_no_id_is_refused_before_anything_is_sent(wrong: Any) -> None:
    async with node_and_client() as db:
        for call in (db.heartbeat(1, wrong), db.offline(1, wrong), db.status([1, wrong]), db.last_seen([1, wrong])):
            with pytest.raises(BadRequest, match="id 1 of the batch"):
                await call
        with pytest.raises(BadRequest):
            db.keep_online(wrong)
        assert await db.count() == 0


@pytest.mark.parametrize("wrong", ["alice", b"alice", 42, SOME_UUID, None])
async def test_one_id_where_several_are_due_is_refused_with_the_right_form(wrong: Any) -> None:
    async with node_and_client() as db:
        for call in (db.status(wrong), db.last_seen(wrong), db.heartbeat_batch(wrong), db.offline_batch(wrong)):
            with pytest.raises(BadRequest, match=r"takes several ids, as in"):
                await call


@pytest.mark.parametrize("wrong", [["a", "b"], ("a",), {1}, range(2), (number for number in range(2)), []])
async def test_several_ids_in_one_where_each_is_one_are_refused_with_the_right_form(wrong: Any) -> None:
    async with node_and_client() as db:
        with pytest.raises(BadRequest, match=r"heartbeat\(\*ids\) or heartbeat_batch\(ids\)"):
            await db.heartbeat(wrong)
        with pytest.raises(BadRequest, match=r"offline\(\*ids\) or offline_batch\(ids\)"):
            await db.offline(1, wrong)
        with pytest.raises(BadRequest, match=r"keep_online\(\*ids\)$"):
            db.keep_online(wrong)
        assert await db.count() == 0


@pytest.mark.parametrize("wrong", [-1, 1.0, "5", True, 2**60])
async def test_ages_and_graces_are_checked(wrong: Any) -> None:
    async with node_and_client() as db:
        calls = (db.heartbeat(1, age_ms=wrong), db.offline(1, age_ms=wrong), db.offline(1, grace_ms=wrong))
        for call in calls:
            with pytest.raises(BadRequest, match="is an integer between 0 and"):
                await call


async def test_batches_tell_how_many_changed() -> None:
    async with node_and_client() as db:
        assert await db.heartbeat_batch([1, 2]) == 2
        assert await db.heartbeat_batch([2, 3]) == 1
        assert await db.offline_batch([1, 9]) == 1
        assert await db.offline_batch([2], grace_ms=60_000) == 0
        assert await db.count() == 2


async def test_an_age_makes_a_heartbeat_older() -> None:
    async with node_and_client(retention_ms=None) as db:
        await db.heartbeat("a", age_ms=20_000)
        await db.heartbeat("b")
        await db.heartbeat("c", age_ms=40_000)  # above the ttl
        assert await db.status("abc"[i] for i in range(3)) == {"a": True, "b": True, "c": False}
        seen = await db.last_seen(["a", "b"])
        assert seen["a"] is not None
        assert seen["b"] is not None
        assert timedelta(seconds=19) < seen["b"] - seen["a"] < timedelta(seconds=30)


async def test_last_seen_is_in_utc_and_none_for_strangers() -> None:
    async with node_and_client() as db:
        before = datetime.now(UTC)
        await db.heartbeat("a")
        seen = await db.last_seen(["a", "b"])
        assert seen["b"] is None
        assert seen["a"] is not None
        assert seen["a"].tzinfo is UTC
        assert abs(seen["a"] - before) < timedelta(minutes=1)


async def test_a_batch_above_a_frame_is_answered_in_order() -> None:
    async with node_and_client() as db:
        count = 2 * IDS_PER_FRAME_MAX + 7
        assert await db.heartbeat_batch(range(0, count, 3)) == len(range(0, count, 3))
        answer = await db.status(range(count))
        assert list(answer) == list(range(count))
        assert all(online is (user_id % 3 == 0) for user_id, online in answer.items())
        seen = await db.last_seen(range(count))
        assert all((moment is not None) is (user_id % 3 == 0) for user_id, moment in seen.items())


async def test_a_batch_of_texts_above_the_bytes_of_a_frame() -> None:
    async with node_and_client() as db:
        ids: list[Id] = [f"{number:x>250}" for number in range(40_000)]
        await db.heartbeat(*ids)
        assert await db.count() == len(ids)
        assert set((await db.status(ids)).values()) == {True}


async def test_unknown_is_none() -> None:
    async with node_and_client(warm_up=True) as db:
        await db.heartbeat(1)
        assert await db.status([1, 2]) == {1: True, 2: None}


async def test_pages_and_scan_list_who_is_online_once() -> None:
    async with node_and_client() as db:
        everybody: list[Id] = [*range(2_000), *(f"user-{number}" for number in range(500))]
        await db.heartbeat(*everybody)
        found: list[Id] = []
        cursor, page = await db.online()
        assert len(page) == 1000
        found += page
        while cursor is not None:
            cursor, page = await db.online(cursor, 700)
            found += page
        assert sorted(found, key=str) == sorted(everybody, key=str)
        assert sorted([user_id async for user_id in db.scan(limit=300)], key=str) == sorted(everybody, key=str)


@pytest.mark.parametrize("limit", [0, -1, SCAN_LIMIT_MAX + 1, 1.5, True])
async def test_the_size_of_a_page_is_checked(limit: Any) -> None:
    async with node_and_client() as db:
        with pytest.raises(BadRequest, match="limit"):
            await db.online(None, limit)


async def test_a_cursor_that_was_made_up_is_refused() -> None:
    async with node_and_client() as db:
        with pytest.raises(BadRequest):
            await db.online("nonsense", 10)


async def test_what_the_server_says_of_itself() -> None:
    async with node_and_client(ttl_ms=6_000, tick_ms=200, node_id="blue") as db:
        hello = await db.hello()
        assert isinstance(hello, ServerInfo)
        assert (hello.protocol, hello.node, hello.ttl_ms, hello.tick_ms, hello.heartbeat_interval_ms) == (
            1,
            "blue",
            6_000,
            200,
            2_000,
        )
        assert hello.retention == "online"
        assert hello.limits["ids_per_frame"] == IDS_PER_FRAME_MAX
        assert hello.run
        assert 0 < await db.ping() < 60
        await db.heartbeat(1)
        assert (await db.info())["online"] == 1
        assert len((await db.topology())["members"]) == 1


async def test_a_user_who_stops_goes_offline() -> None:
    async with node_and_client(ttl_ms=300, tick_ms=50) as db:
        await db.heartbeat(1)

        async def is_offline() -> bool:
            return (await db.status([1]))[1] is False

        await wait_until_async(is_offline)


async def test_thousands_of_calls_at_once() -> None:
    async with node_and_client() as db:
        await asyncio.gather(*(db.heartbeat(number) for number in range(3_000)))
        answers = await asyncio.gather(*(db.status([number]) for number in range(3_000)))
        assert answers == [{number: True} for number in range(3_000)]

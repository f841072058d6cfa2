"""Statuses over HTTP: everybody asked is told of, once, in order; and what is told agrees with itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from presencedb.client.values import IdLike
from presencedb.gateway.rest import Rest
from presencedb.ids import Id
from tests.gateway.issuing import token
from tests.gateway.serving import NODE, READER_KEY, SERVICE_KEY, WITHOUT_KEYS, serving
from tests.support.waiting import wait_until_async


def _is_rfc3339(text: str) -> bool:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return len(text) == len("2026-11-25T12:00:00.123Z") and abs((datetime.now(UTC) - moment).total_seconds()) < 3600


async def test_all_who_are_asked_for_are_told_of_in_order() -> None:
    async with serving() as served:
        await served.db.heartbeat("u1", 42, "a,b", "18446744073709551616")
        path = "/status/users?ids=u1,nobody,42,007,a%2Cb,18446744073709551616,u1,%75%31"
        answer = await served.call("GET", path, token=token("whoever"))
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        statuses = answer.json["statuses"]
        assert list(statuses) == ["u1", "nobody", "42", "007", "a,b", "18446744073709551616"]
        online = {user_id: status["online"] for user_id, status in statuses.items()}
        assert online == {
            "u1": True,
            "nobody": False,
            "42": True,
            "007": False,
            "a,b": True,
            "18446744073709551616": True,
        }
        for user_id, status in statuses.items():
            assert set(status) == {"online", "last_seen"}
            assert status["last_seen"] is None if not online[user_id] else _is_rfc3339(status["last_seen"])


async def test_post_asks_the_same() -> None:
    async with serving() as served:
        await served.db.heartbeat("u1", 42)
        asked = ["u1", 42, "42", "nobody", "9007199254740993", "u1"]
        by_post = await served.call("POST", "/status/users", key=READER_KEY, body={"ids": asked})
        by_get = await served.call("GET", "/status/users?ids=u1,42,nobody,9007199254740993", key=READER_KEY)
        assert by_post.status == 200
        assert by_post.body == by_get.body
        assert list(by_post.json["statuses"]) == ["u1", "42", "nobody", "9007199254740993"]


@pytest.mark.parametrize(
    "user_id", ["u1", "42", "a/b", ".", "..", "a b", "a+b", "%41", "ü", "a,b", "?", "#", "users", "\n", "&=;"]
)
async def test_one_user_agrees_with_many(user_id: str) -> None:
    async with serving() as served:
        await served.db.heartbeat(user_id)
        encoded = (
            "".join(f"%{byte:02x}" for byte in user_id.encode())
            if user_id in {".", "..", "users"}
            else quote(user_id, safe="")
        )
        one = await served.call("GET", f"/status/{encoded}", token=token())
        assert one.status == 200
        many = (await served.call("GET", f"/status/users?ids={encoded}", token=token())).json["statuses"][user_id]
        assert one.json == {"id": user_id, **many}
        assert one.json["online"] is True


async def test_dots_in_a_path_are_an_id_like_any_other() -> None:
    async with serving() as served:
        await served.db.heartbeat(".", "..")
        for path, user_id in (("/status/.", "."), ("/status/..", "..")):
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER_KEY}\r\nConnection: close\r\n\r\n"
            body = (await served.raw(head.encode())).partition(b"\r\n\r\n")[2]
            assert json.loads(body)["id"] == user_id


async def test_a_ttl_after_the_last_beat_all_ways_of_asking_say_offline() -> None:
    async with serving(node_settings=replace(NODE, ttl_ms=300, tick_ms=50)) as served:
        assert (await served.call("POST", "/heartbeat", token=token("u1"))).status == 204

        async def offline() -> bool:
            return (await served.call("GET", "/status/u1", token=token())).json["online"] is False

        await wait_until_async(offline, what="u1 is offline")
        many = (await served.call("GET", "/status/users?ids=u1", token=token())).json
        assert many == {"statuses": {"u1": {"online": False, "last_seen": None}}}


async def test_last_seen_is_remembered_where_the_node_does() -> None:
    async with serving(node_settings=replace(NODE, retention_ms=None)) as served:
        await served.call("POST", "/heartbeat", token=token("u1"))
        before = (await served.call("GET", "/status/u1", token=token())).json
        await served.call("DELETE", "/heartbeat", token=token("u1"))
        after = (await served.call("GET", "/status/u1", token=token())).json
        assert (before["online"], after["online"]) == (True, False)
        assert _is_rfc3339(after["last_seen"])
        assert after["last_seen"] >= before["last_seen"]


async def test_unknown_is_null_and_not_false() -> None:
    async with serving(node_settings=replace(NODE, warm_up=True)) as served:
        await served.call("POST", "/heartbeat", token=token("u1"))
        statuses = (await served.call("GET", "/status/users?ids=u1,u2", token=token())).json["statuses"]
        assert statuses["u1"]["online"] is True
        assert statuses["u2"] == {"online": None, "last_seen": None}
        assert b'"online":null' in (await served.call("GET", "/status/u2", token=token())).body


async def test_as_many_as_the_limit_and_not_one_more() -> None:
    async with serving() as served:
        asked = list(range(10_000))
        await served.db.heartbeat(*asked[::2])
        answer = await served.call("POST", "/status/users", key=SERVICE_KEY, body={"ids": asked})
        statuses = answer.json["statuses"]
        assert list(statuses) == [str(user_id) for user_id in asked]
        assert [status["online"] for status in statuses.values()] == [user_id % 2 == 0 for user_id in asked]
        problem = (await served.call("POST", "/status/users", key=SERVICE_KEY, body={"ids": [*asked, 1]})).problem(413)
        assert "at most 10000 ids, not 10001" in problem["detail"]
        query = ",".join(["1"] * 10_001)
        (await served.call("GET", f"/status/users?ids={query}", key=SERVICE_KEY)).problem(413)


@pytest.mark.parametrize(
    "path",
    [
        "/status/users",
        "/status/users?",
        "/status/users?ids",
        "/status/users?ids=",
        "/status/users?ids=,",
        "/status/users?ids=a,,b",
        "/status/users?ids=a&wait=25",
        "/status/users?ids=a&cursor=x",
        "/status/users?IDS=a",
        "/status/users?ids=%",
        "/status/users?ids=%ff",
        "/status/users?ids=a%00",
        f"/status/users?ids={'x' * 256}",
        "/status/%00",
        "/status/%zz",
        "/status/%ff",
        f"/status/{'x' * 256}",
        "/status/u1?ids=u2",
    ],
)
async def test_question_that_is_not_right_is_refused(path: str) -> None:
    async with serving() as served:
        (await served.call("GET", path, token=token())).problem(400)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"ids": []}',
        b'{"ids": "u1"}',
        b'{"ids": [null]}',
        b'{"ids": [1.0]}',
        b'{"ids": [9007199254740992]}',
        b"[]",
    ],
)
async def test_body_that_asks_nothing_is_refused(data: bytes) -> None:
    async with serving() as served:
        (await served.call("POST", "/status/users", token=token(), data=data)).problem(400)


async def test_paths_that_are_none() -> None:
    async with serving(WITHOUT_KEYS) as served:
        for path in ("/status", "/status/", "/status//", "/status/a/b", "/heartbeat/", "/nothing", "//", "/status/users/"):
            problem = (await served.call("GET", path)).problem(404)
            assert problem["code"] == "not_found"


class Lying:
    """A node between two questions: what it says first contradicts itself, as it does when somebody leaves meanwhile."""

    def __init__(self, *answers: tuple[bool | None, datetime | None]) -> None:
        self._answers = list(answers)
        self.asked: list[list[IdLike]] = []

    async def status(self, ids: Iterable[IdLike]) -> dict[Id, bool | None]:
        self.asked.append(list(ids))
        return {str(user_id): self._answers[0][0] for user_id in ids}

    async def last_seen(self, ids: Iterable[IdLike]) -> dict[Id, datetime | None]:
        return {str(user_id): self._answers.pop(0)[1] for user_id in ids}


@pytest.mark.parametrize(
    ("answers", "online"),
    [
        ([(True, None), (False, None)], False),
        ([(True, None), (True, datetime.now(UTC))], True),
        ([(True, None), (None, None)], None),
        ([(True, None), (True, None)], None),
        ([(False, datetime.now(UTC))], False),
    ],
)
async def test_nobody_is_online_and_never_seen(answers: Any, online: bool | None) -> None:
    node: Any = Lying(*answers)
    statuses = await Rest(node)._look_up(["u1"])
    assert statuses["u1"].online is online
    assert len(node.asked) == len(answers)


async def test_coming_and_going_users_never_contradict_themselves() -> None:
    async with serving(node_settings=replace(NODE, ttl_ms=50, tick_ms=50)) as served:
        users = [f"u{number}" for number in range(50)]
        query = "/status/users?ids=" + ",".join(users)
        for turn in range(60):
            await served.db.heartbeat(*users[turn % 3 :: 3])
            if turn % 4 == 0:
                await served.db.offline(*users[turn % 5 :: 5])
            for status in (await served.call("GET", query, token=token())).json["statuses"].values():
                assert not (status["online"] and status["last_seen"] is None)

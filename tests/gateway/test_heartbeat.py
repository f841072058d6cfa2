"""Heartbeats and sign-offs over HTTP: who they are for, and that nothing but a good one changes anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.issuing import token
from tests.gateway.serving import READER_KEY, SERVICE_KEY, WITHOUT_KEYS, WRITER_KEY, serving
from tests.support.waiting import wait_until_async


async def test_token_marks_its_user_alive() -> None:
    async with serving() as served:
        for sub, user_id in (("alice", "alice"), ("42", 42), ("j\u00fcrgen/\u2603", "j\u00fcrgen/\u2603")):
            answer = await served.call("POST", "/heartbeat", token=token(sub))
            assert (answer.status, answer.body) == (204, b"")
            assert await served.is_online(user_id) is True
        assert await served.db.count() == 3


@pytest.mark.parametrize("data", [None, b"", b"{}", b" {} "])
async def test_body_of_a_token_call_may_be_absent_or_empty(data: bytes | None) -> None:
    async with serving() as served:
        assert (await served.call("POST", "/heartbeat", token=token("alice"), data=data)).status == 204


async def test_token_call_must_not_name_a_user() -> None:
    async with serving() as served:
        for user_id in ("bob", "alice", 42):
            for method in ("POST", "DELETE"):
                answer = await served.call(method, "/heartbeat", token=token("alice"), body={"user_id": user_id})
                assert "leave user_id out" in answer.problem(400)["detail"]
        assert await served.db.count() == 0


async def test_service_names_the_user() -> None:
    async with serving() as served:
        for user_id, canonical in (
            ("alice", "alice"),
            (42, 42),
            ("43", 43),
            (2**53 - 1, 2**53 - 1),
            (str(2**53), 2**53),
            ("18446744073709551615", 2**64 - 1),
        ):
            assert (await served.call("POST", "/heartbeat", key=SERVICE_KEY, body={"user_id": user_id})).status == 204
            assert await served.is_online(canonical) is True
        answer = await served.call(
            "POST", "/heartbeat", headers={"Authorization": f"apikey {SERVICE_KEY}"}, body={"user_id": "b"}
        )
        assert answer.status == 204
        assert await served.db.count() == 7


async def test_many_at_once_are_for_services() -> None:
    async with serving() as served:
        users = [f"user-{number}" for number in range(9_998)] + [42, "43"]
        assert (await served.call("POST", "/heartbeats", key=WRITER_KEY, body={"user_ids": users})).status == 204
        assert await served.db.count() == 10_000
        problem = (await served.call("POST", "/heartbeats", key=WRITER_KEY, body={"user_ids": [*users, 1]})).problem(413)
        assert problem["code"] == "too_large"
        assert "at most 10000 ids, not 10001" in problem["detail"]
        problem = (await served.call("POST", "/heartbeats", token=token(), body={"user_ids": ["u2"]})).problem(403)
        assert "API keys" in problem["detail"]
        assert await served.db.count() == 10_000


async def test_one_bad_id_spoils_its_whole_batch() -> None:
    async with serving() as served:
        answer = await served.call("POST", "/heartbeats", key=SERVICE_KEY, body={"user_ids": ["a", "b", "", "c"]})
        assert "id 2 of the list" in answer.problem(400)["detail"]
        assert await served.db.count() == 0


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("/heartbeat", b"", 400),
        ("/heartbeat", b"{}", 400),
        ("/heartbeat", b'{"user_id": null}', 400),
        ("/heartbeat", b'{"user_id": true}', 400),
        ("/heartbeat", b'{"user_id": 1.5}', 400),
        ("/heartbeat", b'{"user_id": -1}', 400),
        ("/heartbeat", b'{"user_id": 9007199254740992}', 400),
        ("/heartbeat", b'{"user_id": ""}', 400),
        ("/heartbeat", b'{"user_id": "a\\u0000"}', 400),
        ("/heartbeat", b'{"user_id": "\\ud800"}', 400),
        ("/heartbeat", b'{"user_id": "\xff"}', 400),
        ("/heartbeat", b'{"user_id": "u1", "age_ms": 5}', 400),
        ("/heartbeat", b'{"user_id": ["u1"]}', 400),
        ("/heartbeat", b'{"user_id": "u1"', 400),
        ("/heartbeat", b'["u1"]', 400),
        ("/heartbeat", b"[" * 100_000, 400),
        ("/heartbeat", b"\x00", 400),
        ("/heartbeat?user_id=u1", b'{"user_id": "u1"}', 400),
        ("/heartbeats", b"", 400),
        ("/heartbeats", b'{"user_ids": []}', 400),
        ("/heartbeats", b'{"user_ids": "u1"}', 400),
        ("/heartbeats", b'{"user_ids": [[]]}', 400),
        ("/heartbeats", b'{"user_id": "u1"}', 400),
        ("/heartbeats", b'{"user_ids": ["u1"]} x', 400),
        ("/heartbeats", b'{"user_ids": ["' + b"x" * (4 * 1024 * 1024) + b'"]}', 413),
    ],
)
async def test_body_that_is_not_right_changes_nothing(path: str, data: bytes, status: int) -> None:
    async with serving() as served:
        (await served.call("POST", path, key=SERVICE_KEY, data=data)).problem(status)
        assert await served.db.count() == 0


async def test_body_names_its_type() -> None:
    async with serving() as served:
        for content_type in ("application/x-www-form-urlencoded", "text/plain", "application/jsonx", ""):
            answer = await served.call(
                "POST", "/heartbeat", key=SERVICE_KEY, data=b'{"user_id": "u1"}', headers={"Content-Type": content_type}
            )
            assert "Content-Type: application/json" in answer.problem(415)["detail"]
        answer = await served.call(
            "POST", "/heartbeat", key=SERVICE_KEY, data=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}
        )
        answer.problem(415)
        assert await served.db.count() == 0
        for content_type in ("application/json; charset=utf-8", "Application/JSON"):
            answer = await served.call(
                "POST", "/heartbeat", key=SERVICE_KEY, data=b'{"user_id": "u1"}', headers={"Content-Type": content_type}
            )
            assert answer.status == 204


async def test_unknown_field_is_named() -> None:
    async with serving() as served:
        answer = await served.call("POST", "/heartbeat", key=SERVICE_KEY, body={"user_id": "u1", "userid": "u2"})
        assert "`userid`" in answer.problem(400)["detail"]


async def test_sign_off() -> None:
    async with serving() as served:
        await served.db.heartbeat("alice", "bob", 42)
        assert (await served.call("DELETE", "/heartbeat", token=token("alice"))).status == 204
        assert (await served.call("DELETE", "/heartbeat", key=SERVICE_KEY, body={"user_id": 42})).status == 204
        assert await served.db.status(["alice", "bob", 42]) == {"alice": False, "bob": True, 42: False}
        assert (await served.call("POST", "/heartbeat", token=token("alice"))).status == 204
        assert await served.is_online("alice") is True


async def test_sign_off_with_grace_spares_the_other_device() -> None:
    async with serving() as served:
        await served.db.heartbeat("alice", "bob")
        for user in ("alice", "bob"):
            assert (await served.call("DELETE", "/heartbeat?grace=0.3", token=token(user))).status == 204
        assert (await served.call("POST", "/heartbeat", token=token("bob"))).status == 204
        await wait_until_async(lambda: _is_offline(served, "alice"), what="alice is offline")
        assert await served.is_online("bob") is True


async def _is_offline(served: Any, user: str) -> bool:
    return await served.is_online(user) is False


@pytest.mark.parametrize(
    "grace", ["", "-1", "soon", "nan", "inf", "1e3", "1,5", "1&grace=2", "99999999999", "%FF", "0x10", "%31%00"]
)
async def test_grace_that_is_not_right_changes_nothing(grace: str) -> None:
    async with serving() as served:
        await served.db.heartbeat("alice")
        (await served.call("DELETE", f"/heartbeat?grace={grace}", token=token("alice"))).problem(400)
        assert await served.is_online("alice") is True


async def test_rights_of_keys() -> None:
    async with serving() as served:
        for method, path, body in (
            ("POST", "/heartbeat", {"user_id": "u1"}),
            ("POST", "/heartbeats", {"user_ids": ["u1"]}),
            ("DELETE", "/heartbeat", {"user_id": "u1"}),
        ):
            problem = (await served.call(method, path, key=READER_KEY, body=body)).problem(403)
            assert problem["code"] == "denied"
            assert READER_KEY not in problem["detail"]
        (await served.call("GET", "/status/u1", key=WRITER_KEY)).problem(403)
        (await served.call("GET", "/", key=WRITER_KEY)).problem(403)
        assert await served.db.count() == 0


async def test_without_keys_the_body_names_the_user() -> None:
    async with serving(WITHOUT_KEYS) as served:
        assert (await served.call("POST", "/heartbeat", body={"user_id": "alice"})).status == 204
        assert (await served.call("POST", "/heartbeats", body={"user_ids": ["bob", 42]})).status == 204
        (await served.call("POST", "/heartbeat")).problem(400)
        assert (await served.call("GET", "/status/alice")).json["online"] is True
        assert await served.db.count() == 3
        for shown in ({"Authorization": f"Bearer {token('eve')}"}, {"X-API-Key": SERVICE_KEY}):
            answer = await served.call("POST", "/heartbeat", body={"user_id": "eve"}, headers=shown)
            assert "started without keys" in answer.problem(401)["detail"]
        assert await served.db.count() == 3


async def test_without_keys_but_open_to_everybody_the_rules_of_loopback_do_not_hold() -> None:
    settings = replace(WITHOUT_KEYS, listen=("0.0.0.0", 0), insecure=True)
    async with serving(settings) as served:
        answer = await served.call("POST", "/heartbeat", body={"user_id": "u1"}, headers={"Host": "presence.example.com"})
        assert answer.status == 204


async def test_heartbeats_of_one_turn_are_one_batch() -> None:
    async with serving() as served:
        info_before = await served.db.info()
        body = b'{"user_id": "user-%03d"}'
        one = (
            b"POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " + SERVICE_KEY.encode() + b"\r\n"
            b"Content-Type: application/json\r\nContent-Length: 23\r\n\r\n"
        )
        connections = [await asyncio.open_connection(*served.gateway.http_address) for _ in range(100)]
        for index, (_, writer) in enumerate(connections):
            writer.write(one + body % index)
        for reader, writer in connections:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            writer.close()
        info = await served.db.info()
        assert info["heartbeats"] - info_before["heartbeats"] == 100
        assert info["requests"]["heartbeat"] - info_before["requests"]["heartbeat"] < 50

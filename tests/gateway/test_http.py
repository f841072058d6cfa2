"""HTTP itself: methods, limits, pipelining, slow and broken clients; each answer is whole and in one form."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from presencedb.gateway.routes import ROUTES
from presencedb.limits import HTTP_BODY_BYTES_MAX, HTTP_FIELD_BYTES_MAX, HTTP_LINE_BYTES_MAX
from tests.gateway.issuing import token
from tests.gateway.serving import READER_KEY, SERVICE_KEY, WITH_KEYS, WITHOUT_KEYS, Served, answer_of, serving
from tests.support.certificates import Certificate
from tests.support.waiting import wait_until_async


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/heartbeat", "DELETE, OPTIONS, POST"),
        ("/heartbeats", "OPTIONS, POST"),
        ("/status/users", "GET, HEAD, OPTIONS, POST"),
        ("/status/u1", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
    ],
)
async def test_methods(path: str, allow: str) -> None:
    async with serving() as served:
        for method in ("PUT", "PATCH", "TRACE", "PROPFIND"):
            answer = await served.call(method, path, token=token())
            assert answer.problem(405)["code"] == "method_not_allowed"
            assert answer.headers["Allow"] == allow
        answer = await served.call("OPTIONS", path)
        assert (answer.status, answer.body, answer.headers["Allow"]) == (204, b"", allow)


async def test_head_is_get_without_its_body() -> None:
    async with serving() as served:
        for path in ("/status/u1", "/status/users?ids=a,b", "/", "/healthz"):
            got = await served.call("GET", path, token=token())
            head = await served.call("HEAD", path, token=token())
            assert (head.status, head.body) == (200, b"")
            assert head.headers["Content-Length"] == str(len(got.body))
            assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert (await served.call("HEAD", "/nothing")).status == 404


async def test_every_answer_carries_the_headers_of_caution() -> None:
    async with serving() as served:
        for method, path in (("GET", "/"), ("GET", "/status/u1"), ("POST", "/heartbeat"), ("GET", "/nothing"), ("PUT", "/")):
            for shown in (token(), "bad"):
                answer = await served.call(method, path, token=shown)
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Server"] == "presencedb"


def _line(length: int) -> bytes:
    start, end = b"GET /status/users?ids=", b" HTTP/1.1\r\n"
    ids = b",".join([b"x" * 250] * (length // 251 + 1))
    return start + ids[: length - len(start) - len(end) + 2] + end


async def test_request_line_is_bounded() -> None:
    async with serving(WITHOUT_KEYS) as served:
        fields = b"Host: localhost\r\nConnection: close\r\n\r\n"
        longest = _line(HTTP_LINE_BYTES_MAX)
        assert len(longest) == HTTP_LINE_BYTES_MAX + len(b"\r\n")
        assert answer_of(await served.raw(longest + fields)).status == 200
        for length in (HTTP_LINE_BYTES_MAX + 1, HTTP_LINE_BYTES_MAX + 100, 1_000_000):
            answer = answer_of(await served.raw(_line(length) + fields))
            problem = answer.problem(414)
            assert problem["code"] == "line_too_long"
            assert "POST /status/users" in problem["detail"]
        assert "414" in await _metric_lines(served, "presencedb_http_requests_total")


async def _metric_lines(served: Served, name: str) -> str:
    page = (await served.call("GET", "/metrics")).body.decode()
    return "\n".join(line for line in page.splitlines() if line.startswith(name))


async def test_header_fields_are_bounded() -> None:
    async with serving(WITHOUT_KEYS) as served:
        start = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        longest = b"X: " + b"x" * (HTTP_FIELD_BYTES_MAX - 10)
        assert answer_of(await served.raw(start + longest + b"\r\n\r\n")).status == 200
        answer_of(await served.raw(start + longest + b"x" * 20 + b"\r\n\r\n")).problem(431)
        many = b"".join(b"X%d: 1\r\n" % number for number in range(100))
        assert "Too many" in answer_of(await served.raw(start + many + b"\r\n")).problem(400)["detail"]


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\nnonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"\x93\x02\xa9heartbeat\x91\x01",
    ],
)
async def test_what_is_no_request_gets_a_problem_and_the_end(data: bytes) -> None:
    async with serving(WITHOUT_KEYS) as served:
        answer = answer_of(await served.raw(data))
        assert answer.problem(400)["code"] == "bad_request"
        assert (await served.call("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://127.0.0.1:7412/status/u1", b"localhost", 200),
        (b"http://example.com/status/u1", b"localhost", 403),
        (b"http://localhost@example.com/status/u1", b"localhost", 403),
        (b"http://localhost/status/users?ids=u1", b"localhost", 200),
        (b"http://xn--99999999/status/u1", b"localhost", 403),
        (b"*", b"localhost", 404),
        (b"//example.com/status/u1", b"localhost", 404),
        (b"/status/u1#fragment", b"localhost", 200),
    ],
)
async def test_forms_of_a_request_target(target: bytes, host: bytes, status: int) -> None:
    async with serving(WITHOUT_KEYS) as served:
        method = b"OPTIONS" if target == b"*" else b"GET"
        data = await served.raw(method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        answer = answer_of(data)
        assert answer.status == status


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as served:
        users = [f"u{number}" for number in range(20)]
        requests = b"".join(
            f"GET /status/{user} HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER_KEY}\r\n\r\n".encode() for user in users
        )
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        bodies = [
            part.partition(b"\r\n\r\n")[2] for part in (await served.raw(requests + last)).split(b"HTTP/1.1 200 OK\r\n")
        ]
        assert [json.loads(body)["id"] for body in bodies[1:-1]] == users


async def test_body_that_is_too_large_is_refused_without_being_read() -> None:
    async with serving() as served:
        head = (
            f"POST /heartbeats HTTP/1.1\r\nHost: x\r\nX-API-Key: {SERVICE_KEY}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {HTTP_BODY_BYTES_MAX + 1}\r\n\r\n"
        ).encode()
        reader, writer = await asyncio.open_connection(*served.gateway.http_address)
        writer.write(head)
        status_line = await reader.readline()
        writer.close()
        assert b" 413 " in status_line


async def test_chunked_body_is_bounded_too() -> None:
    async with serving() as served:

        async def chunks() -> Any:
            for _ in range(HTTP_BODY_BYTES_MAX // 65536 + 2):
                yield b" " * 65536

        headers = {"X-API-Key": SERVICE_KEY, "Content-Type": "application/json"}
        async with served.session.post(f"{served.url}/heartbeats", data=chunks(), headers=headers) as response:
            assert response.status == 413
        body = b'{"user_ids": ["u1"]}'

        async def pieces() -> Any:
            for byte in body:
                yield bytes([byte])

        async with served.session.post(f"{served.url}/heartbeats", data=pieces(), headers=headers) as response:
            assert response.status == 204
        assert await served.db.count() == 1


async def test_whoever_asks_before_a_large_body_is_told_to_go_on() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection(*served.gateway.http_address)
        body = b'{"user_id": "u1"}'
        head = (
            f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nX-API-Key: {SERVICE_KEY}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        ).encode()
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.replace(b"100-continue", b"200-ok"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 417")
        writer.close()
        assert await served.is_online("u1") is True


@pytest.mark.parametrize("body", [b"", b'{"user_'])
async def test_client_that_goes_away_in_the_middle_harms_nobody(body: bytes) -> None:
    async with serving() as served:
        _, writer = await asyncio.open_connection(*served.gateway.http_address)
        writer.write(
            f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nX-API-Key: {SERVICE_KEY}\r\nContent-Type: application/json\r\n"
            "Content-Length: 17\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()
        assert (await served.call("POST", "/heartbeat", token=token("u2"))).status == 204
        assert await served.db.count() == 1


async def test_broken_chunks_are_refused() -> None:
    async with serving() as served:
        head = (
            f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nX-API-Key: {SERVICE_KEY}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        ).encode()
        data = await served.raw(head + b"zz\r\nnonsense\r\n\r\n")
        assert b" 400 " in data.partition(b"\r\n")[0]
        assert b"Traceback" not in data
        assert await served.db.count() == 0


async def test_stop_finishes_what_is_in_flight() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection(*served.gateway.http_address)
        idle_reader, idle_writer = await asyncio.open_connection(*served.gateway.http_address)
        body = b'{"user_id": "u1"}'
        writer.write(
            f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nX-API-Key: {SERVICE_KEY}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        stopping = asyncio.create_task(served.gateway.stop())
        await wait_until_async(lambda: _refused(served), what="nobody new is accepted")
        assert not stopping.done()
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 204")
        assert await idle_reader.read() == b""
        await stopping
        assert await served.is_online("u1") is True
        writer.close()
        idle_writer.close()


async def _refused(served: Served) -> bool:
    try:
        _, writer = await asyncio.open_connection(*served.gateway.http_address)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    writer.close()
    return False


async def test_mistake_of_ours_is_a_problem_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from presencedb.gateway import rest

    def broken(raw: str) -> int:
        raise RuntimeError(f"a secret detail about {raw}")

    monkeypatch.setattr(rest, "read_path_id", broken)
    async with serving() as served:
        problem = (await served.call("GET", "/status/u1", token=token())).problem(500)
        assert "secret" not in problem["detail"]
        assert (await served.call("GET", "/status/users?ids=u1", token=token())).status == 200


async def test_page_at_the_root_lists_every_call() -> None:
    async with serving() as served:
        document = (await served.call("GET", "/", token=token())).json
        assert [(call["method"], call["path"]) for call in document["calls"]] == [
            (route.method, route.path) for route in ROUTES
        ]
        page = await served.call("GET", "/", token=token(), headers={"Accept": "text/html,*/*"})
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert all(f"{route.method} {route.path}" in page.body.decode() for route in ROUTES)


async def test_slow_body_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presencedb.gateway.bodies.HTTP_BODY_WAIT_S", 0.2)
    async with serving() as served:
        reader, writer = await asyncio.open_connection(*served.gateway.http_address)
        writer.write(
            f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nX-API-Key: {SERVICE_KEY}\r\nContent-Type: application/json\r\n"
            "Content-Length: 17\r\n\r\n{".encode()
        )
        assert (await served.call("POST", "/heartbeat", token=token("u2"))).status == 204
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_https(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    async with serving(replace(WITH_KEYS, ssl_context=certificate.server_context())) as served:
        url = served.url.replace("http://", "https://")
        trust = certificate.client_context()
        headers = {"Authorization": f"Bearer {token('u1')}"}
        async with served.session.post(f"{url}/heartbeat", ssl=trust, headers=headers) as response:
            assert response.status == 204
        async with served.session.get(f"{url}/status/users?ids={'x' * 70_000}", ssl=trust) as response:
            assert response.status == 414
        await served.raw(f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nX-API-Key: {SERVICE_KEY}\r\n\r\n".encode())
        assert await served.db.count() == 1

"""Whatever is sent, the answer is a problem in its form, or the end of the connection; never an accident, never a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.serving import ADMIN_KEY, SERVICE_KEY, answer_of, exchange, serving_in_a_thread

Address = tuple[str, int]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving_in_a_thread() as where:
        yield where
        assert b" 200 " in exchange(where, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


METHODS = st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "CONNECT"])
TARGETS = st.sampled_from(
    [
        "/heartbeat",
        "/heartbeats",
        "/status/users",
        "/status/",
        "/",
        "/metrics",
        "*",
        "http://localhost/",
        "http://xn--99999999/",
        "http://[::1/",
        "http://a:99999999/",
        "//",
        "http:///x",
        "a:1",
    ]
)
PIECES = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=20).map(lambda text: text.encode("latin-1"))
QUERIES = st.lists(
    st.sampled_from([b"?", b"&", b"ids=", b"grace=", b"%", b"%2C", b",", b"=", b"%FF", b"%00"]) | PIECES, max_size=6
)
FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Authorization", b"X-API-Key", b"Content-Type", b"Accept", b"Expect", b"Origin", b"Content-Encoding"]
        ),
        st.sampled_from([b"Bearer x.y.z", SERVICE_KEY.encode(), ADMIN_KEY.encode(), b"application/json", b"100-continue"])
        | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=10).map(
            lambda text: text.encode("latin-1")
        ),
    ),
    max_size=4,
)
BODIES = st.binary(max_size=40) | st.sampled_from(
    [b'{"user_id": 1}', b'{"user_ids": [1]}', b'{"ids": ["\xff"]}', b"{", b"[1e999]"]
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A method, and a request by it of which any part may be nonsense."""
    method, target, query, fields, body = draw(st.tuples(METHODS, TARGETS, QUERIES, FIELDS, BODIES))
    head = method.encode() + b" " + target.encode() + b"".join(query) + b" HTTP/1.1\r\nHost: localhost\r\n"
    head += b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    return method, head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@given(requests())
def test_any_request_gets_an_answer_that_is_no_accident(address: Address, request: tuple[str, bytes]) -> None:
    method, data = request
    received = exchange(address, data).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status in {200, 204} or 400 <= status < 500, received
    assert b"Traceback" not in received
    if status >= 400:
        assert b"application/problem+json" in head
        if method != "HEAD":
            assert json.loads(body)["status"] == status


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_get_a_problem_or_the_end(address: Address, data: bytes) -> None:
    received = exchange(address, data + b"\r\n\r\n", and_the_end=True)
    if received:
        assert answer_of(received).status in {400, 401, 404, 405}

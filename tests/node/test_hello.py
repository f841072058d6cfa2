"""What the log says of those who introduce themselves."""

from __future__ import annotations

import contextlib
from typing import Any

from structlog.testing import capture_logs

from presencedb.credentials import Credentials, Principal, Right
from presencedb.errors import Unauthenticated
from tests.node.running import address_of, running_node
from tests.support.wire import Wire

TOKEN = "correct-horse-battery"
CREDENTIALS = Credentials([(TOKEN, Principal("backend", frozenset({Right.READ})))])


async def introductions(*hellos: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """What is logged of the introductions on one connection."""
    with capture_logs() as logs:
        async with running_node(**settings) as node, Wire(address_of(node)) as client:
            for options in hellos:
                with contextlib.suppress(Unauthenticated):
                    await client.call("hello", options)
    assert TOKEN not in str(logs)
    entries = [dict(entry) for entry in logs if entry["event"] == "a client introduced itself"]
    for entry in entries:
        assert entry.pop("peer").startswith("127.0.0.1:")
        assert entry.pop("log_level") == "debug"
        del entry["event"]
    return entries


async def test_a_client_is_named_once() -> None:
    hello = {"client": "green-dots", "version": "1.2"}
    assert await introductions(hello, hello, {**hello}) == [{"client": "green-dots", "version": "1.2", "principal": ""}]


async def test_the_owner_of_the_token_is_named_and_never_the_token() -> None:
    hello = {"client": "green-dots", "token": TOKEN}
    expected = {"client": "green-dots", "version": "", "principal": "backend"}
    assert await introductions(hello, {"token": "another-token"}, hello, credentials=CREDENTIALS) == [expected]


async def test_a_refused_token_is_no_introduction() -> None:
    assert await introductions({"client": "thief", "token": f"{TOKEN}s"}, credentials=CREDENTIALS) == []


async def test_who_says_nothing_is_not_named() -> None:
    assert await introductions({}, {}) == []


async def test_a_long_name_is_cut() -> None:
    (entry,) = await introductions({"client": "x" * 8000})
    assert len(entry["client"]) == 100

"""The main way through the product, from a heartbeat to the offline event, by every kind of client, on real processes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import jwt
import pytest
from aio_msgpack_rpc import Client as ThirdPartyClient

from presencedb import AsyncClient
from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess, run_command, serve
from tests.support.waiting import wait_until, wait_until_async

TTL_MS: Final = 2_000
TICK_MS: Final = 50
JWT_SECRET: Final = "a-secret-of-thirty-two-characters!"
AUDIENCE: Final = "green-dots"
FAR_FUTURE: Final = 4_000_000_000
LATE_USERS: Final = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    key = tmp_path_factory.mktemp("keys") / "jwt"
    key.write_text(JWT_SECRET)
    options = ("--ttl", str(TTL_MS / 1000), "--tick", str(TICK_MS), "--jwt-key", str(key), "--jwt-audience", AUDIENCE)
    with serve(*options) as process:
        yield process


def token(**changes: Any) -> str:
    claims = {"sub": "walker", "aud": AUDIENCE, "exp": FAR_FUTURE} | changes
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


def call(server: ServerProcess, method: str, path: str, bearer: str | None) -> tuple[int, Any]:
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    request = urllib.request.Request(server.http_url + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read()
    return status, json.loads(body) if body else None


def events_of(follower: RawConnection, user_id: int | str, count: int) -> list[list[Any]]:
    """The next `count` events of one user: `[id, online, at_ms, reason]` each."""
    events: list[list[Any]] = []
    while len(events) < count:
        kind, method, params = follower.receive()
        assert (kind, method) == (2, "presence")
        events += [event for event in params[1] if event[0] == user_id]
    return events


def assert_offline_on_time(events: list[list[Any]], last_seen_ms: int) -> None:
    """One event online, then one offline, dated a ttl after the last heartbeat and not two ticks later."""
    (_, came, _, why_came), (_, left, left_at_ms, why_left) = events
    assert (came, why_came) == (True, "heartbeat")
    assert (left, why_left) == (False, "timeout")
    assert TTL_MS < left_at_ms - last_seen_ms <= TTL_MS + 2 * TICK_MS


def test_http_from_the_heartbeat_to_the_offline_event(server: ServerProcess) -> None:
    with RawConnection(server.tcp) as follower, RawConnection(server.tcp) as node:
        assert follower.call("follow")[0] is None
        assert call(server, "POST", "/heartbeat", token())[0] == 204
        status, answer = call(server, "GET", "/status/users?ids=walker,42,nobody", token())
        assert status == 200
        assert [(user_id, state["online"]) for user_id, state in answer["statuses"].items()] == [
            ("walker", True),
            ("42", False),
            ("nobody", False),
        ]
        assert call(server, "GET", "/status/walker", token())[1]["online"] is True
        _, last_seen = node.call("last_seen", "walker")
        assert_offline_on_time(events_of(follower, "walker", 2), last_seen[0])
        assert call(server, "GET", "/status/walker", token())[1]["online"] is False
        assert call(server, "GET", "/status/users?ids=walker", token())[1]["statuses"]["walker"]["online"] is False


@pytest.mark.parametrize(
    "bearer",
    [
        pytest.param(None, id="absent"),
        pytest.param("not.a.token", id="bad"),
        pytest.param(token(exp=1), id="expired"),
        pytest.param(token(aud="others"), id="wrong audience"),
        pytest.param(jwt.encode({"sub": "thief", "aud": AUDIENCE, "exp": FAR_FUTURE}, "", algorithm="none"), id="unsigned"),
        pytest.param(token(sub="thief")[:-6] + "AAAAAA", id="bad signature"),
    ],
)
def test_a_wrong_token_is_refused_and_changes_nothing(server: ServerProcess, bearer: str | None) -> None:
    status, problem = call(server, "POST", "/heartbeat", bearer)
    assert status == 401
    assert problem["status"] == 401
    with RawConnection(server.tcp) as node:
        assert node.call("status", ["thief"]) == (None, [False])


def test_the_command_line_from_the_heartbeat_to_the_offline_event(server: ServerProcess) -> None:
    url = ("--url", server.url)
    with RawConnection(server.tcp) as follower:
        assert follower.call("follow")[0] is None
        assert run_command("heartbeat", *url, "terminal").returncode == 0
        events = events_of(follower, "terminal", 2)
        assert [(event[1], event[3]) for event in events] == [(True, "heartbeat"), (False, "timeout")]
    answer = run_command("status", *url, "--json", "terminal", "7")
    states = [json.loads(line) for line in answer.stdout.splitlines()]
    assert (answer.returncode, states) == (0, [{"id": "terminal", "online": False}, {"id": "7", "online": False}])


async def test_the_python_client_from_the_heartbeat_to_the_offline_event(server: ServerProcess) -> None:
    async with AsyncClient(server.url) as db, AsyncClient(server.url) as watcher:
        await db.heartbeat("python", 4711)
        assert await db.status(["python", "4711", "nobody"]) == {"python": True, 4711: True, "nobody": False}
        seen = (await db.last_seen(["python"]))["python"]
        assert seen is not None
        async for change in watcher.follow():
            if change.id == "python":
                break
        assert (change.online, change.reason) == (False, "timeout")
        assert change.at is not None
        assert TTL_MS < (change.at - seen).total_seconds() * 1000 <= TTL_MS + 2 * TICK_MS
        assert await db.status(["python"]) == {"python": False}


async def test_a_third_party_client_from_the_heartbeat_to_offline(server: ServerProcess) -> None:
    import asyncio

    reader, writer = await asyncio.open_connection(*server.tcp)
    client = ThirdPartyClient(reader, writer)
    try:
        assert await client.call("heartbeat", [1001, "someone"]) == 2
        assert await client.call("status", [1001, "someone", "nobody"]) == [True, True, False]

        async def all_left() -> bool:
            return bool(await client.call("status", [1001, "someone"]) == [False, False])

        await wait_until_async(all_left)
    finally:
        client.close()
        await writer.wait_closed()


def test_a_node_without_any_traffic_emits_its_events_on_time(server: ServerProcess) -> None:
    with RawConnection(server.tcp) as follower, RawConnection(server.tcp) as node:
        assert follower.call("follow")[0] is None
        assert node.call("heartbeat", ["quiet"])[0] is None
        _, last_seen = node.call("last_seen", "quiet")
        # From here on nobody says a word: only the wheel can wake the node.
        assert_offline_on_time(events_of(follower, "quiet", 2), last_seen[0])


def test_sigterm_drains_and_exits_with_zero() -> None:
    with serve("--ttl", "5") as process, RawConnection(process.tcp) as node:
        assert node.call("ping") == (None, "pong")
        node.send(b"".join(b"\x94\x00" + bytes([i]) + b"\xa9heartbeat\x91" + bytes([i]) for i in range(100)))
        first = node.receive()
        assert process.terminate() == 0
        answers = [first, *node.receive_to_end()]
        assert answers == [[1, i, None, 1] for i in range(len(answers))]
    assert "Traceback" not in process.stderr


def test_timeouts_come_on_time_and_the_lateness_of_each_is_counted(server: ServerProcess) -> None:
    """What a node is at most late by is held to the tick in virtual time; here a busy machine may hold up a few."""
    with RawConnection(server.tcp) as node:
        wait_until(lambda: _most_are_on_time(node), deadline_s=60, what="a round in which the machine is not too busy")


def _most_are_on_time(node: RawConnection) -> bool:
    """Let users time out one by one: none is counted twice or left out, and three quarters come within a tick."""
    users = [f"late-{number}" for number in range(LATE_USERS)]
    before = node.call("info")[1]
    for user_id in users:
        ticks = node.call("info")[1]["ticks"]
        assert node.call("heartbeat", user_id) == (None, 1)
        wait_until(lambda: node.call("info")[1]["ticks"] > ticks)  # noqa: B023 - it is called before the loop goes on
    wait_until(lambda: node.call("status", users)[1] == [False] * len(users))
    after = node.call("info")[1]
    counts = {bound: count - before["lateness_ms"][bound] for bound, count in after["lateness_ms"].items()}
    timeouts = after["timeouts"] - before["timeouts"]
    assert sum(counts.values()) == timeouts >= len(users)
    assert min(counts.values()) >= 0
    return bool(counts["0"] + counts[str(TICK_MS)] >= timeouts * 3 / 4)

"""`examples/webhook`: whatever becomes of receiver and relay, every change arrives, in order, and none without its key."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from presencedb import AsyncClient, AsyncFollow
from tests.examples.hook import Event, Hook, write_secret
from tests.examples.running import Example, run_example
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until_async

RELAY: Final = "webhook/relay.py"
MANY: Final = range(20_000)
ROUNDS_OF_MANY: Final = 25
GROWTH_BYTES_MAX: Final = 64 * 2**20
"""65,536 changes wait in the client, at about 400 bytes each, and one batch beside them. All of the test's take 400 MB."""
USERS: Final = [*range(98), "alice", "bob"]


@contextlib.asynccontextmanager
async def following() -> AsyncIterator[tuple[ServerProcess, AsyncClient, AsyncFollow]]:
    """A node, a client of it, and a feed of what happens there."""
    with ServerProcess("node", "--listen", "127.0.0.1:0", "--ttl", "600", "--tick", "50") as node:
        async with AsyncClient(node.url) as db, db.follow() as truth:
            yield node, db, truth


def relay(folder: Path, node: ServerProcess, hook: Hook, *options: str) -> Example:
    secret = write_secret(folder)
    where = ("--presence", node.url, "--secret-file", secret, "--state", str(folder / "state.json"))
    return Example(folder, RELAY, hook.url, *where, "--batch", "1", "--timeout", "2", *options)


async def toggle(db: AsyncClient, truth: AsyncFollow, round_count: int) -> list[Event]:
    """Everybody comes and goes; gives what the feed told of it. A round is a portion of the feed, or several."""
    events: list[Event] = []
    for number in range(round_count):
        if number % 2 == 0:
            await db.heartbeat_batch(USERS)
        else:
            await db.offline_batch(USERS)
        for change in [await anext(truth) for _ in USERS]:
            at = None if change.at is None else change.at.isoformat(timespec="milliseconds")
            events.append((str(change.id), change.online, at, change.reason))
    return events


def resets(hook: Hook) -> int:
    """How often everything was told anew."""
    return [body["type"] for body in hook.told].count("presence.reset")


async def until_reset(hook: Hook) -> None:
    await wait_until_async(lambda: hook.told, what="the reset")


async def until_told(hook: Hook, events: list[Event]) -> None:
    """Wait until as many events came; they have to be these, in this order, and nothing about the requests wrong."""
    await wait_until_async(lambda: len(hook.events) >= len(events), what=f"all {len(events)} events")
    assert hook.events == events
    assert not hook.problems


async def test_every_change_arrives_whatever_becomes_of_both_ends(tmp_path: Path) -> None:
    async with following() as (node, db, truth), Hook() as hook:
        with relay(tmp_path, node, hook) as example:
            restarts: list[asyncio.Task[None]] = []

            async def fail(request: web.Request) -> int:
                return 500

            async def be_slow(request: web.Request) -> int:
                await asyncio.sleep(0.3)
                return 200

            async def hang_up(request: web.Request) -> int:
                assert request.transport is not None
                request.transport.close()
                return 200

            async def redirect(request: web.Request) -> int:
                raise web.HTTPFound("/elsewhere")

            async def kill_and_start(request: web.Request) -> int:
                example.kill()
                example.start()
                return 200

            async def start_anew() -> None:
                await hook.stop()
                await hook.start()

            async def restart(request: web.Request) -> int:
                restarts.append(asyncio.create_task(start_anew()))
                await asyncio.sleep(60)  # until the connection is closed
                return 200

            troubles = [fail, be_slow, hang_up, kill_and_start, redirect, restart, fail, kill_and_start]
            hook.answers = {2 * number + 1: trouble for number, trouble in enumerate(troubles)}
            await until_reset(hook)
            events = await toggle(db, truth, 20)
            await until_told(hook, events)
            await asyncio.gather(*restarts)
        assert len(hook.keys) > max(hook.answers), "every trouble came up"
        assert resets(hook) == 1


async def test_told_to_end_it_waits_for_the_answer_and_goes_on_without_a_repetition(tmp_path: Path) -> None:
    async with following() as (node, db, truth), Hook() as hook:
        with relay(tmp_path, node, hook) as example:
            may_answer = asyncio.Event()

            async def when_told(request: web.Request) -> int:
                await may_answer.wait()
                return 200

            hook.answers = {1: when_told}
            await until_reset(hook)
            events = await toggle(db, truth, 2)
            await wait_until_async(lambda: len(hook.keys) == 2, what="the first batch")
            example.ask_to_end()
            await wait_until_async(lambda: "told to end" in example.output, what="the signal")
            may_answer.set()
            assert await asyncio.to_thread(example.status) == 0
            events += await toggle(db, truth, 2)
            example.start()
            await until_told(hook, events)
            assert len(hook.keys) == len(hook.bodies)


async def test_after_a_restart_of_the_node_everybody_is_told_anew(tmp_path: Path) -> None:
    async with Hook() as hook, contextlib.AsyncExitStack() as later:
        with ServerProcess("node", "--listen", "127.0.0.1:0", "--ttl", "600") as node:
            async with AsyncClient(node.url) as db:
                await db.heartbeat("before")
            example = later.enter_context(relay(tmp_path, node, hook))
            await wait_until_async(lambda: hook.known == ["before"], what="who is online at first")
        with ServerProcess("node", "--listen", node.ready["tcp"], "--ttl", "600") as node:
            async with AsyncClient(node.url) as db:
                await db.heartbeat("after")
                await wait_until_async(lambda: resets(hook) == 2, what="the second reset")
                await db.offline("after")
            await wait_until_async(
                lambda: hook.events[-1:] and hook.events[-1][:2] == ("after", False), what="the last change"
            )
            example.ask_to_end()
            assert await asyncio.to_thread(example.status) == 0
    assert resets(hook) == 2
    assert not hook.problems


async def test_killed_while_it_tells_who_is_online_it_goes_on_there(tmp_path: Path) -> None:
    async with following() as (node, db, _), Hook() as hook:
        await db.heartbeat_batch(USERS)
        with relay(tmp_path, node, hook, "--batch", "10") as example:

            async def kill_and_start(request: web.Request) -> int:
                example.kill()
                example.start()
                return 200

            hook.answers = {0: kill_and_start, 3: kill_and_start, 7: kill_and_start}
            await wait_until_async(lambda: len(hook.known) >= len(USERS), what="everybody online")
            await db.offline("alice")
            await wait_until_async(lambda: hook.events, what="the change after it")
    assert sorted(hook.known) == sorted(map(str, USERS))
    assert resets(hook) == 1
    assert not hook.problems


@pytest.mark.heavy
@pytest.mark.deadline(300)
async def test_a_slow_receiver_costs_no_memory(tmp_path: Path) -> None:
    async with following() as (node, db, _), Hook() as hook:
        with relay(tmp_path, node, hook, "--timeout", "60", "--batch", "1000") as example:
            may_answer = asyncio.Event()

            async def when_told(request: web.Request) -> int:
                await may_answer.wait()
                return 200

            hook.answers = {1: when_told}
            await until_reset(hook)
            before_bytes = resident_bytes(example.pid)
            for _ in range(ROUNDS_OF_MANY):
                await db.heartbeat_batch(MANY)
                await db.offline_batch(MANY)
            await wait_until_async(lambda: len(hook.keys) == 2, what="the first batch")
            await wait_until_async(lambda: is_behind(db), what="that the node holds the rest back")
            assert resident_bytes(example.pid) - before_bytes < GROWTH_BYTES_MAX
            may_answer.set()
            await wait_until_async(lambda: hook.change_count == 2 * ROUNDS_OF_MANY * len(MANY), 200, what="every change")
    assert not hook.problems


async def is_behind(db: AsyncClient) -> bool:
    """Whether the node holds changes back, from the relay and from the feed of this test, which nobody reads."""
    return bool((await db.info())["readers_behind"] == 2)


def resident_bytes(pid: int) -> int:
    """The memory of a process that is in use."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


async def test_two_relays_do_not_share_a_state(tmp_path: Path) -> None:
    async with following() as (node, _, _), Hook() as hook:
        with relay(tmp_path, node, hook):
            await until_reset(hook)
            options = ("--presence", node.url, "--secret-file", write_secret(tmp_path), "--state", "state.json")
            second = await asyncio.to_thread(run_example, tmp_path, RELAY, hook.url, *options)
    assert (second.returncode, second.stderr) == (1, "state.json: another relay is at work with it\n")


def test_help_teaches_and_a_wrong_secret_says_what_is_right(tmp_path: Path) -> None:
    shown = run_example(tmp_path, RELAY, "--help")
    for word in ("webhook-id", "presence.reset", "openssl rand", "--state", "SIGTERM"):
        assert word in shown.stdout
    (tmp_path / "secret").write_text("hunter2\n")
    wrong = run_example(tmp_path, RELAY, "http://127.0.0.1:1/", "--secret-file", "secret", "--state", "state")
    assert wrong.returncode == 1
    assert "openssl rand" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


async def test_the_receiver_prints_what_the_relay_tells(tmp_path: Path) -> None:
    secret = write_secret(tmp_path)
    async with following() as (node, db, _):
        await db.heartbeat("alice")
        with Example(tmp_path, "webhook/receiver.py", "--secret-file", secret, "--port", "0") as receiver:
            url = await wait_until_async(
                lambda: next((word for word in receiver.output.split() if word.startswith("http://")), None), what="its port"
            )
            options = ("--presence", node.url, "--secret-file", secret, "--state", "state.json")
            with Example(tmp_path, RELAY, f"{url}/presence", *options):
                await wait_until_async(lambda: "alice\tonline\tknown" in receiver.output, what="who is online")
                await db.offline("alice")
                await wait_until_async(lambda: "alice\toffline\tsign_off" in receiver.output, what="who went")
    assert json.loads((tmp_path / "state.json").read_text())["scan"] is None

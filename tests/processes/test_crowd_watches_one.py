"""Very many who watch the same user: each is told of every change, once and in order, and at most once a tick."""

from __future__ import annotations

import asyncio
import resource
from contextlib import ExitStack
from typing import Any, Final

import pytest

from tests.support.msgpackrpc import RawConnection
from tests.support.process import serve
from tests.support.waiting import DEADLINE_S
from tests.support.wire import Wire

USER: Final = 7
LAST: Final = "who comes last"
BURSTS: Final = 10
CHANGES_A_BURST: Final = 10
BURST_PAUSE_S: Final = 0.05
FILES_BESIDE: Final = 200


def allow_files(count: int) -> None:
    """Let this process, and those that it starts, have so many open files; skips the test where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs {count} open files, and no process may have more than {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


async def change_often(writer: Wire) -> None:
    """The user comes and goes all the time, several times a tick."""
    for _ in range(BURSTS):
        calls = [("offline" if number % 2 else "heartbeat", USER) for number in range(CHANGES_A_BURST)]
        assert [await writer.answer(msgid) for msgid in writer.send_together(*calls)] == [1] * CHANGES_A_BURST
        await asyncio.sleep(BURST_PAUSE_S)


def read_to_last(watcher: RawConnection) -> tuple[list[Any], int]:
    """What a watcher was told, as (id, online), and in how many notifications."""
    told: list[Any] = []
    notification_count = 0
    while not told or told[-1][0] != LAST:
        kind, method, (_, changes) = watcher.receive()
        assert (kind, method) == (2, "presence")
        told += [(user_id, online) for user_id, online, _, _ in changes]
        notification_count += 1
    return told, notification_count


@pytest.mark.parametrize("count", [300, pytest.param(9_000, marks=[pytest.mark.heavy, pytest.mark.deadline(600)])])
async def test_each_of_many_who_watch_one_user_is_told_of_all_changes_at_most_once_a_tick(count: int) -> None:
    allow_files(count + FILES_BESIDE)
    with serve() as server, ExitStack() as stack:
        watchers = [stack.enter_context(RawConnection(server.tcp, deadline_s=2 * DEADLINE_S)) for _ in range(count)]
        for watcher in watchers:
            assert watcher.call("watch", [USER, LAST])[1][1] == [False, False]
        async with Wire(server.tcp) as writer:
            before = await writer.call("info")
            await change_often(writer)
            await writer.call("heartbeat", LAST)
            expected = [(USER, True), (USER, False)] * (BURSTS * CHANGES_A_BURST // 2) + [(LAST, True)]
            notification_counts: list[int] = []
            for watcher in watchers:
                told, notification_count = read_to_last(watcher)
                assert told == expected
                notification_counts.append(notification_count)
            after = await writer.call("info")
        assert max(notification_counts) <= after["ticks"] - before["ticks"]
        assert (after["readers_behind"], after["readers_cut"], after["feed_gaps"]) == (0, {}, {})

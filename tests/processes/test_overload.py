"""A node that is offered more heartbeats than it can take: the others notice little, and its memory is flat.

What is asserted is counted, not timed: how many ids of the flood a node serves while a small call is under way.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from presencedb import AsyncClient, Client
from presencedb.implementation import compiled_module
from presencedb.limits import IDS_PER_FRAME_MAX, LOOP_TURN_IDS_MAX, MIB, READ_BUFFER_BYTES
from tests.processes import flooding
from tests.support.process import ServerProcess, serve
from tests.support.sources import ROOT
from tests.support.waiting import wait_until, wait_until_async

OTHERS_IDS_MAX: Final = 2 * (LOOP_TURN_IDS_MAX + IDS_PER_FRAME_MAX)
"""What a node serves of others between the arrival of a small request and its answer."""
SLACK: Final = 2
"""The client takes its time too between an answer and its next call, and the flood goes on meanwhile."""
CALLS_A_ROUND: Final = 3
FLAT_BYTES: Final = 32 * MIB
BUFFER_GROWTH: Final = 2
"""A buffer that grows by doubling may be half empty."""
PLATEAU_S: Final = 60.0
LARGE_FRAME_IDS: Final = IDS_PER_FRAME_MAX if compiled_module("presencedb.engine._kernel") is not None else 10_000
"""The largest there is takes the engine in plain Python the better part of a second."""
TICKS: Final = 5


@contextmanager
def flood(server: ServerProcess, connection_count: int, frame_ids: int) -> Iterator[None]:
    """Many connections that send heartbeats as fast as the node takes them, from a process of their own."""
    host, port = server.tcp
    arguments = [host, str(port), str(connection_count), str(frame_ids)]
    command = [sys.executable, flooding.__file__, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "full\n", "the flood was no flood"
            yield
            assert process.poll() is None, "the flood has ended"
        finally:
            process.kill()


def resident_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) * 1024


class Observed:
    """What was seen in the rounds of one flood."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.others_ids: list[int] = []
        """What was served of the flood between the answers to two `info`, with a ping and a status between them."""
        self.resident: list[int] = []

    def add(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.others_ids.append(after["heartbeats"] - before["heartbeats"])
        self.resident.append(resident_bytes(self._server))


def rounds_of_client(server: ServerProcess, round_count: int) -> Observed:
    """Calls of the blocking client while the flood lasts."""
    observed = Observed(server)
    with Client(server.url) as db:
        first = db.info()
        db.heartbeat("one who is online")
        for _ in range(round_count):
            before = db.info()
            db.ping()
            assert db.status(["one who is online", "another"]) == {"one who is online": True, "another": False}
            observed.add(before, db.info())
        wait_until(lambda: db.info()["ticks"] > first["ticks"] + TICKS)
    return observed


async def rounds_of_async_client(server: ServerProcess, round_count: int) -> Observed:
    """The same of the one for asyncio."""
    observed = Observed(server)
    async with AsyncClient(server.url) as db:
        first = await db.info()
        await db.heartbeat("one who is online")
        for _ in range(round_count):
            before = await db.info()
            await db.ping()
            assert await db.status(["one who is online", "another"]) == {"one who is online": True, "another": False}
            observed.add(before, await db.info())

        async def has_ticked() -> bool:
            return bool((await db.info())["ticks"] > first["ticks"] + TICKS)

        await wait_until_async(has_ticked)
    return observed


def check(observed: Observed, idle_bytes: int, connection_count: int, frame_bytes: int) -> None:
    """Hold what was seen against what docs/operations.md says."""
    assert median(observed.others_ids) <= SLACK * CALLS_A_ROUND * OTHERS_IDS_MAX
    input_bytes = connection_count * (READ_BUFFER_BYTES + frame_bytes)
    half = len(observed.resident) // 2
    assert max(observed.resident[half:]) - max(observed.resident[:half]) < (BUFFER_GROWTH - 1) * input_bytes + FLAT_BYTES
    assert max(observed.resident) - idle_bytes < BUFFER_GROWTH * input_bytes + FLAT_BYTES


async def overload(connection_count: int, frame_ids: int, round_count: int) -> None:
    frame_bytes = len(flooding.frame(0, frame_ids))
    # Every connection has had its turn, and holds as much of its input as it ever will.
    ids_of_one_turn_each = connection_count * (READ_BUFFER_BYTES + frame_bytes) * frame_ids // frame_bytes
    with serve("--ttl", "60") as server:
        with Client(server.url) as db:
            db.heartbeat_batch(range(flooding.USERS))
        idle_bytes = resident_bytes(server)
        with flood(server, connection_count, frame_ids):
            with Client(server.url) as db:
                wait_until(lambda: db.info()["heartbeats"] >= ids_of_one_turn_each, PLATEAU_S, what="the plateau")
            check(rounds_of_client(server, round_count), idle_bytes, connection_count, frame_bytes)
            check(await rounds_of_async_client(server, round_count), idle_bytes, connection_count, frame_bytes)
        assert "Traceback" not in server.stderr
        assert server.terminate() == 0


@pytest.mark.parametrize("frame_ids", [10, LARGE_FRAME_IDS])
async def test_a_flood_of_heartbeats_holds_up_nobody_else(frame_ids: int) -> None:
    await overload(24, frame_ids, round_count=8)


@pytest.mark.heavy
@pytest.mark.deadline(300)
@pytest.mark.timeout(320)
@pytest.mark.parametrize("frame_ids", [1, 1_000, LARGE_FRAME_IDS])
async def test_a_flood_of_hundreds_of_connections_holds_up_nobody_else(frame_ids: int) -> None:
    await overload(400, frame_ids, round_count=300)


def test_the_documentation_states_what_a_call_waits_for() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for number in (LOOP_TURN_IDS_MAX, IDS_PER_FRAME_MAX, OTHERS_IDS_MAX):
        assert f"{number:,}" in page

"""Readers that stop reading while much happens: they cost the node a bounded amount, and nobody else an event."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest

from presencedb import AsyncClient, Client
from presencedb.ids import Id
from presencedb.limits import EVENTS_HIGH_WATER_BYTES, FEED_FRAME_EVENTS_MAX, MIB, SECOND_MS, SLOW_READER_MS
from tests.processes.crowd import (
    TICK_MS,
    Told,
    resident_bytes,
    timeouts_on_time,
    told_blocking_until,
    told_until,
)
from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess, serve
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire

TTL_S: Final = 1.0
TOGGLED: Final = range(5_000)
"""Users who come and go all the time, so that the feed is full of them."""
STEP_S: Final = 2 * len(TOGGLED) / 50_000
"""They all come and go once in it, which makes 50,000 changes a second."""
WATCHED: Final = range(0, len(TOGGLED), 50)
WAVE_COUNT: Final = 100
FIRST_WAVE: Final = 1_000_000
"""Users who come in waves, and go by their ttl."""
LAST: Final = "who comes last"

EVENT_BYTES_MAX: Final = 32
"""In a notification: a small integer, a boolean, a time and the longest reason."""
READER_BYTES_MAX: Final = 2 * EVENTS_HIGH_WATER_BYTES + FEED_FRAME_EVENTS_MAX * EVENT_BYTES_MAX
"""What one that does not read costs the node: twice the high water, as a write of which the most is sent is kept whole."""
KERNEL_BYTES_MAX: Final = 1 * MIB
"""What is on its way to it: what the kernel keeps unsent, and what its own end takes in."""
SLACK_BYTES: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happens, and beside how many who do not read.

    Attributes:
        steps: all of `TOGGLED` come and go so often.
        steps_a_wave: a wave comes after so many steps.
        on_time_share: of the timeouts, the least that are told on time. A small share where other tests run beside this.
    """

    deaf_count: int
    steps: int
    steps_a_wave: int
    on_time_share: float

    @property
    def waves(self) -> range:
        """The users who come in waves."""
        return range(FIRST_WAVE, FIRST_WAVE + self.steps // self.steps_a_wave * WAVE_COUNT)


@dataclass(slots=True)
class Memory:
    """Resident bytes of the node without those of the log: before it all, and at each step while all the deaf are behind."""

    before: int = 0
    full: list[int] = field(default_factory=list)


@contextmanager
def deaf_readers(server: ServerProcess, count: int) -> Iterator[list[RawConnection]]:
    """Connections that asked to be told of changes, and read nothing from then on: half of them follow, half watch."""
    with ExitStack() as stack:
        readers = [stack.enter_context(RawConnection(server.tcp)) for _ in range(count)]
        for number, reader in enumerate(readers):
            error, _ = reader.call("follow") if number % 2 else reader.call("watch", list(TOGGLED))
            assert error is None
        yield readers


async def make_traffic(server: ServerProcess, writer: Wire, traffic: Traffic) -> Memory:
    """All that happens, with a look at the memory after each step."""
    loop = asyncio.get_running_loop()
    toggled = list(TOGGLED)
    memory = Memory(resident_bytes(server.pid))
    start = loop.time()
    for step in range(traffic.steps):
        await asyncio.sleep(start + step * STEP_S - loop.time())
        for msgid in writer.send_together(("heartbeat", toggled), ("offline", toggled)):
            assert await writer.answer(msgid) == len(toggled)
        if step % traffic.steps_a_wave == 0:
            first = step // traffic.steps_a_wave * WAVE_COUNT
            await writer.call("heartbeat", list(traffic.waves[first : first + WAVE_COUNT]))
        info = await writer.call("info")
        if info["readers_behind"] == traffic.deaf_count:
            memory.full.append(resident_bytes(server.pid) - info["feed_bytes"])
    return memory


def by_user(told: list[Told]) -> dict[Id, list[tuple[bool | None, str]]]:
    """What was told of each user, in its order."""
    found: defaultdict[Id, list[tuple[bool | None, str]]] = defaultdict(list)
    for user_id, online, reason in told:
        found[user_id].append((online, reason))
    return found


def waiting_bytes(reader: RawConnection) -> int:
    """How much is on its way to a reader when the server is gone."""
    size = 0
    with contextlib.suppress(ConnectionError):
        while data := reader.socket.recv(MIB):
            size += len(data)
    return size


async def are_cut(writer: Wire, count: int) -> bool:
    info = await writer.call("info")
    return bool(info["readers_cut"] == {"slow": count} and info["readers_behind"] == 0)


@pytest.mark.parametrize(
    "traffic",
    [
        pytest.param(Traffic(deaf_count=40, steps=15, steps_a_wave=3, on_time_share=0.5), id="seconds"),
        pytest.param(
            Traffic(deaf_count=200, steps=450, steps_a_wave=6, on_time_share=0.99),
            marks=[pytest.mark.heavy, pytest.mark.deadline(600)],
            id="longer-than-a-slow-reader-is-kept",
        ),
    ],
)
async def test_readers_that_stop_reading_cost_little_and_hold_up_nobody(traffic: Traffic) -> None:
    watched = [*WATCHED, *traffic.waves, LAST]
    with (
        serve("--ttl", str(TTL_S), "--tick", str(TICK_MS)) as server,
        deaf_readers(server, traffic.deaf_count) as deaf,
        Client(server.url) as blocking,
        blocking.watch(watched) as watch,
    ):
        async with AsyncClient(server.url) as db, db.watch(watched) as async_watch, Wire(server.tcp) as writer:
            before = await db.info()

            async def happen() -> Memory:
                memory = await make_traffic(server, writer, traffic)
                await wait_until_async(lambda: all_waves_are_gone(writer, traffic), what="the end of the waves")
                await writer.call("heartbeat", LAST)
                return memory

            told, told_blocking, memory = await asyncio.gather(
                told_until(async_watch, LAST), asyncio.to_thread(told_blocking_until, watch, LAST), happen()
            )
            if traffic.steps * STEP_S * SECOND_MS > SLOW_READER_MS:
                await wait_until_async(lambda: are_cut(writer, traffic.deaf_count), what="the cut of all that were slow")
            after = await db.info()
        server.sigkill()
        assert max(waiting_bytes(reader) for reader in deaf) < KERNEL_BYTES_MAX

    assert told == told_blocking
    came_and_went = {user_id: [(True, "heartbeat"), (False, "sign_off")] * traffic.steps for user_id in WATCHED}
    came_and_fell_silent = {user_id: [(True, "heartbeat"), (False, "timeout")] for user_id in traffic.waves}
    assert by_user(told) == came_and_went | came_and_fell_silent
    assert memory.full, "not all the deaf were behind"
    assert max(memory.full) - memory.full[0] < SLACK_BYTES
    assert max(memory.full) - memory.before < traffic.deaf_count * READER_BYTES_MAX + SLACK_BYTES
    assert after["readers_behind"] + sum(after["readers_cut"].values()) == traffic.deaf_count
    on_time_count, count = timeouts_on_time(before, after)
    assert count == len(traffic.waves)
    assert on_time_count >= traffic.on_time_share * count


async def all_waves_are_gone(writer: Wire, traffic: Traffic) -> bool:
    return bool((await writer.call("info"))["timeouts"] == len(traffic.waves))

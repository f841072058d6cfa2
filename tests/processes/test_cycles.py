"""Clients that come and go by the thousands, over cuts, restarts and cancellations, leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from random import Random
from typing import Final

import pytest

from presencedb import AsyncClient, Client
from tests.client.running import open_fd_count
from tests.processes.restarting import RestartingServer
from tests.support.waiting import wait_until, wait_until_async

WARM_UP: Final = 24
CYCLES: Final = 80
CYCLES_HEAVY: Final = 10_000
RESTARTS: Final = 1
CUT_EVERY: Final = 4
CANCEL_EVERY: Final = 3
CANCEL_STEPS_MAX: Final = 120
ARGUMENTS: Final = ("--ttl", "60", "--tick", "50", "--log-level", "warning")
SEEN: Final = "who is seen leaving"


class Hasty(Random):
    """Waits between attempts that are short, since there are so many of them."""

    def random(self) -> float:
        return super().random() / 20


class Remains:
    """What there is in this process beside what a test itself holds."""

    def __init__(self) -> None:
        gc.collect()
        self.threads = set(threading.enumerate())
        self.fd_count = open_fd_count()
        self.object_count = len(gc.get_objects())

    def check(self, server: RestartingServer, cycle_count: int) -> None:
        """Nothing more than then is left; of objects less than one in four cycles, which is less than any client leaves."""
        wait_until(lambda: server.proxy.connection_count == 0, what="the end of every connection")
        wait_until(lambda: set(threading.enumerate()) <= self.threads, what="no thread more than before")
        wait_until(lambda: open_fd_count() <= self.fd_count, what="no open file more than before")
        gc.collect()
        assert len(gc.get_objects()) - self.object_count < cycle_count / 4


def restarts_at(cycle_count: int) -> set[int]:
    """Cycles in the middle of which the server is killed and started anew."""
    return {(number + 1) * cycle_count // (RESTARTS + 1) for number in range(RESTARTS)}


def interfere(server: RestartingServer, number: int, restarts: set[int]) -> None:
    """What happens in the middle of a cycle."""
    if number in restarts:
        server.kill()
        server.start()
    elif number % CUT_EVERY == 0:
        server.proxy.cut(reset=number % (2 * CUT_EVERY) == 0)


async def cycle_of_async_client(server: RestartingServer, number: int, restarts: set[int]) -> None:
    async with AsyncClient(server.url, timeout_s=20, random=Hasty()) as db, db.keep_online("kept", number):
        await db.heartbeat(SEEN)
        async with db.watch([SEEN], on_gap="resync") as watch, db.follow():
            interfere(server, number, restarts)
            await db.offline(SEEN)
            assert (await anext(watch)).online is False
        assert await db.status([SEEN]) == {SEEN: False}


async def cycles_of_async_client(server: RestartingServer, cycle_count: int, restarts: set[int]) -> None:
    random = Random(7)
    for number in range(1, cycle_count + 1):
        cycle = asyncio.create_task(cycle_of_async_client(server, number, restarts))
        if number % CANCEL_EVERY == 0 and number not in restarts:
            for _ in range(random.randrange(CANCEL_STEPS_MAX)):
                await asyncio.sleep(0)
            cycle.cancel()
        await asyncio.wait([cycle])
        if not cycle.cancelled():
            cycle.result()


def cycles_of_client(server: RestartingServer, cycle_count: int, restarts: set[int]) -> None:
    for number in range(1, cycle_count + 1):
        with Client(server.url, timeout_s=20, random=Hasty()) as db, db.keep_online("kept", number):
            db.heartbeat(SEEN)
            with db.watch([SEEN], on_gap="resync") as watch, db.follow():
                interfere(server, number, restarts)
                db.offline(SEEN)
                assert next(watch).online is False
            assert db.status([SEEN]) == {SEEN: False}


async def check_async_client(cycle_count: int) -> None:
    with RestartingServer(*ARGUMENTS) as server:
        await cycles_of_async_client(server, WARM_UP, set())
        tasks = asyncio.all_tasks()
        remains = Remains()
        await cycles_of_async_client(server, cycle_count, restarts_at(cycle_count))
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks
        await wait_until_async(lambda: server.proxy.connection_count == 0)
        remains.check(server, cycle_count)


def check_client(cycle_count: int) -> None:
    with RestartingServer(*ARGUMENTS) as server:
        cycles_of_client(server, WARM_UP, set())
        remains = Remains()
        cycles_of_client(server, cycle_count, restarts_at(cycle_count))
        remains.check(server, cycle_count)


async def test_cycles_of_the_client_for_asyncio_leave_nothing() -> None:
    await check_async_client(CYCLES)


def test_cycles_of_the_blocking_client_leave_nothing() -> None:
    check_client(CYCLES)


@pytest.mark.heavy
@pytest.mark.deadline(1800)
@pytest.mark.timeout(1900)
async def test_ten_thousand_cycles_of_the_client_for_asyncio_leave_nothing() -> None:
    await check_async_client(CYCLES_HEAVY)


@pytest.mark.heavy
@pytest.mark.timeout(1900)
def test_ten_thousand_cycles_of_the_blocking_client_leave_nothing() -> None:
    check_client(CYCLES_HEAVY)

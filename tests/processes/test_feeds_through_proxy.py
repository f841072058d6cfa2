"""Feeds of real clients to a real node, over a network that cuts, stalls, splits and delays, while the node dies or stands.

First statuses and changes always give the truth: every change comes once, as itself and in its place; behind a restart there
is a gap, which is raised or bridged and never passed over in silence; and in the end nothing is left behind.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from contextlib import suppress
from typing import Final

import pytest

from tests.processes.feeds_node import FragileNode
from tests.processes.feeds_readers import Reader
from tests.processes.feeds_steps import KINDS, Step, make_steps
from tests.processes.feeds_world import World
from tests.support.waiting import wait_until_async

SEEDS: Final = (10, 188)
STRETCHES: Final = 4
HEAVY_SEEDS_VARIABLE: Final = "PRESENCEDB_TEST_FEED_SEEDS"
"""`FIRST:COUNT`, which seeds `make test-heavy` plays; one of a failure alone: `17:1`."""
HEAVY_STRETCHES: Final = 6


async def play(seed: int, steps: list[Step]) -> None:
    """Let the steps happen to readers of every kind at once."""
    gc.collect()
    before = _in_use()
    with FragileNode() as node:
        readers = [Reader(kind, node.proxy.url, seed) for kind in KINDS]
        world = World(node, asyncio.get_running_loop(), readers)
        try:
            await asyncio.to_thread(world.perform, steps)
        except BaseException as error:
            error.add_note(f"the seed is {seed}")
            raise
        finally:
            await asyncio.gather(*(reader.close() for reader in readers))
        await asyncio.to_thread(world.check_nothing_is_left)
    gc.collect()
    try:
        await wait_until_async(lambda: _in_use() <= before, what="the end of every connection and thread")
    except AssertionError as error:
        error.add_note(f"left: {_in_use() - before}")
        raise


def _in_use() -> set[str]:
    """Open files, sockets and pipes, and the threads but for those of pools that the tests and their loop keep."""
    names = {thread.name for thread in threading.enumerate()}
    in_use = {name for name in names if not name.startswith(("in-threads", "asyncio_", "uvloop_"))}
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            in_use.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return in_use


def _heavy_seeds() -> range:
    first, _, count = os.environ.get(HEAVY_SEEDS_VARIABLE, "1000:60").partition(":")
    return range(int(first), int(first) + int(count))


@pytest.mark.deadline(100)
@pytest.mark.parametrize("seed", SEEDS)
async def test_statuses_and_changes_give_the_truth(seed: int) -> None:
    await play(seed, make_steps(seed, STRETCHES))


@pytest.mark.heavy
@pytest.mark.deadline(110)
@pytest.mark.parametrize("seed", _heavy_seeds())
async def test_statuses_and_changes_give_the_truth_for_many_seeds(seed: int) -> None:
    await play(seed, make_steps(seed, HEAVY_STRETCHES))


def test_the_seeds_of_every_run_meet_everything() -> None:
    names = {step.name for seed in SEEDS for step in make_steps(seed, STRETCHES)}
    assert names == {step.name for step in make_steps(0, 100)}

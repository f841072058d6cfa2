"""A node on paper in virtual time: what the tests of delivery share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from presencedb.clock import ManualClock
from tests.node.paper_wire import PaperNode, paper_node, turns
from tests.node.virtual_time import run_in_virtual_time

TICK_MS: Final = 100
TTL_MS: Final = 600_000
Main = Callable[[PaperNode], Awaitable[None]]


def play(main: Main, **settings: Any) -> None:
    """Run a node in virtual time."""
    clock = ManualClock(wall_ms=1_800_000_000_000)

    async def run() -> None:
        async with paper_node(clock, **{"ttl_ms": TTL_MS, "tick_ms": TICK_MS, **settings}) as node:
            await main(node)

    run_in_virtual_time(clock, run())


async def tick(count: int = 1) -> None:
    """Let ticks go by, each with its publication."""
    await asyncio.sleep(count * TICK_MS / 1000)
    await turns()


def changes(told: list[tuple[str, list[Any]]]) -> list[tuple[Any, Any]]:
    """The changes in notifications."""
    assert all(method == "presence" for method, _ in told)
    return [(event[0], event[1]) for _, params in told for event in params[1]]

"""What the tests of crowds share: users who go on beating, what feeds of either client tell, and how a node is doing."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from presencedb import AsyncClient
from presencedb.client.values import Change
from presencedb.ids import Id

TICK_MS: Final = 100
TICKS_LATE_MAX: Final = 2
BEATS_A_TTL: Final = 6
GAP_TTLS_MAX: Final = 0.8
"""If two beats of the test itself are further apart, it is the machine that was away, and what happened says nothing."""

Told = tuple[Id, bool | None, str]


class Beating:
    """Users who beat as long as it lasts."""

    def __init__(self) -> None:
        self.gap_s = 0.0
        """The longest time that may have gone by between two beats of a user."""


@asynccontextmanager
async def keep_beating(db: AsyncClient, ids: array[int], ttl_s: float) -> AsyncIterator[Beating]:
    """Users who come online before the block begins, and beat several times a ttl until it ends."""
    beating = Beating()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await db.heartbeat_batch(ids)

    async def beat() -> None:
        nonlocal began
        while True:
            await asyncio.sleep(ttl_s / BEATS_A_TTL)
            previous, began = began, loop.time()
            await db.heartbeat_batch(ids)
            beating.gap_s = max(beating.gap_s, loop.time() - previous)

    task = asyncio.create_task(beat())
    try:
        yield beating
        beating.gap_s = max(beating.gap_s, loop.time() - began)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def told_until(feed: AsyncIterator[Change], last: Id) -> list[Told]:
    """What a feed gives out before this user comes."""
    told: list[Told] = []
    async for change in feed:
        if change.id == last:
            return told
        told.append((change.id, change.online, change.reason))
    raise AssertionError(f"the feed ended after {len(told)} changes")


def told_blocking_until(feed: Iterator[Change], last: Id) -> list[Told]:
    """The same of the blocking client."""
    told: list[Told] = []
    for change in feed:
        if change.id == last:
            return told
        told.append((change.id, change.online, change.reason))
    raise AssertionError(f"the feed ended after {len(told)} changes")


def timeouts_on_time(before: dict[str, Any], after: dict[str, Any]) -> tuple[int, int]:
    """Of the timeouts between two `info`s how many were at most `TICKS_LATE_MAX` ticks late, by the node's own count, and
    how many there were.

    Buckets are as wide as powers of two, so that one may count as late that was not.
    """
    counts = {bound: count - before["lateness_ms"][bound] for bound, count in after["lateness_ms"].items()}
    on_time = sum(counts[bound] for bound in counts if bound != "inf" and int(bound) <= TICKS_LATE_MAX * TICK_MS)
    return on_time, sum(counts.values())


def resident_bytes(pid: int) -> int:
    """Memory of a process that is resident now."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def id_array(ids: Iterable[int]) -> array[int]:
    """Ids as the buffer that the clients take them in."""
    return array("Q", ids)

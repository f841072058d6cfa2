"""Users by the million: ids of one kind, as batches, the same every time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

from presencedb.engine import EngineConfig
from presencedb.engine._kernel import KernelEngine
from presencedb.ids import IdBatch

KINDS: Final = ("int32", "int64", "uuid")
BATCH: Final = 1_000
TICK: Final = 10_000
TTL: Final = 300
UNKNOWN_FROM: Final = 3_000_000_000
"""Numbers from here on belong to nobody."""
_SPREAD: Final = 0x9E3779B97F4A7C15
_MASK64: Final = 2**64 - 1


def batch_of(kind: str, numbers: list[int] | range) -> IdBatch:
    """The users of these numbers: each number is one user of each kind."""
    if kind == "int32":
        return IdBatch(array("Q", numbers))
    spread = [number * _SPREAD & _MASK64 for number in numbers]
    if kind == "int64":
        return IdBatch(array("Q", [value | 1 << 63 for value in spread]))
    texts = (f"{value:016x}{value:016x}" for value in spread)
    return IdBatch([f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts])


def batches(kind: str, first: int, users: int, size: int = BATCH) -> Iterator[IdBatch]:
    for start in range(first, first + users, size):
        yield batch_of(kind, range(start, min(start + size, first + users)))


def scattered(kind: str, first: int, users: int, count: int) -> list[IdBatch]:
    """So many batches of users from all over the population, in no order that a cache could know."""
    step = 7_368_787  # a prime, so that every user comes once before one comes again
    return [
        batch_of(kind, [first + (start + index) * step % users for index in range(BATCH)])
        for start in range(0, count * BATCH, BATCH)
    ]


def empty_engine() -> KernelEngine:
    return KernelEngine(EngineConfig(ttl_ticks=TTL), tick=TICK)


def populated(kind: str, users: int) -> KernelEngine:
    engine = empty_engine()
    for batch in batches(kind, 0, users):
        engine.heartbeat(batch, TICK)
        engine.discard_transitions()
    return engine

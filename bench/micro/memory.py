"""Bytes a user and the longest step: `python -m bench.micro.memory [USERS ...]`. Each row is a process of its own.

Resident bytes are those of the process less what it had with an empty engine. A step is one call: a first heartbeat of 16
ids while the population grows, and one bounded `advance` while all of it expires. Time is that of the thread, so that a
busy machine does not count; the median of the longest ten is printed beside the longest.
"""

from __future__ import annotations

import gc
import heapq
import os
import subprocess
import sys
import time
from typing import Final

from bench.micro.population import BATCH, KINDS, TICK, TTL, batches, empty_engine
from presencedb.limits import EXPIRIES_PER_TURN_MAX

STEP_IDS: Final = 16
LONGEST: Final = 10
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE_BYTES


class Steps:
    """The longest steps, in milliseconds."""

    def __init__(self) -> None:
        self.longest: list[float] = [0.0] * LONGEST

    def note(self, began_ns: int) -> None:
        heapq.heappushpop(self.longest, (time.thread_time_ns() - began_ns) / 1e6)

    def __str__(self) -> str:
        return f"{max(self.longest):6.3f} ({sorted(self.longest)[LONGEST // 2]:.3f})"


def row(kind: str, users: int) -> str:
    """One line of the table, measured in this process."""
    engine = empty_engine()
    growth, expiry = Steps(), Steps()
    before = resident_bytes()
    whole = users - users // 10
    for batch in batches(kind, 0, whole):
        engine.heartbeat(batch, TICK)
        engine.discard_transitions()
    for batch in batches(kind, whole, users - whole, STEP_IDS):
        began_ns = time.thread_time_ns()
        engine.heartbeat(batch, TICK)
        growth.note(began_ns)
        engine.discard_transitions()
    del batch
    resident = (resident_bytes() - before) / users
    stated = engine.stats().bytes / users
    done = False
    while not done:
        began_ns = time.thread_time_ns()
        done = engine.advance(TICK + TTL + 1, expiry_count_max=EXPIRIES_PER_TURN_MAX)
        expiry.note(began_ns)
        engine.discard_transitions()
    assert engine.count() == 0
    left = (resident_bytes() - before) / 1e6
    return (
        f"{kind:6} {users:11,} {resident:9.2f} {stated:9.2f} {left:11.1f} {before / 1e6:10.1f}   {growth!s:16} {expiry!s:16}"
    )


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--row"]:
        print(row(arguments[1], int(arguments[2])))
        return
    print(f"batches of {BATCH}; steps: {STEP_IDS} first heartbeats, {EXPIRIES_PER_TURN_MAX} timeouts")
    print("                    bytes a user     MB left when  MB of the    longest step (median of ten), ms")
    print("kind         users  resident    stated   all are gone      empty   growth           expiry")
    for users in [int(float(argument)) for argument in arguments] or [10_000, 1_000_000, 10_000_000]:
        for kind in KINDS:
            subprocess.run([sys.executable, "-m", "bench.micro.memory", "--row", kind, str(users)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])

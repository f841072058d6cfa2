"""How even placement is, and how long ranking takes: `python -m bench.micro.placement`. The figures of `docs/cluster.md`.

A member's load is its slots divided by those that its weight entitles it to. Each line is over several clusters of that size
whose members have other names, for a single one may be lucky.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from presencedb.limits import SLOT_COUNT
from presencedb.placement import NO_MEMBER, ranks, ring

SIZES: Final = (3, 5, 10, 30, 100)
WEIGHTS: Final = {"alike": (100,), "50, 100, 200": (50, 100, 200)}
CLUSTERS: Final = 20
DEPTH: Final = 3
REPLICAS: Final = 2
ROUNDS: Final = 5


def cluster(size: int, weights: Sequence[int], number: int) -> list[tuple[str, int]]:
    """Members by ascending id."""
    return [(f"c{number}-n{index:03}", weights[index % len(weights)]) for index in range(size)]


def loads(members: list[tuple[str, int]], replicas: int) -> list[float]:
    """Of each member its slots at the first `replicas` ranks, divided by its share by weight."""
    counts = Counter(array("H", ring.rank_members(members, replicas)))
    del counts[NO_MEMBER]
    total = sum(weight for _, weight in members)
    return [counts[index] / (SLOT_COUNT * replicas * weight / total) for index, (_, weight) in enumerate(members)]


def imbalance_row(size: int, name: str) -> str:
    cells = []
    for replicas in (1, REPLICAS):
        found = [loads(cluster(size, WEIGHTS[name], number), replicas) for number in range(CLUSTERS)]
        cells += [f"{median(max(one) for one in found):.2f}", f"{median(min(one) for one in found):.2f}"]
    return f"| {size} | {name} | " + " | ".join(cells) + " |"


def ranking_ms(members: list[tuple[str, int]], python: bool) -> float:
    """The best of a few tries, in time of the thread, so that a busy machine does not count."""
    rank = ranks.rank_members if python else ring.rank_members
    best = float("inf")
    for _ in range(2 if python else ROUNDS):
        began = time.thread_time()
        rank(members, DEPTH)
        best = min(best, time.thread_time() - began)
    return best * 1e3


def main() -> None:
    print("| members | weights | first rank: most loaded | least | with two replicas: most loaded | least |")
    print("|---|---|---|---|---|---|")
    for name in WEIGHTS:
        for size in SIZES:
            print(imbalance_row(size, name), flush=True)
    print(f"\nranking all slots {DEPTH} deep ({ring.IMPLEMENTATION}, and in Python), ms:")
    for name, weights in WEIGHTS.items():
        for size in (3, 100):
            members = cluster(size, weights, 0)
            print(f"{size:4} {name:14} {ranking_ms(members, False):7.1f} {ranking_ms(members, True):8.0f}", flush=True)


if __name__ == "__main__":
    main()

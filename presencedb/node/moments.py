"""Columns of ticks -> columns of Unix milliseconds, with little work where many have the same tick, as users mostly do."""

from __future__ import annotations

from array import array

from presencedb.node.source import MomentOfTick


def moments_of(ticks: array[int], wall_time: MomentOfTick) -> array[int]:
    """When each of these ticks began, in Unix milliseconds (type code 'q'); -1 where the tick is below 0."""
    ms_at = wall_time.ms_at
    # Those of a crowd that goes at once all have one tick, and whoever is not remembered has none.
    if ticks and ticks.tobytes() == ticks[:1].tobytes() * len(ticks):
        return array("q", [-1 if ticks[0] < 0 else ms_at(ticks[0])]) * len(ticks)
    distinct = set(ticks)
    if 2 * len(distinct) > len(ticks):
        return array("q", [-1 if tick < 0 else ms_at(tick) for tick in ticks])
    ms_of = {tick: -1 if tick < 0 else ms_at(tick) for tick in distinct}
    return array("q", map(ms_of.__getitem__, ticks))

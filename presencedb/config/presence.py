"""What a node does with heartbeats."""

from __future__ import annotations

from typing import Final

from presencedb import limits, units
from presencedb.config.option import ENGINE, STORES, Group, Option

TTL: Final[Option[int]] = Option(
    name="ttl",
    parse=units.duration_between(
        1, limits.TTL_MS_MAX, takes=f"one tick to a year (0.05 to {limits.TTL_MS_MAX // limits.SECOND_MS} seconds)"
    ),
    default=limits.TTL_MS_DEFAULT,
    default_text="30",
    metavar="SECONDS",
    group=Group.PRESENCE,
    commands=STORES,
    help="How long a heartbeat keeps a user online: one tick to a year, fractions and units (1.5, 500ms, 5m) allowed.",
)
TICK: Final[Option[int]] = Option(
    name="tick",
    parse=units.duration_between(
        limits.TICK_MS_MIN, limits.TICK_MS_MAX, unit="ms", takes=f"{limits.TICK_MS_MIN} to {limits.TICK_MS_MAX} milliseconds"
    ),
    default=limits.TICK_MS_DEFAULT,
    default_text=str(limits.TICK_MS_DEFAULT),
    metavar="MS",
    group=Group.PRESENCE,
    commands=STORES,
    help="The grain of time, in milliseconds, 50 to 1000: an offline event comes within one or two ticks.",
)
RETENTION: Final[Option[int | None]] = Option(
    name="retention",
    parse=units.parse_retention_ms,
    default=0,
    default_text="online",
    metavar="online|forever|DURATION",
    group=Group.PRESENCE,
    commands=STORES,
    help="How long last_seen is kept: only while online, for ever, or for 12h, 30d and so on after the last heartbeat.",
)
WARM_UP: Final[Option[bool]] = Option(
    name="warm-up",
    parse=units.parse_switch,
    default=False,
    group=Group.PRESENCE,
    commands=ENGINE,
    help="For one ttl after the start, answer unknown instead of offline for whoever has not beaten yet.",
)
NODE_ID: Final[Option[str]] = Option(
    name="node-id",
    parse=units.parse_name,
    default="n1",
    default_text="n1",
    metavar="NAME",
    group=Group.PRESENCE,
    commands=ENGINE,
    help="The name of this node in `info` and `topology`; of a member, the one that it has in the list.",
)

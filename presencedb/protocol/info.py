"""What each number of `info` means, declared once: for the metrics page of a gateway, the documentation, and the tests.

An entry of `info` that is a map has one value a label: `requests` by command, for example. A histogram is a map from the
upper bound of a bucket to how many fell into this bucket alone; its last bound is `inf`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What may be done with a number."""

    COUNTER = "counter"
    """Only ever rises within a run."""
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number, or one map of numbers.

    Attributes:
        entry: its name in `info`.
        name: its name in Prometheus, in base units; a counter gets `_total` behind it.
        label: where the entry is a map, what its keys are.
        scale: what the number is multiplied with to be in base units; with a histogram, its bounds.
    """

    entry: str
    name: str
    kind: Kind
    help: str
    label: str | None = None
    scale: float = 1.0


MS: Final = 0.001


def _counter(entry: str, help_line: str, *, label: str | None = None) -> Metric:
    # `connections` is taken by those that are open.
    name = "accepted_connections" if entry == "connections_total" else entry
    return Metric(entry=entry, name=f"presencedb_{name}", kind=Kind.COUNTER, help=help_line, label=label)


def _gauge(entry: str, help_line: str, *, name: str = "", scale: float = 1.0) -> Metric:
    return Metric(entry=entry, name=f"presencedb_{name or entry}", kind=Kind.GAUGE, help=help_line, scale=scale)


def _table(metrics: Iterable[Metric]) -> dict[str, Metric]:
    by_entry: dict[str, Metric] = {}
    names: set[str] = set()
    for metric in metrics:
        if metric.entry in by_entry or metric.name in names:
            raise TypeError(f"the metric {metric.name} or its entry {metric.entry} is declared twice")
        by_entry[metric.entry] = metric
        names.add(metric.name)
    return by_entry


METRICS: Final = _table(
    [
        _gauge("users", "Users remembered, those who are not online included."),
        _gauge("online", "Users online."),
        _gauge("pending_sign_offs", "Sign-offs that wait for the end of their grace."),
        _gauge("bytes", "Memory of the store; an estimate where the engine is the one in Python.", name="store_bytes"),
        _gauge("slots_synced", "Slots, of 16384, for which this node knows who is offline."),
        _gauge("connections", "Connections open."),
        _counter("connections_total", "Connections accepted."),
        _counter("requests", "Requests and notifications, by command.", label="command"),
        _counter("failures", "Requests that met an error of this node itself."),
        _counter("heartbeats", "Ids in heartbeats."),
        _counter("sign_offs", "Ids in sign-offs."),
        _counter("statuses", "Ids whose status was asked."),
        _counter("bad_notifications", "Notifications dropped because something in them was wrong."),
        _counter("protocol_errors", "Connections closed for what they sent."),
        _counter("transitions", "Changes of a user's status."),
        _counter("timeouts", "Users who went offline because no heartbeat came."),
        Metric(
            entry="lateness_ms",
            name="presencedb_timeout_lateness_seconds",
            kind=Kind.HISTOGRAM,
            help="From the deadline of a timeout to its entry into the feed, in whole ticks.",
            label="le",
            scale=MS,
        ),
        _gauge("uptime_ms", "Time since the start.", name="uptime_seconds", scale=MS),
        _counter("ticks", "Ticks that the store was brought to."),
        _gauge("tick_age_ms", "Time since the last tick.", name="tick_age_seconds", scale=MS),
        _counter("stalls", "Pauses of this node itself of more than 5 ticks."),
        _gauge("stall_longest_ms", "The longest of them.", name="stall_longest_seconds", scale=MS),
        _gauge("hold_ms", "How much longer timeouts are held after one.", name="hold_seconds", scale=MS),
        _gauge(
            "wall_clock_error_ms",
            "How far the times that are shown lie behind the wall clock.",
            name="wall_clock_error_seconds",
            scale=MS,
        ),
        _gauge("followers", "Connections that follow the feed."),
        _gauge("watchers", "Connections that watch users."),
        _gauge("watches", "Pairs of a connection and a user that it watches."),
        _gauge("watched_ids", "Users whom anybody watches."),
        _gauge("watch_bytes", "Memory of the index of those; an estimate where it is the one in Python."),
        _gauge("readers_behind", "Connections that follow or watch and have not been told everything yet."),
        _counter("readers_cut", "Connections cut for reading changes too slowly, by reason.", label="reason"),
        _gauge("feed_events", "Changes kept for readers that come back."),
        _gauge("feed_bytes", "Memory of those."),
        _counter("feed_dropped_events", "Changes that left the feed for newer ones."),
        _counter("feed_gaps", "Cursors refused, and readers that lost their place, by reason.", label="reason"),
        _gauge("cluster_epoch", "Epoch of the topology that this node goes by; 0 where it stands alone."),
        _gauge("slots_owned", "Slots, of 16384, that this node keeps."),
        _gauge("peers_up", "Other members of the cluster that answer."),
        _counter("forwarded_writes", "Ids in writes passed on to other members."),
        _counter("moved_answers", "Reads answered with the error moved."),
    ]
)
"""Every number of `info`, by its entry there."""

"""What a node tells of itself: the counters of all its parts, taken at one moment into one map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from presencedb.engine import IMPLEMENTATION, Engine
from presencedb.limits import SLOT_COUNT
from presencedb.node.cluster.role import ClusterRole
from presencedb.node.counters import Counters
from presencedb.node.feed import Feed
from presencedb.node.settings import NodeSettings
from presencedb.node.subscribers import Subscribers
from presencedb.node.ticker import Ticker
from presencedb.node.wall_time import WallTime
from presencedb.transport.hub import Hub
from presencedb.transport.loop import loop_name
from presencedb.version import __version__


@dataclass(slots=True, kw_only=True)
class Information:
    """The parts of a node that count something."""

    settings: NodeSettings
    run: str
    engine: Engine
    ticker: Ticker
    hub: Hub
    feed: Feed
    subscribers: Subscribers
    wall_time: WallTime
    counters: Counters
    cluster: ClusterRole | None

    def take(self) -> dict[str, Any]:
        """The map that `info` answers. `protocol/info.py` says what each number means."""
        stats = self.engine.stats()
        return {
            "version": __version__,
            "node": self.settings.node_id,
            "run": self.run,
            "engine": IMPLEMENTATION,
            "loop": loop_name(),
            "ttl_ms": self.settings.ttl_ms,
            "tick_ms": self.settings.tick_ms,
            "retention": self.settings.retention_name,
            "users": stats.users,
            "online": stats.online,
            "pending_sign_offs": stats.pending_sign_offs,
            "bytes": stats.bytes,
            "slots_synced": self.engine.synced_count,
            **self._work(),
            "transitions": self.feed.transitions,
            "timeouts": stats.timeouts,
            "lateness_ms": self._lateness_ms(stats.lateness_ticks),
            **self._time(),
            **self._readers(),
            **self._cluster(),
        }

    def _work(self) -> dict[str, Any]:
        return {
            "connections": self.hub.connection_count,
            "connections_total": self.hub.connections_total,
            "requests": dict(self.counters.requests),
            "failures": self.counters.failures,
            "heartbeats": self.counters.heartbeats,
            "sign_offs": self.counters.sign_offs,
            "statuses": self.counters.statuses,
            "bad_notifications": self.hub.bad_notifications,
            "protocol_errors": self.hub.protocol_errors,
        }

    def _time(self) -> dict[str, Any]:
        return {
            "uptime_ms": self.ticker.uptime_ms,
            "ticks": self.ticker.ticks,
            "tick_age_ms": self.ticker.age_ms,
            "stalls": self.ticker.stalls,
            "stall_longest_ms": self.ticker.stall_longest_ms,
            "hold_ms": self.ticker.hold_ms,
            "wall_clock_error_ms": self.wall_time.error_ms,
        }

    def _readers(self) -> dict[str, Any]:
        index = self.subscribers.index
        return {
            "followers": self.subscribers.follower_count,
            "watchers": index.watcher_count,
            "watches": index.watch_count,
            "watched_ids": index.id_count,
            "watch_bytes": index.bytes,
            "readers_behind": self.subscribers.delivery.behind_count,
            "readers_cut": dict(self.subscribers.delivery.cut_readers),
            "feed_events": self.feed.event_count,
            "feed_bytes": self.feed.size_bytes,
            "feed_dropped_events": self.feed.dropped_events,
            "feed_gaps": dict(self.feed.gaps),
        }

    def _cluster(self) -> dict[str, Any]:
        role = self.cluster
        if role is None:
            return {"cluster_epoch": 0, "slots_owned": SLOT_COUNT, "peers_up": 0, "forwarded_writes": 0, "moved_answers": 0}
        return {
            "cluster_epoch": role.topology.epoch,
            "slots_owned": len(role.own),
            "peers_up": role.peers_up,
            "forwarded_writes": role.forwarding.ids,
            "moved_answers": role.ownership.moved_answers,
        }

    def _lateness_ms(self, counts: tuple[int, ...]) -> dict[str, int]:
        """How many timeouts came at most so many milliseconds after their deadline, each counted once."""
        # The engine's bucket i holds those of fewer than 2**i ticks.
        bounds = [str(self.settings.tick_ms * (2**i - 1)) for i in range(len(counts) - 1)]
        return dict(zip([*bounds, "inf"], counts, strict=True))

"""What a server says of itself: the answer to hello."""

from __future__ import annotations

from typing import Any, Final

from presencedb.limits import (
    FRAME_BYTES_MAX,
    GRACE_MS_MAX,
    HEARTBEATS_PER_TTL,
    IDS_PER_FRAME_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    SCAN_LIMIT_MAX,
    WATCHED_IDS_MAX,
)
from presencedb.protocol.messages import PROTOCOL_VERSION
from presencedb.version import __version__

LIMITS: Final = {
    "frame_bytes": FRAME_BYTES_MAX,
    "ids_per_frame": IDS_PER_FRAME_MAX,
    "requests_in_flight": REQUESTS_IN_FLIGHT_MAX,
    "scan_limit": SCAN_LIMIT_MAX,
    "watched_ids": WATCHED_IDS_MAX,
    "grace_ms": GRACE_MS_MAX,
}


def greeting(*, node: str, run: str, ttl_ms: int, tick_ms: int, retention: str | int) -> dict[str, Any]:
    """The map that `hello` answers.

    Args:
        node: the id of the node or router.
        run: names this start of it.
        retention: `online`, `forever`, or milliseconds.
    """
    return {
        "protocol": PROTOCOL_VERSION,
        "version": __version__,
        "node": node,
        "run": run,
        "ttl_ms": ttl_ms,
        "tick_ms": tick_ms,
        "heartbeat_interval_ms": ttl_ms // HEARTBEATS_PER_TTL,
        "retention": retention,
        "limits": LIMITS,
    }

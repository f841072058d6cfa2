"""What a node counts of the work it is given. The engine, the feed, the ticker and the hub count theirs themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from presencedb.protocol.commands import COMMANDS


@dataclass(slots=True)
class Counters:
    """Counts since the start; ids, not calls, except in `requests` and `failures`."""

    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COMMANDS, 0))
    failures: int = 0
    """Requests that met an error of this node itself."""
    heartbeats: int = 0
    sign_offs: int = 0
    statuses: int = 0

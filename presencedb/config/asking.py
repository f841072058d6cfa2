"""Whom to ask, and what a call takes."""

from __future__ import annotations

from typing import Final

from presencedb import limits, units
from presencedb.config.option import CALLS, CLIENTS, Group, Option

EVERY: Final[Option[int | None]] = Option(
    name="every",
    parse=units.duration_between(100, limits.TTL_MS_MAX),
    default=None,
    metavar="SECONDS",
    group=Group.CALL,
    commands=frozenset({"heartbeat"}),
    help="Go on beating this often, until ^C (100ms to a year; a third of the ttl is right).",
    flag_only=True,
)
GRACE: Final[Option[int]] = Option(
    name="grace",
    parse=units.duration_between(0, limits.GRACE_MS_MAX),
    default=0,
    default_text="0",
    metavar="SECONDS",
    group=Group.CALL,
    commands=frozenset({"offline"}),
    help="Sign off only after this long, and only if no other device of the user beats meanwhile.",
    flag_only=True,
)
LIMIT: Final[Option[int | None]] = Option(
    name="limit",
    parse=units.count_between(1, 10**12),
    default=None,
    metavar="COUNT",
    group=Group.CALL,
    commands=frozenset({"online"}),
    help="List at most this many.",
    flag_only=True,
)
CURSOR: Final[Option[str | None]] = Option(
    name="cursor",
    parse=units.parse_text,
    default=None,
    metavar="CURSOR",
    group=Group.CALL,
    commands=frozenset({"follow", "watch"}),
    help="Go on after this cursor (from --json): all that was missed since, perhaps a few changes again, or the error gap.",
    flag_only=True,
)
URL: Final[Option[str]] = Option(
    name="url",
    parse=units.parse_text,
    default="presence://127.0.0.1:7411",
    default_text="presence://127.0.0.1:7411",
    metavar="URL",
    group=Group.SERVER,
    commands=CLIENTS,
    help="The server: presence://HOST:PORT, presence+tls://HOST:PORT or presence+unix:///PATH; or some nodes of a cluster: "
    "presence+cluster://HOST:PORT,..., presence+cluster+tls://HOST:PORT,...",
    may_hold_secret=True,
)
TIMEOUT: Final[Option[int]] = Option(
    name="timeout",
    parse=units.duration_between(10, 3600 * limits.SECOND_MS),
    default=5 * limits.SECOND_MS,
    default_text="5",
    metavar="SECONDS",
    group=Group.SERVER,
    commands=CLIENTS,
    help="How long a call may take before it has failed (10ms to 1h).",
)
JSON: Final[Option[bool]] = Option(
    name="json",
    parse=units.parse_switch,
    default=False,
    group=Group.RUNNING,
    commands=CALLS,
    help="Answer in JSON: one object, or one a line where there are many. Unknown is null.",
)

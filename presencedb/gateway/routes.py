"""THE table of calls over HTTP: what each is, the right it needs, and one line of help.

The application, the page at `/` and the documentation's test read this table; there is no second list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from presencedb.credentials import Right


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call.

    Attributes:
        path: as documentation writes it; a last segment in braces stands for any one segment.
        right: what the caller needs; None: anybody may call it.
        service_only: user tokens are refused, whatever their rights.
        handler: name of the method that answers.
    """

    method: str
    path: str
    right: Right | None
    service_only: bool = False
    handler: str
    help: str


ROUTES: Final = (
    Route(
        method="POST",
        path="/heartbeat",
        right=Right.WRITE,
        handler="heartbeat",
        help='Mark the user of the token alive. With an API key: {"user_id": ...}.',
    ),
    Route(
        method="POST",
        path="/heartbeats",
        right=Right.WRITE,
        service_only=True,
        handler="heartbeats",
        help='Mark many users alive: {"user_ids": [...]}. API keys only.',
    ),
    Route(
        method="DELETE",
        path="/heartbeat",
        right=Right.WRITE,
        handler="sign_off",
        help="Sign the user off, at once or after ?grace=SECONDS without another heartbeat.",
    ),
    Route(
        method="GET",
        path="/status/users",
        right=Right.READ,
        handler="statuses",
        help="Who is online: ?ids=u1,u2,u3. null is unknown.",
    ),
    Route(
        method="POST",
        path="/status/users",
        right=Right.READ,
        handler="statuses_of_body",
        help='The same for up to 10,000 users: {"ids": [...]}.',
    ),
    Route(
        method="GET",
        path="/status/{user_id}",
        right=Right.READ,
        handler="status",
        help="One of those.",
    ),
    Route(
        method="GET",
        path="/healthz",
        right=None,
        handler="healthz",
        help="Whether this process lives.",
    ),
    Route(
        method="GET",
        path="/readyz",
        right=None,
        handler="readyz",
        help="Whether it can serve; if not, why.",
    ),
    Route(
        method="GET",
        path="/metrics",
        right=Right.ADMIN,
        handler="metrics",
        help="Counters for Prometheus.",
    ),
    Route(
        method="GET",
        path="/",
        right=Right.READ,
        handler="index",
        help="This list.",
    ),
)
"""Every call, in the order in which documentation lists them."""

SCRAPER_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What `--metrics-listen` serves."""

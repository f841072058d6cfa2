"""`presencedb ping`: does a server answer, and how fast."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import print_json, print_line
from presencedb.client.aio import AsyncClient
from presencedb.config import JSON, URL
from presencedb.limits import SECOND_MS
from presencedb.settings import Settings


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _ping(db, settings[URL], as_json=settings[JSON]))


async def _ping(db: AsyncClient, url: str, *, as_json: bool) -> None:
    round_trip_ms = round(await db.ping() * SECOND_MS, 3)
    if as_json:
        print_json({"url": url, "round_trip_ms": round_trip_ms})
    else:
        print_line(f"pong from {url} in {round_trip_ms} ms")

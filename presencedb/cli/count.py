"""`presencedb count`: how many users are online."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import print_json, print_line
from presencedb.client.aio import AsyncClient
from presencedb.config import JSON
from presencedb.settings import Settings


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_count(db, as_json=settings[JSON]))


async def _print_count(db: AsyncClient, *, as_json: bool) -> None:
    count = await db.count()
    if as_json:
        print_json({"online": count})
    else:
        print_line(str(count))

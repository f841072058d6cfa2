"""`presencedb follow`: every change of status, as it happens."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import print_change
from presencedb.client.aio import AsyncClient
from presencedb.client.failures import CHANGES_MISSED
from presencedb.config import CURSOR, JSON
from presencedb.errors import GapError
from presencedb.settings import Settings


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_changes(db, cursor=settings[CURSOR], as_json=settings[JSON]))


async def _print_changes(db: AsyncClient, *, cursor: str | None, as_json: bool) -> None:
    async with db.follow(cursor) as changes:
        try:
            async for change in changes:
                print_change(change, changes.cursor, as_json=as_json)
        except GapError:
            raise GapError(f"{CHANGES_MISSED}; run `presencedb follow` again") from None

"""`presencedb watch`: some users' statuses, and every change of them as it happens."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import print_change
from presencedb.cli.stdin_ids import all_ids
from presencedb.client.aio import AsyncClient
from presencedb.client.values import Change
from presencedb.config import CURSOR, JSON
from presencedb.settings import Settings
from presencedb.states import Reason


def run(settings: Settings, arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_all(db, arguments, cursor=settings[CURSOR], as_json=settings[JSON]))


async def _print_all(db: AsyncClient, arguments: Sequence[str], *, cursor: str | None, as_json: bool) -> None:
    ids = await all_ids(arguments)
    async with db.watch(ids, cursor, on_gap="resync") as changes:
        for user_id, online in list(changes.statuses.items()):
            reason = Reason.UNKNOWN if online is None else Reason.KNOWN
            print_change(Change(user_id, online, None, reason.text), changes.cursor, as_json=as_json)
        async for change in changes:
            print_change(change, changes.cursor, as_json=as_json)

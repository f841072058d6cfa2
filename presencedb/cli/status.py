"""`presencedb status`: who is online."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import STATUS_WORDS, id_shown, print_json, print_line
from presencedb.cli.stdin_ids import id_batches
from presencedb.client.aio import AsyncClient
from presencedb.config import JSON
from presencedb.ids import id_text
from presencedb.settings import Settings


def run(settings: Settings, arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_statuses(db, arguments, as_json=settings[JSON]))


async def _print_statuses(db: AsyncClient, arguments: Sequence[str], *, as_json: bool) -> None:
    async for ids in id_batches(arguments):
        statuses = await db.status(ids)
        for user_id in ids:
            if as_json:
                print_json({"id": id_text(user_id), "online": statuses[user_id]})
            else:
                print_line(id_shown(user_id), STATUS_WORDS[statuses[user_id]])

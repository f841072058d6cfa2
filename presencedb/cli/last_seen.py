"""`presencedb last-seen`: when users were last heard of."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import id_shown, print_json, print_line, time_shown
from presencedb.cli.stdin_ids import id_batches
from presencedb.client.aio import AsyncClient
from presencedb.config import JSON
from presencedb.ids import id_text
from presencedb.settings import Settings


def run(settings: Settings, arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_last_seen(db, arguments, as_json=settings[JSON]))


async def _print_last_seen(db: AsyncClient, arguments: Sequence[str], *, as_json: bool) -> None:
    async for ids in id_batches(arguments):
        moments = await db.last_seen(ids)
        for user_id in ids:
            moment = moments[user_id]
            text = None if moment is None else time_shown(moment)
            if as_json:
                print_json({"id": id_text(user_id), "last_seen": text})
            else:
                print_line(id_shown(user_id), text or "-")

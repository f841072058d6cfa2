"""`presencedb online`: the users online, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from presencedb.cli.calls import run_call
from presencedb.cli.output import id_shown, print_json, print_line
from presencedb.client.aio import AsyncClient
from presencedb.config import JSON, LIMIT
from presencedb.ids import id_text
from presencedb.settings import Settings

PAGE_IDS: Final = 1_000


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_online(db, limit=settings[LIMIT], as_json=settings[JSON]))


async def _print_online(db: AsyncClient, *, limit: int | None, as_json: bool) -> None:
    cursor: str | None = None
    left = limit
    while True:
        page_limit = PAGE_IDS if left is None else min(PAGE_IDS, left)
        cursor, ids = await db.online(cursor, page_limit)
        for user_id in ids:
            if as_json:
                print_json({"id": id_text(user_id)})
            else:
                print_line(id_shown(user_id))
        if left is not None:
            left -= len(ids)
        if cursor is None or (left is not None and left <= 0):
            return

"""`presencedb follow`: every change of status, as it happens."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import STATUS_WORDS, id_shown, print_json, print_line, time_shown
from presencedb.client.aio import AsyncClient
from presencedb.client.failures import CHANGES_MISSED
from presencedb.client.values import Change
from presencedb.config import CURSOR, JSON
from presencedb.errors import GapError
from presencedb.ids import id_text
from presencedb.settings import Settings


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_changes(db, cursor=settings[CURSOR], as_json=settings[JSON]))


async def _print_changes(db: AsyncClient, *, cursor: str | None, as_json: bool) -> None:
    async with db.follow(cursor) as changes:
        try:
            async for change in changes:
                _print_change(change, changes.cursor, as_json=as_json)
        except GapError:
            raise GapError(f"{CHANGES_MISSED}; run `presencedb follow` again") from None


def _print_change(change: Change, cursor: str | None, *, as_json: bool) -> None:
    at = None if change.at is None else time_shown(change.at)
    if as_json:
        print_json(
            {"cursor": cursor, "id": id_text(change.id), "online": change.online, "at": at, "reason": change.reason},
            flush=True,
        )
    else:
        print_line(at or "-", id_shown(change.id), STATUS_WORDS[change.online], change.reason, flush=True)

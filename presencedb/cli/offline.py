"""`presencedb offline`: sign users off, at once or after a grace."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import counted, print_json, print_line
from presencedb.cli.stdin_ids import id_batches
from presencedb.client.aio import AsyncClient
from presencedb.config import GRACE, JSON
from presencedb.settings import Settings


def run(settings: Settings, arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _sign_off(db, arguments, grace_ms=settings[GRACE], as_json=settings[JSON]))


async def _sign_off(db: AsyncClient, arguments: Sequence[str], *, grace_ms: int, as_json: bool) -> None:
    sign_offs = went_offline = 0
    async for ids in id_batches(arguments):
        went_offline += await db.offline_batch(ids, grace_ms=grace_ms)
        sign_offs += len(ids)
    if as_json:
        print_json({"sign_offs": sign_offs, "went_offline": went_offline})
    else:
        print_line(f"{counted(sign_offs, 'sign-off')}, {went_offline} went offline at once")

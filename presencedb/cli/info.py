"""`presencedb info`: a look inside a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from presencedb.cli.calls import run_call
from presencedb.cli.output import print_json, print_line
from presencedb.client.aio import AsyncClient
from presencedb.config import JSON
from presencedb.settings import Settings


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_info(db, as_json=settings[JSON]))


async def _print_info(db: AsyncClient, *, as_json: bool) -> None:
    info = await db.info()
    if as_json:
        print_json(info)
        return
    for name, value in _flat(info, ""):
        print_line(name, value)


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Maps in maps as dotted names, one value each."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", " ".join(str(item) for item in value)
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)

"""`presencedb cluster members`: who is in the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from presencedb.cli.calls import run_call
from presencedb.cli.output import print_json, print_table
from presencedb.client.aio import AsyncClient
from presencedb.config import JSON
from presencedb.placement import Topology
from presencedb.settings import Settings


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_members(db, as_json=settings[JSON]))


async def _print_members(db: AsyncClient, *, as_json: bool) -> None:
    topology = Topology.from_wire(await db.topology())
    if as_json:
        for member in topology.members:
            print_json({"id": member.id, "address": member.address, "weight": member.weight})
    else:
        rows = [(member.id, member.address, str(member.weight)) for member in topology.members]
        print_table(("member", "address", "weight"), rows)

"""`presencedb cluster status`: how every member is, as the router or member that is asked sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from presencedb.cli.calls import CLIENT_NAME, run_call
from presencedb.cli.output import print_json, print_table
from presencedb.cli.secrets import client_tls, shown_token, uses_tls
from presencedb.client.aio import AsyncClient
from presencedb.client.cluster.dialling import member_address
from presencedb.config import JSON
from presencedb.errors import ConnectError, Error
from presencedb.placement import Member, Topology
from presencedb.settings import Settings

_MEMBER_S: Final = 1.0
_HEADER: Final = ("member", "address", "state", "epoch", "users", "online", "synced/owned slots")


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_call(settings, lambda db: _print_status(db, settings))


async def _print_status(db: AsyncClient, settings: Settings) -> None:
    topology, info = Topology.from_wire(await db.topology()), await db.info()
    told = info.get("nodes")
    if not isinstance(told, dict):
        told = await _ask_all(topology, info, settings)
    rows = [_row(member, told.get(member.id)) for member in topology.members]
    if settings[JSON]:
        print_json({"epoch": topology.epoch, "replicas": topology.replicas, "members": rows})
    else:
        print_table(_HEADER, [_shown(row) for row in rows])


async def _ask_all(topology: Topology, own: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The `info` of every member, where a member was asked, which tells only its own."""
    others = [member for member in topology.members if member.id != own.get("node")]
    told = await asyncio.gather(*(_ask(member, settings) for member in others))
    return {str(own.get("node")): own} | {member.id: info for member, info in zip(others, told, strict=True)}


async def _ask(member: Member, settings: Settings) -> dict[str, Any] | None:
    try:
        async with AsyncClient(
            str(member_address(member, tls=uses_tls(settings))),
            token=shown_token(settings),
            ssl_context=client_tls(settings),
            connect_timeout_s=_MEMBER_S,
            timeout_s=_MEMBER_S,
            client_name=CLIENT_NAME,
        ) as db:
            return await db.info()
    except ConnectError:
        return None
    except Error as error:
        return {"error": error.message}


def _row(member: Member, info: Mapping[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"id": member.id, "address": member.address, "state": "down"}
    numbers = ("cluster_epoch", "users", "online", "slots_synced", "slots_owned")
    if info is None:
        return row | dict.fromkeys(("epoch", *numbers[1:]))
    epoch, users, online, synced, owned = (info.get(name) for name in numbers)
    row["state"] = "unknown" if "error" in info else "up" if synced == owned else "syncing"
    return row | {"epoch": epoch, "users": users, "online": online, "slots_synced": synced, "slots_owned": owned}


def _shown(row: Mapping[str, Any]) -> tuple[str, ...]:
    fields = [
        "-" if row[name] is None else str(row[name]) for name in ("id", "address", "state", "epoch", "users", "online")
    ]
    slots = "-" if row["slots_synced"] is None else f"{row['slots_synced']}/{row['slots_owned']}"
    return (*fields, slots)

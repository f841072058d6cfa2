"""`presencedb heartbeat`: mark users alive, once or until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import Final

from presencedb.cli.calls import run_call
from presencedb.cli.output import counted, note, print_json, print_line
from presencedb.cli.stdin_ids import all_ids, id_batches
from presencedb.client.aio import AsyncClient
from presencedb.config import EVERY, JSON
from presencedb.errors import Error
from presencedb.ids import Id
from presencedb.limits import SECOND_MS
from presencedb.settings import Settings
from presencedb.units import duration_text

EASY_HEARTBEATS_PER_TTL: Final = 2.5
"""With fewer there is hardly time for a second heartbeat where one is lost."""


def run(settings: Settings, arguments: Sequence[str]) -> None:
    """Carry the command out."""
    every_ms = settings[EVERY]
    if every_ms is None:
        run_call(settings, lambda db: _beat_once(db, arguments, as_json=settings[JSON]))
    else:
        run_call(settings, lambda db: _keep_online(db, arguments, every_ms))


async def _beat_once(db: AsyncClient, arguments: Sequence[str], *, as_json: bool) -> None:
    heartbeats = came_online = 0
    async for ids in id_batches(arguments):
        came_online += await db.heartbeat_batch(ids)
        heartbeats += len(ids)
    if as_json:
        print_json({"heartbeats": heartbeats, "came_online": came_online})
    else:
        print_line(f"{counted(heartbeats, 'heartbeat')}, {came_online} came online")


async def _keep_online(db: AsyncClient, arguments: Sequence[str], every_ms: int) -> None:
    ids = await all_ids(arguments)
    await db.heartbeat_batch(ids)
    server = await db.hello()
    every, ttl = duration_text(every_ms), duration_text(server.ttl_ms)
    if every_ms >= server.ttl_ms:
        note(f"--every {every}: users go offline in between, the ttl of this server is {ttl}")
    elif every_ms * EASY_HEARTBEATS_PER_TTL > server.ttl_ms:
        interval = duration_text(server.heartbeat_interval_ms)
        note(
            f"--every {every}: one late heartbeat takes users offline, the ttl of this server is {ttl}, "
            f"and it asks for a heartbeat every {interval}"
        )
    note(f"{counted(len(ids), 'id')} kept online, a heartbeat every {every}; ^C ends")
    beating = asyncio.ensure_future(_beat_on(db, ids, every_ms))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, beating.cancel)
    await asyncio.wait([beating])
    if not beating.cancelled():
        beating.result()


async def _beat_on(db: AsyncClient, ids: Sequence[Id], every_ms: int) -> None:
    """Beat at a steady pace; an outage is told once, and ridden out."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    is_out = False
    while True:
        due_s = max(due_s + every_ms / SECOND_MS, loop.time())
        await asyncio.sleep(due_s - loop.time())
        try:
            await db.heartbeat_batch(ids)
        except Error as error:
            if not error.retryable:
                raise
            if not is_out:
                note(f"{error.message}; going on trying")
            is_out = True
        else:
            if is_out:
                note("the server is back")
            is_out = False

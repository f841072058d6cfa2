"""Readers of changes: `watch` and `follow` of both clients, each a task that never stops reading and notes what it saw.

A reader does what an application would: it begins anew after a GapError, and where nobody answers yet it tries again. The
blocking client stands behind the face of the asyncio one, each call in a thread, so its adds and removes come from other
threads than the one that waits for changes.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

from presencedb import AsyncClient, Change, ClientClosed, ConnectError, GapError, Id
from tests.client.in_threads import InThreads
from tests.processes.feeds_steps import MARKER, WATCHED_AT_FIRST, Kind
from tests.processes.feeds_truth import Added, Adding, Began, Gap, Record, Removed, Told

CONNECT_TIMEOUT_S: Final = 1.0
TIMEOUT_S: Final = 60.0
"""A call may have to wait for the end of a stall."""
RETRY_S: Final = 0.02


class Reader:
    """One reader, driven by orders, which are carried out one after the other.

    Attributes:
        records: what it saw, in order.
        saved: a cursor to which it may be sent back.
        open_orders: how many orders are not carried out yet.
        failure: what no reader may meet.
    """

    def __init__(self, kind: Kind, url: str, seed: int) -> None:
        self.kind = kind
        self.records: list[Record] = []
        self.saved: str | None = None
        self.open_orders = 0
        self.failure: BaseException | None = None
        self._url = url
        self._random = Random(f"{seed} {kind}")
        self._wanted: dict[Id, None] = dict.fromkeys((*WATCHED_AT_FIRST, MARKER))
        self._orders: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()
        self._asked: str | None = None
        self._feed: Any = None
        self._is_open = asyncio.Event()
        self._is_closing = False
        self._tasks = (asyncio.create_task(self._guard(self._read())), asyncio.create_task(self._guard(self._obey())))

    @property
    def is_watch(self) -> bool:
        return self.kind.feed == "watch"

    def statuses(self) -> dict[Id, bool | None]:
        """What a watch says now."""
        return dict(self._feed.statuses)

    def cursor(self) -> str | None:
        """Where to go on."""
        cursor: str | None = self._feed.cursor
        return cursor

    def wanted(self) -> set[Id]:
        """Whom it is to watch."""
        return set(self._wanted)

    def order(self, name: str, *arguments: Any) -> None:
        """Have something done: `add` or `remove` ids, or `reopen` at a cursor, None where it is."""
        self._orders.put_nowait((name, arguments))

    async def close(self) -> None:
        """Close the feed and the client, and end."""
        self._is_closing = True
        if self._feed is not None:
            await self._feed.aclose()
        self._tasks[1].cancel()
        await asyncio.wait(self._tasks)

    async def _guard(self, work: Any) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failure = self.failure or error

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while not self._is_closing:
            client = self._new_client()
            try:
                if await self._enter(client):
                    self._is_open.set()
                    await self._read_on()
                else:
                    await asyncio.sleep(RETRY_S)
            finally:
                self._is_open.clear()
                await client.close()

    def _new_client(self) -> Any:
        make: Any = AsyncClient if self.kind.client == "asyncio" else InThreads
        return make(self._url, connect_timeout_s=CONNECT_TIMEOUT_S, timeout_s=TIMEOUT_S, random=self._random)

    async def _enter(self, client: Any) -> bool:
        asked, on_gap = self._asked, self.kind.on_gap
        ids = tuple(self._wanted)
        self._feed = client.watch(ids, asked, on_gap=on_gap) if self.is_watch else client.follow(asked, on_gap=on_gap)
        try:
            await self._feed.__aenter__()
        except GapError:
            self._note_gap()
            return False
        except (ConnectError, ClientClosed):  # nobody is there, or it is being closed
            return False
        self.records.append(Began(asked, self._feed.cursor, self.statuses() if self.is_watch else None))
        return True

    async def _read_on(self) -> None:
        try:
            async for change in self._feed:
                assert isinstance(change, Change)
                self.records.append(Told(change, self._feed.cursor))
        except GapError:
            self._note_gap()
        finally:
            await self._feed.aclose()

    def _note_gap(self) -> None:
        self.records.append(Gap(self._asked if not self._is_open.is_set() else None))
        self._asked = None

    # --- orders ------------------------------------------------------------------------------------------------------

    async def _obey(self) -> None:
        while True:
            name, arguments = await self._orders.get()
            await self._is_open.wait()
            match name:
                case "add":
                    await self._add(*arguments)
                case "remove":
                    await self._remove(*arguments)
                case "reopen":
                    (cursor,) = arguments
                    feed = self._feed
                    self._is_open.clear()
                    self._asked = cursor or feed.cursor
                    await feed.aclose()
            self.open_orders -= 1

    async def _add(self, ids: tuple[Id, ...]) -> None:
        new = tuple(user_id for user_id in ids if user_id not in self._wanted)
        self._wanted.update(dict.fromkeys(ids))
        self.records.append(Adding(new))
        feed = self._feed
        try:
            await feed.add(ids)
        except (GapError, ClientClosed):
            return  # it ended, and the next one begins with them
        if feed is self._feed:
            # In another thread changes may have been given out by now that are not noted yet.
            statuses = {user_id: feed.statuses[user_id] for user_id in new} if self.kind.client == "asyncio" else None
            self.records.append(Added(new, statuses))

    async def _remove(self, ids: tuple[Id, ...]) -> None:
        for user_id in ids:
            self._wanted.pop(user_id, None)
        removing = self._feed.remove(ids)
        if self.kind.client == "asyncio":
            self.records.append(Removed(ids, at_once=True))
        else:
            self.records.append(Removed(ids, at_once=False))
        try:
            await removing
        except (GapError, ClientClosed):
            return

"""What `import presencedb` promises: names, types as a type checker reveals them, and how little it loads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_type
from uuid import UUID

import presencedb
from presencedb import AsyncClient, Change, ConnectionState, Id, ServerInfo
from tests.client.running import running_node, url_of
from tests.support.process import clean_environment
from tests.support.sources import PACKAGE

if TYPE_CHECKING:

    async def revealed(db: AsyncClient) -> None:
        """Never run: a type checker holds what users see."""
        assert_type(AsyncClient(), AsyncClient)
        async with AsyncClient("presence://r1") as entered:
            assert_type(entered, AsyncClient)
        await db.heartbeat(1, "a", UUID(int=1), age_ms=5)
        assert_type(await db.heartbeat_batch({1, 2}), int)
        assert_type(await db.offline_batch(number for number in range(3)), int)
        assert_type(await db.status([1, "a"]), dict[int | str, bool | None])
        assert_type(await db.last_seen((1,)), dict[Id, datetime | None])
        assert_type(await db.count(), int)
        assert_type(await db.online(), tuple[str | None, list[Id]])
        assert_type(db.scan(), AsyncIterator[Id])
        assert_type(await db.info(), dict[str, Any])
        assert_type(await db.topology(), dict[str, Any])
        assert_type(await db.ping(), float)
        assert_type(await db.hello(), ServerInfo)
        assert_type(db.state, ConnectionState)
        async with db.follow() as changes:
            async for change in changes:
                assert_type(change, Change)
                assert_type(change.id, int | str)
                assert_type(change.online, bool | None)
                assert_type(change.at, datetime | None)
                assert_type(change.reason, str)
            assert_type(changes.cursor, str | None)
        async with db.keep_online(1, sign_off=True):
            pass


def test_every_public_name_is_there_and_sorted() -> None:
    assert presencedb.__all__ == sorted(presencedb.__all__)
    for name in presencedb.__all__:
        assert getattr(presencedb, name) is not None


def test_errors_are_the_builtin_ones_too() -> None:
    assert issubclass(presencedb.ConnectError, ConnectionError)
    assert issubclass(presencedb.CallTimeout, TimeoutError)
    public = [getattr(presencedb, name) for name in presencedb.__all__]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, Exception)]
    assert all(issubclass(error, presencedb.Error) for error in errors)


def test_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_everything_public_has_a_docstring() -> None:
    public = [value for name, value in vars(AsyncClient).items() if not name.startswith("_")]
    public += [AsyncClient, AsyncClient.__init__, Change, ServerInfo, ConnectionState, presencedb]
    assert all((value.__doc__ or "").strip() for value in public)


async def test_a_client_at_work_has_loaded_only_what_it_needs() -> None:
    script = """
import sys
before = set(sys.modules)
import asyncio, presencedb

async def main():
    async with presencedb.AsyncClient(sys.argv[1]) as db:
        await db.heartbeat(1, "a")
        await db.status([1])
        await db.last_seen([1])
        async with db.keep_online(1), db.follow() as changes:
            await db.offline(1)
            await anext(changes)

asyncio.run(main())
added = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*sorted(name for name in added if getattr(sys.modules[name], "__file__", None)))
"""
    async with running_node() as node:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "error", "-c", script, url_of(node)],
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=40,
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout.split() == ["msgpack", "presencedb", "xxhash"]

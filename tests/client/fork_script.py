"""A process that forks with a connected client, run by `test_fork.py`. Its argument is the URL of a node.

The parent goes on with its own connection; the child, in a loop of its own, makes another. A second child never touches the
client; it just holds whatever it inherited while the parent closes.
"""

from __future__ import annotations

import asyncio
import os
import sys

from presencedb import AsyncClient
from tests.support.async_tests import new_event_loop
from tests.support.waiting import wait_until_async


async def use_in_child(db: AsyncClient) -> None:
    assert db.stats().calls == 0
    await db.heartbeat("child")
    assert (await db.status(["parent", "child"])) == {"parent": True, "child": True}
    await asyncio.gather(*(db.heartbeat(number) for number in range(100)))
    await db.close()


async def use_in_parent(db: AsyncClient) -> None:
    async with db.keep_online("parent"):
        await db.heartbeat("parent")


def fork(db: AsyncClient, *, idle: bool) -> int:
    """A child that uses the client, or only waits for the end of the parent; gives its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if idle:
            os.close(parent_is_done)  # so that the end of the parent, however it comes, ends this child too
            os.read(idle_child_goes_on, 1)
        else:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(use_in_child(db))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def main(url: str) -> None:
    loop = new_event_loop()
    db = AsyncClient(url, timeout_s=20)
    loop.run_until_complete(use_in_parent(db))
    connections = loop.run_until_complete(db.info())["connections"]
    idle_child = fork(db, idle=True)
    busy_child = fork(db, idle=False)
    assert os.waitpid(busy_child, 0)[1] == 0, "the child failed"
    loop.run_until_complete(use_in_parent(db))
    assert loop.run_until_complete(db.status(["child"])) == {"child": True}
    assert loop.run_until_complete(db.info())["connections"] == connections, "the child disturbed the parent's connection"
    loop.run_until_complete(db.close())
    loop.run_until_complete(wait_until_alone(url))
    os.write(parent_is_done, b"x")
    assert os.waitpid(idle_child, 0)[1] == 0
    loop.close()
    print("fine")


async def wait_until_alone(url: str) -> None:
    """Until the node sees no connection but the one that asks: nobody holds the parent's open."""
    async with AsyncClient(url) as other:

        async def is_alone() -> bool:
            return bool((await other.info())["connections"] == 1)

        await wait_until_async(is_alone)


if __name__ == "__main__":
    idle_child_goes_on, parent_is_done = os.pipe()
    main(sys.argv[1])

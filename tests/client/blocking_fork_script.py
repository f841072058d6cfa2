"""A process that forks with a connected blocking client, run by `test_blocking_lifecycle.py` with the URL of a node.

The parent goes on with its own connections; a child makes others. Another child never touches the client; it just holds
whatever it inherited while the parent closes. Threads of the parent are in the middle of everything meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from presencedb import Client, ClientClosed
from tests.support.waiting import wait_until


def use_in_child(db: Client) -> None:
    assert db.stats().calls == 0
    db.heartbeat("child")
    assert db.status(["child", "nobody"]) == {"child": True, "nobody": False}
    assert threading.active_count() == 1
    kept = f"kept by {os.getpid()}"
    with db.follow() as changes, db.keep_online(kept):
        assert kept in (change.id for change in changes)
    db.close()


def fork(work: Callable[[], None]) -> int:
    """A child that does something; gives its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(parent_is_done)  # so that the end of the parent, however it comes, ends its children too
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)


def wait_for_parent() -> None:
    os.read(idle_child_goes_on, 1)


def call_all_the_time(db: Client) -> None:
    with suppress(ClientClosed):
        while True:
            db.status(["parent"])


def main(url: str) -> None:
    db = Client(url, timeout_s=30)
    block = db.keep_online("parent", sign_off=True)
    block.__enter__()
    feed = db.follow()
    feed.__enter__()
    threads = [threading.Thread(target=call_all_the_time, args=(db,)) for _ in range(3)]
    threads.append(threading.Thread(target=lambda: list(feed)))
    for thread in threads:
        thread.start()
    idle_child = fork(wait_for_parent)

    def use_everything() -> None:
        block.__exit__(None, None, None)  # of the parent: it ends nothing there
        assert list(feed) == []
        try:
            feed.get()
        except ClientClosed:
            use_in_child(db)

    for _ in range(5):
        child = fork(use_everything)
        assert os.waitpid(child, 0)[1] == 0, "the child failed"
    assert db.status(["parent", "child"]) == {"parent": True, "child": True}
    assert db._caller.pool._loss_count == 0, "a child disturbed a connection of the parent"
    block.__exit__(None, None, None)
    db.close()
    for thread in threads:
        thread.join()
    with Client(url) as other:
        wait_until(lambda: other.info()["connections"] == 1, what="the end of the parent's connections")
        assert other.status(["parent"]) == {"parent": False}
    os.write(parent_is_done, b"x")
    assert os.waitpid(idle_child, 0)[1] == 0
    print("fine")


if __name__ == "__main__":
    idle_child_goes_on, parent_is_done = os.pipe()
    main(sys.argv[1])

"""A node that was stopped does not blame its users: real time, a real process, SIGSTOP and SIGCONT."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgpack
import pytest

from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until

TTL_S: Final = 1.0
BEAT_INTERVAL_S: Final = 0.2
BEATING: Final = list(range(1_000))
LEAVING: Final = list(range(5_000, 5_100))


@contextmanager
def heartbeats(address: tuple[str, int]) -> Iterator[None]:
    """Heartbeats of all of `BEATING`, five times a ttl, from a thread of its own, whatever the node does."""
    stop = threading.Event()
    frame = msgpack.packb([2, "heartbeat", [BEATING]])

    def beat() -> None:
        with RawConnection(address, deadline_s=120) as sender:
            while not stop.is_set():
                sender.send(frame)
                stop.wait(BEAT_INTERVAL_S)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def read_until_all_left(follower: RawConnection) -> list[list[Any]]:
    """Events until everybody in `LEAVING` is offline."""
    events: list[list[Any]] = []
    waiting = set(LEAVING)
    while waiting:
        kind, method, params = follower.receive()
        assert (kind, method) == (2, "presence")
        events += params[1]
        waiting -= {user_id for user_id, online, _, _ in params[1] if online is False}
    return events


@pytest.mark.parametrize("ttls", [0.9, 2.0, 10.0])
def test_only_those_who_stopped_go_offline_after_a_stall(ttls: float) -> None:
    options = ("--listen", "127.0.0.1:0", "--ttl", str(TTL_S), "--tick", "50")
    with (
        ServerProcess("node", *options) as node,
        RawConnection(node.tcp) as follower,
        RawConnection(node.tcp) as asker,
        heartbeats(node.tcp),
    ):
        wait_until(lambda: all(asker.call("status", BEATING)[1]))
        assert follower.call("follow")[0] is None
        assert asker.call("heartbeat", LEAVING)[1] == len(LEAVING)
        node.sigstop()
        threading.Event().wait(ttls * TTL_S)
        node.sigcont()
        events = read_until_all_left(follower)
        assert {event[0] for event in events if event[1] is False} == set(LEAVING)
        assert all(asker.call("status", BEATING)[1])
        info = asker.call("info")[1]
        assert info["stalls"] >= 1
        assert "Traceback" not in node.stderr

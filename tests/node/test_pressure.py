"""A node as a process, under clients that behave badly: its memory stays flat, and the others are served."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from presencedb.limits import MIB
from presencedb.transport.loop import LoopKind
from tests.node.running import node_process
from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until

LOOPS: Final[tuple[LoopKind, ...]] = ("asyncio", "uvloop")
TTL_MS: Final = 60_000
CLIENT_CAP_BYTES: Final = 16 * MIB
"""More than one connection ever holds: a read, a frame, twice the high water, the largest answer, the allocator's slack."""


def call(connection: RawConnection, method: str, *params: Any) -> Any:
    """The result of a request."""
    connection.send_message([0, 1, method, list(params)])
    _, _, error, result = connection.receive()
    assert error is None
    return result


def rss_bytes(node: ServerProcess) -> int:
    """Memory of the process."""
    status = Path(f"/proc/{node.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def send_until_refused(sock: socket.socket, data: bytes) -> int:
    """Send as much as the other side takes in; returns how many bytes."""
    sock.setblocking(False)
    sent = 0
    view = memoryview(data)
    idle = 0
    while sent < len(data) and idle < 50:
        try:
            sent += sock.send(view[sent:])
            idle = 0
        except BlockingIOError:
            idle += 1
            threading.Event().wait(0.01)
    return sent


@contextlib.contextmanager
def in_background(work: threading.Thread) -> Iterator[None]:
    work.start()
    try:
        yield
    finally:
        work.join()


@pytest.mark.parametrize("kind", LOOPS)
def test_ten_thousand_scans_for_a_client_that_never_reads(kind: LoopKind) -> None:
    with node_process(kind, ttl_ms=TTL_MS) as node, RawConnection(node.tcp) as other:
        call(other, "heartbeat", [f"{number:0250}" for number in range(10_000)])
        call(other, "online", None, 10_000)
        before = rss_bytes(node)
        with socket.create_connection(node.tcp) as deaf:
            send_until_refused(deaf, msgpack.packb([0, 1, "online", [None, 10_000]]) * 10_000)
            assert call(other, "ping") == "pong"
            assert rss_bytes(node) - before < CLIENT_CAP_BYTES
            assert call(other, "info")["requests"]["online"] < 50


@pytest.mark.parametrize("kind", LOOPS)
def test_followers_that_never_read(kind: LoopKind) -> None:
    """Twenty of them and a million changes: what is kept is the one log, bounded, and a little for each."""
    follower_count = 20
    with node_process(kind, ttl_ms=TTL_MS) as node, RawConnection(node.tcp) as other, contextlib.ExitStack() as stack:
        for _ in range(follower_count):
            deaf = stack.enter_context(socket.create_connection(node.tcp))
            deaf.sendall(msgpack.packb([0, 1, "follow", []]))
        wait_until(lambda: call(other, "info")["followers"] == follower_count)
        names = [f"{number:0100}" for number in range(5_000)]
        heartbeat, offline = (msgpack.packb([0, 1, method, [names]]) for method in ("heartbeat", "offline"))
        before = rss_bytes(node)
        for _ in range(50):
            other.send(heartbeat + offline)
            other.receive()
            other.receive()
        wait_until(lambda: call(other, "info")["transitions"] == 500_000)
        info = call(other, "info")
        assert info["followers"] == follower_count
        assert info["feed_bytes"] <= 64 * MIB
        assert rss_bytes(node) - before < 64 * MIB * 1.5 + follower_count * 4 * MIB


@pytest.mark.parametrize("kind", LOOPS)
def test_a_flood_of_notifications_leaves_ping_answered_and_memory_flat(kind: LoopKind) -> None:
    """As fast as the machine can send, which is more than the node can take; nothing pushes back but the socket."""
    with node_process(kind, ttl_ms=TTL_MS) as node, RawConnection(node.tcp) as other:
        frame = b"".join(msgpack.packb([2, "heartbeat", [[number]]]) for number in range(2_000))
        ended = threading.Event()

        def flood() -> None:
            with RawConnection(node.tcp) as connection:
                while not ended.is_set():
                    connection.send(frame)

        floods = [threading.Thread(target=flood) for _ in range(3)]
        with contextlib.ExitStack() as stack:
            for thread in floods:
                stack.enter_context(in_background(thread))
            stack.callback(ended.set)
            wait_until(lambda: call(other, "info")["heartbeats"] > 20_000)
            before = rss_bytes(node)
            for _ in range(100):
                assert call(other, "ping") == "pong"
                assert call(other, "status", [1, 2_000]) == [True, False]
            wait_until(lambda: call(other, "info")["heartbeats"] > 200_000)
            assert rss_bytes(node) - before < CLIENT_CAP_BYTES

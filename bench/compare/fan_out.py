"""How long a change takes to reach all who watch one user; in Redis and Valkey a message, to all subscribers."""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

import msgpack

from bench.compare.peers import Server

ROUNDS = 9
PAUSE_S = 0.3
"""Between two changes, so that each meets a server with nothing else to do."""
WAIT_S = 30.0
USER_ID = 7
READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FanOut:
    """How one change went out, by the medians of the rounds.

    Attributes:
        first_ms: from the request that changes the user to the first arrival. A node tells once a tick.
        last_ms: to the last.
        between_ms: from the first to the last.
        server_cpu_ms: processor time of the server for one change, the mean of the rounds; neighbours do not lengthen it.
        reader_share: of its own processor, that the one process took which reads all the connections.
    """

    watchers: int
    first_ms: float
    last_ms: float
    between_ms: float
    server_cpu_ms: float
    reader_share: float


def allow_connections(count: int) -> None:
    """Let this process, and the servers that it starts, have so many files.

    Raises:
        RuntimeError: the system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 256
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise RuntimeError(f"{count} watchers need {needed} open files, and no process may have more than {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def measure(server: Server, watchers: int, load_cpu: int) -> FanOut:
    """One change, `ROUNDS` times, to so many connections of this process."""
    resp = server.protocol == "resp"
    subscribe = b"SUBSCRIBE user:7\r\n" if resp else msgpack.packb([0, 1, "watch", [[USER_ID]]])
    mark = b"message" if resp else b"\xa8presence"
    rounds: list[tuple[float, float]] = []
    with _pinned(load_cpu), ExitStack() as stack, select.epoll() as poll:
        connections: dict[int, socket.socket] = {}
        for _ in range(watchers):
            connection = stack.enter_context(_subscribed(server, subscribe))
            connections[connection.fileno()] = connection
            poll.register(connection.fileno(), select.EPOLLIN)
        writer = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S))
        reading_s, cpu_s = 0.0, 0.0
        server_began_ms = server.cpu_ms()
        for number in range(ROUNDS):
            time.sleep(PAUSE_S)
            began_s, cpu_began_s = time.monotonic(), time.process_time()
            writer.sendall(_change(number, resp=resp))
            first_s = _read_all(poll, connections, mark)
            last_s = time.monotonic()
            cpu_s += time.process_time() - cpu_began_s
            reading_s += last_s - first_s
            rounds.append(((first_s - began_s) * 1000, (last_s - began_s) * 1000))
            writer.recv(READ_BYTES)
        server_cpu_ms = (server.cpu_ms() - server_began_ms) / ROUNDS
    return FanOut(
        watchers,
        median(first for first, _ in rounds),
        median(last for _, last in rounds),
        median(last - first for first, last in rounds),
        server_cpu_ms,
        cpu_s / reading_s,
    )


def _change(number: int, *, resp: bool) -> bytes:
    """Online and offline by turns; a message as long as the notification of that."""
    if resp:
        return b"PUBLISH user:7 %s\r\n" % (b"x" * 30)
    return bytes(msgpack.packb([0, number, "offline" if number % 2 else "heartbeat", [[USER_ID]]]))


def _subscribed(server: Server, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
    connection.sendall(request)
    if not connection.recv(READ_BYTES):
        raise RuntimeError(f"{server.peer} closed the connection of a watcher")
    connection.setblocking(False)
    return connection


def _read_all(poll: select.epoll, connections: dict[int, socket.socket], mark: bytes) -> float:
    """Read one notification from each connection; returns when the first came."""
    first_s = 0.0
    waiting = set(connections)
    while waiting:
        ready = poll.poll(WAIT_S)
        first_s = first_s or time.monotonic()
        if not ready:
            raise RuntimeError(f"{len(waiting)} of {len(connections)} watchers were told nothing")
        for number, _ in ready:
            data = connections[number].recv(READ_BYTES)
            if mark not in data or number not in waiting:
                raise RuntimeError(f"a watcher was told {data!r}")
            waiting.remove(number)
    return first_s


@contextmanager
def _pinned(cpu: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)

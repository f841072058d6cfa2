"""How late the news comes that somebody went offline: users due at one moment, beside many who stay."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles

import msgpack

from bench.compare.peers import Server
from bench.load import generator

PROBES = 1_000
PROBE_TTL_S = 10
WAIT_S = 40
"""How long after the deadline late events are waited for."""
REFRESH_S = 3.0
PROBE_ID_FIRST = 3_000_000_000


@dataclass(frozen=True, slots=True)
class Lateness:
    """What came of the probes: how many within the wait, and how late, in milliseconds after the deadline."""

    delivered: int
    median_ms: float
    p99_ms: float
    max_ms: float


def measure(server: Server, live_users: int, load_cpu: int) -> Lateness:
    """Lateness of `PROBES` offline events beside `live_users` others, on a server with a ttl of `PROBE_TTL_S`."""
    if live_users:
        _beat_live(server, live_users, load_cpu)
    if server.protocol == "resp":
        return _summary(_resp_probes(server))
    stop = threading.Event()
    beating = threading.Thread(target=_keep_beating, args=(server, live_users, load_cpu, stop))
    beating.start()
    try:
        return _summary(_presence_probes(server))
    finally:
        stop.set()
        beating.join()


def _beat_live(server: Server, live_users: int, load_cpu: int) -> None:
    """One heartbeat of each live user. Redis keeps them an hour: there nothing but the probes has to expire."""
    shape = ["--ids-per-frame", "1000", "--pipeline", "10", "--ttl", "3600"]
    generator.run([*server.arguments, "--op", "heartbeat", "--sequential", "--keys", str(live_users), *shape], load_cpu)


def _keep_beating(server: Server, live_users: int, load_cpu: int, stop: threading.Event) -> None:
    # A presence store has one ttl, so that here the live users have to beat, as they would.
    while live_users and not stop.wait(REFRESH_S):
        _beat_live(server, live_users, load_cpu)


def _resp_probes(server: Server) -> list[float]:
    listener = socket.create_connection(("127.0.0.1", server.port))
    writer = socket.create_connection(("127.0.0.1", server.port))
    with listener, writer:
        writer.sendall(b"CONFIG SET notify-keyspace-events Ex\r\n")
        _expect(writer, b"+OK")
        listener.sendall(b"SUBSCRIBE __keyevent@0__:expired\r\n")
        _expect(listener, b":1")
        commands = [b"SET probe:%d 1 EX %d\r\n" % (i, PROBE_TTL_S) for i in range(PROBES)]
        due = time.monotonic() + PROBE_TTL_S
        writer.sendall(b"".join(commands))
        return _collect(listener, due, lambda data: data.count(b"$7\r\nmessage"))


def _presence_probes(server: Server) -> list[float]:
    listener = socket.create_connection(("127.0.0.1", server.port))
    writer = socket.create_connection(("127.0.0.1", server.port))
    with listener, writer:
        listener.sendall(msgpack.packb([0, 1, "follow", []]))
        _expect(listener, b"\x94\x01\x01\xc0")
        ids = list(range(PROBE_ID_FIRST, PROBE_ID_FIRST + PROBES))
        due = time.monotonic() + PROBE_TTL_S
        writer.sendall(msgpack.packb([0, 2, "heartbeat", [ids]]))
        _expect(writer, b"\x94\x01\x02\xc0")
        # In the stream an id is 0xce and four bytes; offline is the false behind it, at_ms and the reason follow.
        return _collect(listener, due, lambda data: data.count(b"\xa7timeout"))


def _expect(connection: socket.socket, start: bytes) -> None:
    connection.settimeout(5)
    data = b""
    while start not in data:
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError(f"the server closed the connection after {data!r}")
        data += piece


def _collect(listener: socket.socket, due: float, count_in: Callable[[bytes], int]) -> list[float]:
    lateness_ms: list[float] = []
    tail = b""
    while len(lateness_ms) < PROBES and (left := due + WAIT_S - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            data = tail + listener.recv(1 << 20)
        except TimeoutError:
            break
        now = time.monotonic()
        lateness_ms += [(now - due) * 1000] * count_in(data)
        # A mark cut in two by a read is counted with the next one; a whole one at the end must not be counted twice.
        tail = data[-8:] if count_in(data[-8:]) == 0 else b""
    return lateness_ms


def _summary(lateness_ms: list[float]) -> Lateness:
    if len(lateness_ms) < 2:
        return Lateness(len(lateness_ms), float("nan"), float("nan"), float("nan"))
    percentiles = quantiles(lateness_ms, n=100, method="inclusive")
    return Lateness(len(lateness_ms), percentiles[49], percentiles[98], max(lateness_ms))

"""A process that floods a node with heartbeats, as much as its sockets take: `python flooding.py HOST PORT CONNECTIONS IDS`.

All are notifications, IDS ids in each, which nobody answers, so that nothing but the node holds it back. It says `full` once
every socket has refused to take more, and goes on until its stdin is closed. It imports nothing of the tests.
"""

from __future__ import annotations

import select
import socket
import sys
from itertools import count
from typing import Final

import msgpack

USERS: Final = 100_000
SLICE_BYTES: Final = 256 * 1024
FRAMES_BYTES: Final = 1024 * 1024


def frame(number: int, id_count: int) -> bytes:
    """One heartbeat."""
    start = number * id_count
    data: bytes = msgpack.packb([2, "heartbeat", [[user_id % USERS for user_id in range(start, start + id_count)]]])
    return data


def frames(id_count: int) -> bytes:
    """A mebibyte of heartbeats, or one where that is more."""
    data = bytearray()
    for number in count():
        data += frame(number, id_count)
        if len(data) >= FRAMES_BYTES:
            return bytes(data)
    raise AssertionError


def flood(address: tuple[str, int], connection_count: int, id_count: int) -> None:
    """Send until stdin is closed."""
    data = memoryview(frames(id_count))
    sockets = {sock.fileno(): sock for sock in (socket.create_connection(address) for _ in range(connection_count))}
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    sent = dict.fromkeys(sockets, 0)
    not_full_yet = set(sockets)
    for fd, sock in sockets.items():
        sock.setblocking(False)
        poll.register(fd, select.POLLOUT)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if sys.stdin.fileno() in ready:
            return
        for fd in ready:
            begin = sent[fd]
            sent[fd] = (begin + sockets[fd].send(data[begin : begin + SLICE_BYTES])) % len(data)
        if not_full_yet:
            not_full_yet &= ready
            if not not_full_yet:
                print("full", flush=True)


if __name__ == "__main__":
    flood((sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4]))

"""Whatever one connection sends, the node lives, its memory stays flat, and the other connections notice nothing."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until

STRANGERS: Final = 300
GROWTH_BYTES_MAX: Final = 48 * 1024 * 1024
SEED: Final = 20261125

BOMBS: Final = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    b"\xdd\xff\xff\xff\xff" * 400,
    b"\x94\x00\x01\xa9heartbeat\x91\xdd\xff\xff\xff\xff",
    b"\x94\x00\x01\xa9heartbeat\x91\xdb\xff\xff\xff\xff",
    b"\x91" * 100_000,
    b"\xc1" * 1000,
    b"\x94\x00\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa4ping\x90",
)


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmRSS for {pid}")


def harass(address: tuple[str, int], data: bytes, linger: bool) -> None:
    with socket.create_connection(address, timeout=20) as stranger:
        try:
            stranger.sendall(data)
            if linger:
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(65536):
                    pass
        except ConnectionError:
            pass  # the node closed the connection, as it should


def test_strangers_harm_nobody() -> None:
    dice = random.Random(SEED)
    with ServerProcess("node", "--listen", "127.0.0.1:0", "--ttl", "60") as node, RawConnection(node.tcp) as regular:
        assert regular.call("heartbeat", ["regular", 42])[1] == 2
        for data in BOMBS:
            harass(node.tcp, data, linger=True)
        before = resident_bytes(node.pid)
        for number in range(STRANGERS):
            data = BOMBS[number % len(BOMBS)] if number % 3 == 0 else dice.randbytes(dice.randrange(1, 20_000))
            harass(node.tcp, data, linger=number % 2 == 0)
            assert regular.call("status", ["regular", "42", "x"]) == (None, [True, True, False])
        wait_until(lambda: regular.call("info")[1]["connections"] == 1, what="the strangers' connections to be gone")
        assert resident_bytes(node.pid) - before < GROWTH_BYTES_MAX
        assert "Traceback" not in node.stderr
        assert node.terminate() == 0

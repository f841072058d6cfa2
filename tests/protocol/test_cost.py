"""A frame costs what its size says, however many reads it comes in."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from presencedb.protocol.codec_python import Framer
from presencedb.protocol.session import ServerSession
from tests.conformance import wire
from tests.protocol.driving import serve, single_bytes

LARGE = {
    "many ids": wire.request(7, "status", list(range(2**31, 2**31 + 99_999))),
    "long texts": wire.request(7, "status", ["x" * 255] * 16_000),
    "one blob": wire.request(7, "no", b"\x00" * 4_000_000),
    "many small values": wire.request(7, "no", [0] * 4_000_000),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("frame", LARGE.values(), ids=LARGE)
def test_a_large_frame_in_small_pieces_does_not_take_quadratic_time(frame: bytes) -> None:
    # Were the frame looked at anew with each of these thousands of pieces, it would take minutes.
    rng = random.Random(7)
    pieces = []
    at = 0
    while at < len(frame):
        size = rng.choice([1, 2, 16, 128, 1024])
        pieces.append(frame[at : at + size])
        at += size
    served = serve([*pieces, wire.request(8, "ping")])
    assert served.out.endswith(wire.result(8, 0))
    assert served.protocol_error is None


@pytest.mark.timeout(60)
def test_a_frame_in_single_bytes_does_not_take_quadratic_time() -> None:
    served = serve(single_bytes(wire.request(7, "status", ["x" * 255] * 1_000)))
    assert [name for name, *_ in served.requests] == ["status"]


def test_each_byte_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_bytes = 0
    unpacker = msgpack.Unpacker

    class CountingUnpacker:
        """Counts how far the skipper went."""

        def __init__(self, **options: Any) -> None:
            self._unpacker = unpacker(**options)
            self.feed = self._unpacker.feed
            self.tell = self._unpacker.tell

        def skip(self) -> None:
            nonlocal passed_bytes
            before = self._unpacker.tell()
            try:
                self._unpacker.skip()
            finally:
                passed_bytes += self._unpacker.tell() - before

    monkeypatch.setattr("presencedb.protocol.codec_python.msgpack.Unpacker", CountingUnpacker)
    framer = Framer()
    frame = wire.request(7, "status", ["x" * 100, 1, 2, 3] * 1_000)
    found = 0
    for byte in single_bytes(frame * 3):
        framer.feed(byte)
        found += (framer.next_frame() or b"") == frame
    assert found == 3
    assert passed_bytes == 3 * len(frame)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "frame", [wire.request(1, "ping"), wire.notification("heartbeat", 1), wire.request(1, "status", None)]
)
def test_many_small_frames_in_one_read_do_not_take_quadratic_time(frame: bytes) -> None:
    session = ServerSession()
    served = serve([frame * (1_000_000 // len(frame))], session)
    assert served.protocol_error is None
    assert len(served.requests) in {0, 1_000_000 // len(frame)}

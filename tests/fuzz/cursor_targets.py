"""Cursors: text that comes back from a client, which has had it from us, from an earlier run of us, or from nowhere."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

from presencedb.clock import ManualClock
from presencedb.engine import EngineConfig, create_engine
from presencedb.errors import BadRequest, GapError
from presencedb.ids import IdBatch
from presencedb.limits import TICK_ORIGIN
from presencedb.node.commands import online
from presencedb.node.context import NodeContext
from presencedb.node.feed import Feed
from presencedb.node.wall_time import WallTime
from presencedb.protocol.codec_python import ServerDecoder
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection
from tests.conformance import wire
from tests.fuzz.registry import Target, register

RUN = "0011223344556677"
USERS = [7, 2**40, "alice", "é", "0192f0c1-2b3c-7d4e-8f50-61728394a5b6"]
LINGER_TICKS = 600


def _feed_cursor(data: bytes) -> Hashable:
    """A cursor is a place that the feed still has, or a gap."""
    cursor = data.decode(errors="surrogateescape")
    engine = create_engine(EngineConfig(ttl_ticks=10, seed=1), tick=TICK_ORIGIN)
    feed = Feed(engine, WallTime(ManualClock(), 100, TICK_ORIGIN, 0), RUN, LINGER_TICKS)
    feed.add_reader()
    for tick in range(TICK_ORIGIN, TICK_ORIGIN + 3):
        engine.heartbeat(IdBatch([tick]), tick)
        feed.collect(tick)
    try:
        number = feed.number_of(cursor)
    except GapError as error:
        return error.message
    assert feed.first <= number <= feed.end
    assert cursor == feed.cursor_at(number), "two cursors name the same place"
    return number


class _Answers:
    """Stands for the connection: keeps the answer."""

    def __init__(self) -> None:
        self.result: Any = None

    def reply(self, _request: Request, result: Any) -> None:
        self.result = result


class _Engine:
    """Stands for the node's context, of which `online` needs the engine only."""

    def __init__(self) -> None:
        self.engine = create_engine(EngineConfig(ttl_ticks=10, seed=1), tick=TICK_ORIGIN)
        self.engine.heartbeat(IdBatch(USERS), TICK_ORIGIN)


_CONTEXT = _Engine()


def _online_cursor(data: bytes) -> Hashable:
    """Whatever cursor is taken, the pages from there on list users, none twice, and come to an end."""
    cursor: str | None = data.decode(errors="replace")[:200]
    seen: list[Any] = []
    while True:
        decoder = ServerDecoder()
        decoder.feed(wire.request(1, "online", cursor, 2))
        request = decoder.next_message()
        assert isinstance(request, Request)
        answers = _Answers()
        try:
            online.handle(cast("NodeContext", _CONTEXT), cast("Connection", answers), request)
        except BadRequest:
            assert not seen, "a cursor that online gave is refused"
            return "refused"
        cursor, ids = answers.result
        seen += ids
        if cursor is None:
            break
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(USERS)
    return len(seen)


register(
    Target(
        "feed-cursor",
        _feed_cursor,
        (
            f"{RUN}.0".encode(),
            f"{RUN}.3".encode(),
            f"{RUN}.03".encode(),
            f"{RUN}.99".encode(),
            b"8899aabbccddeeff.1",
            b".",
            b"",
            "٣".encode(),
        ),
    )
)
register(Target("online-cursor", _online_cursor, (b"0", b"f" * 36, b"7" * 35, b"8" * 37, b"", b"-1", b"0x1", b"1_0")))

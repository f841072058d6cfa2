"""The transition log: what a cursor promises, what is kept and what is not."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Final

import msgpack
import pytest

from presencedb.clock import ManualClock
from presencedb.engine import Engine, EngineConfig, create_engine
from presencedb.errors import GapError
from presencedb.ids import Id, IdBatch
from presencedb.limits import FEED_FRAME_EVENTS_MAX, TICK_ORIGIN
from presencedb.node import feed as feed_module
from presencedb.node.feed import Feed
from presencedb.node.wall_time import WallTime

RUN: Final = "6d3f"
LINGER_TICKS: Final = 600
START_MS: Final = 1_800_000_000_000
TICK_MS: Final = 100
TTL_TICKS: Final = 10_000


class Log:
    """A feed and the engine before it, at a tick of its own."""

    def __init__(self) -> None:
        self.engine: Engine = create_engine(EngineConfig(ttl_ticks=TTL_TICKS), tick=TICK_ORIGIN)
        clock = ManualClock(wall_ms=START_MS)
        self.feed = Feed(self.engine, WallTime(clock, TICK_MS, TICK_ORIGIN, 0), RUN, LINGER_TICKS)
        self.tick = TICK_ORIGIN

    def come(self, *ids: Id) -> None:
        """Users come online."""
        self.engine.heartbeat(IdBatch(ids), self.tick)

    def go(self, *ids: Id) -> None:
        """Users sign off."""
        self.engine.sign_off(IdBatch(ids), self.tick)

    def pass_ticks(self, count: int) -> None:
        """Ticks go by, each with its publication."""
        for _ in range(count):
            self.tick += 1
            self.engine.advance(self.tick, expiry_count_max=1000)
            self.publish()

    def publish(self) -> int:
        """Take what waits in the engine and tell it; returns how many chunks that was."""
        self.feed.collect(self.tick)
        count = 0
        while self.feed.tell() is not None:
            count += 1
        self.feed.trim()
        return count

    def add_reader(self, cursor: str | None = None) -> int:
        """Somebody reads, from a cursor or from now on; returns the number of the first transition for them."""
        number = self.feed.now if cursor is None else self.feed.number_of(cursor)
        self.feed.add_reader()
        return number

    def remove_reader(self) -> None:
        """A reader leaves."""
        self.feed.remove_reader(self.tick)

    def read(self, number: int) -> list[list[Any]]:
        """All that is in the log from a number on, as it goes over the wire."""
        events: list[list[Any]] = []
        while number < self.feed.end:
            chunk = self.feed.chunk_at(number)
            positions = array("I", range(number - chunk.start, chunk.end - chunk.start))
            frame = msgpack.unpackb(self.feed.encode(chunk, positions))
            assert frame[:2] == [2, "presence"]
            assert frame[2][0] == self.feed.cursor_at(chunk.end)
            events += frame[2][1]
            number = chunk.end
        return events


def ids_of(events: Iterable[list[Any]]) -> list[Any]:
    return [event[0] for event in events]


def test_a_reader_begins_behind_everything_that_has_happened() -> None:
    log = Log()
    log.come(1)
    start = log.add_reader()
    log.come(2)
    log.pass_ticks(1)
    assert log.read(start) == [[2, True, START_MS, "heartbeat"]]


def test_events_carry_their_own_time_and_reason() -> None:
    log = Log()
    start = log.add_reader()
    log.come("alice", 7)
    log.pass_ticks(3)
    log.go(7)
    log.pass_ticks(1)
    assert log.read(start) == [
        ["alice", True, START_MS, "heartbeat"],
        [7, True, START_MS, "heartbeat"],
        [7, False, START_MS + 3 * TICK_MS, "sign_off"],
    ]


def test_a_cursor_gives_exactly_what_came_after_it() -> None:
    log = Log()
    start = log.add_reader()
    log.come(1)
    log.pass_ticks(1)
    cursor = log.feed.cursor_at(log.feed.end)
    log.come(2)
    log.pass_ticks(1)
    log.come(3)  # not published yet
    again = log.add_reader(cursor)
    log.pass_ticks(1)
    assert ids_of(log.read(again)) == [2, 3]
    assert ids_of(log.read(start)) == [1, 2, 3]


@pytest.mark.parametrize(
    "cursor",
    [
        *("", ".", RUN, "ffff.0", ".0", f"x{RUN}.0", f"{RUN}.{10**30}", f"{RUN}.{'1' * 5000}"),
        *(f"{RUN}.{text}" for text in ("", "-1", "01", "+1", " 1", "1 ", "x", "٣", "1e0", "0.0")),
    ],
)
def test_a_cursor_that_is_not_ours_is_a_gap(cursor: str) -> None:
    log = Log()
    log.add_reader()
    log.come(1)
    log.pass_ticks(1)
    with pytest.raises(GapError):
        log.add_reader(cursor)
    assert sum(log.feed.gaps.values()) == 1


def test_the_future_is_a_gap_and_the_end_is_not() -> None:
    log = Log()
    log.add_reader()
    log.come(1)
    log.pass_ticks(1)
    assert log.add_reader(f"{RUN}.1") == 1
    with pytest.raises(GapError, match="future"):
        log.add_reader(f"{RUN}.2")


def test_a_refused_cursor_keeps_nothing_alive() -> None:
    log = Log()
    with pytest.raises(GapError):
        log.add_reader("made.up")
    log.come(1)
    log.pass_ticks(1)
    assert log.feed.event_count == 0


class TestLinger:
    def test_nothing_is_kept_while_nobody_has_read(self) -> None:
        log = Log()
        log.come(1, 2)
        log.pass_ticks(1)
        assert (log.feed.event_count, log.feed.size_bytes, log.feed.transitions) == (0, 0, 2)

    def test_a_reader_may_come_back_within_the_linger(self) -> None:
        log = Log()
        log.add_reader()
        log.come(1)
        log.pass_ticks(1)
        cursor = log.feed.cursor_at(log.feed.end)
        log.remove_reader()
        log.come(2)
        log.pass_ticks(LINGER_TICKS - 1)
        assert ids_of(log.read(log.add_reader(cursor))) == [2]

    def test_after_it_what_was_missed_is_a_gap(self) -> None:
        log = Log()
        log.add_reader()
        log.come(1)
        log.pass_ticks(1)
        cursor = log.feed.cursor_at(log.feed.end)
        log.remove_reader()
        log.come(2)
        log.pass_ticks(LINGER_TICKS + 1)
        assert (log.feed.event_count, log.feed.size_bytes) == (0, 0)
        log.come(3)
        with pytest.raises(GapError, match="not kept"):
            log.add_reader(cursor)

    def test_after_it_the_cursor_of_the_end_is_good_if_nothing_was_missed(self) -> None:
        log = Log()
        log.add_reader()
        log.come(1)
        log.pass_ticks(1)
        cursor = log.feed.cursor_at(log.feed.end)
        log.remove_reader()
        log.pass_ticks(LINGER_TICKS + 1)
        start = log.add_reader(cursor)
        log.come(2)
        log.pass_ticks(1)
        assert ids_of(log.read(start)) == [2]

    def test_a_cursor_from_before_nobody_read_is_a_gap(self) -> None:
        log = Log()
        log.come(1)
        log.pass_ticks(1)
        with pytest.raises(GapError, match="not kept"):
            log.add_reader(f"{RUN}.0")


class TestBounds:
    def test_a_crowd_is_cut_into_chunks(self) -> None:
        log = Log()
        start = log.add_reader()
        crowd = list(range(10 * FEED_FRAME_EVENTS_MAX + 1))
        log.come(*crowd)
        assert log.publish() == 11
        assert ids_of(log.read(start)) == crowd

    def test_what_was_taken_in_small_pieces_is_told_as_one(self) -> None:
        log = Log()
        start = log.add_reader()
        for number in range(5):
            log.come(number)
            log.feed.collect(log.tick)
        assert log.publish() == 1
        assert ids_of(log.read(start)) == [0, 1, 2, 3, 4]

    def test_a_reader_that_comes_in_between_is_exact(self) -> None:
        log = Log()
        log.add_reader()
        log.come(*range(10 * FEED_FRAME_EVENTS_MAX))
        log.feed.collect(log.tick)
        assert log.feed.tell() is not None
        start = log.add_reader()
        log.come("late")
        log.publish()
        assert ids_of(log.read(start)) == ["late"]

    def test_the_oldest_leave_when_there_are_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feed_module, "FEED_EVENTS_MAX", 10)
        log = Log()
        start = log.add_reader()
        cursor = log.feed.cursor_at(start)
        for number in range(25):
            log.come(number)
            log.pass_ticks(1)
        assert log.feed.event_count == 10
        assert log.feed.dropped_events == 15
        assert ids_of(log.read(log.feed.first)) == list(range(15, 25))
        with pytest.raises(GapError, match="not kept"):
            log.add_reader(cursor)
        log.add_reader(log.feed.cursor_at(log.feed.first))

    def test_the_oldest_leave_when_they_take_too_much_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feed_module, "FEED_BYTES_MAX", 10_000)
        log = Log()
        log.add_reader()
        for number in range(200):
            log.come(f"{number:0200}")
            log.pass_ticks(1)
        assert 5_000 < log.feed.size_bytes <= 10_000
        assert log.feed.end == 200

    def test_one_crowd_larger_than_the_ring_is_a_gap_not_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feed_module, "FEED_EVENTS_MAX", 10)
        log = Log()
        start = log.add_reader()
        log.come(*range(FEED_FRAME_EVENTS_MAX * 3))
        log.publish()
        assert log.feed.first > start
        assert log.feed.event_count == 0
        assert log.feed.first == log.feed.end


def test_a_cut_is_a_gap_for_every_cursor_before_it() -> None:
    log = Log()
    log.add_reader()
    log.come(1)
    log.pass_ticks(1)
    cursors = [log.feed.cursor_at(number) for number in range(log.feed.end + 1)]
    log.feed.cut()
    for cursor in cursors:
        with pytest.raises(GapError):
            log.add_reader(cursor)
    log.come(2)
    log.pass_ticks(1)
    assert ids_of(log.read(log.feed.first)) == [2]

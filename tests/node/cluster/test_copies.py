"""Registers on the wire: a copy is never younger than the truth, and what is odd is refused whole."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.clock import ManualClock
from presencedb.engine import Copies, EngineConfig, create_engine
from presencedb.errors import ProtocolError
from presencedb.ids import IdBatch
from presencedb.limits import TICK_ORIGIN
from presencedb.node.cluster.copies import ages_to_send_ms, copies_of_wire, page_of_wire
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.transport.hub import Hub

TICK_MS = 100


def ticker_at(clock: ManualClock) -> Ticker:
    async def make() -> Ticker:
        engine = create_engine(EngineConfig(ttl_ticks=30), tick=TICK_ORIGIN)
        return Ticker(engine, clock, TickScale(TICK_MS), Hub(), lambda _tick: None)

    return asyncio.run(make())


def copies(age_ticks: int, *, signed_off: bool) -> Copies:
    return Copies(IdBatch([1]), array("I", [age_ticks]), bytes([signed_off]))


@given(
    phase_ms=st.integers(0, TICK_MS - 1),
    written_ms=st.integers(0, 5_000),
    sent_after_ms=st.integers(0, 2_000),
    way_ms=st.integers(0, 300),
    back_ms=st.integers(0, 300),
    signed_off=st.booleans(),
)
def test_a_copy_begins_no_later_than_what_it_is_a_copy_of(
    *, phase_ms: int, written_ms: int, sent_after_ms: int, way_ms: int, back_ms: int, signed_off: bool
) -> None:
    """Two nodes whose ticks begin at different moments; the question takes `back_ms` to the sender, the answer `way_ms`."""
    sender_clock = ManualClock(monotonic_ns=0)
    sender = ticker_at(sender_clock)
    receiver_clock = ManualClock(monotonic_ns=0)
    receiver_clock_ms = phase_ms
    receiver = ticker_at(receiver_clock)
    sender_clock.advance_ms(10_000 + written_ms)
    stamp = sender.now()
    sender_clock.advance_ms(sent_after_ms)
    (age_ms,) = ages_to_send_ms(copies(sender.now() - stamp, signed_off=signed_off), sender)
    receiver_clock.advance_ms(10_000 + written_ms + sent_after_ms + way_ms + receiver_clock_ms)
    merged = copies_of_wire(IdBatch([1]), [age_ms], [signed_off], receiver, back_ms + way_ms)
    stamp_began_ms = (stamp - TICK_ORIGIN) * TICK_MS
    copy_began_ms = (receiver.now() - merged.ages_ticks[0] - TICK_ORIGIN) * TICK_MS - receiver_clock_ms
    assert merged.signed_off == bytes([signed_off])
    if signed_off:
        assert copy_began_ms <= stamp_began_ms + way_ms, "a sign-off is not made older than its way takes"
        assert copy_began_ms > stamp_began_ms + way_ms - TICK_MS
    else:
        assert copy_began_ms <= stamp_began_ms, "a copy of a heartbeat is not younger than the truth"
        assert copy_began_ms > stamp_began_ms - back_ms - TICK_MS


def test_ids_without_a_register_are_left_out() -> None:
    ticker = ticker_at(ManualClock())
    merged = copies_of_wire(IdBatch([1, "a", 3]), [None, 250, None], [False, True, False], ticker, 10)
    assert list(merged.ids) == ["a"]
    assert list(merged.ages_ticks) == [3]
    assert merged.signed_off == b"\1"


@pytest.mark.parametrize(
    ("ages_ms", "signed_off"),
    [
        ([1], [False]),
        ([1, 2], [False]),
        ([1, -1], [False, False]),
        ([1, 2**53 + 1], [False, False]),
        ([1, 1.5], [False, False]),
        ([1, True], [False, False]),
        ([1, 2], [False, 0]),
        ([1, 2], [False, None]),
        (None, None),
        ("ab", "ab"),
    ],
)
def test_odd_columns_are_refused(ages_ms: Any, signed_off: Any) -> None:
    with pytest.raises(ProtocolError):
        copies_of_wire(IdBatch([1, 2]), ages_ms, signed_off, ticker_at(ManualClock()), 0)


def test_a_page_is_read() -> None:
    cursor, ids, ages_ms, signed_off = page_of_wire(["ff", [1, "a"], [1, 2], [True, False]])
    assert (cursor, list(ids), ages_ms, signed_off) == ("ff", [1, "a"], [1, 2], [True, False])


@pytest.mark.parametrize(
    "answer", [None, [], ["ff", [1], [1]], [1, [1], [1], [True]], ["ff", [1.5], [1], [True]], ["ff", None, [], []], "page"]
)
def test_an_odd_page_is_refused(answer: Any) -> None:
    with pytest.raises(ProtocolError):
        page_of_wire(answer)

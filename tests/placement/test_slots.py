"""Sets of slots are sets: as `frozenset` has it, and through text, the wire and bitmaps unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import BadRequest, ProtocolError
from presencedb.limits import SLOT_COUNT
from presencedb.placement import ALL_SLOTS, NO_SLOTS, SlotSet

EDGES = st.sampled_from([0, 1, 7, 8, 63, 64, SLOT_COUNT - 2, SLOT_COUNT - 1])
SLOTS = st.one_of(st.integers(0, SLOT_COUNT - 1), EDGES, st.integers(100, 120))
RANGES = st.tuples(SLOTS, SLOTS).map(lambda ends: range(min(ends), max(ends)))
SETS = st.lists(st.one_of(SLOTS, RANGES), max_size=12)


def plain(parts: list[int | range]) -> frozenset[int]:
    return frozenset(slot for part in parts for slot in (part if isinstance(part, range) else (part,)))


@given(parts=SETS)
def test_it_has_what_it_is_made_of(parts: list[int | range]) -> None:
    slots, wanted = SlotSet(parts), plain(parts)
    assert list(slots) == sorted(wanted)
    assert len(slots) == len(wanted)
    assert bool(slots) == bool(wanted)
    assert all((slot in slots) == (slot in wanted) for slot in (*range(130), SLOT_COUNT - 1))
    assert -1 not in slots
    assert SLOT_COUNT not in slots
    assert "1" not in slots


@given(one=SETS, other=SETS)
def test_operators(one: list[int | range], other: list[int | range]) -> None:
    a, b, wanted_a, wanted_b = SlotSet(one), SlotSet(other), plain(one), plain(other)
    assert set(a | b) == wanted_a | wanted_b
    assert set(a & b) == wanted_a & wanted_b
    assert set(a - b) == wanted_a - wanted_b
    assert set(a ^ b) == wanted_a ^ wanted_b
    assert (a <= b) == (wanted_a <= wanted_b)
    assert (a == b) == (wanted_a == wanted_b)
    assert a & b <= a <= a | b
    assert hash(a & a) == hash(a | a)


@given(parts=SETS)
def test_it_comes_back_from_text_wire_and_bitmap(parts: list[int | range]) -> None:
    slots = SlotSet(parts)
    assert SlotSet.of_text(str(slots)) == slots
    assert SlotSet.from_wire(slots.to_wire()) == slots
    assert SlotSet.of_bitmap(slots.to_bitmap()) == slots
    assert SlotSet(range(first, last + 1) for first, last in slots.runs()) == slots


def test_how_it_is_written() -> None:
    slots = SlotSet([7, 0, range(1, 6), SLOT_COUNT - 1])
    assert str(slots) == "0-5,7,16383"
    assert slots.to_wire() == [[0, 5], [7, 7], [16383, 16383]]
    assert slots.to_bitmap()[:2] == b"\xbf\x00"
    assert repr(slots) == "<8 slots: 0-5,7,16383>"
    assert len(repr(SlotSet(range(0, SLOT_COUNT, 2)))) < 120
    assert (str(ALL_SLOTS), str(NO_SLOTS)) == ("0-16383", "")
    assert ALL_SLOTS.to_wire() == [[0, SLOT_COUNT - 1]]
    assert NO_SLOTS.to_wire() == []


def test_text_takes_parts_in_any_order() -> None:
    assert SlotSet.of_text("9,3-5,4-6,9") == SlotSet([3, 4, 5, 6, 9])


@pytest.mark.parametrize("bad", [-1, SLOT_COUNT, 2**70, True, 1.0, "1", None])
def test_what_is_no_slot_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="a slot is between 0 and 16383, not "):
        SlotSet([1, bad])


def test_a_range_that_goes_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="not 16384"):
        SlotSet([range(16_000, 10**12)])


@pytest.mark.parametrize(
    "text", [",", "1,", " 1", "-1", "1-", "5-3", "16384", "1-16384", "1--2", "0x1", "٣", "1" * 100_000, "a" * 100_000]
)
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a slot, nor a first and a last one, up to 16383") as refused:
        SlotSet.of_text(text)
    assert len(str(refused.value)) < 200


def test_text_of_too_many_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 16384 parts name slots, not 100000"):
        SlotSet.of_text(",".join(["1"] * 100_000))


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (None, "slots: an array"),
        ({}, "slots: an array"),
        ("0-5", "slots: an array"),
        ([[slot, slot] for slot in range(8193)], "slots: an array of at most 8192 pairs"),
        ([3], r"slots\[0\]: a pair"),
        ([[1, 2], [4]], r"slots\[1\]: a pair"),
        ([[1, 2, 3]], r"slots\[0\]: a pair"),
        ([[True, 2]], r"slots\[0\]: a pair"),
        ([[1.0, 2]], r"slots\[0\]: a pair"),
        ([["1", "2"]], r"slots\[0\]: a pair"),
        ([[2, 1]], r"slots\[0\]: first and last"),
        ([[-1, 1]], r"slots\[0\]: first and last"),
        ([[0, SLOT_COUNT]], r"slots\[0\]: first and last"),
        ([[0, 5], [5, 6]], r"slots\[1\]: first and last"),
        ([[0, 5], [6, 7]], r"slots\[1\]: first and last"),
        ([[9, 9], [0, 5]], r"slots\[1\]: first and last"),
    ],
)
def test_anything_else_on_the_wire_is_refused_with_its_place(value: object, where: str) -> None:
    with pytest.raises(ProtocolError, match=where):
        SlotSet.from_wire(value)
    with pytest.raises(BadRequest, match=where):
        SlotSet.from_wire(value, BadRequest)


@pytest.mark.parametrize("size", [0, 2047, 2049])
def test_a_bitmap_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a bitmap of slots has 2048 bytes, not {size}"):
        SlotSet.of_bitmap(bytes(size))


def test_it_is_not_a_plain_set() -> None:
    assert SlotSet([1]) != frozenset([1])
    assert SlotSet([1]) != 2

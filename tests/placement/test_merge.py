"""Answers back into one: what is known stays, what does not fit changes nothing."""

from __future__ import annotations

from array import array
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.placement import merge_counts
from presencedb.states import Status
from tests.placement.implementations import RINGS, Ring

NAMES: Final = st.sampled_from(sorted(RINGS))
STATUSES: Final = st.sampled_from([Status.OFFLINE, Status.ONLINE, Status.UNKNOWN])
TIMES: Final = st.one_of(st.just(-1), st.integers(0, 100), st.integers(-(2**63), 2**63 - 1))
UNKNOWN: Final = Status.UNKNOWN


@given(name=NAMES, into=st.lists(STATUSES, min_size=1, max_size=60).map(bytearray), data=st.data())
def test_the_first_known_status_wins(name: str, into: bytearray, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, len(into) - 1), max_size=60))
    part = bytes(data.draw(st.lists(STATUSES, min_size=len(positions), max_size=len(positions))))
    wanted = bytearray(into)
    for position, status in zip(positions, part, strict=True):
        if wanted[position] == UNKNOWN:
            wanted[position] = status
    unknown = RINGS[name].merge_statuses(into, array("I", positions), part)
    assert into == wanted
    assert unknown.typecode == "I"
    assert unknown.tolist() == [position for position in positions if wanted[position] == UNKNOWN]


@given(name=NAMES, times=st.lists(TIMES, min_size=1, max_size=60), data=st.data())
def test_the_later_time_wins(name: str, times: list[int], data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, len(times) - 1), max_size=60))
    part = data.draw(st.lists(TIMES, min_size=len(positions), max_size=len(positions)))
    wanted = list(times)
    for position, time_ms in zip(positions, part, strict=True):
        wanted[position] = max(wanted[position], time_ms)
    into = array("q", times)
    RINGS[name].merge_times(into, array("I", positions), array("q", part))
    assert into.tolist() == wanted


@pytest.mark.parametrize(
    ("positions", "part", "why"),
    [
        ([0, 1], bytes(1), "2 ids were asked about, the answer has 1"),
        ([0], bytes(2), "1 ids were asked about, the answer has 2"),
        ([], bytes(1), "0 ids were asked about, the answer has 1"),
        ([0, 3], bytes(2), "position 3 is past the end of a batch of 3"),
        ([0, 2**32 - 1], bytes(2), "position 4294967295 is past the end of a batch of 3"),
        ([0, 1], b"\1\3", "a status is 0, 1 or 2, not 3"),
        ([0, 1], b"\1\xff", "a status is 0, 1 or 2, not 255"),
    ],
)
def test_statuses_that_do_not_fit_change_nothing(ring: Ring, positions: list[int], part: bytes, why: str) -> None:
    into = bytearray([UNKNOWN] * 3)
    with pytest.raises(ValueError, match=why):
        ring.merge_statuses(into, array("I", positions), part)
    assert into == bytes([UNKNOWN] * 3)


@pytest.mark.parametrize(
    ("positions", "part", "why"),
    [
        ([0, 1], [7], "2 ids were asked about, the answer has 1"),
        ([0], [7, 7], "1 ids were asked about, the answer has 2"),
        ([0, 3], [7, 7], "position 3 is past the end of a batch of 3"),
    ],
)
def test_times_that_do_not_fit_change_nothing(ring: Ring, positions: list[int], part: list[int], why: str) -> None:
    into = array("q", [-1] * 3)
    with pytest.raises(ValueError, match=why):
        ring.merge_times(into, array("I", positions), array("q", part))
    assert into.tolist() == [-1] * 3


def test_arrays_of_another_type_are_refused(ring: Ring) -> None:
    with pytest.raises(ValueError, match="positions have the type code 'I'"):
        ring.merge_statuses(bytearray(1), array("i", [0]), bytes(1))
    with pytest.raises(ValueError, match="positions have the type code 'I'"):
        ring.merge_times(array("q", [0]), array("Q", [0]), array("q", [0]))
    for into, part in ((array("Q", [0]), array("q", [0])), (array("q", [0]), array("Q", [0]))):
        with pytest.raises(ValueError, match="times have the type code 'q'"):
            ring.merge_times(into, array("I", [0]), part)


def test_an_empty_answer_to_no_question(ring: Ring) -> None:
    assert ring.merge_statuses(bytearray(), array("I"), b"").tolist() == []
    ring.merge_times(array("q"), array("I"), array("q"))


def test_counts_are_added() -> None:
    assert merge_counts([]) == 0
    assert merge_counts(iter([3, 0, 2**60])) == 3 + 2**60
    with pytest.raises(ValueError, match="a count is not negative, as -1 is"):
        merge_counts([3, -1])

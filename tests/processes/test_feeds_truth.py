"""The judge of feeds is judged: true accounts pass, and each way to be wrong is seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from presencedb import Change
from tests.processes.feeds_runs import Beginning, Event, Truth
from tests.processes.feeds_truth import EPOCH, Account, Added, Adding, Began, Gap, Record, Removed, Told

FIRST_RUN: Final = (("a", True), ("b", True), ("a", False), ("a", True), ("b", False))
SECOND_RUN: Final = (("a", True), ("a", False), ("b", True))
KNOWN_A_OFFLINE: Final = Change("a", False, None, "known")
KNOWN_B_ONLINE: Final = Change("b", True, None, "known")


@pytest.fixture
def truth() -> Truth:
    """Two runs, `one` and `two`."""
    truth = Truth()
    for name, changes in (("one", FIRST_RUN), ("two", SECOND_RUN)):
        run = truth.begin_run(f"{name}.0", Beginning.OFFLINE)
        for at_ms, (user_id, online) in enumerate(changes):
            run.add(Event(user_id, online, at_ms, "heartbeat" if online else "sign_off"))
    return truth


def told(run: str, at: int, cursor: int | None = None) -> Told:
    """The change with that number, told as it was; the cursor is the one after it, or another one of that run."""
    user_id, online = (FIRST_RUN if run == "one" else SECOND_RUN)[at]
    change = Change(user_id, online, EPOCH + timedelta(milliseconds=at), "heartbeat" if online else "sign_off")
    return Told(change, f"{run}.{at + 1 if cursor is None else cursor}")


def judge(truth: Truth, records: list[Record], *, watches: bool = True, resyncs: bool = False) -> Account:
    account = Account(truth, watches=watches, resyncs=resyncs)
    for record in records:
        account.go_over(record)
    return account


WATCH: Final = Began(None, "one.0", {"a": False, "b": False})
FOLLOW: Final = Began(None, "one.0", None)
ALL_OF_ONE: Final = [told("one", at) for at in range(len(FIRST_RUN))]


def test_everything_told_once_in_its_place_is_the_truth(truth: Truth) -> None:
    for begin, watches in ((WATCH, True), (FOLLOW, False)):
        account = judge(truth, [begin, *ALL_OF_ONE], watches=watches)
        assert account.told == {"a": True, "b": False}
        assert account.unsettled(truth.runs[0], 5) is None
        assert account.is_at(truth.runs[0], 5)


def test_what_is_behind_the_truth_is_not_settled(truth: Truth) -> None:
    for begin, watches in ((WATCH, True), (FOLLOW, False)):
        account = judge(truth, [begin, *ALL_OF_ONE[:4]], watches=watches)
        assert account.unsettled(truth.runs[0], 5) is not None
        assert not account.is_at(truth.runs[0], 5)


def test_a_portion_has_one_cursor_after_all_of_it(truth: Truth) -> None:
    judge(truth, [WATCH, told("one", 0, 0), told("one", 1, 0), told("one", 2, 3), *ALL_OF_ONE[3:]])


def test_a_gap_is_bridged_by_what_became_known(truth: Truth) -> None:
    start: list[Record] = [WATCH, *ALL_OF_ONE]
    bridged: list[Record] = [Told(KNOWN_A_OFFLINE, "one.5"), Told(KNOWN_B_ONLINE, "two.3")]
    assert judge(truth, [*start, *bridged], resyncs=True).unsettled(truth.runs[1], 3) is None
    # Placed after the first change, where one is what it was before the gap.
    placed = judge(truth, [*start, told("two", 1), told("two", 2)], resyncs=True)
    assert placed.unsettled(truth.runs[1], 3) is None
    followed = judge(truth, [FOLLOW, *ALL_OF_ONE, *bridged], watches=False, resyncs=True)
    assert followed.unsettled(truth.runs[1], 3) is None


def test_a_follow_that_does_not_find_out_who_is_online_is_not_settled(truth: Truth) -> None:
    records: list[Record] = [FOLLOW, *ALL_OF_ONE, Told(KNOWN_A_OFFLINE, "two.3")]
    with pytest.raises(AssertionError, match="past a change of 'b'"):
        judge(truth, records, watches=False, resyncs=True)


def test_the_end_of_a_warm_up_is_a_gap(truth: Truth) -> None:
    warming = truth.begin_run("three.0", Beginning.UNKNOWN)
    warm = truth.begin_run("three.1", Beginning.WARM)
    warm.add(Event("a", False, 9, "sign_off"))
    warm.online_at_first = {"b"}
    assert truth.read("three.0") == (warming, 0)
    assert truth.read("three.2") == (warm, 1)
    begin = Began(None, "three.0", {"a": None, "b": True})
    left = Told(Change("a", False, EPOCH + timedelta(milliseconds=9), "sign_off"), "three.2")
    known = Told(Change("a", True, None, "known"), "three.1")
    assert judge(truth, [begin, known, left], resyncs=True).unsettled(warm, 1) is None
    assert judge(truth, [begin, Gap(None), Began(None, "three.1", {"a": True, "b": True}), left]).unsettled(warm, 1) is None
    with pytest.raises(AssertionError, match="without a gap"):
        judge(truth, [begin, known])
    with pytest.raises(AssertionError, match="is not False"):
        judge(truth, [Began(None, "three.0", {"a": False})])


def test_whoever_comes_late_begins_with_the_statuses_of_then(truth: Truth) -> None:
    begin = Began(None, "one.0", {"b": False})
    adding, added = Adding(("a",)), Added(("a",), {"a": False})
    assert judge(truth, [begin, adding, told("one", 1), added, told("one", 3), told("one", 4)]).told["a"] is True
    with pytest.raises(AssertionError, match="cannot come here"):
        judge(truth, [begin, adding, told("one", 1), told("one", 3), Added(("a",), {"a": True}), told("one", 2)])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        pytest.param([WATCH, told("one", 1)], "past a change of 'a'", id="left out, and passed"),
        pytest.param([WATCH, told("one", 2)], "nothing new", id="the first left out"),
        pytest.param([WATCH, ALL_OF_ONE[0], ALL_OF_ONE[0]], "nothing new", id="told twice"),
        pytest.param([WATCH, told("one", 0, 0), told("one", 2, 0), told("one", 0, 0)], "cannot come here", id="replayed"),
        pytest.param([WATCH, told("one", 3)], "cannot come here", id="a later one in its place"),
        pytest.param([WATCH, Told(KNOWN_B_ONLINE, "one.2")], "cannot come here", id="known without a gap"),
        pytest.param([WATCH, *ALL_OF_ONE, Told(KNOWN_A_OFFLINE, "two.3")], "cannot come here", id="a gap in silence"),
        pytest.param([WATCH, *ALL_OF_ONE, told("two", 2)], "cannot come here", id="on to the next run in silence"),
        pytest.param([WATCH, ALL_OF_ONE[0], told("one", 1, 0)], "went back", id="a cursor goes back"),
        pytest.param([WATCH, Gap(None), WATCH], "no gap in run 0", id="a gap for no reason"),
        pytest.param([Began(None, "one.1", {"a": False})], "is not False", id="stale first statuses"),
        pytest.param([Began("one.1", "one.2", {"a": True})], "was asked for", id="another cursor than asked for"),
        pytest.param([Began("one.1", "two.0", {"a": False})], "was asked for", id="a stale cursor in silence"),
        pytest.param([WATCH, Removed(("a",), at_once=True), ALL_OF_ONE[0]], "not watched", id="told of one removed"),
    ],
)
def test_what_is_wrong_is_seen(truth: Truth, records: list[Record], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        judge(truth, records)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        pytest.param([WATCH, *ALL_OF_ONE, Gap(None)], "is to be bridged", id="raised"),
        pytest.param([WATCH, *ALL_OF_ONE, told("two", 2)], "past a change of 'a'", id="a difference left out"),
        pytest.param([WATCH, Told(Change("a", False, None, "known"), "two.3")], "nothing new", id="known before"),
    ],
)
def test_a_bridge_that_is_wrong_is_seen(truth: Truth, records: list[Record], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        judge(truth, records, resyncs=True)

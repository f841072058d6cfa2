"""What is encoded from columns and arrays: right byte by byte, and the same from the compiled encoder and its twin."""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from presencedb.ids import Id, IdBatch
from presencedb.limits import FEED_FRAME_EVENTS_MAX
from presencedb.protocol import codec, encoder_python
from presencedb.states import Reason, Status
from presencedb.transitions import REASON_SHIFT, Transition, Transitions
from tests.conformance import wire
from tests.protocol import frames
from tests.support import strategies

ONLINE_OF = {Status.OFFLINE: False, Status.ONLINE: True, Status.UNKNOWN: None}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CHANGES = st.lists(
    st.tuples(
        strategies.ids(),
        st.sampled_from(list(Status)),
        st.one_of(
            st.integers(-(2**63), 2**63 - 1), st.integers(-300, 300), st.integers(1_790_000_000_000, 1_800_000_000_000)
        ),
        st.sampled_from(list(Reason)),
    ),
    max_size=20,
)
EDGES_MS = [sign * 2**bits + step for bits in (0, 5, 7, 8, 15, 16, 31, 32, 62) for sign in (-1, 1) for step in (-1, 0, 1)]

both = pytest.mark.parametrize("encoder", [codec, encoder_python], ids=["that-runs", "twin"])


def columns(changes: list[tuple[Id, Status, int, Reason]]) -> tuple[IdBatch, bytes, array[int]]:
    return (
        IdBatch([user_id for user_id, *_ in changes]),
        bytes(reason << REASON_SHIFT | status for _, status, _, reason in changes),
        array("q", [at_ms for _, _, at_ms, _ in changes]),
    )


def events(changes: list[tuple[Id, Status, int, Reason]]) -> list[list[Any]]:
    return [[user_id, ONLINE_OF[status], at_ms, reason.text] for user_id, status, at_ms, reason in changes]


@pytest.mark.skipif(codec.IMPLEMENTATION == "python", reason="the twin itself is what runs")
def test_the_compiled_encoders_are_what_runs() -> None:
    compiled = importlib.import_module("presencedb.protocol._encoder")
    assert codec.encode_presence is compiled.encode_presence
    assert codec.encode_request is compiled.encode_request
    assert codec.encode_times is compiled.encode_times
    assert codec.cut_ids is compiled.cut_ids


# --- presence --------------------------------------------------------------------------------------------------------


@both
@given(cursor=TEXTS, changes=CHANGES)
def test_all_changes_are_told_in_order(encoder: Any, cursor: str, changes: list[tuple[Id, Status, int, Reason]]) -> None:
    assert encoder.encode_presence(cursor, *columns(changes)) == wire.notification("presence", cursor, events(changes))


@both
@given(changes=CHANGES, data=st.data())
def test_only_those_at_the_positions_are_told(
    encoder: Any, changes: list[tuple[Id, Status, int, Reason]], data: st.DataObject
) -> None:
    chosen = st.lists(st.integers(0, len(changes) - 1), max_size=30) if changes else st.just([])
    positions = array("I", data.draw(chosen))
    expected = wire.notification("presence", "run.7", [events(changes)[position] for position in positions])
    assert encoder.encode_presence("run.7", *columns(changes), positions) == expected


@both
def test_no_positions_are_not_all_positions(encoder: Any) -> None:
    given = columns([(42, Status.ONLINE, 5, Reason.HEARTBEAT)])
    assert encoder.encode_presence("c", *given, array("I")) == wire.notification("presence", "c", [])
    assert encoder.encode_presence("c", *given, None) == wire.notification("presence", "c", [[42, True, 5, "heartbeat"]])


@both
def test_times_are_written_in_their_shortest_form(encoder: Any) -> None:
    changes: list[tuple[Id, Status, int, Reason]] = [(7, Status.OFFLINE, at_ms, Reason.TIMEOUT) for at_ms in EDGES_MS]
    assert encoder.encode_presence("c", *columns(changes)) == wire.notification("presence", "c", events(changes))


@both
@pytest.mark.parametrize("count", [0, 1, 15, 16, FEED_FRAME_EVENTS_MAX, 65_535, 65_536])
def test_any_number_of_changes(encoder: Any, count: int) -> None:
    given = columns([(number * 0x1000193, Status.ONLINE, number, Reason.HEARTBEAT) for number in range(count)])
    told = wire.array_header(count) + b"".join(
        wire.value([number * 0x1000193, True, number, "heartbeat"]) for number in range(count)
    )
    assert encoder.encode_presence("c", *given) == wire.notification("presence", "c", wire.Raw(told))


@both
@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 4096, 65_536])
def test_a_cursor_of_any_length(encoder: Any, size: int) -> None:
    cursor = "é" * (size // 2) + "x" * (size % 2)
    assert encoder.encode_presence(cursor, *columns([])) == wire.notification("presence", cursor, [])


@both
def test_the_columns_of_transitions_are_those_of_a_notification(encoder: Any) -> None:
    found = Transitions.of([Transition("alice", False, 90, Reason.SIGN_OFF), Transition(42, None, 91, Reason.UNKNOWN)])
    expected = [["alice", False, 9_000, "sign_off"], [42, None, 9_100, "unknown"]]
    times_ms = array("q", [100 * tick for tick in found.ticks])
    assert encoder.encode_presence("c", found.ids, found.marks, times_ms) == wire.notification("presence", "c", expected)


@both
@pytest.mark.parametrize(
    ("ids", "marks", "times_ms", "positions", "why"),
    [
        ([1, 2], b"\0", [5, 5], None, "2 ids, 1 marks and 2 times are not of one length"),
        ([1, 2], b"\0\0\0", [5, 5], None, "2 ids, 3 marks and 2 times are not of one length"),
        ([1, 2], b"\0\0", [5], None, "2 ids, 2 marks and 1 times are not of one length"),
        ([], b"\0", [], [0], "0 ids, 1 marks and 0 times are not of one length"),
        ([1, 2], b"\0\0", [5, 5], [1, 2, 3], "position 2 of 2 changes"),
        ([1, 2], b"\0\0", [5, 5], [2**32 - 1], "position 4294967295 of 2 changes"),
        ([], b"", [], [0], "position 0 of 0 changes"),
        ([1, 2], b"\0\3", [5, 5], None, "a mark is a reason and a status, not 3"),
        ([1, 2], b"\0\x14", [5, 5], [0, 1], "a mark is a reason and a status, not 20"),
        ([1, 2], b"\xff\0", [5, 5], None, "a mark is a reason and a status, not 255"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    encoder: Any, *, ids: list[Id], marks: bytes, times_ms: list[int], positions: list[int] | None, why: str
) -> None:
    chosen = None if positions is None else array("I", positions)
    with pytest.raises(ValueError, match=f"^{why}$"):
        encoder.encode_presence("c", IdBatch(ids), marks, array("q", times_ms), chosen)


@both
def test_a_wrong_mark_that_is_not_told_does_no_harm(encoder: Any) -> None:
    found = encoder.encode_presence("c", IdBatch([1, 2]), b"\xff\1", array("q", [5, 6]), array("I", [1]))
    assert found == wire.notification("presence", "c", [[2, True, 6, "heartbeat"]])


@both
def test_columns_of_another_kind_are_refused(encoder: Any) -> None:
    given: Callable[..., bytes] = encoder.encode_presence
    with pytest.raises(ValueError, match="type code 'q'"):
        given("c", IdBatch([1]), b"\0", array("i", [5]))
    with pytest.raises(ValueError, match="type code 'I'"):
        given("c", IdBatch([1]), b"\0", array("q", [5]), array("i", [-1]))


# --- requests --------------------------------------------------------------------------------------------------------


@both
@given(
    msgid=frames.msgids(),
    method=TEXTS,
    ids=st.lists(st.one_of(strategies.ids(), st.integers(0, 300)), max_size=40),
    rest=st.lists(st.one_of(TEXTS, st.none(), st.dictionaries(TEXTS, st.integers(0, 2**40), max_size=3)), max_size=2),
)
@example(msgid=0, method="status", ids=[], rest=[])
@example(msgid=1, method="heartbeat", ids=[2**bits - step for bits in (7, 8, 16, 32, 64) for step in (1,)], rest=[{}])
@example(msgid=2, method="status", ids=["12345678-1234-5678-1234-567812345678", "é" * 127, "x" * 31, "x" * 32], rest=[])
def test_a_batch_of_ids_is_written_as_a_list_of_them(
    encoder: Any, msgid: int, method: str, ids: list[Id], rest: list[Any]
) -> None:
    expected = wire.request(msgid, method, ids, *rest)
    assert encoder.encode_request(msgid, method, (IdBatch(ids), *rest)) == expected
    assert encoder.encode_request(msgid, method, [IdBatch(ids), *rest]) == expected
    assert encoder.encode_request(msgid, method, (ids, *rest)) == expected


@both
@pytest.mark.parametrize("count", [15, 16, 10_000, 65_535, 65_536, 100_000])
def test_a_batch_of_any_length(encoder: Any, count: int) -> None:
    expected = wire.request(7, "status", wire.Raw(wire.array_header(count) + b"".join(map(wire.integer, range(count)))))
    assert encoder.encode_request(7, "status", (IdBatch(array("Q", range(count))),)) == expected


@both
def test_requests_without_a_batch(encoder: Any) -> None:
    assert encoder.encode_request(1, "ping", ()) == wire.request(1, "ping")
    assert encoder.encode_request(1, "hello", [{"client": "é"}]) == wire.request(1, "hello", {"client": "é"})
    assert encoder.encode_request(1, "status", ("alice",)) == wire.request(1, "status", "alice")


@both
@pytest.mark.parametrize("wrong", [array("Q", [1]), 1j, {1}], ids=repr)
def test_what_the_wire_does_not_know_is_refused(encoder: Any, wrong: Any) -> None:
    with pytest.raises(TypeError):
        encoder.encode_request(1, "status", (wrong,))
    with pytest.raises(TypeError):
        encoder.encode_request(1, "status", (IdBatch([1]), wrong))


# --- parts of a batch ------------------------------------------------------------------------------------------------


@both
@given(st.lists(strategies.ids(), max_size=30), st.integers(1, 8), st.integers(1, 600))
def test_parts_are_all_of_a_batch_and_as_large_as_they_may_be(
    encoder: Any, ids: list[Id], count_max: int, bytes_max: int
) -> None:
    parts = [list(part) for part in encoder.cut_ids(IdBatch(ids), count_max, bytes_max)]
    assert [user_id for part in parts for user_id in part] == ids
    for part in parts:
        assert 1 <= len(part) <= count_max
        assert len(part) == 1 or size_of(part) <= bytes_max
    for part, after in pairwise(parts):
        assert len(part) == count_max or size_of([*part, after[0]]) > bytes_max


@both
def test_a_batch_that_fits_is_its_own_part(encoder: Any) -> None:
    batch = IdBatch([1, "alice", 2**40])
    assert encoder.cut_ids(batch, 3, 1 + 6 + 9)[0] is batch
    assert [list(part) for part in encoder.cut_ids(batch, 3, 15)] == [[1, "alice"], [2**40]]
    assert encoder.cut_ids(IdBatch([]), 3, 15) == []


def size_of(ids: list[Id]) -> int:
    return sum(len(wire.value(user_id)) for user_id in ids)


# --- times -----------------------------------------------------------------------------------------------------------


@both
@given(
    msgid=frames.msgids(),
    times_ms=st.lists(st.one_of(st.just(-1), st.integers(-(2**63), 2**63 - 1), st.sampled_from(EDGES_MS)), max_size=40),
)
def test_moments_are_numbers_and_none_is_nil(encoder: Any, msgid: int, times_ms: list[int]) -> None:
    told = [None if time_ms < 0 else time_ms for time_ms in times_ms]
    assert encoder.encode_times(msgid, array("q", times_ms)) == wire.result(msgid, told)


@both
@pytest.mark.parametrize("count", [0, 1, 15, 16, 10_000, 65_535, 65_536])
def test_any_number_of_moments(encoder: Any, count: int) -> None:
    times_ms = array("q", [1_790_000_000_000, -1])[:count] * (count // 2) + array("q", [5]) * (count % 2)
    told = [None if time_ms < 0 else time_ms for time_ms in times_ms]
    assert encoder.encode_times(300, times_ms) == wire.result(300, told)


@both
def test_moments_of_another_kind_are_refused(encoder: Any) -> None:
    for wrong in (array("Q", [5]), array("i", [5]), array("d", [5.0])):
        with pytest.raises(ValueError, match="type code 'q'"):
            encoder.encode_times(1, wrong)


# --- statuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 15, 16, 10_000, 65_536])
def test_the_answer_to_watch_and_the_statuses_after_a_gap(count: int) -> None:
    statuses = (bytes(Status) * count)[:count]
    known = [ONLINE_OF[Status(status)] for status in statuses]
    assert codec.encode_watched(300, "run.7", statuses) == wire.result(300, ["run.7", known])
    assert codec.encode_gap("run.7", statuses) == wire.notification("gap", "run.7", known)


def test_a_gap_where_nobody_is_watched() -> None:
    assert codec.encode_gap("run.7", None) == wire.notification("gap", "run.7", None)

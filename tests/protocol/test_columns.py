"""Answers with a value for each id as columns, where that is asked for: the same from the compiled decoder and its twin."""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from presencedb.errors import Busy, ProtocolError
from presencedb.limits import FRAME_BYTES_MAX, KIB, MIB
from presencedb.protocol import codec, codec_python
from presencedb.protocol.messages import COLUMN_METHODS, Response
from presencedb.protocol.session import ClientSession
from tests.conformance import wire
from tests.conformance.wire import Raw, unhex
from tests.protocol import frames
from tests.protocol.driving import MISREAD_BY_MSGPACK, Received, cut, receive, single_bytes, whole
from tests.protocol.test_hostile_bytes import BOASTS, mutated_streams, peak_bytes

both = pytest.mark.parametrize("decoder", [codec.ClientDecoder, codec_python.ClientDecoder], ids=["that-runs", "twin"])
ASKED = ("status", "last_seen", "count", "status", "last_seen", "ping")
"""What a session has asked for, by msgid."""
COUNTS = [0, 1, 15, 16, 255, 256, 65_535, 65_536, 100_000]
NOT_STATUSES: list[Any] = [
    None,
    1,
    "x",
    True,
    {},
    [1],
    [True, 1],
    [0],
    ["true"],
    [[]],
    [None, {}],
    [1.0],
    b"\x01\x00",
    [b"\x01"],
]
NOT_TIMES: list[Any] = [
    None,
    1,
    "x",
    True,
    {},
    [1.5],
    [True],
    ["1"],
    [-1],
    [None, -5],
    [2**63],
    [2**64 - 1],
    [-(2**63)],
    [[]],
    b"\x01",
]


def asking(decoder: Any = codec.ClientDecoder) -> ClientSession:
    """A session that waits for the answers to `ASKED`."""
    session = ClientSession(columns=True)
    session._decoder = decoder(session._columns)
    for method in ASKED:
        session.request(method, ())
    return session


def answered(decoder: Any, pieces: Iterable[bytes]) -> list[Response]:
    session = asking(decoder)
    responses = []
    for piece in pieces:
        session.receive_data(piece)
        while (message := session.next_message()) is not None:
            assert isinstance(message, Response)
            responses.append(message)
    return responses


@pytest.mark.skipif(codec.IMPLEMENTATION == "python", reason="the twin itself is what runs")
def test_the_compiled_decoder_is_what_runs() -> None:
    assert codec.ClientDecoder is importlib.import_module("presencedb.protocol._answers").ClientDecoder


@both
@given(st.lists(st.sampled_from([False, True, None]), max_size=40), st.lists(st.integers(0, 200), max_size=3))
def test_statuses_are_bytes(decoder: Any, values: list[bool | None], positions: list[int]) -> None:
    for pieces in ([wire.result(0, values)], cut(wire.result(0, values), positions)):
        assert answered(decoder, pieces) == [Response(0, None, bytes([False, True, None].index(value) for value in values))]


@both
@given(st.lists(st.one_of(st.none(), st.integers(0, 2**63 - 1), st.integers(0, 300)), max_size=40))
@example([0, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**31, 2**32 - 1, 2**32, 2**63 - 1])
def test_times_are_an_array(decoder: Any, values: list[int | None]) -> None:
    expected = array("q", [-1 if value is None else value for value in values])
    for pieces in ([wire.result(1, values)], single_bytes(wire.result(1, values))):
        (response,) = answered(decoder, pieces)
        assert (response.error, response.result) == (None, expected)


@both
@pytest.mark.parametrize("count", COUNTS)
def test_columns_of_any_length(decoder: Any, count: int) -> None:
    statuses = wire.result(0, Raw(wire.array_header(count) + b"\xc3" * count))
    times = wire.result(1, Raw(wire.array_header(count) + b"\xce\x80\x00\x00\x00" * count))
    for pieces in ([statuses + times], [statuses + times[:-1], times[-1:]], [statuses[:9], statuses[9:] + times]):
        first, second = answered(decoder, pieces)
        assert first.result == b"\x01" * count
        assert second.result == array("q", [2**31]) * count


@both
@pytest.mark.parametrize(
    "form", ["05", "cc 05", "cd 00 05", "ce 00 00 00 05", "d0 05", "d1 00 05", "d3 00 00 00 00 00 00 00 05"]
)
def test_a_time_in_any_form(decoder: Any, form: str) -> None:
    (response,) = answered(decoder, [wire.result(1, Raw(b"\xdd\x00\x00\x00\x01" + unhex(form)))])
    assert response.result == array("q", [5])


@both
@pytest.mark.parametrize(
    ("msgid", "result"),
    [*((0, result) for result in NOT_STATUSES), *((1, result) for result in NOT_TIMES)],
    ids=repr,
)
def test_an_answer_of_another_shape_is_an_error_of_that_request_alone(decoder: Any, msgid: int, result: Any) -> None:
    wrong, after = answered(decoder, [wire.result(msgid, result) + wire.result(2, 7)])
    assert (wrong.msgid, type(wrong.error), wrong.result) == (msgid, ProtocolError, None)
    assert str(wrong.error).startswith(f"the server answered {ASKED[msgid]} with")
    assert after == Response(2, None, 7)


@both
def test_only_the_first_answer_to_such_a_request_is_a_column(decoder: Any) -> None:
    responses = answered(decoder, [wire.result(0, [True]) + wire.result(0, [True]) + wire.result(2, [True])])
    assert [response.result for response in responses] == [b"\x01", [True], [True]]


@both
def test_an_error_is_the_answer_too(decoder: Any) -> None:
    first, second = answered(decoder, [wire.error(0, "busy", "later") + wire.result(0, [True])])
    assert isinstance(first.error, Busy)
    assert second.result == [True]


def test_answers_are_lists_where_nobody_asked_for_columns() -> None:
    session = ClientSession()
    session.request("status", ([1, 2],))
    session.receive_data(wire.result(0, [True, None]))
    assert session.next_message() == Response(0, None, [True, None])


# --- both decoders, any bytes ----------------------------------------------------------------------------------------


def column_messages() -> st.SearchStrategy[bytes]:
    """Answers to `ASKED`, sound ones and others."""
    msgids = st.integers(0, len(ASKED))
    statuses = st.lists(st.sampled_from([False, True, None]), max_size=20)
    times = st.lists(st.one_of(st.none(), st.integers(0, 2**41), st.integers(-(2**63), 2**64 - 1)), max_size=20)
    wrong = st.sampled_from([*NOT_STATUSES, *NOT_TIMES])
    return st.builds(wire.result, msgids, st.one_of(statuses, times, wrong))


STREAMS = st.lists(st.one_of(column_messages(), column_messages(), frames.server_messages()), max_size=6).map(b"".join)


def by_twin(data: bytes) -> Received:
    return receive(whole(data), asking(codec_python.ClientDecoder))


@settings(max_examples=150)
@given(STREAMS, st.one_of(st.just(b""), frames.malformed_answers()), st.lists(st.integers(0, 10_000), max_size=8))
def test_both_take_the_same_from_a_stream(data: bytes, end: bytes, positions: list[int]) -> None:
    expected = by_twin(data + end)
    assert receive(whole(data + end), asking()) == expected
    assert receive(cut(data + end, positions), asking()) == expected
    assert receive(single_bytes(data + end), asking()) == expected


@settings(max_examples=150)
@given(mutated_streams(STREAMS))
def test_both_take_the_same_from_a_mutated_stream(data: bytes) -> None:
    assume(MISREAD_BY_MSGPACK not in data)
    expected = by_twin(data)
    assert receive(whole(data), asking()) == expected
    assert receive(single_bytes(data), asking()) == expected


@settings(max_examples=150)
@given(st.binary(max_size=400))
def test_both_take_the_same_from_random_bytes(data: bytes) -> None:
    assume(MISREAD_BY_MSGPACK not in data)
    assert receive(whole(data), asking()) == receive(single_bytes(data), asking()) == by_twin(data)


@both
@pytest.mark.parametrize(
    "boast", [boast for boast in BOASTS.values() if not boast.startswith(MISREAD_BY_MSGPACK)], ids=bytes.hex
)
@pytest.mark.parametrize("msgid", [0, 1])
def test_an_answer_that_claims_much_costs_nothing(decoder: Any, boast: bytes, msgid: int) -> None:
    head = wire.array_header(4) + wire.value(1) + wire.value(msgid) + wire.value(None)
    found: list[Response] = []
    assert peak_bytes(lambda: found.extend(answered(decoder, [head + boast, b"\xc0" * 20]))) < 200 * KIB
    assert found == []


@both
@pytest.mark.parametrize("method", sorted(COLUMN_METHODS))
def test_a_frame_of_an_answer_is_held_against_the_limit(decoder: Any, method: str) -> None:
    msgid = ASKED.index(method)
    count = FRAME_BYTES_MAX - 9
    frame = wire.result(msgid, Raw(wire.array_header(count) + b"\xc0" * count))
    assert len(frame) == FRAME_BYTES_MAX
    (response,) = answered(decoder, [frame])
    assert len(response.result) == count
    larger = wire.result(msgid, Raw(wire.array_header(count + 1) + b"\xc0" * (count + 1)))
    for pieces in ([larger], [larger[:MIB], larger[MIB:]]):
        with pytest.raises(ProtocolError, match="a frame has at most 4194304 bytes"):
            answered(decoder, pieces)


@both
def test_a_session_does_not_keep_the_room_of_a_large_answer(decoder: Any) -> None:
    session = asking(decoder)
    session.receive_data(wire.result(0, Raw(wire.array_header(MIB) + b"\xc3" * MIB)))
    response = session.next_message()
    assert isinstance(response, Response)
    assert len(response.result) == MIB
    assert session.next_message() is None
    data = wire.result(2, 1) * 1_000
    assert peak_bytes(lambda: session.receive_data(data)) < 300 * KIB

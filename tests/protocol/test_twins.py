"""The compiled decoder and its twin in Python take the same messages from any bytes, one by one or in runs."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from presencedb.errors import Busy, Moved
from presencedb.limits import FRAME_BYTES_MAX, IDS_PER_FRAME_MAX, REQUESTS_IN_FLIGHT_MAX, RUN_FRAMES_MAX
from presencedb.protocol import codec, codec_python
from presencedb.protocol.session import ServerSession
from tests.conformance import wire
from tests.protocol import frames
from tests.protocol.driving import MISREAD_BY_MSGPACK, Served, cut, serve, single_bytes, whole

pytestmark = pytest.mark.skipif(codec.IMPLEMENTATION == "python", reason="the twin itself is what runs")

CUTS = st.lists(st.integers(0, 10_000), max_size=12)


def by_twin(data: bytes) -> Served:
    session = ServerSession()
    session._decoder = codec_python.ServerDecoder()
    return serve(whole(data), session)


def in_runs(pieces: Any, frames_max: int = RUN_FRAMES_MAX) -> Served:
    return serve(pieces, ServerSession(run_frames_max=frames_max))


def test_the_compiled_decoder_is_what_runs() -> None:
    assert codec.ServerDecoder is importlib.import_module("presencedb.protocol._codec").ServerDecoder


@settings(max_examples=500)
@given(frames.streams(), CUTS)
@example(b"\x91" * 1024 + b"\x90", [])
@example(b"\x91" * 1024 + b"\xc0", [])
@example(b"\x91" * 1025 + b"\xc0", [])
@example(wire.request(1, "heartbeat", [2**64 - 1, "18446744073709551616", "042", "", 7]), [])
@example(wire.request(1, "status", "5") + wire.request(2, "status", [True]) + wire.request(3, "status", []), [20])
def test_both_take_the_same_from_a_stream(data: bytes, positions: list[int]) -> None:
    assume(MISREAD_BY_MSGPACK not in data)
    expected = by_twin(data)
    assert serve(whole(data)) == expected
    assert in_runs(whole(data)) == expected
    assert in_runs(cut(data, positions)) == expected
    assert in_runs(cut(data, positions), 2) == expected
    assert in_runs(single_bytes(data)) == expected


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_both_take_the_same_from_random_bytes(data: bytes) -> None:
    assume(MISREAD_BY_MSGPACK not in data)
    assert serve(whole(data)) == in_runs(single_bytes(data)) == by_twin(data)


@settings(max_examples=300)
@given(frames.streams(), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_both_take_the_same_from_a_mutated_stream(data: bytes, changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(data)
    for position, value in changes:
        if mutated:
            mutated[position % len(mutated)] = value
    assume(MISREAD_BY_MSGPACK not in mutated)
    assert serve(whole(bytes(mutated))) == in_runs(single_bytes(bytes(mutated))) == by_twin(bytes(mutated))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 255, 256, 65_535, 65_536, IDS_PER_FRAME_MAX, IDS_PER_FRAME_MAX + 1])
@pytest.mark.parametrize("method", ["heartbeat", "status", "last_seen"])
def test_both_take_batches_of_every_size(method: str, size: int) -> None:
    data = wire.request(300, method, list(range(size))) * 2
    assert in_runs(whole(data)) == by_twin(data)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_both_hold_a_frame_of_ids_against_the_same_limit(extra: int) -> None:
    """A batch of texts that fills a frame to the byte, between two small ones."""
    small = wire.request(1, "heartbeat", [1])
    ids = [f"{index:0254d}x" for index in range(FRAME_BYTES_MAX // 257)]
    while (left := FRAME_BYTES_MAX + extra - len(wire.request(2, "heartbeat", ids))) < 34:
        ids.pop()
    ids += ["z" * 40] * ((left - 34) // 42)
    ids.append("z" * (FRAME_BYTES_MAX + extra - len(wire.request(2, "heartbeat", ids)) - 2))
    frame = wire.request(2, "heartbeat", ids)
    assert len(frame) == FRAME_BYTES_MAX + extra
    data = small + frame + small
    assert in_runs(whole(data)) == by_twin(data)


def test_a_run_never_has_more_requests_than_may_be_in_flight() -> None:
    session = ServerSession(run_frames_max=RUN_FRAMES_MAX)
    session.receive_data(b"".join(wire.request(msgid, "heartbeat", [msgid]) for msgid in range(REQUESTS_IN_FLIGHT_MAX + 5)))
    requests = []
    while (request := session.next_request()) is not None:
        requests.append(request)
    assert sum(request.frame_count for request in requests) == REQUESTS_IN_FLIGHT_MAX
    assert all(request.frame_count <= RUN_FRAMES_MAX for request in requests)
    for request in requests:
        session.fail(request, Busy("all of it"))
    refused = wire.error(REQUESTS_IN_FLIGHT_MAX, "busy", "at most 1024 requests in flight, 1024 are waiting")
    answers = session.data_to_send()
    assert answers.startswith(wire.error(0, "busy", "all of it") + wire.error(1, "busy", "all of it"))
    assert refused in answers
    assert session.drained


def test_a_run_is_answered_in_its_place_between_others() -> None:
    session = ServerSession(run_frames_max=RUN_FRAMES_MAX)
    stream = wire.request(1, "ping") + wire.request(2, "status", [1]) + wire.request(3, "status", [2, 3])
    session.receive_data(stream + wire.request(4, "ping"))
    first, run, last = (session.next_request() for _ in range(3))
    assert first is not None
    assert run is not None
    assert last is not None
    assert run.frame_count == 2
    session.reply(last, "pong")
    session.reply_statuses(run, b"\x01\x00\x02")
    assert session.data_to_send() == b""
    session.reply(first, "pong")
    assert session.data_to_send() == bytes.fromhex("940101c0a4706f6e67 940102c091c3 940103c092c2c0 940104c0a4706f6e67")


def test_a_run_is_not_answered_by_the_wrong_number_of_bytes() -> None:
    session = ServerSession(run_frames_max=RUN_FRAMES_MAX)
    session.receive_data(wire.request(2, "status", [1]) * 2)
    run = session.next_request()
    assert run is not None
    with pytest.raises(ValueError, match="2 ids is not answered by 3 bytes"):
        session.reply_statuses(run, b"\x01\x00\x02")


def test_each_frame_of_a_run_may_be_answered_by_itself() -> None:
    session = ServerSession(run_frames_max=RUN_FRAMES_MAX)
    session.receive_data(
        wire.request(1, "heartbeat", [1, 2])
        + wire.notification("heartbeat", [3])
        + wire.request(2, "heartbeat", [])
        + wire.notification("heartbeat", ["é", 5])
        + wire.request(3, "heartbeat", 6)
    )
    run = session.next_request()
    assert run is not None
    assert [list(ids) for ids in run.ids_by_frame()] == [[1, 2], [3], [], ["é", 5], [6]]
    with pytest.raises(ValueError, match="shorter"):
        session.reply_frames(run, [1, 2, 3, 4])
    assert not session.drained
    session.reply_frames(run, [2, Moved("elsewhere"), Moved("elsewhere"), 1, b"\x01\x02"])
    assert session.data_to_send() == (wire.result(1, 2) + wire.error(2, "moved", "elsewhere") + wire.result(3, [True, None]))
    assert session.bad_notifications == 1
    assert session.drained


def test_notifications_alone_are_answered_with_nothing() -> None:
    session = ServerSession(run_frames_max=RUN_FRAMES_MAX)
    session.receive_data(wire.notification("heartbeat", [1]) * 2)
    run = session.next_request()
    assert run is not None
    session.reply_frames(run, [1, Moved("elsewhere")])
    assert session.data_to_send() == b""
    assert session.bad_notifications == 1

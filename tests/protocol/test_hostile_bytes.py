"""Random, mutated and boastful bytes: a protocol error, a refusal or nothing; never a crash, a hang, or memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import ProtocolError
from presencedb.limits import FRAME_BYTES_MAX, KIB, MIB
from presencedb.protocol.session import ClientSession, ServerSession
from tests.conformance import wire
from tests.conformance.wire import unhex
from tests.protocol import frames
from tests.protocol.driving import Served, receive, serve, whole

BOASTS = {
    "array of 2^32-1": b"\xdd\xff\xff\xff\xff",
    "array of 2^16-1": b"\xdc\xff\xff",
    "map of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "map of 2^16-1": b"\xde\xff\xff",
    "text of 2^32-1": b"\xdb\xff\xff\xff\xff",
    "binary of 2^32-1": b"\xc6\xff\xff\xff\xff",
    "extension of 2^32-1": b"\xc9\xff\xff\xff\xff\x05",
}
IN_A_REQUEST = wire.array_header(4) + wire.value(0) + wire.value(7) + wire.value("status") + wire.array_header(1)


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that was in use at a time during the work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=2000))
def test_random_bytes(data: bytes) -> None:
    assert_sound(serve(whole(data)))
    receive(whole(data))


@st.composite
def mutated_streams(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "insert", "delete", "boast"]))
        if kind == "flip" and position < len(data):
            data[position] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[position:position] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "delete":
            del data[position : position + draw(st.integers(1, 4))]
        else:
            data[position:position] = draw(st.sampled_from(list(BOASTS.values())))
    return bytes(data)


@given(mutated_streams(frames.streams()))
def test_mutated_streams_of_a_client(data: bytes) -> None:
    assert_sound(serve(whole(data)))


@given(mutated_streams(st.lists(frames.server_messages(), max_size=4).map(b"".join)))
def test_mutated_streams_of_a_server(data: bytes) -> None:
    receive(whole(data))


@pytest.mark.parametrize("boast", BOASTS.values(), ids=BOASTS)
@pytest.mark.parametrize("before", [b"", IN_A_REQUEST], ids=["bare", "in a request"])
def test_a_header_that_claims_much_costs_nothing(boast: bytes, before: bytes) -> None:
    served = Served()
    assert peak_bytes(lambda: served.requests.extend(serve([before + boast, b"\x00" * 20]).requests)) < 200 * KIB
    assert served.requests == []


@pytest.mark.parametrize("kind", ["array", "map", "text", "binary"])
def test_a_claim_is_believed_up_to_the_limit_of_a_frame(kind: str) -> None:
    served = serve([IN_A_REQUEST + BOASTS[f"{kind} of 2^32-1"], *[b"\x00" * MIB] * 5])
    assert served.out == wire.error(7, "too_large", "a frame has at most 4194304 bytes, this one has more")
    assert served.protocol_error is not None


@pytest.mark.parametrize("nest", [b"\x91", b"\x81\xa1a", b"\x81", b"\xdc\x00\x01", b"\x92\x00"], ids=bytes.hex)
@pytest.mark.parametrize("before", [b"", IN_A_REQUEST], ids=["bare", "in a request"])
def test_nesting_a_million_deep_ends_the_session(nest: bytes, before: bytes) -> None:
    served = serve([before + nest * 1_000_000])
    assert served.protocol_error == "not MessagePack, or nested too deeply"
    answered = wire.error(7, "bad_request", served.protocol_error)
    assert served.out == (answered if before else b"")
    assert receive([nest * 1_000_000]).protocol_error is not None


def test_nesting_that_can_be_read_is_refused_in_its_place() -> None:
    nested = IN_A_REQUEST + b"\x91" * 500 + b"\x00"
    served = serve([nested + wire.request(8, "ping")])
    assert served.out == (
        wire.error(7, "bad_request", "id 0 of the batch: an id is an integer or text, not an array") + wire.result(8, 0)
    )


@pytest.mark.parametrize(
    "filling",
    [
        b"\x90",
        b"\x80",
        b"\x91\x90",
        b"\x81\xa0\xc0",
        b"\xa2ab",
        b"\xc7\x00\x05",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xcb" + b"\x01" * 8,
    ],
    ids=bytes.hex,
)
def test_the_most_expensive_frames_cost_a_bounded_multiple_of_their_size(filling: bytes) -> None:
    count = (FRAME_BYTES_MAX - 64) // len(filling)
    frame = IN_A_REQUEST + wire.array_header(count) + filling * count
    served: list[Served] = []
    assert peak_bytes(lambda: served.append(serve([frame, wire.request(8, "ping")]))) < 40 * FRAME_BYTES_MAX
    assert served[0].out.endswith(wire.result(8, 0))


def test_a_map_of_millions_of_keys_costs_a_bounded_multiple_of_its_size() -> None:
    count = (FRAME_BYTES_MAX - 64) // 2
    frame = IN_A_REQUEST + wire.map_header(count) + b"\x01\x01" * count
    assert peak_bytes(lambda: serve([frame])) < 8 * FRAME_BYTES_MAX


@pytest.mark.parametrize("session", [ServerSession, ClientSession])
@pytest.mark.parametrize("wrong", [b"\xc1", b"\x93\x07\x07\x07"], ids=["no MessagePack", "no RPC"])
def test_a_session_that_refused_the_stream_keeps_nothing_of_what_follows(
    session: type[ServerSession | ClientSession], wrong: bytes
) -> None:
    end = session()
    end.receive_data(wrong)
    take_all(end)
    data = b"\x00" * MIB
    assert peak_bytes(lambda: [end.receive_data(data) for _ in range(16)]) < 100 * KIB


@pytest.mark.parametrize(
    "frame", [wire.request(1, "status", ["user"] * 50_000), wire.request(1, "nothing", b"\x00" * 3 * MIB)]
)
def test_an_idle_session_does_not_keep_the_room_of_a_large_frame(frame: bytes) -> None:
    session = ServerSession()
    tracemalloc.start()
    try:
        assert serve([frame], session).out
        assert tracemalloc.get_traced_memory()[0] < 100 * KIB
    finally:
        tracemalloc.stop()


def test_a_session_is_as_small_after_many_frames_as_after_a_few() -> None:
    session = ServerSession()
    frame = wire.request(1, "heartbeat", 1)
    pieces = [frame * 1_000 + frame[:5], frame[5:]]
    tracemalloc.start()
    try:
        serve(pieces, session)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(50):
            serve(pieces, session)
        assert tracemalloc.get_traced_memory()[0] < before + 8 * KIB
    finally:
        tracemalloc.stop()


def test_other_protocols_are_refused_at_their_first_bytes() -> None:
    hellos = [
        b"GET / HTTP/1.1\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        unhex("16 03 01 02 00 01 00 01 fc 03 03"),
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ]
    for hello in hellos:
        assert serve(whole(hello)) == Served(protocol_error="not a MessagePack-RPC request or notification")


def assert_sound(served: Served) -> None:
    """What came of any stream: known requests, and whole, well-formed answers."""
    answers = receive(whole(served.out))
    assert answers.protocol_error is None
    refused = sum(1 for _, error, _ in answers.messages if error is not None)
    answered = sum(1 for request in served.requests if request[1] is not None)
    assert answered <= len(answers.messages) <= answered + refused


def take_all(session: ServerSession | ClientSession) -> None:
    if isinstance(session, ServerSession):
        assert session.next_request() is None
        return
    for _ in range(2):
        with pytest.raises(ProtocolError):
            session.next_message()

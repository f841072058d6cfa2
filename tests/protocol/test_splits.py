"""A stream is what it says, not how it was cut: any cutting into reads gives the same messages, on both ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from presencedb.limits import FRAME_BYTES_MAX
from tests.conformance import wire
from tests.protocol import frames
from tests.protocol.driving import cut, receive, serve, single_bytes, whole

CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(frames.streams(), CUTS)
def test_a_server_takes_the_same_requests_however_the_stream_is_cut(data: bytes, positions: list[int]) -> None:
    expected = serve(whole(data))
    assert serve(cut(data, positions)) == expected
    assert serve(single_bytes(data)) == expected


@given(st.lists(frames.server_messages(), max_size=6), st.one_of(st.just(b""), frames.malformed_answers()), CUTS)
def test_a_client_takes_the_same_messages_however_the_stream_is_cut(
    messages: list[bytes], end: bytes, positions: list[int]
) -> None:
    data = b"".join(messages) + end
    expected = receive(whole(data))
    assert len(expected.messages) == len(messages)
    assert (expected.protocol_error is None) == (not end)
    assert receive(cut(data, positions)) == expected
    assert receive(single_bytes(data)) == expected


@given(st.binary(max_size=300), CUTS)
def test_random_bytes_mean_the_same_however_they_are_cut(data: bytes, positions: list[int]) -> None:
    assert serve(cut(data, positions)) == serve(whole(data)) == serve(single_bytes(data))
    assert receive(cut(data, positions)) == receive(whole(data)) == receive(single_bytes(data))


@given(frames.sound_frames())
def test_a_sound_frame_is_taken(frame: bytes) -> None:
    served = serve(whole(frame))
    assert len(served.requests) == 1
    assert (served.protocol_error, served.bad_notifications) == (None, 0)


def test_a_frame_above_the_limit_is_refused_in_the_same_words_however_it_is_cut() -> None:
    frame = wire.request(7, "status", "a" * FRAME_BYTES_MAX)
    expected = serve(whole(frame))
    assert expected.out == wire.error(7, "too_large", "a frame has at most 4194304 bytes, this one has more")
    for size in (1000, 4096, 65_536, 262_144, FRAME_BYTES_MAX + 1):
        assert serve(frame[start : start + size] for start in range(0, len(frame), size)) == expected

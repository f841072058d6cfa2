"""Calls into frames, without I/O."""

from __future__ import annotations

from array import array
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from presencedb.client.coalesce import FRAME_ID_BYTES_MAX, Coalescer, Write, split_into_frames
from presencedb.ids import Id, IdBatch
from presencedb.limits import FRAME_BYTES_MAX, ID_TEXT_BYTES_MAX, IDS_PER_FRAME_MAX
from presencedb.protocol.codec import encode_request

BEAT = Write("heartbeat")


def test_equal_writes_share_a_group_and_keep_their_order() -> None:
    coalescer: Coalescer[str] = Coalescer()
    assert coalescer.add(BEAT, [1], "a") is True
    assert coalescer.add(Write("heartbeat"), ["x", 2], "b") is False
    assert coalescer.add(Write("offline"), [1], "c") is False
    assert coalescer.add(BEAT, [1], "d") is False
    assert coalescer.add(Write("heartbeat", age_ms=5), [9], "e") is False
    groups = coalescer.take()
    assert [(group.write.method, group.write.age_ms, group.ids, group.waiters) for group in groups] == [
        ("heartbeat", 0, [1, "x", 2], ["a", "b"]),
        ("offline", 0, [1], ["c"]),
        ("heartbeat", 0, [1], ["d"]),
        ("heartbeat", 5, [9], ["e"]),
    ]


def test_a_turn_begins_anew_after_it_was_taken() -> None:
    coalescer: Coalescer[str] = Coalescer()
    coalescer.add(BEAT, [1], "a")
    coalescer.take()
    assert coalescer.take() == []
    assert coalescer.add(BEAT, [2], "b") is True
    assert [group.ids for group in coalescer.take()] == [[2]]


def test_writes_that_stay_alone_join_nobody() -> None:
    coalescer: Coalescer[str] = Coalescer()
    for waiter in "ab":
        coalescer.add(Write("heartbeat", alone=True), [1], waiter)
    coalescer.add(BEAT, [1], "c")
    assert [group.waiters for group in coalescer.take()] == [["a"], ["b"], ["c"]]


def test_a_caller_keeps_its_own_list() -> None:
    coalescer: Coalescer[str] = Coalescer()
    mine: list[Id] = [1]
    coalescer.add(BEAT, mine, "a")
    coalescer.add(BEAT, [2], "b")
    assert mine == [1]


def test_a_batch_stays_a_batch() -> None:
    coalescer: Coalescer[str] = Coalescer()
    batch = IdBatch([1, 2])
    alone = Write("heartbeat", alone=True)
    assert coalescer.add(BEAT, [7], "a") is True
    assert coalescer.add(alone, batch, "b") is False
    assert coalescer.add(alone, [3], "c") is False
    assert coalescer.add(BEAT, [8], "d") is False
    groups = coalescer.take()
    assert groups[1].ids is batch
    assert [(list(group.ids), group.waiters) for group in groups] == [
        ([7], ["a"]),
        ([1, 2], ["b"]),
        ([3], ["c"]),
        ([8], ["d"]),
    ]


def test_a_batch_that_fits_is_one_frame_and_not_copied() -> None:
    for count in (1, IDS_PER_FRAME_MAX):
        batch = IdBatch(range(count))
        frames = split_into_frames(batch)
        assert len(frames) == 1
        assert frames[0] is batch
    assert split_into_frames(IdBatch([])) == []


def test_a_batch_is_split_by_number() -> None:
    ids = array("Q", range(2 * IDS_PER_FRAME_MAX + 1))
    frames = split_into_frames(IdBatch(ids))
    assert [len(frame) for frame in frames] == [IDS_PER_FRAME_MAX, IDS_PER_FRAME_MAX, 1]
    assert list(chain.from_iterable(frames)) == ids.tolist()


def test_a_batch_of_long_texts_is_split_by_bytes() -> None:
    ids = [f"{number:0{ID_TEXT_BYTES_MAX}}" for number in range(50_000)]
    frames = split_into_frames(IdBatch(ids))
    assert list(chain.from_iterable(frames)) == ids
    assert len(frames) == 4
    for frame in frames:
        assert len(encode_request(2**32 - 1, "heartbeat", (frame, {"age_ms": 2**53, "grace_ms": 2**40}))) <= FRAME_BYTES_MAX


@given(st.lists(st.sampled_from([5, 2**64 - 1, "a", "ü" * 127, "x" * 255, "€" * 85]), min_size=1, max_size=6))
def test_every_frame_is_within_both_bounds(pattern: list[Id]) -> None:
    ids = (pattern * 40_000)[:40_000]
    frames = split_into_frames(IdBatch(ids))
    assert sum(map(len, frames)) == len(ids)
    assert list(frames[0]) == ids[: len(frames[0])]
    for frame in frames:
        assert 0 < len(frame) <= IDS_PER_FRAME_MAX
        assert len(encode_request(0, "status", (frame,))) <= FRAME_ID_BYTES_MAX + 100

"""The compiled batch beside the rules in Python: same ids, same hashes, from objects, from bytes and from buffers."""

from __future__ import annotations

from array import array
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import BadRequest
from presencedb.ids import Hasher, Id, canonical_id
from presencedb.ids.batch_python import IdBatch as PythonIdBatch
from presencedb.ids.hashing import WIDTH_BITS
from presencedb.limits import ID_INT_MAX, ID_TEXT_BYTES_MAX
from tests.support import strategies
from tests.support.strategies import NOT_IDS, NOT_TEXT_IDS

_batch = pytest.importorskip("presencedb.ids._batch", reason="the compiled parts are not built")

SEEDS: Final = (0, 1, 2**64 - 1, 0x0123456789ABCDEF)
seeds = st.sampled_from(SEEDS) | st.integers(0, 2**64 - 1)


def place(user_id: Id, seed: int) -> tuple[int, int]:
    """Kind, and the hash shifted left to 128 bits."""
    _, kind, value = Hasher(seed).place(user_id)
    return kind, value << (128 - WIDTH_BITS[kind])


@given(ids=st.lists(strategies.ids(), max_size=20), seed=seeds)
def test_hashes_are_those_of_the_hasher(ids: list[Id], seed: int) -> None:
    assert _batch.hashes(_batch.IdBatch(ids), seed) == [place(user_id, seed) for user_id in ids]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_text_of_every_length_is_hashed_as_by_the_package(seed: int) -> None:
    texts = ["é" * (size // 2) + "x" * (size % 2) for size in range(1, ID_TEXT_BYTES_MAX + 1)]
    assert _batch.hashes(_batch.IdBatch(texts), seed) == [place(text, seed) for text in texts]


@given(ids=st.lists(strategies.ids(), max_size=20), seed=seeds)
def test_ids_come_back_out_of_their_hashes(ids: list[Id], seed: int) -> None:
    back = _batch.unhashed(_batch.IdBatch(ids), seed)
    assert all(again in (user_id, None) for again, user_id in zip(back, ids, strict=True))
    assert all(again is not None for again, user_id in zip(back, ids, strict=True) if isinstance(user_id, int))


@given(ids=st.lists(strategies.ids(), min_size=1, max_size=5), first=seeds, second=seeds)
def test_a_batch_is_hashed_anew_for_another_seed(ids: list[Id], first: int, second: int) -> None:
    batch = _batch.IdBatch(ids)
    for seed in (first, second, first):
        assert _batch.hashes(batch, seed) == [place(user_id, seed) for user_id in ids]


@given(values=st.lists(strategies.given_ids(), max_size=20))
def test_bytes_become_the_same_ids_as_text(values: list[int | str]) -> None:
    texts = [str(value) for value in values]
    assert list(_batch.batch_of_utf8([text.encode() for text in texts])) == [canonical_id(text) for text in texts]


@given(text=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_bytes_are_an_id_or_refused_just_as_text_is(text: bytes) -> None:
    try:
        wanted: object = canonical_id(text.decode())
    except UnicodeDecodeError:
        wanted = "a text id is valid UTF-8"
    except BadRequest as error:
        wanted = error.message
    try:
        told: object = _batch.batch_of_utf8([text])[0]
    except BadRequest as error:
        told = error.message
    assert told == wanted


@pytest.mark.parametrize("bad", [*NOT_IDS, *NOT_TEXT_IDS], ids=lambda value: repr(value)[:30])
def test_what_is_no_id_is_refused_in_the_same_words(bad: object) -> None:
    told = []
    for make in (_batch.IdBatch, PythonIdBatch):
        with pytest.raises(BadRequest) as refused:
            make([1, bad])
        told.append(refused.value.message)
    assert told[0] == told[1]


@pytest.mark.parametrize("make", [_batch.IdBatch, PythonIdBatch])
def test_a_buffer_of_integers_is_a_batch(make: type[PythonIdBatch]) -> None:
    values = [0, 1, 2**32 - 1, 2**32, 2**63, ID_INT_MAX]
    assert list(make(array("Q", values))) == values
    assert list(make(memoryview(array("Q", values))[::-2])) == values[::-2]
    assert list(make(array("Q"))) == []


@pytest.mark.parametrize("make", [_batch.IdBatch, PythonIdBatch])
def test_a_buffer_of_something_else_is_read_item_by_item(make: type[PythonIdBatch]) -> None:
    assert list(make(b"ab")) == [97, 98]
    assert list(make(array("q", [7, 8]))) == [7, 8]
    with pytest.raises(BadRequest, match="id 1 of the batch"):
        make(array("q", [7, -8]))
    with pytest.raises(BadRequest, match="id 0 of the batch"):
        make(array("d", [1.0]))

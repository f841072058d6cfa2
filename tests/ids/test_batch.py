"""`IdBatch`: whatever is in it is canonical, in the order asked; with one bad id there is no batch, and it says which."""

from __future__ import annotations

from array import array
from typing import Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb import ids as presencedb_ids
from presencedb.errors import BadRequest
from presencedb.ids import Id, canonical_id
from presencedb.ids.batch_python import IdBatch as PythonIdBatch
from tests.support import strategies
from tests.support.strategies import NOT_IDS, NOT_TEXT_IDS

Batch: TypeAlias = type[PythonIdBatch]
BATCHES: Final[dict[str, Batch]] = {"python": PythonIdBatch, "chosen": presencedb_ids.IdBatch}


@pytest.fixture(params=sorted(BATCHES))
def id_batch(request: pytest.FixtureRequest) -> Batch:
    return BATCHES[request.param]


@pytest.mark.parametrize("name", sorted(BATCHES))
@given(values=st.lists(strategies.given_ids(), max_size=40))
def test_ids_come_out_canonical_and_in_order(name: str, values: list[int | str]) -> None:
    batch = BATCHES[name](values)
    wanted = [canonical_id(value) for value in values]
    assert list(batch) == wanted
    assert [type(user_id) for user_id in batch] == [type(user_id) for user_id in wanted]
    assert len(batch) == len(values)
    assert [batch[index] for index in range(len(batch))] == wanted


@pytest.mark.parametrize("name", sorted(BATCHES))
@given(ids=st.lists(strategies.ids(), max_size=40))
def test_canonical_ids_need_no_check(name: str, ids: list[Id]) -> None:
    assert list(BATCHES[name].of_canonical(list(ids))) == ids


def test_repeated_ids_stay(id_batch: Batch) -> None:
    assert list(id_batch([42, "42", "a", "a", 42])) == [42, 42, "a", "a", 42]


def test_any_iterable_will_do(id_batch: Batch) -> None:
    assert list(id_batch(i for i in (3, "b"))) == [3, "b"]
    assert len(id_batch(())) == 0


def test_a_batch_can_be_read_more_than_once(id_batch: Batch) -> None:
    batch = id_batch([1, 2])
    assert list(batch) == list(batch) == [1, 2]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize("bad", [*NOT_IDS, *NOT_TEXT_IDS], ids=lambda value: repr(value)[:30])
def test_the_index_of_the_bad_one_is_named(id_batch: Batch, bad: object, count: int) -> None:
    for index in {0, count // 2, count - 1}:
        values: list[object] = list(range(count))
        values[index] = bad
        with pytest.raises(BadRequest, match=rf"^id {index} of the batch: "):
            id_batch(values)


def test_the_first_of_several_bad_ones_is_named(id_batch: Batch) -> None:
    with pytest.raises(BadRequest, match=r"^id 1 of the batch: "):
        id_batch([1, None, True])


def test_the_index_is_past_the_end_of_a_batch(id_batch: Batch) -> None:
    with pytest.raises(IndexError):
        id_batch([1])[1]


def test_a_later_change_of_the_list_given_does_not_reach_the_batch(id_batch: Batch) -> None:
    values: list[object] = list(range(20))
    batch = id_batch(values)
    values[0] = "changed"
    assert batch[0] == 0


@pytest.mark.parametrize("name", sorted(BATCHES))
@given(ids=st.lists(strategies.ids(), min_size=1, max_size=40), data=st.data())
def test_part_of_a_batch_is_a_batch_in_the_order_of_the_positions(name: str, ids: list[Id], data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=80))
    taken = BATCHES[name](ids).take(array("I", positions))
    assert list(taken) == [ids[position] for position in positions]
    assert list(taken.take(array("I", range(len(taken))))) == list(taken)


@pytest.mark.parametrize("positions", [[3], [0, 2**32 - 1], [2, 1, 0, 4]])
def test_a_position_past_the_end_is_refused(id_batch: Batch, positions: list[int]) -> None:
    with pytest.raises(IndexError):
        id_batch([1, "a", 2]).take(array("I", positions))
    with pytest.raises(IndexError):
        id_batch([]).take(array("I", positions))


@pytest.mark.parametrize("positions", [array("i", [0]), array("Q", [0]), array("d", [0.0]), b"\0\0\0\0"])
def test_positions_of_another_type_are_refused(id_batch: Batch, positions: array[int]) -> None:
    with pytest.raises(ValueError, match="positions have the type code 'I'"):
        id_batch([1]).take(positions)


@pytest.mark.parametrize("name", sorted(BATCHES))
@given(parts=st.lists(st.lists(strategies.ids(), max_size=10), max_size=6))
def test_batches_joined_are_their_ids_one_after_the_other(name: str, parts: list[list[Id]]) -> None:
    batch = BATCHES[name]
    batches = [batch(ids) for ids in parts]
    joined = batch.joined(batches)
    wanted = [user_id for ids in parts for user_id in ids]
    assert list(joined) == wanted
    assert list(joined.take(array("I", range(len(wanted))))) == wanted
    assert [list(one) for one in batches] == parts
    assert list(batch.joined([joined, joined])) == wanted * 2

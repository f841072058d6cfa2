"""A batch by owner: every id where the table says, in order, none lost; and put together again as if never taken apart."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.ids import Hasher, Id, IdBatch
from presencedb.limits import SLOT_COUNT
from presencedb.placement import ALL_SLOTS, NO_MEMBER, NO_SLOTS, OwnerTable, Part, SlotSet
from presencedb.states import Status
from tests.placement.implementations import RINGS, SEED, Ring, tables
from tests.support import strategies

TABLES: Final = tables()
SOME_IDS: Final = st.one_of(strategies.ids(), st.integers(0, 30), st.sampled_from(["alice", "é" * 100]))
BATCHES: Final = st.lists(SOME_IDS, max_size=40)
NAMES: Final = st.sampled_from(sorted(RINGS))
SOME_TABLES: Final = st.sampled_from(sorted(TABLES))


def owners(table: OwnerTable, user_id: Id, rank: int = 0, mask: bytes | None = None) -> list[int]:
    row = table.of_slot(Hasher(SEED).place(user_id).slot)[rank:]
    return [member for member in row if mask is None or mask[member]]


def draw_mask(data: st.DataObject, table: OwnerTable) -> bytes | None:
    count = len(table.members)
    return data.draw(st.one_of(st.none(), st.lists(st.sampled_from([0, 1, 255]), min_size=count, max_size=count).map(bytes)))


def check(parts: list[Part], wanted: dict[int, list[int]], batch: IdBatch) -> None:
    """Parts in the order of members, with these positions."""
    assert [part.member for part in parts] == sorted(wanted)
    ids = list(batch)
    for part in parts:
        assert part.positions.typecode == "I"
        assert part.positions.tolist() == wanted[part.member]
        assert list(part.ids) == [ids[position] for position in part.positions]


@given(name=NAMES, table_name=SOME_TABLES, ids=BATCHES, rank=st.integers(0, 6), data=st.data())
def test_reads_go_to_the_first_owner_from_a_rank_on(
    name: str, table_name: str, ids: list[Id], rank: int, data: st.DataObject
) -> None:
    table, batch = TABLES[table_name], IdBatch(ids)
    mask = draw_mask(data, table)
    positions = data.draw(st.one_of(st.none(), st.lists(st.integers(0, len(ids) - 1), max_size=50) if ids else st.just([])))
    wanted: dict[int, list[int]] = {}
    for position in range(len(ids)) if positions is None else positions:
        wanted.setdefault((owners(table, ids[position], rank, mask) or [NO_MEMBER])[0], []).append(position)
    given_positions = None if positions is None else array("I", positions)
    check(RINGS[name].split_reads(batch, SEED, table, rank, given_positions, mask=mask), wanted, batch)


@given(name=NAMES, table_name=SOME_TABLES, ids=BATCHES, data=st.data())
def test_writes_go_to_every_owner(name: str, table_name: str, ids: list[Id], data: st.DataObject) -> None:
    table, batch = TABLES[table_name], IdBatch(ids)
    mask = draw_mask(data, table)
    wanted: dict[int, list[int]] = {}
    for position, user_id in enumerate(ids):
        for owner in owners(table, user_id, 0, mask) or [NO_MEMBER]:
            wanted.setdefault(owner, []).append(position)
    check(RINGS[name].split_writes(batch, SEED, table, mask=mask), wanted, batch)


@given(name=NAMES, table_name=SOME_TABLES, ids=BATCHES, data=st.data())
def test_split_asked_and_merged_the_answers_are_in_the_order_asked(
    name: str, table_name: str, ids: list[Id], data: st.DataObject
) -> None:
    """Members know some users and not others; each part goes on to the next owner with what stayed unknown."""
    ring, table, batch = RINGS[name], TABLES[table_name], IdBatch(ids)
    truth = {user_id: Status.ONLINE if index % 2 else Status.OFFLINE for index, user_id in enumerate(dict.fromkeys(ids))}
    known = {
        user_id: data.draw(st.sets(st.sampled_from(owners(table, user_id))) if owners(table, user_id) else st.just(set()))
        for user_id in truth
    }
    into = bytearray([Status.UNKNOWN]) * len(ids)
    everybody = bytes([1]) * len(table.members)
    waiting = [(part, everybody) for part in ring.split_reads(batch, SEED, table)]
    asked: set[tuple[int, int]] = set()
    while waiting:
        part, mask = waiting.pop()
        if part.member == NO_MEMBER:
            continue
        assert asked.isdisjoint((part.member, position) for position in part.positions)
        asked |= {(part.member, position) for position in part.positions}
        answer = bytes(truth[user_id] if part.member in known[user_id] else Status.UNKNOWN for user_id in part.ids)
        unknown = ring.merge_statuses(into, part.positions, answer)
        others = mask[: part.member] + b"\0" + mask[part.member + 1 :]
        waiting += [(rest, others) for rest in ring.split_reads(batch, SEED, table, 0, unknown, mask=others)]
    assert list(into) == [truth[user_id] if known[user_id] else Status.UNKNOWN for user_id in ids]


def test_a_batch_that_goes_whole_to_one_is_not_copied(ring: Ring) -> None:
    batch = IdBatch([7, "alice", 7])
    lone, everybody = TABLES["one"], TABLES["everybody"]
    assert [part.ids is batch for part in ring.split_reads(batch, SEED, lone)] == [True]
    assert [part.ids is batch for part in ring.split_writes(batch, SEED, lone)] == [True]
    assert [part.ids is batch for part in ring.split_writes(batch, SEED, everybody)] == [True] * 3
    single = IdBatch(["alice"])
    assert [part.ids is single for part in ring.split_reads(single, SEED, TABLES["three"])] == [True]


def test_positions_out_of_order_make_a_batch_of_their_own(ring: Ring) -> None:
    batch = IdBatch([1, 2])
    (part,) = ring.split_reads(batch, SEED, TABLES["one"], 0, array("I", [1, 1]))
    assert (list(part.ids), part.positions.tolist()) == ([2, 2], [1, 1])


def test_a_lone_member_that_is_left_out_is_not_asked(ring: Ring) -> None:
    batch = IdBatch([1, 2])
    for parts in (
        ring.split_reads(batch, SEED, TABLES["one"], mask=b"\0"),
        ring.split_reads(batch, SEED, TABLES["one"], 1),
        ring.split_writes(batch, SEED, TABLES["one"], mask=b"\0"),
    ):
        assert [(part.member, part.positions.tolist()) for part in parts] == [(NO_MEMBER, [0, 1])]


def test_an_empty_batch_has_no_parts(ring: Ring) -> None:
    for table in TABLES.values():
        assert ring.split_reads(IdBatch([]), SEED, table) == []
        assert ring.split_writes(IdBatch([]), SEED, table) == []
        assert ring.split_reads(IdBatch([1]), SEED, table, 0, array("I")) == []


def test_a_large_batch_is_divided_without_loss(ring: Ring) -> None:
    table = TABLES["moving"]
    batch = IdBatch(array("Q", range(2**32 - 10_000, 2**32 + 10_000)))
    reads, writes = ring.split_reads(batch, SEED, table), ring.split_writes(batch, SEED, table)
    assert sorted(position for part in reads for position in part.positions) == list(range(20_000))
    owned = sum(len(table.of_slot(Hasher(SEED).place(user_id).slot)) for user_id in batch)
    assert sum(len(part.ids) for part in writes) == owned


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", [[2], [0, 1, 2**32 - 1]])
@pytest.mark.parametrize("name", ["one", "three"])
def test_a_position_past_the_end(ring: Ring, name: str, positions: list[int]) -> None:
    with pytest.raises(IndexError):
        ring.split_reads(IdBatch([1, 2]), SEED, TABLES[name], 0, array("I", positions))
    with pytest.raises(IndexError):
        ring.split_reads(IdBatch([]), SEED, TABLES[name], 0, array("I", positions))


@pytest.mark.parametrize("mask", [b"", b"\1\1", b"\1" * 4])
def test_a_mask_of_another_length(ring: Ring, mask: bytes) -> None:
    with pytest.raises(ValueError, match=f"the mask of 3 members has as many bytes, not {len(mask)}"):
        ring.split_reads(IdBatch([1]), SEED, TABLES["three"], mask=mask)
    with pytest.raises(ValueError, match=f"the mask of 3 members has as many bytes, not {len(mask)}"):
        ring.split_writes(IdBatch([1]), SEED, TABLES["three"], mask=mask)


def test_a_negative_rank(ring: Ring) -> None:
    with pytest.raises(ValueError, match="a rank is not negative, as -1 is"):
        ring.split_reads(IdBatch([1]), SEED, TABLES["three"], -1)


def test_positions_of_another_type(ring: Ring) -> None:
    with pytest.raises(ValueError, match="positions have the type code 'I'"):
        ring.split_reads(IdBatch([1]), SEED, TABLES["three"], 0, array("Q", [0]))


@pytest.mark.skipif("c" not in RINGS, reason="the compiled parts are not built")
@pytest.mark.parametrize("mask", [None, b"\1\1"])
@pytest.mark.parametrize("cells", [array("H", [2, 0]), array("H", [0, 0xFFFE])])
def test_compiled_code_never_follows_a_table_that_makes_no_sense(cells: array[int], mask: bytes | None) -> None:
    members = TABLES["three"].members[:2]
    table = SimpleNamespace(members=members, depth=2, cells=(cells * SLOT_COUNT).tobytes(), lone=NO_MEMBER)
    ring = RINGS["c"]
    with pytest.raises(ValueError, match="a table of 2 members names another one"):
        ring.split_writes(IdBatch([1]), SEED, table, mask=mask)
    with pytest.raises(ValueError, match="a table of 2 members names another one"):
        ring.split_reads(IdBatch([1]), SEED, table, 0 if cells[0] else 1, mask=mask)
    table.cells = table.cells[:-2]
    with pytest.raises(ValueError, match="a table of 2 ranks has 32768 cells, not 32767"):
        ring.split_reads(IdBatch([1]), SEED, table)


@given(name=NAMES, ids=BATCHES, slots=st.sets(st.integers(0, SLOT_COUNT - 1), max_size=20), data=st.data())
def test_ids_outside_of_some_slots(name: str, ids: list[Id], slots: set[int], data: st.DataObject) -> None:
    place = Hasher(SEED).place
    if ids:
        slots |= {place(user_id).slot for user_id in data.draw(st.lists(st.sampled_from(ids)))}
    found = RINGS[name].positions_outside(IdBatch(ids), SEED, SlotSet(slots).to_bitmap())
    wanted = [position for position, user_id in enumerate(ids) if place(user_id).slot not in slots]
    assert wanted == ([] if found is None else found.tolist())
    assert found is None or (found.typecode == "I" and len(found) > 0)


def test_a_batch_that_lies_inside_or_outside_as_a_whole(ring: Ring) -> None:
    batch = IdBatch([1, "alice", 2**40, 1])
    assert ring.positions_outside(batch, SEED, ALL_SLOTS.to_bitmap()) is None
    outside = ring.positions_outside(batch, SEED, NO_SLOTS.to_bitmap())
    assert outside is not None
    assert outside.tolist() == [0, 1, 2, 3]
    assert ring.positions_outside(IdBatch([]), SEED, NO_SLOTS.to_bitmap()) is None


@given(name=NAMES, ids=BATCHES)
def test_the_slots_of_a_batch(name: str, ids: list[Id]) -> None:
    place = Hasher(SEED).place
    assert set(SlotSet.of_bitmap(RINGS[name].slots_of(IdBatch(ids), SEED))) == {place(user_id).slot for user_id in ids}


@pytest.mark.parametrize("size", [0, 2047, 2049])
def test_a_bitmap_of_another_size_is_refused(ring: Ring, size: int) -> None:
    with pytest.raises(ValueError, match=f"a bitmap of slots has 2048 bytes, not {size}"):
        ring.positions_outside(IdBatch([1]), SEED, b"\xff" * size)

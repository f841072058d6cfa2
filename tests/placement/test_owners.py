"""Owners follow from the set of members and nothing else; only the slots of those that changed move; moves overlap."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presencedb.implementation import COMPILED
from presencedb.limits import REPLICAS_MAX, SLOT_COUNT
from presencedb.placement import ALL_SLOTS, IMPLEMENTATION, NO_MEMBER, NO_SLOTS, Member, OwnerTable, Topology, difference
from presencedb.placement.ranks import Side
from tests.placement.implementations import PYTHON_RING, SEED, Ring, member, topology

EXAMPLES: Final = 12 if IMPLEMENTATION == COMPILED else 4
"""A table takes the implementation in Python 50 ms."""
WEIGHTS: Final = st.sampled_from([1, 50, 100, 100, 100, 1000])
WEIGHTS_BY_NAME: Final = st.dictionaries(st.sampled_from(["n1", "n2", "n3", "n4", "db-a", "db-b"]), WEIGHTS, max_size=5)
REPLICAS: Final = st.integers(1, 3)


def owners_by_slot(table: OwnerTable) -> list[tuple[str, ...]]:
    names = [member.id for member in table.members]
    rows = array("H", table.cells)
    return [
        tuple(names[cell] for cell in rows[slot * table.depth : (slot + 1) * table.depth] if cell != NO_MEMBER)
        for slot in range(SLOT_COUNT)
    ]


# --- what moves ------------------------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(weights=WEIGHTS_BY_NAME, replicas=REPLICAS, data=st.data())
def test_owners_depend_on_ids_and_weights_only(weights: dict[str, int], replicas: int, data: st.DataObject) -> None:
    names = data.draw(st.permutations(sorted(weights)))
    others = tuple(Member(name, "elsewhere:1", weights[name], "leaving", "a run") for name in names)
    plain = topology(weights, replicas)
    assert Topology(99, SEED + 1, replicas, others).owners.cells == plain.owners.cells


@settings(max_examples=EXAMPLES)
@given(weights=WEIGHTS_BY_NAME, weight=WEIGHTS, replicas=REPLICAS)
def test_one_that_comes_takes_slots_and_gives_them_back_when_it_goes(
    weights: dict[str, int], weight: int, replicas: int
) -> None:
    before, after = topology(weights, replicas), topology(weights | {"new": weight}, replicas)
    change = difference(before, after)
    assert set(change.gained) <= {"new"}
    assert "new" not in change.lost
    assert change.moved == change.gained.get("new", NO_SLOTS)
    for old, new in zip(owners_by_slot(before.owners), owners_by_slot(after.owners), strict=True):
        stayed = [name for name in new if name != "new"]
        assert stayed == list(old[: len(stayed)])
    back = difference(after, topology(weights, replicas))
    assert (back.gained, back.lost, back.moved) == (change.lost, change.gained, change.moved)
    assert replace(after, members=before.members).owners.cells == before.owners.cells


@settings(max_examples=EXAMPLES)
@given(weights=WEIGHTS_BY_NAME.filter(bool), more=st.integers(1, 900), replicas=REPLICAS)
def test_a_greater_weight_moves_slots_only_to_its_member(weights: dict[str, int], more: int, replicas: int) -> None:
    name = min(weights)
    raised = weights | {name: min(weights[name] + more, 1000)}
    change = difference(topology(weights, replicas), topology(raised, replicas))
    assert set(change.gained) <= {name}
    assert name not in change.lost
    back = difference(topology(raised, replicas), topology(weights, replicas))
    assert set(back.lost) <= {name}
    assert name not in back.gained
    assert back.moved == change.moved


def test_one_that_is_to_leave_owns_nothing_and_nobody_else_loses() -> None:
    change = difference(topology({"n1": 100, "n2": 100, "n3": 100}), topology({"n1": 100, "n2": 0, "n3": 100}))
    assert set(change.gained) == {"n1", "n3"}
    assert set(change.lost) == {"n2"}
    assert change.moved == change.lost["n2"] == change.gained["n1"] | change.gained["n3"]
    assert 10_000 < len(change.moved) < 12_000


def test_no_change_moves_nothing() -> None:
    same = topology({"n1": 100, "n2": 100})
    change = difference(same, replace(same, epoch=2))
    assert (change.gained, change.lost, change.moved) == ({}, {}, NO_SLOTS)


def test_topologies_of_different_seeds_are_not_compared() -> None:
    one = topology({"n1": 100})
    other = replace(one, seed=one.seed ^ 1)
    for compare in (difference, OwnerTable.overlap):
        with pytest.raises(ValueError, match="topologies of different seeds have no slots in common"):
            compare(one, other)


# --- the table -------------------------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(weights=WEIGHTS_BY_NAME, replicas=st.integers(1, REPLICAS_MAX))
def test_what_the_table_says_of_slots_and_members_agrees(weights: dict[str, int], replicas: int) -> None:
    table = topology(weights, replicas).owners
    by_slot = owners_by_slot(table)
    names = [member.id for member in table.members]
    for index, (name, owned, first) in enumerate(
        zip(names, table.slots_by_member, table.first_slots_by_member, strict=True)
    ):
        assert list(owned) == [slot for slot in range(SLOT_COUNT) if name in by_slot[slot]]
        assert list(first) == [slot for slot in range(SLOT_COUNT) if by_slot[slot][:1] == (name,)]
        assert (table.lone == index) == (len(weights) == 1)
    for slot in (0, 1, 8148, SLOT_COUNT - 1):
        assert tuple(names[index] for index in table.of_slot(slot)) == by_slot[slot]
        assert len(by_slot[slot]) == min(replicas, len(weights))


def test_a_lone_member_owns_everything(all_tables: dict[str, OwnerTable]) -> None:
    lone = {name: table.lone for name, table in all_tables.items() if table.lone != NO_MEMBER}
    assert lone == {"one": 0, "one of two": 1}
    assert all_tables["one of two"].slots_by_member == (NO_SLOTS, ALL_SLOTS)


@pytest.mark.parametrize("slot", [-1, SLOT_COUNT])
def test_there_is_no_other_slot(all_tables: dict[str, OwnerTable], slot: int) -> None:
    with pytest.raises(ValueError, match=f"a slot is between 0 and 16383, not {slot}"):
        all_tables["three"].of_slot(slot)


def test_owners_are_computed_once() -> None:
    one = topology({"n1": 100})
    assert one.owners is one.owners


def test_a_table_that_makes_no_sense_is_refused(ring: Ring) -> None:
    members = (member("n1"), member("n2"))
    cells = array("H", [0, NO_MEMBER]) * SLOT_COUNT
    assert OwnerTable(members, 2, cells.tobytes()).lone == 0
    with pytest.raises(ValueError, match="a table of 2 ranks has 32768 cells, not 32767"):
        OwnerTable(members, 2, cells[1:].tobytes())
    cells[SLOT_COUNT] = 2
    with pytest.raises(ValueError, match="a table of 2 members names member 2"):
        OwnerTable(members, 2, cells.tobytes())
    strange, nothing = Side(cells.tobytes(), 2, array("H", [0, 1])), Side(b"", 0, array("H"))
    with pytest.raises(ValueError, match="a table of 2 members names member 2"):
        ring.owner_bitmaps(cells.tobytes(), 2, 2)
    for sides in ((strange, nothing), (nothing, strange)):
        with pytest.raises(ValueError, match="a table of 2 members names member 2"):
            ring.join_owners(*sides)


# --- moves overlap ---------------------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(before=WEIGHTS_BY_NAME, after=WEIGHTS_BY_NAME, replicas=st.tuples(REPLICAS, REPLICAS))
def test_while_slots_move_old_owners_come_first_and_new_ones_behind_them(
    before: dict[str, int], after: dict[str, int], replicas: tuple[int, int]
) -> None:
    old, new = topology(before, replicas[0]), topology(after, replicas[1], epoch=2)
    table = OwnerTable.overlap(old, new)
    assert [member.id for member in table.members] == sorted(before.keys() | after.keys())
    assert all(member in new.members for member in table.members if member.id in after)
    found = owners_by_slot(table)
    for row, first, then in zip(found, owners_by_slot(old.owners), owners_by_slot(new.owners), strict=True):
        assert row == first + tuple(name for name in then if name not in first)


def test_both_implementations_join_tables_alike(ring: Ring, all_tables: dict[str, OwnerTable]) -> None:
    three, moving = all_tables["three"], all_tables["moving"]
    sides = (
        Side(three.cells, three.depth, array("H", [2, 4, 0])),
        Side(moving.cells, moving.depth, array("H", [3, 0, 2, 4])),
    )
    assert ring.join_owners(*sides) == PYTHON_RING.join_owners(*sides)
    assert ring.owner_bitmaps(moving.cells, moving.depth, 4) == PYTHON_RING.owner_bitmaps(moving.cells, moving.depth, 4)

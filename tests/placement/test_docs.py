"""`docs/cluster.md` says what the code does: its program gives every vector, and its tables are the pinned ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from presencedb import limits
from presencedb.placement import SlotSet
from tests.placement.implementations import topology
from tests.placement.rank_vectors import DISTANCES, DRAWS, TABLES, TableVector

PAGE: Final = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
DEPTH: Final = 3
SHOWN: Final = [vector for vector in TABLES if vector.depth == DEPTH and len(vector.weights) < 10]


def rows(*headings: str) -> list[list[str]]:
    """The table with these headings, without them."""
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        cells = [[cell.strip() for cell in line[1:-1].split(" |")] for line in table.splitlines()]
        if cells[0] == list(headings):
            return cells[2:]
    raise AssertionError(f"no table of {headings}")


def weights_text(vector: TableVector) -> str:
    return ", ".join(f"`{name}` {weight}" for name, weight in vector.weights.items())


@pytest.fixture(scope="module")
def program() -> dict[str, Callable[..., Any]]:
    """What the program on the page defines."""
    found = re.search(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    return names


def test_the_program_gives_every_vector(program: dict[str, Callable[..., Any]]) -> None:
    for name, slot, hash_value, distance in DRAWS:
        assert (program["draw"](name, slot), program["distance"](hash_value)) == (hash_value, distance)
    for hash_value, distance in DISTANCES:
        assert program["distance"](hash_value) == distance
    for vector in TABLES:
        for slot, owners in vector.slots.items():
            assert program["owners"](vector.weights, vector.depth, slot) == list(owners)


def test_the_vectors_on_the_page_are_the_pinned_ones() -> None:
    assert rows("id", "slot", "hash", "distance") == [
        [f"`{name}`", str(slot), f"`{hash_value:016X}`", str(distance)] for name, slot, hash_value, distance in DRAWS
    ]
    assert rows("hash", "distance") == [[f"`{hash_value:016X}`", str(distance)] for hash_value, distance in DISTANCES]
    assert rows("weights", "slot", "owners") == [
        [weights_text(vector), str(slot), ", ".join(f"`{name}`" for name in owners)]
        for vector in SHOWN
        for slot, owners in vector.slots.items()
    ]
    assert rows("weights", "xxh3_64") == [[weights_text(vector), f"`{vector.digest:016X}`"] for vector in SHOWN]


def test_keys_and_limits() -> None:
    wire = topology({"n1": 100}).to_wire()
    keys = re.findall(r"^\| `(\w+)` \| ", PAGE.partition("## The topology")[2].partition("\n## ")[0], re.MULTILINE)
    assert keys == [*wire, *wire["members"][0]]
    for shown in (
        f"up to {limits.MEMBERS_MAX} maps",
        f"1 to {limits.REPLICAS_MAX}: how many",
        f"1 to {limits.MEMBER_ID_BYTES_MAX} ASCII letters",
        f"up to {limits.MEMBER_TEXT_BYTES_MAX} bytes of text",
        f"0 to {limits.WEIGHT_MAX}: its share",
    ):
        assert shown in PAGE


def test_how_sets_of_slots_are_written() -> None:
    slots = SlotSet([range(6), 7, range(100, 16384)])
    assert f"`{slots}`" in PAGE
    assert f"`{slots.to_wire()}`" in PAGE


def test_every_link_leads_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors

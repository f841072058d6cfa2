"""Weighted rendezvous: pinned, the same in both implementations, and with the shares and the calm that it is chosen for."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from decimal import Decimal, localcontext
from typing import Final

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from presencedb.limits import MEMBERS_MAX, OWNERS_MAX, REPLICAS_MAX, SLOT_COUNT, WEIGHT_MAX
from presencedb.placement import NO_MEMBER, ranks
from tests.placement.implementations import PYTHON_RING, RINGS, Ring
from tests.placement.rank_vectors import DISTANCES, DRAWS, TABLES, TableVector

HASHES = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 63).map(lambda bits: (1 << bits) - 1),
    st.integers(0, 63).map(lambda bits: 2**64 - (1 << bits)),
    st.builds(lambda step, offset: max(step * 2**55 + offset, 0), st.integers(0, 511), st.integers(-2, 2)),
)
SOME_MEMBERS = st.dictionaries(
    st.from_regex(r"\A[a-c0-9][a-c._-]{0,3}\Z"), st.sampled_from([0, 1, 7, 99, 100, 1000]), max_size=5
)


def rows(cells: bytes, depth: int) -> list[tuple[int, ...]]:
    """For each slot its owners."""
    numbers = array("H", cells)
    return [
        tuple(cell for cell in numbers[start : start + depth] if cell != NO_MEMBER)
        for start in range(0, len(numbers), depth)
    ]


def digest(cells: bytes) -> int:
    """A fingerprint of a table, the same on machines of either byte order."""
    return xxhash.xxh3_64_intdigest(b"".join(cell.to_bytes(2, "little") for cell in array("H", cells)))


# --- pinned ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hash_value", "wanted"), DISTANCES)
def test_distances(ring: Ring, hash_value: int, wanted: int) -> None:
    assert ring.distance(hash_value) == wanted


@pytest.mark.parametrize("vector", TABLES, ids=lambda vector: vector.name)
def test_tables(ring: Ring, vector: TableVector) -> None:
    cells = ring.rank_members(sorted(vector.weights.items()), vector.depth)
    names = sorted(vector.weights)
    found = rows(cells, vector.depth)
    assert {slot: tuple(names[member] for member in found[slot]) for slot in vector.slots} == vector.slots
    assert digest(cells) == vector.digest


def test_draws() -> None:
    for name, slot, hash_value, distance in DRAWS:
        assert xxhash.xxh3_64_intdigest(name.encode() + slot.to_bytes(2, "little")) == hash_value
        assert ranks.distance(hash_value) == distance


def test_the_table_of_logarithms_is_rounded_down_exactly() -> None:
    with localcontext(prec=60):
        wanted = [int((Decimal(256 + index) / 256).ln() / Decimal(2).ln() * 2**48) for index in range(256)]
    assert ranks.log2_table().tolist() == [*wanted, 2**48]


# --- the distance ----------------------------------------------------------------------------------------------------


@given(hash_value=HASHES)
def test_the_distance_is_the_logarithm(hash_value: int) -> None:
    found = {ring.distance(hash_value) for ring in RINGS.values()}
    assert len(found) == 1
    distance = found.pop()
    assert 0 < distance <= 64 << 48
    assert distance * WEIGHT_MAX < 2**64
    if 0 < hash_value < 2**64 - 2**33:
        assert math.isclose(distance / 2**48, 64 - math.log2(hash_value), rel_tol=0.001, abs_tol=2**-31)


@given(one=HASHES, other=HASHES)
def test_the_distance_never_grows_with_the_hash(one: int, other: int) -> None:
    distances = [PYTHON_RING.distance(hash_value) for hash_value in sorted((one, other))]
    assert distances[0] >= distances[1]
    assert PYTHON_RING.distance(one) >= PYTHON_RING.distance(min(one + 1, 2**64 - 1))


# --- the table -------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(weights=SOME_MEMBERS, depth=st.integers(1, OWNERS_MAX))
def test_both_implementations_make_the_same_table(weights: dict[str, int], depth: int) -> None:
    members = sorted(weights.items())
    made = {ring.rank_members(members, depth) for ring in RINGS.values()}
    assert len(made) == 1
    taking_part = {index for index, (_, weight) in enumerate(members) if weight}
    for row in rows(made.pop(), depth):
        assert len(row) == len(set(row)) == min(depth, len(taking_part))
        assert taking_part.issuperset(row)


def test_the_first_ranks_do_not_depend_on_how_many_are_asked_for(ring: Ring) -> None:
    members = [("a", 100), ("b", 30), ("c", 1000), ("d", 0), ("e", 100)]
    deep = rows(ring.rank_members(members, 4), 4)
    for depth in (1, 2, REPLICAS_MAX):
        assert rows(ring.rank_members(members, depth), depth) == [row[:depth] for row in deep]


def test_with_equal_weights_the_greater_hash_ranks_first_whatever_the_weight(ring: Ring) -> None:
    names = ["a", "b", "c"]
    wanted = []
    for slot in range(SLOT_COUNT):
        hashes = [xxhash.xxh3_64_intdigest(name.encode() + slot.to_bytes(2, "little")) for name in names]
        wanted.append(tuple(sorted(range(3), key=hashes.__getitem__, reverse=True)))
    for weight in (1, 100, 1000):
        assert rows(ring.rank_members([(name, weight) for name in names], 3), 3) == wanted


SHARES: Final = {
    "equal": [100, 100, 100],
    "mixed": [50, 100, 100, 200, 400],
    "far apart": [1, 10, 100, 1000],
    "primes": [997, 13, 499, 251],
}


@pytest.mark.parametrize("weights", SHARES.values(), ids=SHARES)
def test_shares_follow_the_weights_on_both_ranks(weights: list[int]) -> None:
    """Within 4.5 standard deviations of as many draws: once in 100,000 tries chance alone would go further."""
    members = [(f"node-{index}", weight) for index, weight in enumerate(weights)]
    ring = RINGS.get("c", PYTHON_RING)
    found = rows(ring.rank_members(members, 2), 2)
    for first, count in Counter(row[0] for row in found).items():
        assert_share(count, SLOT_COUNT, weights[first] / sum(weights))
        others = sum(weights) - weights[first]
        for second, after in Counter(row[1] for row in found if row[0] == first).items():
            assert_share(after, count, weights[second] / others)


def assert_share(count: int, of: int, share: float) -> None:
    assert abs(count - of * share) <= 4.5 * math.sqrt(of * share * (1 - share)) + 1


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.skipif("c" not in RINGS, reason="the compiled parts are not built")
@pytest.mark.parametrize(
    ("members", "depth"),
    [
        ([("a", 1)], 0),
        ([("a", 1)], -1),
        ([("a", 1)], OWNERS_MAX + 1),
        ([("a" * 65, 1)], 1),
        ([("a", -1)], 1),
        ([("a", WEIGHT_MAX + 1)], 1),
        ([("é", 1)], 1),
        ([(f"n{index}", 0) for index in range(NO_MEMBER)], 1),
    ],
)
def test_compiled_code_refuses_what_it_has_no_room_for(members: list[tuple[str, int]], depth: int) -> None:
    with pytest.raises(ValueError, match=r"out of range|told apart|ascii"):
        RINGS["c"].rank_members(members, depth)


def test_as_many_members_as_there_may_be_on_the_longest_names() -> None:
    members = [(f"{index:064}", 1 + index % WEIGHT_MAX) for index in range(MEMBERS_MAX)]
    ring = RINGS.get("c")
    if ring is None:
        members = members[:3]
    found = rows((ring or PYTHON_RING).rank_members(members, OWNERS_MAX), OWNERS_MAX)
    assert {len(row) for row in found} == {min(OWNERS_MAX, len(members))}
    assert all(len(set(row)) == len(row) for row in found)

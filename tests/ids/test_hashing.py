"""The hash is the same everywhere, loses nothing, and spreads ids evenly, however regular they are."""

from __future__ import annotations

import math
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from presencedb.ids import Hasher, Id, IdKind
from presencedb.ids.hashing import WIDTH_BITS
from presencedb.limits import SLOT_BITS, SLOT_COUNT
from tests.ids.hash_vectors import KEYS, VECTORS, HashVector
from tests.support import strategies


def _vector_name(vector: HashVector) -> str:
    return f"{vector.seed:x}-{str(vector.id)[:12]}"


@pytest.mark.parametrize("vector", VECTORS, ids=_vector_name)
def test_vectors(vector: HashVector) -> None:
    assert Hasher(vector.seed).place(vector.id) == (vector.slot, vector.kind, vector.hash)


@pytest.mark.parametrize("seed", KEYS)
def test_keys(seed: int) -> None:
    assert Hasher(seed).keys == KEYS[seed]


def test_vectors_cover_every_kind_and_no_seed_is_like_another() -> None:
    assert {vector.kind for vector in VECTORS} == set(IdKind)
    assert len({(vector.kind, vector.hash) for vector in VECTORS}) == len(VECTORS)


@given(strategies.seeds(), strategies.ids())
def test_slot_is_the_top_of_the_hash(seed: int, user_id: Id) -> None:
    place = Hasher(seed).place(user_id)
    width = WIDTH_BITS[place.kind]
    assert 0 <= place.hash < 1 << width
    assert place.slot == place.hash >> (width - SLOT_BITS)
    assert 0 <= place.slot < SLOT_COUNT


@given(strategies.seeds(), strategies.ids())
def test_the_hash_of_all_but_text_gives_the_id_back(seed: int, user_id: Id) -> None:
    hasher = Hasher(seed)
    place = hasher.place(user_id)
    if place.kind is not IdKind.TEXT:
        assert hasher.id_of(place.kind, place.hash) == user_id
        return
    assert isinstance(user_id, str)
    assert place.hash == xxhash.xxh3_128_intdigest(user_id.encode(), seed)
    with pytest.raises(ValueError, match="text"):
        hasher.id_of(place.kind, place.hash)


@given(strategies.seeds(), st.integers(0, 2**128 - 1))
def test_mixes_are_permutations(seed: int, value: int) -> None:
    hasher = Hasher(seed)
    low32, low64 = value & (2**32 - 1), value & (2**64 - 1)
    assert hasher.unmix32(hasher.mix32(low32)) == low32
    assert hasher.mix32(hasher.unmix32(low32)) == low32
    for first_key in (0, 2, 4, 6):
        assert hasher.unmix64(hasher.mix64(low64, first_key), first_key) == low64
        assert hasher.mix64(hasher.unmix64(low64, first_key), first_key) == low64
    assert hasher.unmix128(hasher.mix128(value)) == value
    assert hasher.mix128(hasher.unmix128(value)) == value


@given(strategies.ids())
def test_kind_follows_from_the_id_alone(user_id: Id) -> None:
    kind = Hasher(0).place(user_id).kind
    if isinstance(user_id, int):
        assert kind is (IdKind.INT32 if user_id < 2**32 else IdKind.INT64)
    else:
        try:
            is_uuid = str(uuid.UUID(user_id)) == user_id
        except ValueError:
            is_uuid = False
        assert kind is (IdKind.UUID if is_uuid else IdKind.TEXT)


@given(strategies.ids(), strategies.ids())
def test_two_ids_never_share_kind_and_hash(first: Id, second: Id) -> None:
    hasher = Hasher(7)
    same = hasher.place(first)[1:] == hasher.place(second)[1:]
    assert same == (first == second)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_has_64_bits(seed: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        Hasher(seed)


SAMPLE_COUNT: Final = 1 << 15
GROUP_COUNT: Final = 1 << 10
"""Slots are counted in groups of 16, so that each group expects 32 ids: enough for chi-square to mean something."""
DEVIATIONS_MAX: Final = 5.5


def _uuid7_like(index: int) -> str:
    generator = random.Random(index)
    bits = (
        (1_790_000_000_000 + index // 8) << 80
        | 0x7 << 76
        | generator.getrandbits(12) << 64
        | 0b10 << 62
        | generator.getrandbits(62)
    )
    return str(uuid.UUID(int=bits))


def _random64(index: int) -> int:
    return random.Random(index).getrandbits(64) | 1 << 63


@pytest.mark.parametrize(
    "make_id",
    [
        pytest.param(lambda i: i, id="sequential"),
        pytest.param(lambda i: i * 1024, id="stride 1024"),
        pytest.param(lambda i: i << 16, id="high half only"),
        pytest.param(lambda i: 3_000_000_000 + i * 10, id="stride 10, large"),
        pytest.param(lambda i: 2**32 + i, id="sequential, 64 bits"),
        pytest.param(lambda i: (i + 1) << 47, id="stride 2^47"),
        pytest.param(lambda i: (1_790_000_000_000 + i) << 22, id="snowflake"),
        pytest.param(_random64, id="random, 64 bits"),
        pytest.param(_uuid7_like, id="UUIDv7"),
        pytest.param(lambda i: str(uuid.UUID(int=i)), id="sequential UUID"),
        pytest.param(lambda i: str(uuid.UUID(int=i << 100)), id="UUID, high bits only"),
        pytest.param(lambda i: f"user-{i}", id="text"),
        pytest.param(lambda i: f"{i:010d}", id="text with leading zeros"),
    ],
)
@pytest.mark.parametrize("seed", [0, 0x9E3779B97F4A7C15])
def test_slots_are_used_evenly(make_id: Callable[[int], Id], seed: int) -> None:
    hasher = Hasher(seed)
    ids = map(make_id, range(SAMPLE_COUNT))
    assert _chi_square_deviations(hasher.place(user_id).slot for user_id in ids) < DEVIATIONS_MAX


def _chi_square_deviations(slots: Iterable[int]) -> float:
    """How many standard deviations the chi-square of slot groups lies from its mean, above or below."""
    counts = Counter(slot * GROUP_COUNT // SLOT_COUNT for slot in slots)
    expected = counts.total() / GROUP_COUNT
    chi_square = sum((counts[group] - expected) ** 2 / expected for group in range(GROUP_COUNT))
    degrees = GROUP_COUNT - 1
    return abs(chi_square - degrees) / math.sqrt(2 * degrees)


def test_the_measure_of_evenness_notices_a_bad_hash() -> None:
    assert _chi_square_deviations(i % (SLOT_COUNT // 2) for i in range(SAMPLE_COUNT)) > 100
    assert _chi_square_deviations(i % SLOT_COUNT for i in range(SAMPLE_COUNT)) > DEVIATIONS_MAX

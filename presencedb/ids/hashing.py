"""One hash, keyed by the cluster's random seed, so that nobody can choose ids that crowd one page.

Every id has a *kind* and a hash as wide as that kind. Integers and UUIDs go through an invertible mix of their own
width: the hash holds all of the id, so a table can keep the rest of the hash that its position does not already say and
still give the id back. Text is hashed with xxh3_128, and whoever stores it keeps the text as well. The top 14 bits of any
hash are the slot.

| kind  | ids                      | hash                                   | width |
|-------|--------------------------|----------------------------------------|-------|
| INT32 | integers below 2^32      | `mix32`                                | 32    |
| INT64 | integers 2^32 .. 2^64-1  | `mix64` with keys 2, 3                 | 64    |
| UUID  | canonical UUID text      | `mix128`: two Feistel rounds of mix64  | 128   |
| TEXT  | other text               | `xxh3_128(utf-8, seed)`                | 128   |

Key `i` is `xxh3_64(i as 8 bytes little endian, seed)`. The multipliers are those of `lowbias32` (C. Wellons, "Prospecting
for Hash Functions", 2018) and of the 32-32-28 mixer (J. Maiga, "The construct of a bit mixer"); keys are added
between the rounds, so that a difference chosen without knowing the seed does not survive them. `docs/protocol.md` has
this byte-exact with test vectors.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import xxhash

from presencedb.ids.canonical import Id, uuid_bits, uuid_text
from presencedb.limits import SLOT_BITS

_MASK32: Final = 2**32 - 1
_MASK64: Final = 2**64 - 1
_MUL32_A: Final = 0x7FEB352D
_MUL32_B: Final = 0x846CA68B
_MUL64: Final = 0x0E9846AF9B1A615D
_INV32_A: Final = pow(_MUL32_A, -1, 2**32)
_INV32_B: Final = pow(_MUL32_B, -1, 2**32)
_INV64: Final = pow(_MUL64, -1, 2**64)
KEY_COUNT: Final = 8


class IdKind(IntEnum):
    """How an id is stored; also its place in the order of a scan within a slot."""

    INT32 = 0
    INT64 = 1
    UUID = 2
    TEXT = 3


WIDTH_BITS: Final = {IdKind.INT32: 32, IdKind.INT64: 64, IdKind.UUID: 128, IdKind.TEXT: 128}


class Place(NamedTuple):
    """Where an id belongs. Ordering places orders a scan: by slot, then kind, then hash."""

    slot: int
    kind: IdKind
    hash: int


class Hasher:
    """The hash of one cluster. Immutable; two hashers of the same seed agree everywhere."""

    __slots__ = ("_keys", "seed")

    def __init__(self, seed: int) -> None:
        """Make the hash of the cluster with this 64-bit seed.

        Raises:
            ValueError: the seed is not in 0..2^64-1.
        """
        if not 0 <= seed <= _MASK64:
            raise ValueError(f"a hash seed has 64 bits, {seed} does not fit")
        self.seed = seed
        self._keys = tuple(xxhash.xxh3_64_intdigest(i.to_bytes(8, "little"), seed) for i in range(KEY_COUNT))

    @property
    def keys(self) -> tuple[int, ...]:
        """The 8 round keys, 64 bits each."""
        return self._keys

    def place(self, user_id: Id) -> Place:
        """Slot, kind and hash of a canonical id."""
        if isinstance(user_id, int):
            if user_id <= _MASK32:
                h32 = self.mix32(user_id)
                return Place(h32 >> (32 - SLOT_BITS), IdKind.INT32, h32)
            h64 = self.mix64(user_id, 2)
            return Place(h64 >> (64 - SLOT_BITS), IdKind.INT64, h64)
        bits = uuid_bits(user_id)
        if bits is not None:
            h128 = self.mix128(bits)
            return Place(h128 >> (128 - SLOT_BITS), IdKind.UUID, h128)
        text_hash = xxhash.xxh3_128_intdigest(user_id.encode(), self.seed)
        return Place(text_hash >> (128 - SLOT_BITS), IdKind.TEXT, text_hash)

    def id_of(self, kind: IdKind, hash_value: int) -> Id:
        """The id that has this hash; the inverse of `place` for all kinds but TEXT.

        Raises:
            ValueError: the kind is TEXT, whose hash does not hold the id.
        """
        if kind is IdKind.INT32:
            return self.unmix32(hash_value)
        if kind is IdKind.INT64:
            return self.unmix64(hash_value, 2)
        if kind is IdKind.UUID:
            return uuid_text(self.unmix128(hash_value))
        raise ValueError("the hash of a text does not hold the text")

    def mix32(self, x: int) -> int:
        """A keyed permutation of 0..2^32-1 (keys 0 and 1, low halves)."""
        x = (x + self._keys[0]) & _MASK32
        x ^= x >> 16
        x = (x * _MUL32_A) & _MASK32
        x ^= x >> 15
        x = (x + self._keys[1]) & _MASK32
        x = (x * _MUL32_B) & _MASK32
        return x ^ (x >> 16)

    def unmix32(self, x: int) -> int:
        """The inverse of `mix32`."""
        x ^= x >> 16
        x = (x * _INV32_B) & _MASK32
        x = (x - self._keys[1]) & _MASK32
        x ^= (x >> 15) ^ (x >> 30)
        x = (x * _INV32_A) & _MASK32
        x ^= x >> 16
        return (x - self._keys[0]) & _MASK32

    def mix64(self, x: int, first_key: int) -> int:
        """A keyed permutation of 0..2^64-1, with the keys `first_key` and `first_key + 1`."""
        x = (x + self._keys[first_key]) & _MASK64
        x ^= x >> 32
        x = (x * _MUL64) & _MASK64
        x ^= x >> 32
        x = (x + self._keys[first_key + 1]) & _MASK64
        x = (x * _MUL64) & _MASK64
        return x ^ (x >> 28)

    def unmix64(self, x: int, first_key: int) -> int:
        """The inverse of `mix64`."""
        x ^= (x >> 28) ^ (x >> 56)
        x = (x * _INV64) & _MASK64
        x = (x - self._keys[first_key + 1]) & _MASK64
        x ^= x >> 32
        x = (x * _INV64) & _MASK64
        x ^= x >> 32
        return (x - self._keys[first_key]) & _MASK64

    def mix128(self, x: int) -> int:
        """A keyed permutation of 0..2^128-1: two Feistel rounds, so that the top half depends on every bit."""
        high, low = x >> 64, x & _MASK64
        low ^= self.mix64(high, 4)
        high ^= self.mix64(low, 6)
        return (high << 64) | low

    def unmix128(self, x: int) -> int:
        """The inverse of `mix128`."""
        high, low = x >> 64, x & _MASK64
        high ^= self.mix64(low, 6)
        low ^= self.mix64(high, 4)
        return (high << 64) | low

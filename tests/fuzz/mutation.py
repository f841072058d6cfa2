"""How new inputs are made of known ones: by seeded chance, with a liking for what MessagePack and text parsers trip over."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

INPUT_BYTES_MAX: Final = 4096
TOKENS: Final = (
    b"\x90\x91\x92\x93\x94\x9f",
    b"\x80",
    b"\x81\xa1a\xc0",
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\xc3",
    b"\xc4\x01\x00",
    b"\xca\x00\x00\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcc\xff",
    b"\xce\xff\xff\xff\xff",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xc7\x0c\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\xc9\xff\xff\xff\xff\x05",
    b"\xd9\x05",
    b"\xda\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xde\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\x00",
    b"\n",
    b"\r",
    b":",
    b"::",
    b",",
    b"#",
    b" ",
    b".",
    b"-",
    b"+",
    b"0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"read,write",
)
"""Pieces that are put in as they are."""


def mutate(original: bytes, corpus: Sequence[bytes], rng: Random) -> bytes:
    """An input that differs from the original in one to five places."""
    data = bytearray(original)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        _change(data, corpus, rng)
    return bytes(data[:INPUT_BYTES_MAX])


def _change(data: bytearray, corpus: Sequence[bytes], rng: Random) -> None:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(8):
        case 0 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 1 if at < len(data):
            data[at] = rng.randrange(256)
        case 2 if at < len(data):
            data[at] = (data[at] + rng.choice((-1, 1))) % 256
        case 3:
            data[at:at] = rng.choice(TOKENS)
        case 4:
            token = rng.choice(TOKENS)
            data[at : at + len(token)] = token
        case 5:
            del data[at : at + rng.randrange(1, 9)]
        case 6:
            other = rng.choice(corpus)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start : start + rng.randrange(1, 64)]
        case _:
            size = rng.randrange(1, 17)
            data[at:at] = data[at : at + size] * rng.choice((1, 1, 2, 100))

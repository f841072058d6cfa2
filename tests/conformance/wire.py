"""MessagePack written by hand, in the shortest forms, so that no test takes its bytes from the codec it tests.

`Raw` puts literal bytes in the place of a value; a map is written from its pairs, so that keys may repeat or be of any kind.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that stand for a value as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pairs:
    """A map by its pairs, in this order, with whatever keys."""

    pairs: tuple[tuple[Any, Any], ...]


def unhex(text: str) -> bytes:
    """Bytes from their hexadecimal digits, spaced at will."""
    return bytes.fromhex(text)


def value(given: Any) -> bytes:
    """One value.

    Raises:
        TypeError: MessagePack has no such value.
    """
    match given:
        case Raw(data):
            return data
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if given else b"\xc2"
        case int():
            return integer(given)
        case float():
            return b"\xcb" + struct.pack(">d", given)
        case str():
            return text(given.encode())
        case bytes():
            return binary(given)
        case Pairs(pairs):
            return _map(pairs)
        case dict():
            return _map(tuple(given.items()))
        case list() | tuple():
            return array_header(len(given)) + b"".join(value(element) for element in given)
    raise TypeError(f"no MessagePack for {given!r}")


def integer(number: int) -> bytes:
    """The shortest form of an integer."""
    if number >= 0:
        if number < 0x80:
            return struct.pack(">B", number)
        for code, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
            if number < 1 << (8 * size):
                return bytes([code]) + number.to_bytes(size, "big")
    elif number >= -32:
        return struct.pack(">b", number)
    for code, size in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
        if -(1 << (8 * size - 1)) <= number < 0:
            return bytes([code]) + number.to_bytes(size, "big", signed=True)
    raise TypeError(f"{number} does not fit 64 bits")


def text(data: bytes) -> bytes:
    """A text from its bytes, valid UTF-8 or not."""
    return _sized(data, 0xA0, 32, {1: 0xD9, 2: 0xDA, 4: 0xDB})


def binary(data: bytes) -> bytes:
    return _sized(data, 0, 0, {1: 0xC4, 2: 0xC5, 4: 0xC6})


def extension(code: int, data: bytes) -> bytes:
    """An extension value, in the general form."""
    return _header(len(data), 0, 0, {1: 0xC7, 2: 0xC8, 4: 0xC9}) + struct.pack(">b", code) + data


def array_header(size: int) -> bytes:
    return _header(size, 0x90, 16, {2: 0xDC, 4: 0xDD})


def map_header(size: int) -> bytes:
    return _header(size, 0x80, 16, {2: 0xDE, 4: 0xDF})


def request(msgid: int, method: str, *params: Any) -> bytes:
    """`[0, msgid, method, params]`."""
    return value([0, msgid, method, list(params)])


def notification(method: str, *params: Any) -> bytes:
    """`[2, method, params]`."""
    return value([2, method, list(params)])


def result(msgid: int, given: Any) -> bytes:
    """`[1, msgid, nil, result]`."""
    return value([1, msgid, None, given])


def error(msgid: int, code: str, message: str) -> bytes:
    """`[1, msgid, [code, message], nil]`."""
    return value([1, msgid, [code, message], None])


def _map(pairs: tuple[tuple[Any, Any], ...]) -> bytes:
    return map_header(len(pairs)) + b"".join(value(key) + value(element) for key, element in pairs)


def _header(size: int, short: int, short_max: int, codes: dict[int, int]) -> bytes:
    if size < short_max:
        return bytes([short | size])
    for width, code in codes.items():
        if size < 1 << (8 * width):
            return bytes([code]) + size.to_bytes(width, "big")
    raise TypeError(f"{size} elements or bytes do not fit")


def _sized(data: bytes, short: int, short_max: int, codes: dict[int, int]) -> bytes:
    return _header(len(data), short, short_max, codes) + data

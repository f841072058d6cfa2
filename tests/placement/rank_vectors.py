"""Ranks, pinned: literal vectors, computed once, that every implementation and `docs/cluster.md` must agree with.

A cluster's users are where these numbers say. A change here moves them all.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class TableVector(NamedTuple):
    """Some slots of a table, and the xxh3_64 of all of it: its cells of 16 bits, little endian."""

    name: str
    weights: dict[str, int]
    depth: int
    slots: dict[int, tuple[str, ...]]
    digest: int


DISTANCES: Final = (
    (0x0000000000000000, 18014398509481984),
    (0x0000000000000001, 18014398509481984),
    (0x0000000000000002, 17732923532771328),
    (0x0000000000000003, 17568271226504234),
    (0x00000000FFFFFFFF, 9007199254835633),
    (0x0000000100000000, 9007199254740992),
    (0x0123456789ABCDEF, 2199384351395755),
    (0x7FFFFFFFFFFFFFFF, 281474976805297),
    (0x8000000000000000, 281474976710656),
    (0x8080000000000000, 279891806857302),
    (0xB504F333F9DE6484, 140737545977387),
    (0xFFFFFFFF00000000, 94641),
    (0xFFFFFFFFFFFFFFFF, 94641),
)
"""(hash, distance)."""

DRAWS: Final = (
    ("n1", 0, 0x83FD70BECBB67A81, 269009960434322),
    ("n1", 1, 0x2FA8D88DC7068DF2, 682663353934365),
    ("n1", 256, 0x727D6598D29EDD2C, 326771189541925),
    ("n1", 16383, 0x4329B36EAB3026AE, 543362046778066),
    ("n2", 0, 0x50FD2E0A0906DAB3, 467345995657989),
    ("db-7.example", 8148, 0x726AC26554EF0A08, 327029672071104),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 16383, 0x00D2A9D4B14F5EF3, 2330951986125709),
)
"""(id, slot, hash, distance)."""

TABLES: Final = (
    TableVector(
        "three alike",
        {"n1": 100, "n2": 100, "n3": 100},
        2,
        {
            0: ("n3", "n1"),
            1: ("n1", "n3"),
            2: ("n1", "n3"),
            255: ("n3", "n2"),
            256: ("n3", "n1"),
            8148: ("n3", "n2"),
            16383: ("n1", "n2"),
        },
        0x3E845347577521CA,
    ),
    TableVector(
        "weights",
        {"n1": 50, "n2": 100, "n3": 200},
        3,
        {
            0: ("n3", "n2", "n1"),
            1: ("n3", "n1", "n2"),
            2: ("n3", "n1", "n2"),
            255: ("n3", "n2", "n1"),
            256: ("n3", "n1", "n2"),
            8148: ("n3", "n2", "n1"),
            16383: ("n2", "n3", "n1"),
        },
        0xBF0500CC82D03D6C,
    ),
    TableVector(
        "with one that leaves",
        {"n1": 0, "n2": 100, "n3": 1, "n4": 1000},
        3,
        {
            0: ("n4", "n3", "n2"),
            1: ("n4", "n2", "n3"),
            2: ("n4", "n2", "n3"),
            255: ("n4", "n2", "n3"),
            256: ("n4", "n2", "n3"),
            8148: ("n4", "n2", "n3"),
            16383: ("n4", "n2", "n3"),
        },
        0x707F70CF08F976EA,
    ),
    TableVector(
        "one",
        {"n1": 1},
        2,
        {
            0: ("n1",),
            1: ("n1",),
            2: ("n1",),
            255: ("n1",),
            256: ("n1",),
            8148: ("n1",),
            16383: ("n1",),
        },
        0xB203420F64EBD821,
    ),
    TableVector(
        "thirty",
        {f"n{index:03}": (50, 100, 200, 333, 0, 1000, 1)[index % 7] for index in range(30)},
        3,
        {
            0: ("n019", "n023", "n010"),
            1: ("n012", "n024", "n026"),
            8148: ("n005", "n026", "n012"),
            16383: ("n026", "n023", "n012"),
        },
        0x81833D5BA1335E7E,
    ),
)

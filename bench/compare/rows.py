"""The rows of the comparison: what each measures, and how each peer is asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One throughput row: the same work for every peer, at `keys` users.

    Attributes:
        name: what the reader of the table sees.
        unit: which figure of the load is the row's: "ids_per_s" or "frames_per_s".
        load: arguments of the load generator.
        expect_known: the share of known users in the answers is 1 (True), 0 (False) or not looked at (None).
    """

    name: str
    unit: str
    load: tuple[str, ...]
    expect_known: bool | None = None


UNKNOWN_OFFSET: Final = 2_000_000_000
CONNECTIONS: Final = ("--connections", "8")
"""Enough that a server always has something to do while answers are on their way."""

ROWS: Final = (
    Row(
        name="heartbeats, one id a frame, pipelined 100",
        unit="ids_per_s",
        load=("--op", "heartbeat", "--pipeline", "100", *CONNECTIONS),
    ),
    Row(
        name="the same without replies",
        unit="ids_per_s",
        load=("--op", "notify", "--pipeline", "1000", *CONNECTIONS),
    ),
    Row(
        name="heartbeats, 1,000 ids a frame",
        unit="ids_per_s",
        load=("--op", "heartbeat", "--ids-per-frame", "1000", "--frames", "4000", *CONNECTIONS),
    ),
    Row(
        name="status of 100, one call at a time, 50 connections",
        unit="frames_per_s",
        load=("--op", "status", "--ids-per-frame", "100", "--frames", "40000", "--connections", "50"),
        expect_known=True,
    ),
    Row(
        name="status of 100, pipelined 16",
        unit="ids_per_s",
        load=("--op", "status", "--ids-per-frame", "100", "--frames", "40000", "--pipeline", "16", *CONNECTIONS),
        expect_known=True,
    ),
    Row(
        name="status of 100 unknown users, pipelined 16",
        unit="ids_per_s",
        load=(
            *("--op", "status", "--ids-per-frame", "100", "--frames", "40000", "--pipeline", "16"),
            *("--key-offset", str(UNKNOWN_OFFSET), *CONNECTIONS),
        ),
        expect_known=False,
    ),
    Row(
        name="one id a call, 50 connections",
        unit="frames_per_s",
        load=("--op", "heartbeat", "--connections", "50"),
    ),
)

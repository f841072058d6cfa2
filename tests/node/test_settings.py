"""The settings of a node: what is out of range is refused, with the range."""

from __future__ import annotations

from typing import Any

import pytest

from presencedb.errors import ConfigError
from presencedb.limits import DAY_MS, RETENTION_MS_MAX, TTL_MS_MAX
from presencedb.node.node import NodeSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tick_ms": 49}, "tick is between 50 and 1000 ms, not 49"),
        ({"tick_ms": 1001}, "tick is between 50 and 1000 ms, not 1001"),
        ({"ttl_ms": 99}, "ttl is between 100 and"),
        ({"ttl_ms": 0}, "ttl is between 100 and"),
        ({"ttl_ms": TTL_MS_MAX + 1}, "ttl is between 100 and"),
        ({"retention_ms": 29_999}, "retention is between 30000 and"),
        ({"retention_ms": RETENTION_MS_MAX + 1}, "retention is between 30000 and"),
        ({"retention_ms": -1}, "retention is between 30000 and"),
        ({"seed": -1}, "seed is between 0 and 18446744073709551615, not -1"),
        ({"seed": 2**64}, "seed is between 0 and"),
        ({"drain_timeout_ms": -1}, "drain timeout is not negative"),
    ],
)
def test_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NodeSettings(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tick_ms": 50, "ttl_ms": 50},
        {"tick_ms": 1000, "ttl_ms": TTL_MS_MAX},
        {"retention_ms": 30_000},
        {"retention_ms": RETENTION_MS_MAX},
        {"seed": 2**64 - 1},
    ],
)
def test_in_range(settings: dict[str, Any]) -> None:
    NodeSettings(**settings)


@pytest.mark.parametrize(("retention_ms", "name"), [(0, "online"), (None, "forever"), (30 * DAY_MS, 30 * DAY_MS)])
def test_the_name_of_a_retention(retention_ms: int | None, name: str | int) -> None:
    assert NodeSettings(retention_ms=retention_ms).retention_name == name

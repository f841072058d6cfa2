"""What a node tells of itself: every number is declared, and counts what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from presencedb.protocol.info import METRICS, Kind, Metric, _table
from tests.node.running import address_of, running_node
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire

WORDS = {"version", "node", "run", "engine", "loop", "retention"}
SETTINGS = {"ttl_ms", "tick_ms"}
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "operations.md"


async def test_every_number_is_declared_and_every_declaration_has_its_number() -> None:
    async with running_node() as node, Wire(address_of(node)) as client:
        info = await client.call("info")
        assert set(info) - WORDS - SETTINGS == set(METRICS)
        for entry, metric in METRICS.items():
            assert isinstance(info[entry], dict) == (metric.label is not None)
            assert (metric.kind is Kind.HISTOGRAM) == (metric.label == "le")


async def test_the_counts() -> None:
    async with running_node(ttl_ms=400) as node, Wire(address_of(node)) as client:
        await client.call("heartbeat", [1, 2, 3])
        client.notify("heartbeat", [1])
        await client.call("offline", [3, 4])
        await client.call("status", [1, 2, 3, 4, 5])
        info = await client.call("info")
        assert info["requests"]["heartbeat"] == 2
        assert (info["heartbeats"], info["sign_offs"], info["statuses"]) == (4, 2, 5)
        assert (info["users"], info["online"], info["connections"], info["connections_total"]) == (3, 2, 1, 1)
        await wait_until_async(lambda: _transitions(client, 6))
        info = await client.call("info")
        assert info["timeouts"] == 2
        assert sum(info["lateness_ms"].values()) == 2
        assert list(info["lateness_ms"])[:3] == ["0", "50", "150"]
        assert list(info["lateness_ms"])[-1] == "inf"
        assert info["ticks"] > 0
        assert info["uptime_ms"] >= 400


async def _transitions(client: Wire, count: int) -> bool:
    info: dict[str, Any] = await client.call("info")
    return bool(info["transitions"] == count)


def test_a_second_declaration_is_refused() -> None:
    metric = Metric(entry="users", name="presencedb_users", kind=Kind.GAUGE, help="Users.")
    with pytest.raises(TypeError, match="declared twice"):
        _table([metric, metric])


def test_the_documentation_lists_them() -> None:
    lines = DOCUMENTATION.read_text(encoding="utf-8").splitlines()
    for metric in METRICS.values():
        suffix = "_total" if metric.kind is Kind.COUNTER else ""
        assert f"| `{metric.entry}` | `{metric.name}{suffix}` | {metric.help} |" in lines

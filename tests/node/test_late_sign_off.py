"""A sign-off that reaches a node late, as one does that a client sent again over a new connection."""

from __future__ import annotations

from tests.node.running import address_of, running_node
from tests.support.wire import Wire

TICK_MS = 1000
LONG_TTL_MS = 60_000


async def test_a_sign_off_sent_again_at_once_wins_over_the_heartbeat_before_it() -> None:
    """Its age is a few milliseconds, which is no reason to take it for older than a heartbeat of the same tick."""
    async with running_node(ttl_ms=LONG_TTL_MS, tick_ms=TICK_MS) as node, Wire(address_of(node)) as client:
        for age_ms in (1, TICK_MS - 1):
            client.send_together(("heartbeat", ["user"]), ("offline", ["user"], {"age_ms": age_ms}))
            assert await client.call("status", ["user"]) == [False]


async def test_a_sign_off_from_before_the_last_heartbeat_takes_nobody_offline() -> None:
    async with running_node(ttl_ms=LONG_TTL_MS, tick_ms=TICK_MS) as node, Wire(address_of(node)) as client:
        client.send_together(("heartbeat", ["user"]), ("offline", ["user"], {"age_ms": 2 * TICK_MS}))
        assert await client.call("status", ["user"]) == [True]

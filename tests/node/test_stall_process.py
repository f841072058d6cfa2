"""A real node, really stopped: whoever goes on beating stays online, whoever stopped goes offline.

All lengths of pause and both loops run side by side, so that the longest is all that it takes.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import pytest

from presencedb.transport.loop import LoopKind
from tests.node.running import node_process
from tests.support.msgpackrpc import RawConnection
from tests.support.waiting import wait_until

TTL_MS: Final = 2_000
BEAT_S: Final = TTL_MS / 1000 / 6
ALIVE: Final = list(range(300))
GONE: Final = [f"gone-{number}" for number in range(300)]
LOOPS: Final[tuple[LoopKind, ...]] = ("asyncio", "uvloop")
STALLS: Final = (0.9, 2, 10)
"""Lengths of the pause, in ttl."""
DEADLINE_S: Final = 60.0


@dataclass
class Outcome:
    """What a follower was told, and what the node said of itself."""

    loop: str
    offline: list[Any] = field(default_factory=list)
    statuses: list[Any] = field(default_factory=list)
    gone_statuses: list[Any] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)


def call(connection: RawConnection, method: str, *params: Any) -> Any:
    """The result of a request on a connection that is told nothing unasked."""
    connection.send_message([0, 1, method, list(params)])
    kind, _, error, result = connection.receive()
    assert kind == 1
    assert error is None
    return result


def beat_on(address: tuple[str, int], ended: threading.Event) -> None:
    """Send heartbeats and go on whatever the node does."""
    with RawConnection(address) as connection:
        frame = msgpack.packb([2, "heartbeat", [ALIVE]])
        while not ended.wait(BEAT_S):
            connection.send(frame)


def take_events(connection: RawConnection, outcome: Outcome) -> None:
    """Collect who is told to be offline, until the connection ends."""
    try:
        while True:
            _, method, params = connection.receive()
            assert method == "presence"
            outcome.offline += [user_id for user_id, online, _, _ in params[1] if not online]
    except (EOFError, OSError):
        pass


def stall(loop: LoopKind, ttls: float) -> Outcome:
    """Stop a node for so many ttl while one client goes on and another has stopped."""
    ended = threading.Event()
    with node_process(loop, ttl_ms=TTL_MS) as node, RawConnection(node.tcp) as asking:
        outcome = Outcome(node.ready["loop"])
        call(asking, "heartbeat", [*ALIVE, *GONE])
        follower = RawConnection(node.tcp, deadline_s=DEADLINE_S)
        call(follower, "follow")
        beating = threading.Thread(target=beat_on, args=(node.tcp, ended))
        listening = threading.Thread(target=take_events, args=(follower, outcome))
        beating.start()
        listening.start()
        try:
            wait_until(lambda: call(asking, "info")["requests"]["heartbeat"] > 2)
            call(asking, "heartbeat", GONE)
            node.sigstop()
            ended.wait(ttls * TTL_MS / 1000)
            node.sigcont()
            wait_until(lambda: set(outcome.offline) >= set(GONE), DEADLINE_S)
            later_ms = call(asking, "info")["uptime_ms"] + TTL_MS
            wait_until(lambda: call(asking, "info")["uptime_ms"] > later_ms, DEADLINE_S)
            outcome.statuses = call(asking, "status", ALIVE)
            outcome.gone_statuses = call(asking, "status", GONE)
            outcome.info = call(asking, "info")
        finally:
            ended.set()
            beating.join()
            node.terminate()
            listening.join()
            follower.close()
    return outcome


@pytest.mark.slow
def test_a_pause_of_the_node_takes_nobody_offline_who_goes_on() -> None:
    with ThreadPoolExecutor(len(LOOPS) * len(STALLS)) as pool:
        scenarios = {(loop, ttls): pool.submit(stall, loop, ttls) for loop in LOOPS for ttls in STALLS}
    for (loop, ttls), future in scenarios.items():
        scenario = f"{loop}, {ttls} ttl"
        outcome = future.result()
        assert outcome.loop == loop, scenario
        assert sorted(outcome.offline, key=str) == sorted(GONE), scenario
        assert outcome.statuses == [True] * len(ALIVE), scenario
        assert outcome.gone_statuses == [False] * len(GONE), scenario
        assert outcome.info["stalls"] >= 1, scenario
        assert outcome.info["stall_longest_ms"] >= 0.9 * ttls * TTL_MS, scenario

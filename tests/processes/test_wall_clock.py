"""Setting the wall clock of a running node changes nobody's status, and no time shown goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.msgpackrpc import RawConnection
from tests.support.process import serve
from tests.support.waiting import wait_until
from tests.support.wall_clock import WallClock

YEAR_S: Final = 365 * 24 * 3600


@pytest.mark.parametrize("offset_s", [YEAR_S, -YEAR_S], ids=["a year forward", "a year back"])
def test_a_clock_that_is_set_changes_nobodys_status(tmp_path: Path, offset_s: int) -> None:
    clock = WallClock(tmp_path)
    with (
        serve("--ttl", "2", "--tick", "50", environment=clock.environment) as process,
        RawConnection(process.tcp) as follower,
        RawConnection(process.tcp) as node,
    ):
        assert follower.call("follow")[0] is None
        assert node.call("heartbeat", ["stays", "leaves"])[1] == 2
        _, (seen_before,) = node.call("last_seen", "stays")
        clock.set_offset_s(offset_s)
        ticks_before = node.call("info")[1]["ticks"]
        wait_until(lambda: node.call("info")[1]["ticks"] > ticks_before + 10)
        assert node.call("status", ["stays", "leaves", "never"])[1] == [True, True, False]
        assert node.call("heartbeat", ["stays"])[1] == 0
        _, (seen_after,) = node.call("last_seen", "stays")
        assert seen_before <= seen_after < seen_before + 60_000

        def leaver_left() -> bool:
            node.notify("heartbeat", ["stays"])
            return bool(node.call("status", ["leaves"])[1] == [False])

        wait_until(leaver_left)
        assert node.call("status", ["stays"])[1] == [True]
        events: list[list[Any]] = []
        while not events or events[-1][1]:
            events += follower.receive()[2][1]
        assert [(user_id, online) for user_id, online, _, _ in events] == [
            ("stays", True),
            ("leaves", True),
            ("leaves", False),
        ]

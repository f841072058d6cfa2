"""`presencedb watch` against a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.cli.test_calls import MOMENT, ask, started
from tests.support.process import ServerProcess, serve


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with serve("--ttl", "600", "--tick", "50") as process:
        yield process


def test_watch_prints_the_first_statuses_and_then_each_change(server: ServerProcess) -> None:
    ask(server, "heartbeat", "alice")
    with started(server, "watch", "alice", "42") as text, started(server, "watch", "--json", "42") as lines:
        assert text.stdout is not None
        assert lines.stdout is not None
        assert [text.stdout.readline(), text.stdout.readline()] == ["-\talice\tonline\tknown\n", "-\t42\toffline\tknown\n"]
        first = json.loads(lines.stdout.readline())
        cursor = first.pop("cursor")
        assert first == {"id": "42", "online": False, "at": None, "reason": "known"}
        ask(server, "heartbeat", "42", "bob")
        assert re.fullmatch(rf"{MOMENT.pattern}\t42\tonline\theartbeat\n", text.stdout.readline())
        assert json.loads(lines.stdout.readline())["online"] is True
    with started(server, "watch", "--json", "--cursor", cursor, "42") as resumed:
        assert resumed.stdout is not None
        assert [json.loads(resumed.stdout.readline())["online"] for _ in range(2)] == [False, True]

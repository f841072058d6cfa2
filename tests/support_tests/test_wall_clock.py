"""The preloaded wall clock: a running Python sees it move, while its monotonic clock goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.wall_clock import WallClock

YEAR_S = 365 * 24 * 3600
ASKED = """
import datetime, sys, time
for _ in sys.stdin:
    print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), flush=True)
"""


def test_a_running_process_sees_the_wall_clock_move(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", ASKED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | clock.environment,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for offset_s in (0, YEAR_S, -YEAR_S, 0):
            clock.set_offset_s(offset_s)
            process.stdin.write("now?\n")
            process.stdin.flush()
            wall_s, datetime_s, monotonic_s = map(float, process.stdout.readline().split())
            assert wall_s == pytest.approx(time.time() + offset_s, abs=YEAR_S / 100, rel=0)
            assert datetime_s == pytest.approx(time.time() + offset_s, abs=YEAR_S / 100, rel=0)
            assert monotonic_s == pytest.approx(time.monotonic(), abs=YEAR_S / 100, rel=0)


def test_without_its_file_a_process_does_not_start(tmp_path: Path) -> None:
    environment = WallClock(tmp_path).environment | {"WALL_CLOCK_FILE": str(tmp_path / "missing")}
    ended = subprocess.run([sys.executable, "-c", ""], env=os.environ | environment, capture_output=True, check=False)
    assert ended.returncode == 99

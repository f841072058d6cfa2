"""What all tests share: the header of a run, hypothesis profiles, stale builds, async tests, missing programs."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import settings

import presencedb
from presencedb.engine import IMPLEMENTATION
from presencedb.implementation import ENVIRONMENT_VARIABLE
from tests.support import programs
from tests.support.compiled import stale_parts

pytest_plugins = ["pytester", "tests.support.async_tests"]

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=10)
settings.register_profile("heavy", settings.get_profile("default"), max_examples=2_000)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_report_header() -> str:
    how = "forced" if os.environ.get(ENVIRONMENT_VARIABLE) else "default"
    return f"presencedb {presencedb.__version__}: engine {IMPLEMENTATION} ({how})"


def pytest_sessionstart() -> None:
    if stale := stale_parts():
        pytest.exit(f"built from an older source: {', '.join(stale)}; build anew with `make environment-dev`", returncode=4)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if programs.REASON in reason:
            missing[reason.removeprefix("Skipped: ")] += 1
    if missing:
        terminalreporter.section("not tested here, for want of a program")
        for reason, count in sorted(missing.items()):
            terminalreporter.line(f"{count} {'test' if count == 1 else 'tests'}: {reason}")

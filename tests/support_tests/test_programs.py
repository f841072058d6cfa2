"""A missing program: skipped and listed, or failed where everything must run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.programs import require_program

ROOT = Path(__file__).parents[2]
SOURCE = """
from tests.support.programs import require_program

def test_first():
    require_program("no-such-program")

def test_second():
    require_program("no-such-program")
"""


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.RunResult:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\naddopts = -p no:asyncio\n")
    pytester.makepyfile(SOURCE)
    return pytester.run(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", timeout=60)


def test_a_program_that_is_there() -> None:
    assert Path(require_program("sh")).is_absolute()


def test_a_missing_program_is_listed_at_the_end(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRESENCEDB_TEST_ALL", raising=False)
    result = run(pytester, monkeypatch)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["2 tests: needs the program no-such-program: apt install no-such-program"])


def test_a_missing_program_fails_where_everything_must_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESENCEDB_TEST_ALL", "1")
    run(pytester, monkeypatch).assert_outcomes(failed=2)

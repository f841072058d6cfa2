"""Which engine runs: the environment forces one, and what it forces is what runs, or nothing does."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Final

import pytest

import presencedb.engine
from presencedb.engine import EngineConfig, create_engine
from tests.engine.implementations import IMPLEMENTATIONS

SAY: Final = """
from presencedb.engine import IMPLEMENTATION, EngineConfig, create_engine
print(IMPLEMENTATION, type(create_engine(EngineConfig(ttl_ticks=1), tick=1)).__name__)
"""
HAS_KERNEL: Final = importlib.util.find_spec("presencedb.engine._kernel") is not None


def run(implementation: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PRESENCEDB_IMPL"}
    if implementation is not None:
        environment["PRESENCEDB_IMPL"] = implementation
    return subprocess.run(
        [sys.executable, "-c", SAY], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_python_can_be_forced() -> None:
    assert run("python").stdout.split() == ["python", "ReferenceEngine"]


def test_compiled_can_be_forced_and_is_never_silently_another() -> None:
    result = run("c")
    if HAS_KERNEL:
        assert result.stdout.split() == ["c", "KernelEngine"]
    else:
        assert result.returncode != 0
        assert "PRESENCEDB_IMPL=c, but presencedb.engine._kernel cannot be imported" in result.stderr


@pytest.mark.parametrize("value", [None, ""])
def test_by_default_the_compiled_one_where_there_is_one(value: str | None) -> None:
    assert run(value).stdout.split() == (["c", "KernelEngine"] if HAS_KERNEL else ["python", "ReferenceEngine"])


@pytest.mark.parametrize("value", ["C", "cython", "Python", "1"])
def test_any_other_word_is_refused(value: str) -> None:
    result = run(value)
    assert result.returncode != 0
    assert f"PRESENCEDB_IMPL is 'c' or 'python', not '{value}'" in result.stderr


def test_the_engine_made_is_one_of_those_tested() -> None:
    made = create_engine(EngineConfig(ttl_ticks=1), tick=1)
    tested = IMPLEMENTATIONS[presencedb.engine.IMPLEMENTATION](EngineConfig(ttl_ticks=1), tick=1)
    assert type(made) is type(tested)

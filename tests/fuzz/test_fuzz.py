"""A few seconds of every fuzz target, and the canary: the fuzzer finds what is there, and says how to see it again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import cursor_targets, fuzzer, targets  # noqa: F401 - they register themselves
from tests.fuzz.canary import CANARY
from tests.fuzz.fuzzer import Hang, for_seconds, fuzz, run_once
from tests.fuzz.registry import TARGETS, Target, register

SMOKE_S = 2.0
CANARY_RUNS_MAX = 20_000
# As hypothesis does: new inputs with every run, the same ones in CI.
SEED = 0 if os.environ.get("CI") else random.SystemRandom().getrandbits(32)


@pytest.mark.parametrize("name", TARGETS)
def test_smoke(name: str) -> None:
    outcome = fuzz(TARGETS[name], seed=SEED, keep_going=for_seconds(SMOKE_S))
    assert outcome.finding is None, outcome.finding
    assert outcome.behaviours > 1


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_alone(name: str) -> None:
    for data in TARGETS[name].seeds:
        run_once(TARGETS[name], data)


@pytest.mark.parametrize("seed", range(5))
def test_the_canary_is_found(seed: int) -> None:
    outcome = fuzz(CANARY, seed=seed, keep_going=lambda runs: runs < CANARY_RUNS_MAX)
    assert outcome.finding is not None
    assert isinstance(outcome.finding.error, IndexError)
    with pytest.raises(IndexError):
        run_once(CANARY, outcome.finding.data)


def test_the_same_seed_does_the_same_again() -> None:
    first, second = (fuzz(CANARY, seed=7, keep_going=lambda runs: runs < CANARY_RUNS_MAX) for _ in range(2))
    assert (first.runs, first.finding and first.finding.data) == (second.runs, second.finding and second.finding.data)
    name = "server-session"
    outcomes = [fuzz(TARGETS[name], seed=7, keep_going=lambda runs: runs < 500) for _ in range(2)]
    assert outcomes[0] == outcomes[1]


def test_a_finding_says_how_to_see_it_again() -> None:
    root = Path(__file__).parents[2]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.fuzz", *arguments]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)

    found = run("canary", "--seed", "1")
    assert found.returncode == 1
    assert "canary failed with IndexError" in found.stdout
    alone = run("canary", "--input", found.stdout.rsplit("--input ", 1)[1].strip())
    assert alone.returncode != 0
    assert "IndexError" in alone.stderr
    assert run("canary", "--input", "a161").stdout.strip() == "1"


def test_a_target_that_does_not_come_back_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(_data: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr(fuzzer, "HANG_S", 0.2)
    outcome = fuzz(Target("spinning", spin, (b"",)), seed=0, keep_going=lambda runs: runs < 10)
    assert outcome.finding is not None
    assert isinstance(outcome.finding.error, Hang)


def test_targets_have_names_of_their_own_and_something_to_begin_with() -> None:
    with pytest.raises(ValueError, match="there already"):
        register(TARGETS["ids"])
    with pytest.raises(ValueError, match="no seeds"):
        register(Target("empty", len, ()))

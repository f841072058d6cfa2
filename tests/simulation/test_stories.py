"""Stories of a cluster: whatever happens, nobody who beats is offline, and who is gone is so in time."""

from __future__ import annotations

import pytest

from tests.simulation.canary import CANARIES, Canary
from tests.simulation.plan import make_plan
from tests.simulation.story import play

CHUNK = 5
"""Seeds a test: short enough that the tests spread over the workers."""


def play_all(first: int, end: int, *, replicas: int | None = None, members: bool = True) -> None:
    for seed in range(first, end):
        outcome = play(make_plan(seed, replicas=replicas, members=members))
        options = "" if replicas is None else f" --replicas {replicas}"
        options += "" if members else " --alone"
        assert not outcome.violations, f"python -m tests.simulation {seed}{options} -v\n" + "\n".join(outcome.violations)


@pytest.mark.parametrize("first", range(0, 20, CHUNK))
def test_nodes_alone(first: int) -> None:
    play_all(first, first + CHUNK, members=False)


def test_a_seed_tells_one_story() -> None:
    digests = [play(make_plan(seed, members=False)).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_a_story_tells_something() -> None:
    told: list[str] = []
    outcome = play(make_plan(1, members=False), tell=told.append)
    assert outcome.answers > 500
    assert outcome.events > 5
    assert any("***" in line for line in told)


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_a_bug_is_found(canary: Canary) -> None:
    assert canary.found_by() is not None

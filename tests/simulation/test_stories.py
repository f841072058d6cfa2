"""Stories of a cluster: whatever happens, nobody who beats is offline, and who is gone is so in time."""

from __future__ import annotations

import pytest

from tests.simulation.canary import CANARIES, Canary
from tests.simulation.plan import make_plan
from tests.simulation.story import play

CHUNK = 5
"""Seeds a test: short enough that the tests spread over the workers."""
HEAVY_CHUNK = 200


def play_all(
    seeds: range, *, replicas: int | None = None, members: bool = True, storm: bool = False, strict: bool = False
) -> None:
    options = "" if replicas is None else f" --replicas {replicas}"
    options += "".join([" --alone" * (not members), " --storm" * storm, " --strict" * strict])
    for seed in seeds:
        outcome = play(make_plan(seed, replicas=replicas, members=members, storm=storm), strict=strict)
        assert not outcome.violations, f"python -m tests.simulation {seed}{options} -v\n" + "\n".join(outcome.violations)


@pytest.mark.parametrize("first", range(0, 10, CHUNK))
def test_nodes_alone(first: int) -> None:
    play_all(range(first, first + CHUNK), members=False)


@pytest.mark.parametrize("first", range(0, 20, CHUNK))
def test_one_accident_at_a_time(first: int) -> None:
    play_all(range(first, first + CHUNK))


@pytest.mark.parametrize("first", range(0, 10, CHUNK))
def test_storms(first: int) -> None:
    play_all(range(first, first + CHUNK), storm=True)


@pytest.mark.heavy
@pytest.mark.parametrize("first", range(0, 20_000, HEAVY_CHUNK))
def test_one_accident_at_a_time_at_length(first: int) -> None:
    play_all(range(first, first + HEAVY_CHUNK))


@pytest.mark.heavy
@pytest.mark.parametrize("first", range(0, 10_000, HEAVY_CHUNK))
@pytest.mark.parametrize("members", [True, False])
def test_storms_at_length(first: int, *, members: bool) -> None:
    play_all(range(first, first + HEAVY_CHUNK), storm=True, members=members)


@pytest.mark.parametrize("seed", [119])
def test_what_was_found_and_mended_with_one_accident(seed: int) -> None:
    """A member that came back was believed before the others could pass writes on to it."""
    play_all(range(seed, seed + 1))


@pytest.mark.parametrize("seed", [38, 45, 256])
def test_what_was_found_and_mended_in_storms(seed: int) -> None:
    """The same; and a member that was away trusted its memory, when the one who could tell what it had missed was dead."""
    play_all(range(seed, seed + 1), storm=True)


@pytest.mark.xfail(raises=AssertionError, reason="a write that comes late is taken as fresh")
@pytest.mark.parametrize("seed", [397, 644])
def test_what_is_known_not_to_hold(seed: int) -> None:
    """A late sign-off undoes heartbeats that went another way, and a late heartbeat undoes a sign-off."""
    play_all(range(seed, seed + 1), strict=True)


def test_a_seed_tells_one_story() -> None:
    digests = [play(make_plan(seed)).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_a_story_tells_something() -> None:
    told: list[str] = []
    outcome = play(make_plan(1), tell=told.append)
    assert outcome.answers > 500
    assert outcome.events > 5
    assert any("***" in line for line in told)


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_a_bug_is_found(canary: Canary) -> None:
    assert canary.found_by() is not None

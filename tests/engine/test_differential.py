"""Engines that keep the same contract cannot be told apart: compared operation by operation, on random stories.

The reference is compared with a model that recomputes everything from history, and every other engine with the reference.
That the comparison notices a fault is shown on engines that are broken on purpose.
"""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from presencedb.engine.reference import ReferenceEngine
from tests.engine.differential import Case, compare, drains
from tests.engine.implementations import IMPLEMENTATIONS, MakeEngine
from tests.engine.model import ModelEngine
from tests.engine.mutants import MUTANTS
from tests.engine.operations import configs, stories
from tests.support.strategies import start_ticks


@st.composite
def cases(draw: st.DrawFn) -> Case:
    config = draw(configs())
    return Case(config, draw(start_ticks()), draw(stories(config.ttl_ticks)), draw(drains(st.integers(1, 3))))


PAIRS: Final[dict[str, tuple[MakeEngine, MakeEngine]]] = {
    "model and python": (ModelEngine, ReferenceEngine),
    **{f"python and {name}": (ReferenceEngine, make) for name, make in IMPLEMENTATIONS.items() if name != "python"},
}


@pytest.mark.parametrize("pair", sorted(PAIRS))
@settings(max_examples=2 * settings().max_examples, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_two_engines_cannot_be_told_apart(pair: str, case: Case) -> None:
    first, second = PAIRS[pair]
    compare(first, second, case)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_comparison_catches_a_broken_engine(mutant: MakeEngine) -> None:
    @settings(
        max_examples=3_000,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(case=cases())
    def compare_with_reference(case: Case) -> None:
        compare(ReferenceEngine, mutant, case)

    with pytest.raises((AssertionError, KeyError)):
        compare_with_reference()

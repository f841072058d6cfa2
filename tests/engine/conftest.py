"""Every test of this folder that asks for an engine runs once on each implementation."""

from __future__ import annotations

import pytest

from tests.engine.implementations import IMPLEMENTATIONS, MakeEngine


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    return IMPLEMENTATIONS[request.param]

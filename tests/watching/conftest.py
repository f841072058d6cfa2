"""Every test of this folder that asks for an implementation runs once on each."""

from __future__ import annotations

import pytest

from tests.watching.implementations import IMPLEMENTATIONS, Implementation


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def implementation(request: pytest.FixtureRequest) -> Implementation:
    return IMPLEMENTATIONS[request.param]

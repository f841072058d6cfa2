"""What the tests of placement share: each implementation of the ring in turn, and the tables."""

from __future__ import annotations

import pytest

from presencedb.placement import OwnerTable
from tests.placement.implementations import RINGS, Ring, tables


@pytest.fixture(params=sorted(RINGS))
def ring(request: pytest.FixtureRequest) -> Ring:
    return RINGS[request.param]


@pytest.fixture(scope="session")
def all_tables() -> dict[str, OwnerTable]:
    return tables()

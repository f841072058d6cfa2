"""Everything here is tried on both event loops: they differ in when they read, write and run timers."""

from __future__ import annotations

import pytest

from tests.support.async_tests import LOOPS


@pytest.fixture(autouse=True, params=LOOPS)
def event_loop_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The loop that the async tests of this folder run on."""
    kind: str = request.param
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    monkeypatch.setenv("PRESENCEDB_TEST_LOOP", kind)
    return kind

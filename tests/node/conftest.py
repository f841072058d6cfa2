"""Tests that ask for `event_loop_kind` run on both event loops: those in which the order of timers and input matters."""

from __future__ import annotations

import pytest

from tests.support.async_tests import LOOPS


@pytest.fixture(params=LOOPS)
def event_loop_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The loop that the async test runs on."""
    kind: str = request.param
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    monkeypatch.setenv("PRESENCEDB_TEST_LOOP", kind)
    return kind

"""The tests of `AsyncClient` that take any node once more, with a router or with the nodes of a cluster in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any, Final

import pytest

from presencedb import AsyncClient
from tests.client import test_buffers, test_calls
from tests.router.running import running_router

LEFT_OUT: Final[dict[ModuleType, set[str]]] = {
    test_buffers: set(),
    test_calls: {"test_what_the_server_says_of_itself", "test_no_ids_are_no_call"},
}
"""Those that ask a node about itself, and those that ask nobody."""
WATCHING: Final = "test_every_call_with_several_ids_takes_a_buffer"


@asynccontextmanager
async def router_and_client(**settings: Any) -> AsyncIterator[AsyncClient]:
    """A client of a router over three nodes."""
    async with running_router(**settings) as routed, AsyncClient(routed.url, timeout_s=20) as db:
        yield db


@asynccontextmanager
async def cluster_and_client(**settings: Any) -> AsyncIterator[AsyncClient]:
    """A client of three nodes, of which it learns from a router."""
    async with running_router(**settings) as routed:
        seed = routed.url.replace("presence://", "presence+cluster://")
        async with AsyncClient(seed, timeout_s=20) as db:
            yield db


@pytest.fixture(params=[router_and_client, pytest.param(cluster_and_client, marks=pytest.mark.slow)], autouse=True)
def in_its_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is cluster_and_client and request.node.name.startswith(WATCHING):
        pytest.skip("changes of a cluster are told by its routers")
    for module in LEFT_OUT:
        monkeypatch.setattr(module, "node_and_client", request.param)


globals().update(
    {
        f"{name}__{module.__name__.rpartition('.')[2]}": test
        for module, left_out in LEFT_OUT.items()
        for name, test in vars(module).items()
        if name.startswith("test_") and name not in left_out
    }
)

"""Bugs put in on purpose: a simulation that does not find each of them soon is worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest.mock import patch

from presencedb.node.node import Node, NodeSettings
from presencedb.node.ticker import Ticker
from presencedb.transport.hub import Hub
from tests.simulation.plan import make_plan
from tests.simulation.story import play


@dataclass(frozen=True, slots=True)
class Canary:
    """One bug.

    Attributes:
        name: what is wrong.
        members: whether it is one of nodes that know of each other.
        put_in: a context in which it is there.
        seeds_max: within so many seeds it has to be found.
    """

    name: str
    put_in: Callable[[], Any]
    members: bool = True
    replicas: int | None = None
    seeds_max: int = 40

    def found_by(self) -> int | None:
        """The first seed that finds it; None: none does."""
        with self.put_in():
            for seed in range(self.seeds_max):
                plan = make_plan(seed, members=self.members, replicas=self.replicas)
                if play(plan).violations:
                    return seed
        return None


@contextmanager
def _no_warm_up() -> Iterator[None]:
    made = Node.__init__

    def make(self: Node, settings: NodeSettings, **others: Any) -> None:
        made(self, replace(settings, warm_up=False), **others)

    with patch.object(Node, "__init__", make):
        yield


@contextmanager
def _no_hold() -> Iterator[None]:
    with patch.object(Ticker, "_hold", lambda *_, **__: None):
        yield


@contextmanager
def _no_reading_first() -> Iterator[None]:
    async def not_at_all(_hub: Hub, _timeout_ms: int) -> bool:
        return True

    with patch.object(Hub, "wait_until_quiet", not_at_all):
        yield


CANARIES: Final = (
    Canary("a node that was restarted believes that it knows everybody", _no_warm_up, members=False),
    Canary("a node that was away blames its users", _no_hold, members=False),
    Canary("a node that was away looks at the time before it reads", _no_reading_first, members=False),
)

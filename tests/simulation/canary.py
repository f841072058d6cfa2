"""Bugs put in on purpose: a simulation that does not find each of them soon is worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest.mock import patch

from presencedb.engine import Copies
from presencedb.ids import IdBatch
from presencedb.node.cluster import pull
from presencedb.node.cluster.agreement import Agreement
from presencedb.node.cluster.copies import copies_of_wire
from presencedb.node.cluster.forwarding import ForwardedWrite, Forwarding
from presencedb.node.cluster.sync import Sync
from presencedb.node.node import Node, NodeSettings
from tests.simulation.plan import make_plan
from tests.simulation.story import play


@dataclass(frozen=True, slots=True)
class Canary:
    """One bug.

    Attributes:
        name: what is wrong.
        members: whether it is one of nodes that know of each other.
        put_in: a context in which it is there.
        first_seed: where to begin to look, to save time.
        seeds_max: within so many seeds it has to be found.
    """

    name: str
    put_in: Callable[[], Any]
    members: bool = True
    replicas: int | None = None
    first_seed: int = 0
    seeds_max: int = 40

    def found_by(self) -> int | None:
        """The first seed that finds it; None: none does."""
        with self.put_in():
            for seed in range(self.first_seed, self.first_seed + self.seeds_max):
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
def _synced_at_once() -> Iterator[None]:
    with patch.object(Sync, "_lose_base", lambda *_: None):
        yield


@contextmanager
def _no_agreement() -> Iterator[None]:
    def agree_to_all(agreement: Agreement, tick: int) -> None:
        agreement._engine.agree(agreement._engine.overdue_slots(), tick)

    with patch.object(Agreement, "step", agree_to_all):
        yield


@contextmanager
def _nothing_missed() -> Iterator[None]:
    with (
        patch.object(Forwarding, "note", lambda *_, **__: None),
        patch.object(ForwardedWrite, "to_missed", lambda *_, **__: None),
    ):
        yield


@contextmanager
def _fresh_copies() -> Iterator[None]:
    def without_age(ids: IdBatch, ages_ms: Any, *others: Any) -> Copies:
        return copies_of_wire(ids, [0] * len(ages_ms), *others)

    with patch.object(pull, "copies_of_wire", without_age):
        yield


CANARIES: Final = (
    Canary("a node that was restarted believes that it knows everybody", _no_warm_up, members=False, first_seed=5),
    Canary("a member that was restarted believes that it knows everybody", _synced_at_once, first_seed=2),
    Canary("owners do not agree before a timeout", _no_agreement, first_seed=29),
    Canary("nobody is told what it missed", _nothing_missed, first_seed=4),
    Canary("a copy is younger than the truth", _fresh_copies, first_seed=4),
)

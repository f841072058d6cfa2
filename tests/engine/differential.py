"""Drive two engines through the same operations, and compare all that can be seen of them after each one."""

from __future__ import annotations

from collections import defaultdict
from itertools import cycle
from typing import Final, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from presencedb.engine import Engine, EngineConfig, Transition
from presencedb.ids import Id, IdBatch
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL, Operation, ids_named, overdue_of, slots_of
from tests.engine.tools import EVERYBODY

TICK_REFUSED: Final = "refused"


class Case(NamedTuple):
    """A story, the engine that it is told to, and how many transitions are taken after each operation, over and over."""

    config: EngineConfig
    start: int
    operations: list[Operation]
    drain_counts: list[int]


class Listener:
    """Takes what an engine says, and keeps it by user: between users the order is each engine's own."""

    def __init__(self, engine: Engine) -> None:
        self.said: dict[Id, list[Transition]] = defaultdict(list)
        self._engine = engine

    def take(self, count_max: int) -> int:
        """Take up to so many, or none; returns how many there were."""
        taken = list(self._engine.drain_transitions(count_max)) if count_max else []
        for transition in taken:
            self.said[transition.id].append(transition)
        return len(taken)


def drains(count_max: SearchStrategy[int]) -> SearchStrategy[list[int]]:
    """The `drain_counts` of a case: all that there are, or some, or none."""
    pieces = st.lists(st.one_of(st.just(EVERYBODY), st.just(0), count_max), min_size=1, max_size=4)
    return st.one_of(st.just([EVERYBODY]), pieces)


def compare(first: MakeEngine, second: MakeEngine, case: Case) -> None:
    """Apply every operation to one engine of each kind, and take some of what they say after each.

    Raises:
        AssertionError: something that can be seen differs.
    """
    engines = (first(case.config, tick=case.start), second(case.config, tick=case.start))
    listeners = tuple(map(Listener, engines))
    users = IdBatch.of_canonical(sorted({*POOL, *ids_named(case.operations)}, key=repr))
    slots = slots_of(tuple(users), case.config.seed)
    for operation, count_max in zip(case.operations, cycle(case.drain_counts), strict=False):
        answers = [_answer(engine, operation) for engine in engines]
        assert answers[0] == answers[1], operation
        seen = [_seen(engine, users, slots) for engine in engines]
        assert seen[0] == seen[1], operation
        taken = [listener.take(count_max) for listener in listeners]
        assert taken[0] == taken[1] <= count_max, operation
        if not engines[1].transitions_waiting:
            assert listeners[0].said == listeners[1].said, operation
    while any(listener.take(max(1, *case.drain_counts)) for listener in listeners):
        pass
    assert listeners[0].said == listeners[1].said


def _answer(engine: Engine, operation: Operation) -> object:
    try:
        return operation.apply(engine, engine.tick + operation.step)
    except ValueError:
        return TICK_REFUSED


def _seen(engine: Engine, users: IdBatch, slots: list[int]) -> dict[str, object]:
    stats = engine.stats()
    to_ask = set(engine.overdue_slots())
    overdue = overdue_of(engine, slots)
    asked = {slot for slot, _ in overdue}
    assert asked <= to_ask, "the slots in which somebody is overdue are named"
    assert asked == set(engine.overdue_slots()), "and once they were asked for, no others"
    return {
        "tick": engine.tick,
        "waiting": engine.transitions_waiting,
        "status": engine.status(users),
        "last_seen": engine.last_seen(users),
        "count": engine.count(),
        "scan": engine.scan(0, len(users) + 1),
        "overdue": overdue,
        "online": stats.online,
        "pending": stats.pending_sign_offs,
        "timeouts": stats.timeouts,
        "lateness": stats.lateness_ticks,
    }

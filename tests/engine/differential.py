"""Drive two engines through the same operations, and compare all that can be seen of them after each one."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from presencedb.engine import Engine, EngineConfig, Transition
from presencedb.ids import Id, IdBatch
from tests.engine.implementations import MakeEngine
from tests.engine.operations import POOL, Operation, ids_named
from tests.engine.tools import drained

TICK_REFUSED: Final = "refused"


def compare(first: MakeEngine, second: MakeEngine, config: EngineConfig, start: int, operations: list[Operation]) -> None:
    """Apply every operation to one engine of each kind.

    Raises:
        AssertionError: something that can be seen differs.
    """
    engines = (first(config, tick=start), second(config, tick=start))
    users = IdBatch.of_canonical(sorted({*POOL, *ids_named(operations)}, key=repr))
    for operation in operations:
        answers = [_answer(engine, operation) for engine in engines]
        assert answers[0] == answers[1], operation
        said = [_by_user(drained(engine)) for engine in engines]
        assert said[0] == said[1], operation
        seen = [_seen(engine, users) for engine in engines]
        assert seen[0] == seen[1], operation


def _answer(engine: Engine, operation: Operation) -> object:
    try:
        return operation.apply(engine, engine.tick + operation.step)
    except ValueError:
        return TICK_REFUSED


def _by_user(transitions: list[Transition]) -> dict[Id, list[Transition]]:
    """What each user did, in order. Between users the order is each engine's own."""
    said: dict[Id, list[Transition]] = defaultdict(list)
    for transition in transitions:
        said[transition.id].append(transition)
    return said


def _seen(engine: Engine, users: IdBatch) -> dict[str, object]:
    stats = engine.stats()
    return {
        "tick": engine.tick,
        "status": engine.status(users),
        "last_seen": engine.last_seen(users),
        "count": engine.count(),
        "scan": engine.scan(0, len(users) + 1),
        "online": stats.online,
        "pending": stats.pending_sign_offs,
        "timeouts": stats.timeouts,
        "lateness": stats.lateness_ticks,
    }

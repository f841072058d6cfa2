"""Short words for the tests of an engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from presencedb.engine import Copies, Copy, Engine, Transition
from presencedb.ids import Hasher, Id, IdBatch
from presencedb.states import Reason, Status

T: Final = 1_000
"""The tick at which the engines of the tests begin."""
TTL: Final = 10
EVERYBODY: Final = 1_000_000
"""An `expiry_count_max` that bounds nothing."""

ONLINE: Final = Status.ONLINE
OFFLINE: Final = Status.OFFLINE
UNKNOWN: Final = Status.UNKNOWN


def batch(*ids: Id) -> IdBatch:
    return IdBatch(ids)


def status(engine: Engine, user_id: Id) -> Status:
    return Status(engine.status(batch(user_id))[0])


def last_seen(engine: Engine, user_id: Id) -> int:
    return engine.last_seen(batch(user_id))[0]


def drained(engine: Engine) -> list[Transition]:
    """All that waits, one by one."""
    return list(engine.drain_transitions(EVERYBODY))


def advance(engine: Engine, tick: int) -> list[Transition]:
    """Bring time there, emit all that is due, and return what has been emitted since the last drain."""
    while not engine.advance(tick, expiry_count_max=EVERYBODY):
        pass
    return drained(engine)


def came(user_id: Id, tick: int) -> Transition:
    return Transition(user_id, True, tick, Reason.HEARTBEAT)


def timed_out(user_id: Id, tick: int) -> Transition:
    return Transition(user_id, False, tick, Reason.TIMEOUT)


def signed_off(user_id: Id, tick: int) -> Transition:
    return Transition(user_id, False, tick, Reason.SIGN_OFF)


def slot_of(engine: Engine, user_id: Id) -> int:
    return Hasher(engine.config.seed).place(user_id).slot


def scan_all(engine: Engine, limit: int) -> list[Id]:
    """Every page of a scan, one after the other."""
    cursor: int | None = 0
    found: list[Id] = []
    while cursor is not None:
        cursor, page = engine.scan(cursor, limit)
        assert len(page) == limit or cursor is None
        found += page
    return found


def pull(engine: Engine, slots: Iterable[int], tick: int, page: int = EVERYBODY) -> list[Copy]:
    """Every register of some slots, with so many a call."""
    copies: list[Copy] = []
    cursor: int | None = 0
    while cursor is not None:
        cursor, some = engine.export_slots(slots, tick, count_max=page, cursor=cursor)
        assert len(some) == page or (cursor is None and len(some) < page)
        copies += some
    return copies


def merge(engine: Engine, copies: Iterable[Copy], tick: int) -> int:
    return engine.merge(Copies.of(copies), tick)

"""Operations on an engine as data: to be drawn at random, applied to several engines, and read in a failure's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from presencedb.engine import Copies, Copy, Engine, EngineConfig
from presencedb.ids import Hasher, Id, IdBatch
from presencedb.limits import SLOT_COUNT
from tests.engine.tools import pull
from tests.support import strategies

POOL: Final[tuple[Id, ...]] = (
    0,
    42,
    2**32 - 1,
    2**32,
    2**64 - 1,
    "0192f0c1-2b3c-7d4e-8f50-61728394a5b6",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "alice",
    "042",
    "é" * 127,
)
"""Users of all four kinds, few enough to meet often."""


class Operation(Protocol):
    """`step` is how far time goes before it; negative where the engine has to refuse."""

    @property
    def step(self) -> int: ...

    def apply(self, engine: Engine, tick: int) -> object:
        """Do it, and return an answer that two right engines agree on."""
        ...


@dataclass(frozen=True)
class Heartbeat:
    step: int
    ids: tuple[Id, ...]
    age: int

    def apply(self, engine: Engine, tick: int) -> object:
        if self.age == 0 and len(self.ids) % 2 == 1:
            return engine.heartbeat_each(IdBatch(self.ids), tick)
        return engine.heartbeat(IdBatch(self.ids), tick, age_ticks=self.age)


@dataclass(frozen=True)
class SignOff:
    step: int
    ids: tuple[Id, ...]
    age: int
    grace: int

    def apply(self, engine: Engine, tick: int) -> object:
        return engine.sign_off(IdBatch(self.ids), tick, age_ticks=self.age, grace_ticks=self.grace)


@dataclass(frozen=True)
class Merge:
    step: int
    copies: tuple[Copy, ...]

    def apply(self, engine: Engine, tick: int) -> object:
        changed = engine.merge(Copies.of(self.copies), tick)
        return changed, engine.merge(Copies.of(self.copies), tick)


@dataclass(frozen=True)
class Advance:
    step: int
    expiry_count_max: int

    def apply(self, engine: Engine, tick: int) -> object:
        while not engine.advance(tick, expiry_count_max=self.expiry_count_max):
            pass
        return None


@dataclass(frozen=True)
class Hold:
    ahead: int
    step: int = 0

    def apply(self, engine: Engine, tick: int) -> object:
        engine.hold_timeouts(tick + self.ahead)
        return None


@dataclass(frozen=True)
class Sync:
    ids: tuple[Id, ...]
    synced: bool
    step: int = 0

    def apply(self, engine: Engine, tick: int) -> object:
        engine.set_synced(slots_of(self.ids, engine.config.seed), self.synced)
        return engine.synced_count


@dataclass(frozen=True)
class Share:
    ids: tuple[Id, ...]
    shared: bool
    step: int = 0

    def apply(self, engine: Engine, tick: int) -> object:
        engine.set_shared(slots_of(self.ids, engine.config.seed), self.shared)
        return None


@dataclass(frozen=True)
class Agree:
    """Agree on some users' slots through the last tick there was, or so many before that."""

    ids: tuple[Id, ...]
    back: int
    step: int = 0

    def apply(self, engine: Engine, tick: int) -> object:
        engine.agree(slots_of(self.ids, engine.config.seed), tick - self.back)
        return None


@dataclass(frozen=True)
class AdvanceAndAgree:
    """What a node does when the other owners have nothing to say: the timeouts come with the next advance."""

    step: int
    ids: tuple[Id, ...]
    back: int

    def apply(self, engine: Engine, tick: int) -> object:
        Advance(0, 2).apply(engine, tick)
        return Agree(self.ids, self.back).apply(engine, tick)


@dataclass(frozen=True)
class Overdue:
    """Who is overdue in the slots of some users, as a set: within a slot the order is each engine's own."""

    ids: tuple[Id, ...]
    step: int = 0

    def apply(self, engine: Engine, tick: int) -> object:
        return overdue_of(engine, slots_of(self.ids, engine.config.seed))


@dataclass(frozen=True)
class Export:
    """Export the slots of some users, page by page; what is exported changes nothing when it comes back."""

    step: int
    ids: tuple[Id, ...]
    page: int

    def apply(self, engine: Engine, tick: int) -> object:
        copies = pull(engine, slots_of(self.ids, engine.config.seed), tick, self.page)
        return sorted(copies, key=repr), engine.merge(Copies.of(copies), tick)


@dataclass(frozen=True)
class ExportIds:
    step: int
    ids: tuple[Id, ...]

    def apply(self, engine: Engine, tick: int) -> object:
        copies = engine.export(IdBatch(self.ids), tick)
        return list(copies), engine.merge(copies, tick)


@dataclass(frozen=True)
class Drop:
    """Drop the slots of some users, where they are not synced."""

    ids: tuple[Id, ...]
    step: int = 0

    def apply(self, engine: Engine, tick: int) -> object:
        engine.drop_slots(slots_of(self.ids, engine.config.seed))
        return None


@dataclass(frozen=True)
class Scan:
    """A page from any cursor. The cursors of two engines may differ in a gap, so only the end of the scan is compared."""

    cursor: int
    limit: int
    ids: tuple[Id, ...] | None
    step: int = 0

    def apply(self, engine: Engine, tick: int) -> object:
        slots = None if self.ids is None else slots_of(self.ids, engine.config.seed)
        following, ids = engine.scan(self.cursor, self.limit, slots)
        return following is None, ids


def overdue_of(engine: Engine, slots: list[int]) -> list[tuple[int, Id]]:
    """Who is overdue in these slots, and where: in an order that engines share."""
    hasher = Hasher(engine.config.seed)
    found = [(hasher.place(user_id).slot, user_id) for user_id in engine.overdue(slots)]
    assert [slot for slot, _ in found] == sorted(slot for slot, _ in found), "one slot after the other"
    return sorted(found, key=repr)


def slots_of(ids: tuple[Id, ...], seed: int) -> list[int]:
    hasher = Hasher(seed)
    return sorted({hasher.place(user_id).slot for user_id in ids})


def ids_named(operations: list[Operation]) -> set[Id]:
    """Every id that these operations write."""
    named = {copy.id for operation in operations if isinstance(operation, Merge) for copy in operation.copies}
    return named.union(*(op.ids for op in operations if isinstance(op, Heartbeat | SignOff)))


def configs() -> SearchStrategy[EngineConfig]:
    ttls = st.one_of(st.integers(1, 4), st.integers(5, 20), st.sampled_from([63, 64, 65, 255, 256, 257, 4096]))
    return ttls.flatmap(_configs_of_ttl)


def _configs_of_ttl(ttl: int) -> SearchStrategy[EngineConfig]:
    return st.builds(
        EngineConfig,
        ttl_ticks=st.just(ttl),
        retention_ticks=st.sampled_from([0, 0, None, ttl, ttl + 1, 5 * ttl]),
        seed=st.sampled_from([0, 2**64 - 1]),
        synced=st.sampled_from([True, True, False]),
        doubt_ticks=st.sampled_from([0, 2, 20]),
    )


def operations(ttl: int, cast: tuple[Id, ...]) -> SearchStrategy[Operation]:
    """One operation on users of the cast, with steps, ages and graces around those that matter with this ttl."""
    some = st.sampled_from(cast)
    few = st.lists(some, min_size=1, max_size=3).map(tuple)
    short = st.integers(0, ttl + 2)
    small = st.sampled_from([0, 0, 0, 1, 1, 2])
    step = st.one_of(small, small, small, st.sampled_from([1, -1]), short, strategies.distances(ttl))
    age = st.one_of(st.just(0), st.integers(0, 3), strategies.distances(ttl))
    grace = st.one_of(st.just(0), st.integers(1, 3), short, strategies.distances(ttl))
    copy = st.builds(Copy, id=some, age_ticks=age, signed_off=st.booleans())
    slot_cursors = st.integers(-1, SLOT_COUNT).map(lambda slot: slot << 130)
    return st.one_of(
        st.builds(Heartbeat, step, few, age),
        st.builds(Heartbeat, step, few, st.just(0)),
        st.builds(SignOff, step, few, age, st.just(0)),
        st.builds(SignOff, step, few, st.just(0), st.integers(1, 6)),
        st.builds(SignOff, step, few, age, grace),
        st.builds(Advance, step, st.integers(1, 4)),
        st.builds(Advance, step, st.integers(1, 4)),
        st.builds(Merge, step, st.lists(copy, max_size=4).map(tuple)),
        st.builds(Export, step, few, st.integers(1, 4)),
        st.builds(ExportIds, step, few),
        st.builds(Scan, st.one_of(st.just(0), slot_cursors, st.integers(0, 1 << 144)), st.integers(1, 4), st.none() | few),
        st.one_of(st.builds(Hold, short), st.builds(Sync, few, st.booleans()), st.builds(Drop, few)),
        st.one_of(st.builds(Share, few, st.sampled_from([True, True, False])), st.builds(Overdue, few)),
        st.builds(Agree, few, st.one_of(st.just(0), st.integers(0, 3), short)),
    )


def operations_on_shared(ttl: int, cast: tuple[Id, ...]) -> SearchStrategy[Operation]:
    """The same where slots are shared: more than half of it is what happens around the end of a ttl."""
    few = st.lists(st.sampled_from(cast), min_size=1, max_size=3).map(tuple)
    small = st.sampled_from([0, 0, 1, 1, 2, 3])
    step = st.one_of(small, st.sampled_from([ttl, ttl + 1, ttl + 2]))
    age = st.one_of(st.just(0), st.integers(0, 3), st.sampled_from([ttl - 1, ttl, ttl + 1, ttl + 2]))
    often = [
        st.builds(Heartbeat, small, few, st.just(0)),
        st.builds(Heartbeat, step, few, age),
        st.builds(Advance, step, st.integers(1, 4)),
        st.builds(AdvanceAndAgree, step, few, st.integers(0, 3)),
        st.builds(AdvanceAndAgree, step, st.just(cast), st.just(0)),
    ]
    seldom = [
        st.builds(SignOff, small, few, age, st.sampled_from([0, 0, 1, 3, ttl])),
        st.builds(Share, st.just(cast), st.sampled_from([True, True, False])),
        st.builds(Hold, small),
    ]
    return st.one_of(*often * 5, *seldom * 2, operations(ttl, cast))


def stories(ttl: int) -> SearchStrategy[list[Operation]]:
    """What happens to a few users: a handful of events, or enough of them for one to meet the consequences of another."""
    users = st.one_of(st.sampled_from(POOL), st.sampled_from(POOL), strategies.ids())
    casts = st.lists(users, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        casts.flatmap(lambda cast: _stories_of(operations(ttl, cast))),
        casts.flatmap(
            lambda cast: _stories_of(operations_on_shared(ttl, cast)).map(lambda rest: [Share(cast, True), *rest])
        ),
    )


def _stories_of(one: SearchStrategy[Operation]) -> SearchStrategy[list[Operation]]:
    return st.one_of(st.lists(one, max_size=8), st.lists(one, min_size=15, max_size=40))

"""The index of watchers against sets and lists, and the rewinding of statuses against playing changes forward."""

from __future__ import annotations

from typing import ClassVar, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from presencedb.errors import TooLarge
from presencedb.ids import Id, IdBatch
from presencedb.states import Reason, Status
from presencedb.transitions import Transition, Transitions
from tests.watching.implementations import IMPLEMENTATIONS, Implementation

SEED: Final = 7
COUNT_MAX: Final = 6
IDS: Final[tuple[Id, ...]] = (0, 7, 2**32, 2**64 - 1, "alice", "é", "0192f0c1-2b3c-7d4e-8f50-61728394a5b6", "b" * 255)
# A fixture that is the same for every example.
ONE_FIXTURE: Final = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SOME_IDS = st.lists(st.sampled_from(IDS), max_size=8)


class IndexMachine(RuleBasedStateMachine):
    """An index, and beside it a list of ids for each watcher."""

    implementation: ClassVar[Implementation] = IMPLEMENTATIONS["python"]

    def __init__(self) -> None:
        super().__init__()
        self.index = self.implementation.create(SEED)
        self.bytes_empty = self.index.bytes
        self.lists: dict[int, list[Id]] = {}
        self.gone: set[int] = set()

    @rule()
    def come(self) -> None:
        watcher = self.index.add_watcher()
        assert watcher not in self.lists
        self.lists[watcher] = []
        self.gone.discard(watcher)

    @precondition(lambda self: self.lists)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        watcher = self._one(data)
        assert self.index.remove_watcher(watcher) == len(self.lists.pop(watcher))
        self.gone.add(watcher)

    @precondition(lambda self: self.lists)
    @rule(data=st.data(), ids=SOME_IDS)
    def watch(self, data: st.DataObject, ids: list[Id]) -> None:
        watcher = self._one(data)
        watched = self.lists[watcher]
        new = [user_id for user_id in dict.fromkeys(ids) if user_id not in watched]
        if len(watched) + len(new) > COUNT_MAX:
            with pytest.raises(TooLarge, match=f"at most {COUNT_MAX} ids, not {len(watched) + len(new)}"):
                self.index.watch(watcher, IdBatch(ids), count_max=COUNT_MAX)
            return
        assert self.index.watch(watcher, IdBatch(ids), count_max=COUNT_MAX) == len(new)
        watched += new

    @precondition(lambda self: self.lists)
    @rule(data=st.data(), ids=SOME_IDS)
    def unwatch(self, data: st.DataObject, ids: list[Id]) -> None:
        watcher = self._one(data)
        kept = [user_id for user_id in self.lists[watcher] if user_id not in ids]
        assert self.index.unwatch(watcher, IdBatch(ids)) == len(self.lists[watcher]) - len(kept)
        self.lists[watcher] = kept

    @rule(ids=SOME_IDS)
    def match(self, ids: list[Id]) -> None:
        found = self.index.match(IdBatch(ids))
        assert {watcher: list(indexes) for watcher, indexes in found} == {
            watcher: indexes
            for watcher, watched in self.lists.items()
            if (indexes := [index for index, user_id in enumerate(ids) if user_id in watched])
        }
        assert len({watcher for watcher, _ in found}) == len(found)

    @precondition(lambda self: self.lists)
    @rule(data=st.data(), ids=SOME_IDS)
    def select(self, data: st.DataObject, ids: list[Id]) -> None:
        watcher = self._one(data)
        start = data.draw(st.integers(0, len(ids)))
        expected = [index for index, user_id in enumerate(ids) if index >= start and user_id in self.lists[watcher]]
        assert list(self.index.select(watcher, IdBatch(ids), start)) == expected
        with pytest.raises(ValueError, match="no index"):
            self.index.select(watcher, IdBatch(ids), len(ids) + 1)

    @invariant()
    def it_knows_who_watches_whom(self) -> None:
        for watcher, watched in self.lists.items():
            assert list(self.index.watched(watcher)) == watched
            assert self.index.watched_count(watcher) == len(watched)
        for watcher in self.gone:
            with pytest.raises(ValueError, match="no watcher"):
                self.index.watched(watcher)
        lists = self.lists.values()
        assert self.index.watcher_count == len(lists)
        assert self.index.watch_count == sum(map(len, lists))
        assert self.index.id_count == len({user_id for watched in lists for user_id in watched})
        assert (self.index.bytes == self.bytes_empty) == (not lists)
        self.implementation.check(self.index)

    def _one(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.lists)))


TestPythonIndex = IndexMachine.TestCase

if "c" in IMPLEMENTATIONS:

    class CompiledIndexMachine(IndexMachine):
        implementation = IMPLEMENTATIONS["c"]

    TestCompiledIndex = CompiledIndexMachine.TestCase


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_has_64_bits(implementation: Implementation, seed: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        implementation.create(seed)


@pytest.mark.parametrize("number", [-1, 1, 2**32 - 1, 2**32, 2**64, 10**30])
def test_a_number_that_was_never_given_out(implementation: Implementation, number: int) -> None:
    index = implementation.create(SEED)
    assert index.add_watcher() != number
    for call in (
        index.remove_watcher,
        index.watched,
        index.watched_count,
        lambda watcher: index.watch(watcher, IdBatch([1]), count_max=1),
        lambda watcher: index.unwatch(watcher, IdBatch([1])),
        lambda watcher: index.select(watcher, IdBatch([1])),
    ):
        with pytest.raises(ValueError, match=f"there is no watcher {number}"):
            call(number)


def test_watchers_of_the_same_ids_share_what_they_are_given(implementation: Implementation) -> None:
    index = implementation.create(SEED)
    together = [index.add_watcher() for _ in range(5)]
    for watcher in together:
        index.watch(watcher, IdBatch([3, "alice"]), count_max=9)
    index.watch(alone := index.add_watcher(), IdBatch([3]), count_max=9)
    found = dict(index.match(IdBatch([1, 3, "bob", "alice", 3])))
    assert {id(found[watcher]) for watcher in together} == {id(found[together[0]])}
    assert (found[alone].tolist(), found[together[0]].tolist()) == ([1, 4], [1, 3, 4])
    assert found[alone].typecode == found[together[0]].typecode == "I"


@ONE_FIXTURE
@given(
    first=st.lists(st.sampled_from(Status), min_size=len(IDS), max_size=len(IDS)),
    chunks=st.lists(st.lists(st.tuples(st.sampled_from(IDS), st.booleans()), max_size=5), max_size=4),
    asked=SOME_IDS,
    data=st.data(),
)
def test_rewinding_undoes_what_changes_did(
    implementation: Implementation,
    first: list[Status],
    chunks: list[list[tuple[Id, bool]]],
    asked: list[Id],
    data: st.DataObject,
) -> None:
    state = dict(zip(IDS, first, strict=True))
    history = [dict(state)]
    told = []
    for chunk in chunks:
        changes = []
        for user_id, online in chunk:
            before = state[user_id]
            if before is Status(online):
                continue
            changes.append(Transition(user_id, online, 1, Reason.KNOWN if before is Status.UNKNOWN else Reason.HEARTBEAT))
            state[user_id] = Status(online)
            history.append(dict(state))
        told.append(Transitions.of(changes))
    start = data.draw(st.integers(0, len(told[0]))) if told else 0
    statuses = bytearray(state[user_id] for user_id in asked)
    implementation.rewind(IdBatch(asked), statuses, told, start)
    assert list(statuses) == [history[start][user_id] for user_id in asked]


def test_what_rewinding_refuses(implementation: Implementation) -> None:
    changes = Transitions.of([Transition(1, True, 1, Reason.HEARTBEAT)])
    with pytest.raises(ValueError, match="1 ids have 1 statuses, not 2"):
        implementation.rewind(IdBatch([1]), bytearray(2), [changes], 0)
    for start in (-1, 2):
        with pytest.raises(ValueError, match="no index"):
            implementation.rewind(IdBatch([1]), bytearray(1), [changes], start)

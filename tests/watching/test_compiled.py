"""What only the compiled index can get wrong: many ids and watchers, names that nearly collide, memory that runs out."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presencedb.errors import TooLarge
from presencedb.ids import Hasher, Id, IdBatch, IdKind, uuid_text
from presencedb.implementation import COMPILED
from presencedb.states import Reason, Status
from presencedb.transitions import Transition, Transitions
from presencedb.watching import IMPLEMENTATION, WatchIndex, index_python
from tests.support.process import clean_environment

_index = pytest.importorskip("presencedb.watching._index", reason="the compiled parts are not built")
pytestmark = pytest.mark.skipif(IMPLEMENTATION != COMPILED, reason="the twins in Python are what runs")

SEED: Final = 7
HASHER: Final = Hasher(SEED)
NAME_BITS: Final = 28
NAMES_ALIKE_MAX: Final = 16
TEXTS_ALIKE: Final = ("user-19015", "user-22940")
"""Two texts whose hashes begin with the same 28 bits, which is all that an index knows of a hash."""
WATCHED_MAX: Final = 400


def name_of(user_id: Id) -> int:
    place = HASHER.place(user_id)
    width = {IdKind.INT32: 32, IdKind.INT64: 64}.get(place.kind, 128)
    return place.hash >> (width - NAME_BITS)


def alike() -> list[Id]:
    """Ids of every kind that the index takes for one another until it looks closer; more than it can tell apart."""
    name = name_of(TEXTS_ALIKE[0])
    return [
        *TEXTS_ALIKE,
        *(HASHER.id_of(IdKind.INT64, name << 36 | low) for low in range(3)),
        *(HASHER.id_of(IdKind.UUID, name << 100 | low) for low in range(3)),
        *(HASHER.id_of(IdKind.INT32, name << 4 | low) for low in range(16)),
    ]


POPULATION: Final[tuple[Id, ...]] = (
    *alike()[: NAMES_ALIKE_MAX - 2],
    *(HASHER.id_of(IdKind.INT64, name_of("x") << 36 | low) for low in range(5)),
    *range(300),
    *range(2**32, 2**32 + 100),
    *(f"user {number}" for number in range(150)),
    *(f"user {number} with a name that goes on and on {'x' * number}"[:255] for number in range(100)),
    *(f"0192f0c1-2b3c-7d4e-8f50-{number:012x}" for number in range(100)),
)
"""Enough for chains, buckets that come and go, and audiences of every size among few watchers."""


@contextmanager
def memory_refused_after(index: WatchIndex, grants: int) -> Iterator[None]:
    _index.grant_memory(index, grants)
    try:
        yield
    finally:
        _index.grant_memory(index, None)


class Twins:
    """An index of each kind, which are asked the same and have to say the same."""

    def __init__(self) -> None:
        self.compiled: WatchIndex = _index.CompiledWatchIndex(SEED)
        self.bytes_empty = self.compiled.bytes
        self.python = index_python.PythonWatchIndex(SEED)
        self.numbers: list[tuple[int, int]] = []

    def come(self) -> None:
        self.numbers.append((self.compiled.add_watcher(), self.python.add_watcher()))
        self.agree()

    def leave(self, which: int) -> None:
        compiled, python = self.numbers.pop(which % len(self.numbers))
        assert self.compiled.remove_watcher(compiled) == self.python.remove_watcher(python)
        self.agree()

    def watch(self, which: int, ids: list[Id]) -> None:
        compiled, python = self.numbers[which % len(self.numbers)]
        count = len({*self.python.watched(python), *ids})
        if count > WATCHED_MAX:
            for index, watcher in ((self.compiled, compiled), (self.python, python)):
                with pytest.raises(TooLarge, match=f"at most {WATCHED_MAX} ids, not {count}"):
                    index.watch(watcher, IdBatch(ids), count_max=WATCHED_MAX)
        else:
            expected = self.python.watch(python, IdBatch(ids), count_max=WATCHED_MAX)
            assert self.compiled.watch(compiled, IdBatch(ids), count_max=WATCHED_MAX) == expected
        self.agree()

    def watch_without_memory(self, which: int, ids: list[Id], grants: int) -> None:
        compiled, python = self.numbers[which % len(self.numbers)]
        try:
            with memory_refused_after(self.compiled, grants):
                self.compiled.watch(compiled, IdBatch(ids), count_max=len(POPULATION))
        except MemoryError:
            pass
        else:
            self.python.watch(python, IdBatch(ids), count_max=len(POPULATION))
        self.agree()

    def unwatch(self, which: int, ids: list[Id]) -> None:
        compiled, python = self.numbers[which % len(self.numbers)]
        assert self.compiled.unwatch(compiled, IdBatch(ids)) == self.python.unwatch(python, IdBatch(ids))
        self.agree()

    def crowd(self, count: int, ids: list[Id]) -> None:
        """So many come, watch the same few, and go again, the first first."""
        came = len(self.numbers)
        for which in range(came, came + count):
            self.come()
            self.watch(which, ids[:8])
        self.look(ids, 0)
        for _ in range(count):
            self.leave(came)

    def look(self, ids: list[Id], at: int) -> None:
        batch, start = IdBatch(ids), min(at, len(ids))
        python_of = dict(self.numbers)
        found = {python_of[watcher]: places for watcher, places in self.compiled.match(batch)}
        assert found == dict(self.python.match(batch))
        assert len({id(places) for places in found.values()}) == len({places.tobytes() for places in found.values()})
        for compiled, python in self.numbers:
            assert self.compiled.select(compiled, batch, start) == self.python.select(python, batch, start)
        self.agree()

    def agree(self) -> None:
        _index.check(self.compiled)
        for name in ("watcher_count", "id_count", "watch_count"):
            assert getattr(self.compiled, name) == getattr(self.python, name)
        for compiled, python in self.numbers:
            assert list(self.compiled.watched(compiled)) == list(self.python.watched(python))
            assert self.compiled.watched_count(compiled) == self.python.watched_count(python)

    def end(self) -> None:
        while self.numbers:
            self.leave(0)
        assert self.compiled.bytes == self.bytes_empty


def some_ids() -> st.SearchStrategy[list[Id]]:
    """One, a run of the population, every n-th, or a few that are alike; some of them twice."""
    size = len(POPULATION)
    runs = st.tuples(st.integers(0, size), st.integers(0, 300)).map(lambda run: [*POPULATION[run[0] : sum(run)]])
    combs = st.tuples(st.integers(0, 9), st.integers(2, 90)).map(lambda comb: [*POPULATION[comb[0] :: comb[1]]])
    few = st.lists(st.sampled_from(POPULATION[:20]), max_size=20)
    return st.one_of(few, runs, combs, st.tuples(few, runs).map(lambda two: two[0] + two[1] + two[0]))


WHICH: Final = st.integers(0, 30)
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("come")),
        st.tuples(st.just("leave"), WHICH),
        st.tuples(st.just("watch"), WHICH, some_ids()),
        st.tuples(st.just("watch"), WHICH, some_ids()),
        st.tuples(st.just("watch_without_memory"), WHICH, some_ids(), st.integers(0, 40)),
        st.tuples(st.just("unwatch"), WHICH, some_ids()),
        st.tuples(st.just("crowd"), WHICH, some_ids()),
        st.tuples(st.just("look"), some_ids(), st.integers(0, 40)),
    ),
    min_size=10,
    max_size=40,
)


def play(watchers: int, steps: list[tuple[object, ...]]) -> None:
    twins = Twins()
    for _ in range(watchers):
        twins.come()
    for name, *arguments in steps:
        if twins.numbers or name in ("come", "look"):
            getattr(twins, str(name))(*arguments)
    twins.end()


@settings(max_examples=60)
@given(watchers=st.integers(1, 20), steps=STEPS)
def test_it_does_as_its_twin(watchers: int, steps: list[tuple[object, ...]]) -> None:
    play(watchers, steps)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@settings(max_examples=10_000)
@given(watchers=st.integers(1, 20), steps=STEPS)
def test_ten_thousand_stories(watchers: int, steps: list[tuple[object, ...]]) -> None:
    play(watchers, steps)


@settings(max_examples=100)
@given(
    chunks=st.lists(
        st.lists(st.tuples(st.sampled_from(POPULATION[:40]), st.sampled_from(Status), st.sampled_from(Reason)), max_size=40),
        max_size=4,
    ),
    asked=some_ids(),
    status=st.sampled_from(Status),
    data=st.data(),
)
def test_it_rewinds_as_its_twin(
    chunks: list[list[tuple[Id, Status, Reason]]], asked: list[Id], status: Status, data: st.DataObject
) -> None:
    online = {Status.OFFLINE: False, Status.ONLINE: True, Status.UNKNOWN: None}
    told = [Transitions.of(Transition(who, online[now], 1, reason) for who, now, reason in chunk) for chunk in chunks]
    start = data.draw(st.integers(0, len(told[0]))) if told else 0
    compiled, python = bytearray([status]) * len(asked), bytearray([status]) * len(asked)
    _index.rewind(IdBatch(asked), compiled, told, start)
    index_python.rewind(IdBatch(asked), python, told, start)
    assert compiled == python


def test_a_crowd_is_rewound_as_by_its_twin() -> None:
    """So many ids that they stand in one another's way, each with two changes, of which the first counts."""
    first = [Transition(user_id, True, 1, Reason.HEARTBEAT) for user_id in POPULATION]
    second = [Transition(user_id, False, 2, Reason.TIMEOUT) for user_id in reversed(POPULATION)]
    told = [Transitions.of(first[::2]), Transitions.of(second), Transitions.of(first[1::2])]
    compiled, python = bytearray(len(POPULATION)), bytearray(len(POPULATION))
    _index.rewind(IdBatch([*POPULATION]), compiled, told, 100)
    index_python.rewind(IdBatch([*POPULATION]), python, told, 100)
    assert compiled == python
    assert {*compiled} == {Status.OFFLINE, Status.ONLINE}


def test_ids_that_look_alike_are_told_apart() -> None:
    everybody = alike()
    assert len({name_of(user_id) for user_id in everybody}) == 1
    first, second = TEXTS_ALIKE
    index = _index.CompiledWatchIndex(SEED)
    watchers = [index.add_watcher() for _ in range(NAMES_ALIKE_MAX)]
    for watcher, user_id in zip(watchers, everybody, strict=False):
        index.watch(watcher, IdBatch([user_id]), count_max=1)
        _index.check(index)
    assert dict(index.match(IdBatch(everybody))) == {watcher: array("I", [place]) for place, watcher in enumerate(watchers)}
    assert index.unwatch(watchers[0], IdBatch([second])) == 0
    assert index.unwatch(watchers[0], IdBatch([first])) == 1
    assert dict(index.match(IdBatch([first, second]))) == {watchers[1]: array("I", [1])}


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(TEXTS_ALIKE, id="texts-of-one-length"),
        pytest.param((12, "u00348903227"), id="a-number-and-a-text-of-so-many-bytes"),
        pytest.param((160257044, uuid_text(160257044)), id="a-number-and-the-uuid-of-its-bits"),
    ],
)
def test_two_that_agree_in_all_that_is_compared_first(pair: tuple[Id, Id]) -> None:
    assert name_of(pair[0]) == name_of(pair[1])
    for watched, other in (pair, pair[::-1]):
        index = _index.CompiledWatchIndex(SEED)
        index.watch(watcher := index.add_watcher(), IdBatch([watched]), count_max=2)
        assert index.match(IdBatch([other])) == []
        assert index.unwatch(watcher, IdBatch([other])) == 0
        assert index.watch(watcher, IdBatch([other, watched]), count_max=2) == 1
        _index.check(index)
        assert list(index.watched(watcher)) == [watched, other]


def test_one_id_too_many_that_looks_alike_changes_nothing() -> None:
    """Sixteen whose hashes agree in 28 bits do not come about by chance; whoever could make them gets no further."""
    everybody = alike()
    index = _index.CompiledWatchIndex(SEED)
    watcher = index.add_watcher()
    assert index.watch(watcher, IdBatch(everybody[:NAMES_ALIKE_MAX]), count_max=99) == NAMES_ALIKE_MAX
    bytes_before = index.bytes
    with pytest.raises(MemoryError):
        index.watch(watcher, IdBatch([1, "bob", everybody[NAMES_ALIKE_MAX]]), count_max=99)
    _index.check(index)
    assert (list(index.watched(watcher)), index.bytes) == (everybody[:NAMES_ALIKE_MAX], bytes_before)
    assert index.unwatch(watcher, IdBatch([everybody[5]])) == 1
    assert index.watch(watcher, IdBatch([everybody[NAMES_ALIKE_MAX]]), count_max=99) == 1


@pytest.mark.parametrize("watched", [(), POPULATION[::7]], ids=["an-empty-index", "a-used-one"])
def test_where_an_allocation_fails_nothing_is_changed(watched: tuple[Id, ...]) -> None:
    """Every step that asks for memory is refused it once, until all of them go through."""
    ids = [*POPULATION[::3], *(f"{'long ' * 40}{number}" for number in range(30))]
    for grants in count():
        index = _index.CompiledWatchIndex(SEED)
        watchers = [index.add_watcher() for _ in range(8)]
        for watcher in watchers[:6]:
            index.watch(watcher, IdBatch([*watched]), count_max=999)
        before, bytes_before = (index.watch_count, index.id_count), index.bytes
        try:
            with memory_refused_after(index, grants):
                index.watch(watchers[-1], IdBatch(ids), count_max=999)
        except MemoryError:
            _index.check(index)
            assert (index.watch_count, index.id_count) == before
            assert index.bytes < 1.1 * bytes_before, "the same but for buckets, of which a third may be spare"
            assert not index.match(IdBatch([user_id for user_id in ids if user_id not in watched]))
        else:
            assert list(index.watched(watchers[-1])) == ids
            break
    assert grants > 30, "one grant for each text, at least"


def test_what_else_is_allocated() -> None:
    index = _index.CompiledWatchIndex(SEED)
    with memory_refused_after(index, 0), pytest.raises(MemoryError):
        index.add_watcher()
    watcher, ids = index.add_watcher(), IdBatch([1, 2, "alice"])
    index.watch(watcher, ids, count_max=3)
    for grants in (0, 1):
        with memory_refused_after(index, grants), pytest.raises(MemoryError):
            index.match(ids)
    with memory_refused_after(index, 0), pytest.raises(MemoryError):
        index.unwatch(watcher, ids)
    _index.check(index)
    assert dict(index.match(ids)) == {watcher: array("I", [0, 1, 2])}
    with memory_refused_after(index, 0):
        assert index.remove_watcher(watcher) == 3
    _index.check(index)
    assert (index.watcher_count, index.id_count) == (0, 0)


def test_only_the_batches_of_its_own_kind_and_nothing_else() -> None:
    index = _index.CompiledWatchIndex(SEED)
    watcher = index.add_watcher()
    for ids in ([1], None, "alice"):
        for call in (index.match, lambda ids: index.select(watcher, ids), lambda ids: index.unwatch(watcher, ids)):
            with pytest.raises(TypeError):
                call(ids)


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ("", ["c", "CompiledWatchIndex", "_index"]),
        ("c", ["c", "CompiledWatchIndex", "_index"]),
        ("python", ["python", "PythonWatchIndex", "index_python"]),
    ],
)
def test_the_one_that_was_asked_for_is_what_runs(wanted: str, made: list[str]) -> None:
    program = (
        "from presencedb import watching;"
        "made = watching.create_watch_index(1);"
        "print(watching.IMPLEMENTATION, type(made).__name__, watching.rewind.__module__.rpartition('.')[2])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment({"PRESENCEDB_IMPL": wanted}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.split() == made

"""Whatever happens in whatever order: the statuses and events that a reader was given lead to the truth at each cursor."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, cast

import pytest

from presencedb.clock import ManualClock
from presencedb.engine import Engine, EngineConfig
from presencedb.ids import Id
from presencedb.node import delivery as delivery_module
from presencedb.node import feed as feed_module
from presencedb.node import node as node_module
from presencedb.node import subscribers as subscribers_module
from presencedb.watching import create_watch_index, index_python, rewind
from tests.engine.implementations import IMPLEMENTATIONS
from tests.node.feed_model import ModelReader, Recorder
from tests.node.paper_wire import PaperNode, paper_node, turns
from tests.node.virtual_time import run_in_virtual_time

TICK_MS: Final = 100
TTL_TICKS: Final = 6
SLOW_TICKS: Final = 30
LINGER_TICKS: Final = 10
STEP_COUNT: Final = 300
SETTLING_TURNS_MIN: Final = 50
SETTLING_TURNS_MAX: Final = 10_000
READERS_MAX: Final = 8
USERS: Final[list[Id]] = [*range(8), 2**40, "alice", "bob", "0192d7c4-5ad6-7e07-8f6c-1c2b3d4e5f60"]
CROWD: Final[list[Id]] = list(range(100, 130))
QUIET: Final[list[Id]] = list(range(1000, 1004))
EVERYBODY: Final = USERS + CROWD + QUIET
SEEN: Final[Counter[str]] = Counter()
"""What happened in all plays together: a test that never runs into a bound tests nothing."""


class Play:
    """A node, those who write to it and those who read its feed; what they do is drawn from a seed."""

    def __init__(self, node: PaperNode, recorder: Recorder, seed: int) -> None:
        self._node = node
        self._recorder = recorder
        self._random = random.Random(seed)
        self._writer = node.connect()
        self._readers: list[ModelReader] = []
        self._cursors: list[str] = []

    async def run(self) -> None:
        """Do one thing after the other, and look after each whether what was told so far is right."""
        steps: list[tuple[int, Callable[[], None]]] = [
            (14, self._toggle),
            (3, self._move_the_crowd),
            (1, self._move_somebody_quiet),
            (2, self._subscribe_between),
            (4, self._connect),
            (1, self._disconnect),
            (8, self._watch),
            (4, self._unwatch),
            (3, self._follow),
            (3, self._stop_reading),
            (4, self._read_again),
        ]
        drawn = [step for weight, step in steps for _ in range(weight)]
        for _ in range(STEP_COUNT):
            self._random.choice(drawn)()
            await turns(self._random.choice((0, 0, 1, 1, 3)))
            if not self._random.randrange(4):
                await asyncio.sleep(self._random.choice((1, 1, 1, 2, 5)) * TICK_MS / 1000)
            self._look()
        await self._end()

    # --- what happens ----------------------------------------------------------------------------------------------

    def _toggle(self) -> None:
        method, options = self._random.choice(
            [
                *[("heartbeat", {})] * 4,
                ("heartbeat", {"age_ms": 250}),
                *[("offline", {})] * 2,
                ("offline", {"grace_ms": 150}),
                ("offline", {"age_ms": 250}),
            ]
        )
        self._writer.send(method, self._some(USERS), options)

    def _move_the_crowd(self) -> None:
        self._writer.send(self._random.choice(("heartbeat", "offline")), CROWD)

    def _move_somebody_quiet(self) -> None:
        self._writer.send(self._random.choice(("heartbeat", "offline")), self._random.choice(QUIET))

    def _subscribe_between(self) -> None:
        """All in one turn of the loop: places in the middle of what will be told as one."""
        self._toggle()
        self._connect()
        self._toggle()
        self._watch()
        self._toggle()
        self._unwatch()

    def _connect(self) -> None:
        if len(self._readers) == READERS_MAX:
            return
        reader = ModelReader(self._node, self._recorder)
        self._readers.append(reader)
        if self._random.randrange(3):
            reader.watch(self._somebody(), self._cursor())
        else:
            reader.follow(self._cursor())

    def _disconnect(self) -> None:
        if (reader := self._reader()) is not None:
            self._let_go(reader)
            reader.wire.transport.abort()

    def _watch(self) -> None:
        if (reader := self._reader()) is not None:
            reader.watch(self._somebody(), self._cursor())

    def _unwatch(self) -> None:
        if (reader := self._reader()) is not None:
            reader.unwatch(self._somebody() if self._random.randrange(4) else EVERYBODY)

    def _follow(self) -> None:
        if (reader := self._reader()) is not None:
            reader.follow(self._cursor())

    def _stop_reading(self) -> None:
        if (reader := self._reader()) is not None:
            reader.reading = False

    def _read_again(self) -> None:
        for reader in self._readers:
            if not reader.reading:
                reader.reading = not self._random.randrange(2)
                reader.read(None if reader.reading else self._random.randrange(200))

    # --- what must hold --------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._writer.read()
        self._writer.messages.clear()
        for reader in [*self._readers]:
            if reader.cut:
                assert not reader.reading
                SEEN["cut"] += 1
                self._let_go(reader)
            elif reader.reading:
                reader.read()
        SEEN["behind"] += self._node.subscribers.delivery.behind_count

    async def _end(self) -> None:
        """In the end everybody reads, and has been told everything; when all have left, nothing is left."""
        for reader in self._readers:
            reader.reading = True
        self._look()
        self._writer.send("offline", EVERYBODY)
        await asyncio.sleep(TTL_TICKS * TICK_MS / 1000)
        subscribers, feed = self._node.subscribers, self._node.feed
        turns_left = SETTLING_TURNS_MAX
        while turns_left and (subscribers.delivery.behind_count or feed.told < feed.now):
            turns_left -= 1
            self._look()
            await turns(1)
        for _ in range(SETTLING_TURNS_MIN):
            self._look()
            await turns(1)
        assert subscribers.delivery.behind_count == 0
        for reader in [*self._readers]:
            reader.check_complete(len(self._recorder.truth))
            self._let_go(reader)
            reader.wire.transport.abort()
        await turns()
        index = subscribers.index
        assert (index.watcher_count, index.watch_count, index.id_count) == (0, 0, 0)
        assert (subscribers.follower_count, len(subscribers.delivery.watching)) == (0, 0)
        await asyncio.sleep((LINGER_TICKS + 2) * TICK_MS / 1000)
        assert (feed.event_count, feed.size_bytes) == (0, 0)

    # --- what is drawn ---------------------------------------------------------------------------------------------

    def _some(self, ids: list[Id]) -> list[Id]:
        return self._random.choices(ids, k=self._random.randrange(1, 6))

    def _somebody(self) -> list[Id]:
        return self._some(self._random.choice((USERS, CROWD, EVERYBODY, QUIET)))

    def _reader(self) -> ModelReader | None:
        return self._random.choice(self._readers) if self._readers else None

    def _cursor(self) -> str | None:
        cursors = self._cursors[-5:] + [cursor for reader in self._readers for cursor in reader.cursors[-5:]]
        return self._random.choice(cursors) if cursors and self._random.randrange(2) else None

    def _let_go(self, reader: ModelReader) -> None:
        self._readers.remove(reader)
        self._cursors += reader.cursors
        SEEN["gap"] += reader.gap_count


def make_small(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Bounds that a few events run into."""
    draw = random.Random(seed).choice
    frame_events_max = draw((2, 4, 16))
    for module in (feed_module, node_module):
        monkeypatch.setattr(module, "FEED_FRAME_EVENTS_MAX", frame_events_max)
    monkeypatch.setattr(feed_module, "FEED_EVENTS_MAX", draw((10, 60, 300)))
    monkeypatch.setattr(feed_module, "_FORGOTTEN_STARTS_MAX", 3)
    monkeypatch.setattr(delivery_module, "FEED_TURN_EVENTS_MAX", draw((8, 64)))
    monkeypatch.setattr(delivery_module, "FEED_PUSH_EVENTS", draw((2, 8)))
    monkeypatch.setattr(delivery_module, "FEED_UNTOLD_EVENTS_MAX", draw((20, 100)))
    high_water_bytes = draw((60, 150, 600))
    monkeypatch.setattr(subscribers_module, "EVENTS_HIGH_WATER_BYTES", high_water_bytes)
    monkeypatch.setattr(subscribers_module, "EVENTS_LOW_WATER_BYTES", high_water_bytes // 3)
    monkeypatch.setattr(node_module, "SLOW_READER_MS", SLOW_TICKS * TICK_MS)
    monkeypatch.setattr(node_module, "FEED_LINGER_MS", LINGER_TICKS * TICK_MS)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", sorted(IMPLEMENTATIONS))
def test_statuses_and_events_lead_to_the_truth(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch, seed)
    recorders: list[Recorder] = []

    def create_engine(config: EngineConfig, **arguments: Any) -> Engine:
        recorders.append(Recorder(IMPLEMENTATIONS[kind](config, **arguments)))
        return cast("Engine", recorders[0])

    monkeypatch.setattr(node_module, "create_engine", create_engine)
    python = kind == "python"
    monkeypatch.setattr(
        subscribers_module, "create_watch_index", index_python.PythonWatchIndex if python else create_watch_index
    )
    monkeypatch.setattr(subscribers_module, "rewind", index_python.rewind if python else rewind)
    clock = ManualClock(wall_ms=1_800_000_000_000)

    async def main() -> None:
        async with paper_node(clock, ttl_ms=TTL_TICKS * TICK_MS, tick_ms=TICK_MS) as node:
            await Play(node, recorders[0], seed).run()

    run_in_virtual_time(clock, main())


def test_the_bounds_were_run_into() -> None:
    assert min(SEEN["behind"], SEEN["gap"], SEEN["cut"]) > 0

"""The state machine of `watch` against a model of a server: first statuses and changes always give the truth."""

from __future__ import annotations

from collections import deque
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from presencedb.client.subscription import Ask
from presencedb.client.subscription_watch import WatchSubscription
from presencedb.errors import ConnectError, TooLarge
from presencedb.ids import Id
from tests.client.model_server import Connection, ModelServer

IDS: tuple[Id, ...] = (1, 2, "a", "b", "c", 7, 8, 9)
SOME_IDS = st.lists(st.sampled_from(IDS), max_size=4)
STATUSES = st.sampled_from([True, False, None])


class WatchMachine(RuleBasedStateMachine):
    """A watch that resyncs, its server, and the wire between them."""

    def __init__(self) -> None:
        super().__init__()
        self.server = ModelServer()
        self.sent: deque[Ask] = deque()
        self.adding: dict[Ask, set[Id]] = {}
        self.watched: set[Id] = {1, 2, "a"}
        """Whom the caller believes to watch."""
        self.watch = WatchSubscription([1, 2, "a", 1], None, "resync", Random(1))

    # --- the world ---------------------------------------------------------------------------------------------------

    @rule(changes=st.lists(st.tuples(st.sampled_from(IDS), STATUSES), min_size=1, max_size=6))
    def change(self, changes: list[tuple[Id, bool | None]]) -> None:
        for user_id, online in changes:
            self.server.change(user_id, online)

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        self.server.publish(count)

    @rule()
    def forget_log(self) -> None:
        self.server.forget_log()

    @rule(count=st.integers(1, 2))
    def be_busy(self, count: int) -> None:
        self.server.busy_count = count

    # --- the wire ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.server.connection is None)
    @rule()
    def connect(self) -> None:
        self.server.connection = Connection()
        self.watch.connected()

    @precondition(lambda self: self.watch.telling)
    @rule(restart=st.booleans())
    def cut(self, restart: bool) -> None:
        if restart:
            self.server.restart()
        self.server.connection = None
        self.sent.clear()
        self.watch.lost(ConnectError("cut"))

    @precondition(lambda self: self.server.connection is not None and self.watch._unsent)
    @rule(count=st.integers(1, 4))
    def send(self, count: int) -> None:
        for _ in range(count):
            if (ask := self.watch.next_ask(0.0 if self.watch.wake_s is None else self.watch.wake_s)) is not None:
                self.sent.append(ask)

    @precondition(lambda self: self.sent)
    @rule(live=st.booleans())
    def arrive(self, live: bool) -> None:
        self.server.take(self.sent.popleft(), live=live)

    @precondition(lambda self: self.server.connection and self.server.connection.out)
    @rule(count=st.integers(1, 4))
    def hear(self, count: int) -> None:
        assert self.server.connection is not None
        out = self.server.connection.out
        for _ in range(min(count, len(out))):
            said = out.popleft()
            if said.ask is None:
                self.watch.told(said.result)
            elif said.error is not None:
                self.watch.refused(said.ask, said.error, 0.0)
            else:
                self.watch.answered(said.ask, said.result)

    @rule(live=st.booleans())
    def settle(self, live: bool) -> None:
        """All that is asked is answered, and nothing more is told."""
        if self.server.connection is None:
            self.connect()
        for _ in range(3):
            self.send(64)
            while self.sent:
                self.arrive(live=live)
            self.hear(1_000)

    # --- the caller --------------------------------------------------------------------------------------------------

    @rule(ids=SOME_IDS)
    def add(self, ids: list[Id]) -> None:
        self.adding[self.watch.add(ids)] = set(ids)

    @rule(ids=SOME_IDS)
    def remove(self, ids: list[Id]) -> None:
        self.watch.remove(ids)
        self.watched -= set(ids)
        for adding in self.adding.values():
            adding -= set(ids)

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        for _ in range(count):
            before = dict(self.watch.statuses)
            change = self.watch.take()
            if change is None:
                break
            assert before[change.id] is not change.online
            assert self.watch.statuses == {**before, change.id: change.online}
            assert change.at is not None or change.reason in ("known", "unknown")

    @invariant()
    def what_was_added_is_there(self) -> None:
        for ask in [ask for ask in self.adding if ask.done]:
            ids = self.adding.pop(ask)
            if ask.error is None:
                self.watched |= ids
                assert ids <= set(self.watch.statuses)
            else:
                assert isinstance(ask.error, TooLarge)

    @invariant()
    def statuses_are_the_truth_at_the_cursor(self) -> None:
        if not self.watch.begun or self.watch.cursor is None or len(self.watch._portions):
            return
        truth = self.server.state_at(self.watch.cursor)
        assert dict(self.watch.statuses) == {user_id: truth.get(user_id, False) for user_id in self.watch.statuses}

    def teardown(self) -> None:
        """In the end everything arrives."""
        self.server.busy_count = 0
        for _ in range(5):
            self.settle(live=True)
            self.server.publish(self.server.now)
            self.hear(1_000)
            self.take(1_000)
            self.what_was_added_is_there()
            self.statuses_are_the_truth_at_the_cursor()
        assert not self.adding
        assert set(self.watch.statuses) == self.watched
        assert dict(self.watch.statuses) == {user_id: self.server.state.get(user_id, False) for user_id in self.watched}
        assert self.server.connection is not None
        assert set(self.server.connection.watched) == self.watched
        assert not self.watch.ended


TestWatchAgainstTheModel = WatchMachine.TestCase
TestWatchAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=50)

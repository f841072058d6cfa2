"""The state machine of `follow` against a model of a server: changes always give the truth, over gaps too."""

from __future__ import annotations

from collections import deque
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from presencedb.client.subscription import Ask
from presencedb.client.subscription_follow import FollowSubscription
from presencedb.errors import ConnectError
from presencedb.ids import Id
from tests.client.model_server import Connection, ModelServer

IDS: tuple[Id, ...] = (1, 2, 3, "a", "b", "c")
CHANGES = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from([True, False, None])), min_size=1, max_size=8)


class FollowMachine(RuleBasedStateMachine):
    """A feed that resyncs, its server, and the wire between them. Nobody is online when it begins."""

    def __init__(self) -> None:
        super().__init__()
        self.server = ModelServer()
        self.sent: deque[Ask] = deque()
        self.told: dict[Id, bool | None] = {}
        self.follow = FollowSubscription(None, "resync", Random(1))

    @initialize()
    def begin(self) -> None:
        self.settle(live=True)

    @rule(changes=CHANGES)
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

    @precondition(lambda self: self.follow.telling)
    @rule(restart=st.booleans())
    def cut(self, restart: bool) -> None:
        if restart:
            self.server.restart()
        self.server.connection = None
        self.sent.clear()
        self.follow.lost(ConnectError("cut"))

    @precondition(lambda self: self.server.connection is None)
    @rule()
    def connect(self) -> None:
        self.server.connection = Connection()
        self.follow.connected()

    @precondition(lambda self: self.server.connection is not None and self.follow._unsent)
    @rule()
    def send(self) -> None:
        while (ask := self.follow.next_ask(self.follow.wake_s or 0.0)) is not None:
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
                self.follow.told(said.result)
            elif said.error is not None:
                self.follow.refused(said.ask, said.error, 0.0)
            else:
                self.follow.answered(said.ask, said.result)

    @rule(live=st.booleans(), rounds=st.integers(1, 6))
    def settle(self, live: bool, rounds: int = 3) -> None:
        """What is asked is answered, so many times."""
        if self.server.connection is None:
            self.connect()
        for _ in range(rounds):
            self.send()
            while self.sent:
                self.arrive(live=live)
            self.hear(1_000)

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        for _ in range(count):
            change = self.follow.take()
            if change is None:
                break
            # An offline user may come from offline: one who came online in a gap was not told as online.
            assert change.online is False or self.told.get(change.id, False) is not change.online
            self.told[change.id] = change.online

    @invariant()
    def never_ends(self) -> None:
        assert not self.follow.ended

    def teardown(self) -> None:
        """In the end everything arrives, and whoever is asked about is found out."""
        self.server.busy_count = 0
        for _ in range(8):
            self.settle(live=True)
            self.server.publish(self.server.now)
            self.hear(1_000)
            self.take(1_000)
        state = self.server.state
        assert {user_id for user_id, online in state.items() if online} <= self.told.keys()
        # Whoever was told as offline is not asked about; so it may be that they cannot be told by now.
        assert {user_id: online or state.get(user_id, False) for user_id, online in self.told.items()} == {
            user_id: state.get(user_id, False) for user_id in self.told
        }
        assert self.follow.cursor == f"{self.server.run}.{self.server.now}"


TestFollowAgainstTheModel = FollowMachine.TestCase
TestFollowAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=50)

"""A feed of the client, a model of its server and the wire between them, for hypothesis to drive step by step."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from presencedb.client.subscription import Ask, Subscription
from presencedb.errors import ConnectError
from presencedb.ids import Id
from tests.client.model_server import Connection, ModelServer

F = TypeVar("F", bound=Subscription)

IDS: tuple[Id, ...] = (1, 2, "a", "b", "c", 7, 8, 9)


class FeedMachine(RuleBasedStateMachine, Generic[F]):
    """What happens on the server and on the wire; a child says what the caller does, and what must hold."""

    def __init__(self, feed: F) -> None:
        super().__init__()
        self.server = ModelServer()
        self.sent: deque[Ask] = deque()
        self.feed = feed

    # --- the world ---------------------------------------------------------------------------------------------------

    @rule(changes=st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from([True, False, None])), min_size=1, max_size=6))
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
        self.feed.connected()

    @precondition(lambda self: self.feed.telling)
    @rule(restart=st.booleans())
    def cut(self, restart: bool) -> None:
        if restart:
            self.server.restart()
        self.server.connection = None
        self.sent.clear()
        self.feed.lost(ConnectError("cut"))

    @precondition(lambda self: self.server.connection is not None and self.feed._unsent)
    @rule(count=st.integers(1, 4))
    def send(self, count: int) -> None:
        for _ in range(count):
            if (ask := self.feed.next_ask(0.0 if self.feed.wake_s is None else self.feed.wake_s)) is not None:
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
                self.feed.told(said.result)
            elif said.error is not None:
                self.feed.refused(said.ask, said.error, 0.0)
            else:
                self.feed.answered(said.ask, said.result)

    @rule(live=st.booleans(), rounds=st.integers(1, 6))
    def settle(self, live: bool, rounds: int = 3) -> None:
        """What is asked is answered, so many times."""
        if self.server.connection is None:
            self.connect()
        for _ in range(rounds):
            self.send(64)
            while self.sent:
                self.arrive(live=live)
            self.hear(1_000)

    def settle_the_rest(self) -> None:
        """All that is on its way arrives."""
        self.settle(live=True)
        self.server.publish(self.server.now)
        self.hear(1_000)

"""The state machine of `watch` against a model of a server: first statuses and changes always give the truth."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from presencedb.client.subscription import Ask
from presencedb.client.subscription_watch import WatchSubscription
from presencedb.errors import TooLarge
from presencedb.ids import Id
from tests.client.feed_machine import IDS, FeedMachine

SOME_IDS = st.lists(st.sampled_from(IDS), max_size=4)


class WatchMachine(FeedMachine[WatchSubscription]):
    """A watch that resyncs."""

    def __init__(self) -> None:
        super().__init__(WatchSubscription([1, 2, "a", 1], None, "resync", Random(1)))
        self.adding: dict[Ask, set[Id]] = {}
        self.watched: set[Id] = {1, 2, "a"}
        """Whom the caller believes to watch."""

    @rule(ids=SOME_IDS)
    def add(self, ids: list[Id]) -> None:
        self.adding[self.feed.add(ids)] = set(ids)

    @rule(ids=SOME_IDS)
    def remove(self, ids: list[Id]) -> None:
        self.feed.remove(ids)
        self.watched -= set(ids)
        for adding in self.adding.values():
            adding -= set(ids)

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        for _ in range(count):
            before = dict(self.feed.statuses)
            change = self.feed.take()
            if change is None:
                break
            assert before[change.id] is not change.online
            assert self.feed.statuses == {**before, change.id: change.online}
            assert change.at is not None or change.reason in ("known", "unknown")

    @invariant()
    def what_was_added_is_there(self) -> None:
        for ask in [ask for ask in self.adding if ask.done]:
            ids = self.adding.pop(ask)
            if ask.error is None:
                self.watched |= ids
                assert ids <= set(self.feed.statuses)
            else:
                assert isinstance(ask.error, TooLarge)

    @invariant()
    def statuses_are_the_truth_at_the_cursor(self) -> None:
        if not self.feed.begun or self.feed.cursor is None or len(self.feed._portions):
            return
        truth = self.server.state_at(self.feed.cursor)
        assert dict(self.feed.statuses) == {user_id: truth.get(user_id, False) for user_id in self.feed.statuses}

    def teardown(self) -> None:
        """In the end everything arrives."""
        self.server.busy_count = 0
        for _ in range(5):
            self.settle_the_rest()
            self.take(1_000)
            self.what_was_added_is_there()
            self.statuses_are_the_truth_at_the_cursor()
        assert not self.adding
        assert set(self.feed.statuses) == self.watched
        assert dict(self.feed.statuses) == {user_id: self.server.state.get(user_id, False) for user_id in self.watched}
        assert self.server.connection is not None
        assert set(self.server.connection.watched) == self.watched
        assert not self.feed.ended


TestWatchAgainstTheModel = WatchMachine.TestCase
TestWatchAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=50)

"""The state machine of `follow` against a model of a server: changes always give the truth, over gaps too."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from presencedb.client.subscription_follow import FollowSubscription
from presencedb.ids import Id
from tests.client.feed_machine import FeedMachine


class FollowMachine(FeedMachine[FollowSubscription]):
    """A feed that resyncs. Nobody is online when it begins."""

    def __init__(self) -> None:
        super().__init__(FollowSubscription(None, "resync", Random(1)))
        self.told: dict[Id, bool | None] = {}

    @initialize()
    def begin(self) -> None:
        self.settle(live=True)

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        for _ in range(count):
            change = self.feed.take()
            if change is None:
                break
            # An offline user may come from offline: one who came online in a gap was not told as online.
            assert change.online is False or self.told.get(change.id, False) is not change.online
            self.told[change.id] = change.online

    @invariant()
    def never_ends(self) -> None:
        assert not self.feed.ended

    def teardown(self) -> None:
        """In the end everything arrives, and whoever is asked about is found out."""
        self.server.busy_count = 0
        for _ in range(8):
            self.settle_the_rest()
            self.take(1_000)
        state = self.server.state
        assert {user_id for user_id, online in state.items() if online} <= self.told.keys()
        # Whoever was told as offline is not asked about; so it may be that they cannot be told by now.
        assert {user_id: online or state.get(user_id, False) for user_id, online in self.told.items()} == {
            user_id: state.get(user_id, False) for user_id in self.told
        }
        assert self.feed.cursor == f"{self.server.run}.{self.server.now}"


TestFollowAgainstTheModel = FollowMachine.TestCase
TestFollowAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=50)

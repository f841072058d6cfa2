"""Writes through whichever member is there, while one after the other is killed or away: what was acknowledged holds."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from presencedb.errors import Error
from tests.node.cluster.asking import Members, members

STEPS = 30
NAMES = ("n1", "n2", "n3")


class Story:
    """Users written through one member, and what must be true of them at the end; None: it is not known."""

    def __init__(self, play: Members, random: Random) -> None:
        self.play = play
        self.random = random
        self.users = {
            third: play.users_of(first, second, count=3) + play.users_of(second, first, count=3)
            for third, first, second in (("n1", "n2", "n3"), ("n2", "n1", "n3"), ("n3", "n1", "n2"))
        }
        self.online: dict[int, bool | None] = dict.fromkeys((user for some in self.users.values() for user in some), False)
        self.absent = ""

    def write(self) -> None:
        """Through the member that owns none of these users; or, where that is absent, through one of the owners."""
        third = self.random.choice(NAMES)
        users = self.random.sample(self.users[third], 3)
        method = self.random.choice(["heartbeat", "heartbeat", "offline"])
        through, options = third, {}
        if third == self.absent:
            through, other = self.random.sample([name for name in NAMES if name != third], 2)
            options = {"missed": [other]}
        try:
            self.play.ask(through, method, users, options)
        except Error:
            self.online |= dict.fromkeys(users)
        else:
            self.online |= dict.fromkeys(users, method == "heartbeat")

    def have_accident(self) -> None:
        """One member at a time; it is back and knows everything before the next one."""
        play, name = self.play, self.absent
        if not name:
            self.absent = self.random.choice(NAMES)
            if self.random.random() < 0.5:
                play.cluster.kill(self.absent)
            else:
                play.cluster.running[self.absent].pause()
            return
        if name in play.cluster.running:
            play.cluster.running[name].resume()
        else:
            play.cluster.start_node(name, anew=True)
        self.absent = ""
        # A member that was away does not know it in the first moment.
        play.world.run_for(0.2)
        play.world.run_until(lambda: all(node.ready for node in play.cluster.nodes.values()), 10)

    def check(self) -> None:
        """All owners say what was acknowledged last."""
        for third, users in self.users.items():
            for owner in set(NAMES) - {third}:
                for user, online in zip(users, self.play.status(owner, users), strict=True):
                    assert online is not None
                    assert self.online[user] in (None, online), (owner, user)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(4, 200))])
def test_what_was_acknowledged_holds(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    with members(tmp_path, seed=seed) as play:
        story = Story(play, random)
        for _ in range(STEPS):
            if random.random() < 0.25:
                story.have_accident()
            story.write()
            # Within a tick or two a heartbeat after a sign-off may lose against it, where it reached an owner as a copy.
            play.world.run_for(random.choice([0.15, 0.4, 1.0]))
        if story.absent:
            story.have_accident()
        play.world.run_for(1)
        story.check()

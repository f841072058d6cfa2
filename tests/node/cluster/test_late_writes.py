"""Writes that lay in the sockets of a member while it was away: others have them too, and what came after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.node.cluster.asking import Members, members

AWAY_S = 4.0


def leave(play: Members, name: str, *calls: tuple[Any, ...]) -> None:
    """Send something to a member that is away from then on; nobody waits for the answers."""
    link = play.connect(name)
    play.cluster.running[name].pause()

    async def send() -> None:
        for method, *params in calls:
            link.send(method, params).cancel()

    play.world.result_of(play.caller, send())
    play.world.run_for(0.01)


def both(play: Members, users: list[int]) -> list[list[bool | None]]:
    return [play.status(name, users) for name in ("n1", "n2")]


@pytest.mark.parametrize("owners", [("n1", "n2"), ("n2", "n1")])
def test_a_heartbeat_that_came_late_does_not_undo_a_later_sign_off(tmp_path: Path, owners: tuple[str, str]) -> None:
    with members(tmp_path) as play:
        users = play.users_of(*owners)
        for name in owners:
            play.ask(name, "heartbeat", users)
        play.world.run_for(1)
        leave(play, "n2", *[("heartbeat", [user]) for user in users], ("heartbeat", users))
        play.ask("n1", "heartbeat", users)
        play.world.run_for(AWAY_S / 2)
        play.ask("n1", "offline", users, {"missed": ["n2"]})
        play.world.run_for(AWAY_S / 2)
        play.cluster.running["n2"].resume()
        play.world.run_until(lambda: play.cluster.nodes["n2"].ready, 3)
        assert both(play, users) == [[False] * 5] * 2


@pytest.mark.parametrize("owners", [("n1", "n2"), ("n2", "n1")])
def test_a_sign_off_that_came_late_does_not_undo_a_later_heartbeat(tmp_path: Path, owners: tuple[str, str]) -> None:
    with members(tmp_path) as play:
        users = play.users_of(*owners)
        for name in owners:
            play.ask(name, "heartbeat", users)
        play.world.run_for(1)
        leave(play, "n2", ("offline", users))
        play.ask("n1", "offline", users)
        play.world.run_for(AWAY_S / 2)
        play.ask("n1", "heartbeat", users, {"missed": ["n2"]})
        play.world.run_for(AWAY_S / 2)
        play.cluster.running["n2"].resume()
        play.world.run_until(lambda: play.cluster.nodes["n2"].ready, 3)
        assert both(play, users) == [[True] * 5] * 2


def test_what_lay_at_another_member_goes_on_as_old_as_it_may_be(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        for name in ("n1", "n2"):
            play.ask(name, "heartbeat", users)
        leave(play, "n3", ("heartbeat", users))
        play.world.run_for(AWAY_S / 2)
        for name in ("n1", "n2"):
            play.ask(name, "offline", users)
        play.world.run_for(AWAY_S / 2)
        play.cluster.running["n3"].resume()
        play.world.run_for(2)
        assert play.info("n3")["forwarded_writes"] == 10
        assert both(play, users) == [[False] * 5] * 2


def test_what_nobody_else_has_counts_from_now_on(tmp_path: Path) -> None:
    with members(tmp_path, replicas=1) as play:
        users = play.users_of("n2")
        leave(play, "n2", *[("heartbeat", [user]) for user in users])
        play.world.run_for(AWAY_S)
        play.cluster.running["n2"].resume()
        play.world.run_for(1)
        ages, _ = play.ask("n2", "ages", users)
        assert max(ages) < 2_000

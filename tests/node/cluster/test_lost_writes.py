"""What a member was away for, and nobody else can tell it any more, it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.cluster.asking import members


@pytest.mark.parametrize("was_gone_before", [True, False])
def test_a_member_that_was_away_does_not_know_what_only_a_dead_one_was_told(
    tmp_path: Path, *, was_gone_before: bool
) -> None:
    with members(tmp_path, nodes=2) as asking:
        (user,) = asking.users_of("n1", "n2", count=1)
        if was_gone_before:
            asking.cluster.kill("n1")
            asking.world.run_for(2)
        node = asking.cluster.running["n2"]
        node.pause()
        if not was_gone_before:
            asking.world.run_for(0.6)
            asking.ask("n1", "heartbeat", [user], {"missed": ["n2"]})
            asking.cluster.kill("n1")
        asking.world.run_for(1)
        node.resume()
        asking.world.run_for(2)
        assert asking.status("n2", [user]) == [False if was_gone_before else None]

"""Which topology a member goes by, and what it answers those who go by another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Greeting
from presencedb.errors import BadRequest, ConfigError, ListenError, Moved
from presencedb.limits import EPOCH_ASK_MS
from presencedb.node.cluster.settings import ClusterSettings
from presencedb.node.node import Node, NodeSettings
from presencedb.placement import ALL_SLOTS, Member, SlotSet, Topology
from tests.node.cluster.asking import Members, members

MOVED = "other members keep some of these users, by the topology of epoch"


def later(play: Members, epoch: int, names: Sequence[str], **changes: Any) -> Topology:
    """A later topology of the same cluster."""
    listed = tuple(Member(name, f"{name}:7411") for name in names)
    return dataclasses.replace(play.cluster.topology, epoch=epoch, members=listed, **changes)


def set_topology(play: Members, name: str, topology: Topology) -> bool:
    """As when the file of a member has changed."""

    async def set_it() -> bool:
        return play.cluster.nodes[name].set_topology(topology)

    return play.world.result_of(play.cluster.running[name], set_it())


def epochs(play: Members, names: Sequence[str] = ("n1", "n2", "n3")) -> list[int]:
    return [play.ask(name, "topology")["epoch"] for name in names]


# --- reads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["status", "last_seen", "watch"])
def test_a_read_of_others_users_has_moved(tmp_path: Path, method: str) -> None:
    with members(tmp_path) as play:
        own, others = play.users_of("n3", "n1"), play.users_of("n1", "n2")
        play.ask("n3", method, own)
        for users in (others, others[0], own + others[:1]):
            with pytest.raises(Moved, match=f"{MOVED} 1$"):
                play.ask("n3", method, users)
        assert play.info("n3")["moved_answers"] == 3
        play.ask("n3", method, [])


def test_the_epoch_of_a_read_changes_nothing_about_whose_users_they_are(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        own, others = play.users_of("n3", "n1"), play.users_of("n1", "n2")
        for epoch in (0, 1, 2):
            assert play.ask("n3", "status", own, {"epoch": epoch}) == bytes(5)
            with pytest.raises(Moved):
                play.ask("n3", "status", others, {"epoch": epoch})


def test_of_many_frames_only_those_have_moved_that_ask_about_others_users(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        own, others = play.users_of("n3", "n1"), play.users_of("n1", "n2")
        play.ask("n3", "heartbeat", own[:1])
        frames = [own, others, own[:1], [*own, others[0]], [], own[1:]]
        answers = play.ask_all("n3", [("status", ids) for ids in frames])
        for index in (1, 3):
            with pytest.raises(Moved, match=MOVED):
                answers[index]()
        assert [answers[index]() for index in (0, 2, 4, 5)] == [b"\1\0\0\0\0", b"\1", b"", b"\0\0\0\0"]
        assert play.info("n3")["moved_answers"] == 2


def test_a_member_that_owns_everything_refuses_nobody(tmp_path: Path) -> None:
    with members(tmp_path, nodes=2) as play:
        for name in ("n1", "n2"):
            assert play.ask(name, "status", list(range(100))) == bytes(100)
        assert play.info("n1")["slots_owned"] == 16_384


# --- what a member says of the cluster -------------------------------------------------------------------------------


def test_the_topology_and_the_slots(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        run = play.ask("n2", "hello")["run"]
        told = play.ask("n2", "topology")
        assert [member.pop("run") for member in told["members"]] == ["", run, ""]
        assert Topology.from_wire({**told, "members": [{**member, "run": ""} for member in told["members"]]}) == (
            play.cluster.topology
        )
        slots = play.ask("n2", "slots")
        assert (slots["epoch"], slots["run"]) == (1, run)
        assert SlotSet.from_wire(slots["synced"]) == play.role("n2").own
        info = play.info("n2")
        assert (info["cluster_epoch"], info["peers_up"]) == (1, 2)
        assert info["slots_owned"] == info["slots_synced"] == len(play.role("n2").own)


def test_a_made_up_cursor_of_pages(tmp_path: Path) -> None:
    with members(tmp_path) as play, pytest.raises(BadRequest, match="not a cursor"):
        play.ask("n1", "pages_out", "nonsense", 10)


# --- a newer topology ------------------------------------------------------------------------------------------------


def test_a_newer_topology_spreads_with_the_requests(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        assert set_topology(play, "n1", later(play, 5, ["n1", "n2"]))
        assert epochs(play) == [5, 1, 1]
        user = play.users_of("n2", "n1")[0]
        play.ask("n2", "status", user, {"epoch": 5})
        play.world.run_for(0.1)
        assert epochs(play) == [5, 5, 1]
        # It is no member of that any more, and goes by it too.
        play.ask("n3", "heartbeat", user, {"epoch": 5})
        play.world.run_for(0.1)
        assert epochs(play) == [5, 5, 5]
        assert play.role("n1").own == play.role("n2").own == ALL_SLOTS
        play.world.run_until(lambda: play.cluster.nodes["n1"].ready and play.cluster.nodes["n2"].ready, 5)


def test_who_is_no_member_any_more_owns_nothing_and_passes_writes_on(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        user = play.users_of("n3", "n1")[0]
        play.ask("n1", "heartbeat", user)
        play.ask("n3", "heartbeat", user)
        for name in ("n1", "n2", "n3"):
            set_topology(play, name, later(play, 2, ["n1", "n2"]))
        with pytest.raises(Moved, match=f"{MOVED} 2$"):
            play.ask("n3", "status", user)
        assert play.ask("n3", "heartbeat", 4_711) == 1
        assert play.status("n1", [user, 4_711]) == [True, True]
        info = play.info("n3")
        assert (info["slots_owned"], info["slots_synced"], info["users"]) == (0, 0, 0)


def test_members_tell_each_other_when_they_meet(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        play.cluster.kill("n3")
        for name in ("n1", "n2"):
            set_topology(play, name, later(play, 2, ["n1", "n2", "n3", "n4"]))
        play.cluster.start_node("n3", anew=True)
        play.world.run_for(1.5)
        assert epochs(play) == [2, 2, 2]


def test_a_topology_that_is_not_newer_or_of_another_cluster_is_not_obeyed(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        for topology in (later(play, 1, ["n1"]), later(play, 0, ["n1"]), later(play, 9, ["n1", "n2"], seed=1)):
            assert not set_topology(play, "n1", topology)
        assert epochs(play) == [1, 1, 1]
        assert play.ask("n1", "topology")["seed"] == play.cluster.topology.seed


def test_claims_of_epochs_that_nobody_has_cost_the_others_little(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        user = play.users_of("n1", "n2")[0]
        before = [play.info(name)["requests"]["topology"] for name in ("n2", "n3")]
        began_ns = play.world.now_ns
        for number in range(200):
            play.ask("n1", "status", user, {"epoch": 2**60 + number})
            play.ask("n1", "heartbeat", user, {"epoch": 2**60 + number})
        rounds = 1 + (play.world.now_ns - began_ns) // (EPOCH_ASK_MS * 1_000_000)
        after = [play.info(name)["requests"]["topology"] for name in ("n2", "n3")]
        assert [late - early for early, late in zip(before, after, strict=True)] == [rounds, rounds]
        assert epochs(play) == [1, 1, 1]


def test_a_write_by_a_newer_topology_is_kept_here_too(tmp_path: Path) -> None:
    with members(tmp_path) as play:
        users = play.users_of("n1", "n2")
        assert play.ask("n3", "heartbeat", users, {"epoch": 2}) == 5
        assert [play.knows(name, users) for name in ("n1", "n2", "n3")] == [[True] * 5] * 3


# --- settings, start and stop ----------------------------------------------------------------------------------------


def dialling() -> Dialling:
    return Dialling(ClientSettings(targets=[], greeting=Greeting("test"), connect_timeout_s=1, timeout_s=1), _nowhere)


def _nowhere(_address: object) -> Any:
    async def refuse() -> None:
        raise ConnectionRefusedError("nobody is there")

    return refuse


def member_settings(**changes: Any) -> NodeSettings:
    topology = Topology(1, 7, 2, (Member("n1", "127.0.0.1:1"), Member("n2", "127.0.0.1:2")))
    cluster = ClusterSettings(name="test", topology=topology, dialling=dialling())
    return dataclasses.replace(NodeSettings(listen=("127.0.0.1", 0), cluster=cluster), **changes)


def test_a_node_is_one_of_the_members() -> None:
    assert member_settings(node_id="n2").node_id == "n2"
    with pytest.raises(ConfigError, match="the node n3 is no member of its cluster"):
        member_settings(node_id="n3")


async def test_a_member_that_cannot_listen_leaves_nothing_behind() -> None:
    first = Node(member_settings())
    await first.start()
    try:
        assert first.tcp_address is not None
        second = Node(member_settings(listen=first.tcp_address))
        with pytest.raises(ListenError):
            await second.start()
        with pytest.raises(RuntimeError):
            second.set_topology(Topology(2, 7, 1, ()))
    finally:
        await first.stop()


async def test_a_node_that_stands_alone_takes_no_topology() -> None:
    node = Node(NodeSettings(listen=("127.0.0.1", 0)))
    await node.start()
    try:
        with pytest.raises(RuntimeError, match="no member of a cluster"):
            node.set_topology(Topology(1, 7, 1, ()))
    finally:
        await node.stop()

"""The list of members in a file: what is written is read, what is wrong is named, no change goes unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import ConfigError
from presencedb.membership.static import ClusterFile
from presencedb.placement.members import Member
from presencedb.placement.topology import Topology

GOOD = """
name = "c1"
epoch = 3
seed = "ffffffffffffffff"
replicas = 2

[[node]]
id = "n1"
address = "127.0.0.1:7411"

[[node]]
id = "n2"
address = "127.0.0.1:7421"
weight = 50
"""

printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    file = ClusterFile.read(written(tmp_path, GOOD))
    assert file.name == "c1"
    members = (Member("n1", "127.0.0.1:7411"), Member("n2", "127.0.0.1:7421", 50))
    assert file.topology == Topology(3, 2**64 - 1, 2, members)


@given(addresses=st.lists(printable, min_size=1, max_size=5, unique=True), replicas=st.integers(1, 8))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, addresses: list[str], replicas: int) -> None:
    file = ClusterFile.found([Member(f"n{index}", address) for index, address in enumerate(addresses)], replicas)
    assert ClusterFile.read(written(tmp_path_factory.mktemp("name"), file.text())) == file


def test_two_clusters_have_nothing_in_common() -> None:
    members = [Member("n1", "127.0.0.1:7411")]
    one, other = ClusterFile.found(members, 1), ClusterFile.found(members, 1)
    assert one.name != other.name
    assert one.topology.seed != other.topology.seed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "c1"\n', "", "name: it is missing"),
        ("epoch = 3", 'epoch = "3"', "epoch: an integer"),
        ("epoch = 3", "epoch = -1", "epoch: an integer"),
        ('"ffffffffffffffff"', "12", "seed: up to 16 hexadecimal digits in quotes"),
        ('"ffffffffffffffff"', '"1ffffffffffffffff"', "seed: up to 16 hexadecimal digits in quotes"),
        ("replicas = 2", "replicas = 9", "replicas: an integer from 1 to 8"),
        ("replicas = 2", "replica = 2", "replicas: it is missing"),
        ("replicas = 2", "replicas = 2\ntitle = 1", "title: there is no such key; known are epoch, name"),
        ('id = "n2"', 'id = "n1"', "n1 is there twice"),
        ('id = "n2"', 'id = "n 2"', r"node\[1\].id: 1 to 64 letters"),
        ('id = "n2"\n', "", r"node\[1\].id: it is missing"),
        ("weight = 50", "weight = 5000", r"node\[1\].weight: an integer from 0 to 1000"),
        ("weight = 50", "wait = 50", r"node\[1\].wait: there is no such key"),
        ("127.0.0.1:7421", "127.0.0.1:7411", "two have the address 127.0.0.1:7411"),
        ("epoch = 3", "epoch = = 3", "at line 3"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=message) as raised:
        ClusterFile.read(path)
    assert str(path) in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        ClusterFile.read(tmp_path / "nowhere.toml")
    path = tmp_path / "cluster.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        ClusterFile.read(path)
    path.write_bytes(b"#" * 1024 * 1024 + b"\n")
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        ClusterFile.read(path)


def test_no_members_are_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="node: there is none"):
        ClusterFile.read(written(tmp_path, GOOD.partition("[[node]]")[0] + "node = []"))


def test_a_change_needs_a_later_epoch(tmp_path: Path) -> None:
    now = ClusterFile.read(written(tmp_path, GOOD))
    assert not now.check_successor(now)
    later = ClusterFile.read(written(tmp_path, GOOD.replace("weight = 50", "weight = 51").replace("epoch = 3", "epoch = 4")))
    assert now.check_successor(later)
    with pytest.raises(ConfigError, match="its epoch 3 is not later than 3"):
        now.check_successor(ClusterFile.read(written(tmp_path, GOOD.replace("weight = 50", "weight = 51"))))
    with pytest.raises(ConfigError, match="its epoch 3 is not later than 4"):
        later.check_successor(now)
    with pytest.raises(ConfigError, match="another cluster"):
        now.check_successor(ClusterFile.read(written(tmp_path, GOOD.replace("c1", "c2").replace("epoch = 3", "epoch = 4"))))

"""What is said about clusters that cannot be, and what `cluster init` writes; all of it before any process would start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from presencedb.cli.main import run
from presencedb.membership.static import ClusterFile
from tests.support.process import run_command

THREE = "n1=127.0.0.1:7421,n2=127.0.0.1:7422*50,n3=[::1]:7423"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cluster statsu", "no such command cluster statsu; did you mean cluster status?\nTry `presencedb cluster --help`."),
        ("clutser up", "no such command clutser; did you mean cluster?\nTry `presencedb --help`."),
        ("init", "no such command init; did you mean cluster init?\nTry `presencedb --help`."),
        ("cluster up now", "cluster up takes no arguments, only options\nTry `presencedb cluster up --help`."),
        ("cluster up --node 3", "no such option --node; did you mean --nodes?\nTry `presencedb cluster up --help`."),
        ("cluster --nodes 3", "no option --nodes here; it goes behind serve, cluster init, cluster up\nTry"),
        ("cluster up --nodes 0", "--nodes 0: out of range, it takes 1 to 1024\n"),
        ("cluster up --replicas 9", "--replicas 9: out of range, it takes 1 to 8\n"),
        ("cluster up --listen off", "--listen off: then nobody can reach the router; give --unix PATH\n"),
        ("cluster up --data-dir taken/there", "--data-dir taken/there: not a directory\n"),
        ("cluster init", "name the nodes: --nodes n1=HOST:PORT,n2=HOST:PORT,...\n"),
        ("cluster init --nodes 3", "--nodes 3: n1 has no port; each node needs one, as in n1=10.0.0.1:7411,n2="),
        ("cluster init --nodes a=1 --output no/there", "cannot write no/there: no such file or directory\n"),
        ("cluster init --nodes a=1 --output taken", "taken is there already, and is not overwritten: its cluster would be"),
        ("serve --replicas 2", "--replicas 2: a single node has no use for it; it goes with --nodes COUNT\n"),
        ("node --data-dir d", "--data-dir d: only members of a cluster have one; give --membership static:FILE\n"),
        ("node --membership etcd:x", "--membership etcd:x: it takes static:FILE, the list of members that"),
        ("node --membership static:no", "--membership static:no: no: no such file or directory\n"),
        ("node --membership static:three", "say which member this is: --node-id n1 or n2 or n3\n"),
        (
            "node --membership static:three --node-id n4",
            "--node-id n4: --membership static:three has no such member, only n1",
        ),
        (
            "node --membership static:three --node-id n1 --token-file tokens",
            "members have to know each other: give --cluster-token-file, or a line with the rights",
        ),
        (
            "node --membership static:three --node-id n1 --tls-cert cert",
            "--tls-cert cert: give --tls-ca too, against which the other members are checked\n",
        ),
        ("router", "give the list of members: --membership static:FILE; `presencedb cluster init` writes one\n"),
        ("router --membership static:three --listen off", "--listen off: then nobody can reach the router; give --unix"),
    ],
)
def test_bad_usage(folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str) -> None:
    (folder / "taken").write_text("")
    (folder / "tokens").write_text("app:a-token-for-the-app:read,write\n")
    assert run(["cluster", "init", "--nodes", THREE, "--output", "three"]) == 0
    capsys.readouterr()
    assert run(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"presencedb: {message}")


def test_members_beyond_this_machine_ask_for_a_token(folder: Path) -> None:
    path = folder / "cluster.toml"
    assert run(["cluster", "init", "--nodes", "n1=203.0.113.1:7411"]) == 0
    membership = ("--membership", f"static:{path}")
    for command, beginning in [
        (("node", *membership), f"--membership static:{path}, address of n1, 203.0.113.1:7411, listens beyond this machine"),
        (("router", *membership, "--listen", "0.0.0.0:0"), "--listen 0.0.0.0:0 listens beyond this machine"),
    ]:
        result = run_command(*command)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"presencedb: {beginning}")


def test_init_writes_a_list_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "init", "--nodes", THREE, "--replicas", "3"]) == 0
    written = ClusterFile.read(folder / "cluster.toml")
    members = [(member.id, member.address, member.weight) for member in written.topology.members]
    assert members == [("n1", "127.0.0.1:7421", 100), ("n2", "127.0.0.1:7422", 50), ("n3", "[::1]:7423", 100)]
    assert written.topology.replicas == 3
    said = capsys.readouterr()
    assert said.err == ""
    assert "presencedb node --membership static:cluster.toml --node-id n3 --data-dir n3\n" in said.out
    assert "presencedb router --membership static:cluster.toml\n" in said.out
    assert "secret" not in said.out
    assert run(["cluster", "init", "--nodes", THREE]) == 2
    assert ClusterFile.read(folder / "cluster.toml") == written


def test_init_says_how_members_beyond_this_machine_know_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "init", "--nodes", "a=10.0.0.1:7411", "--output", "a list"]) == 0
    said = capsys.readouterr()
    assert "only 1 of 2 replicas" in said.err
    assert re.search(r"node --membership static:'a list' --node-id a --data-dir a --cluster-token-file secret\n", said.out)
    assert "> secret)\n" in said.out


def test_a_folder_with_another_cluster_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "d").mkdir()
    assert run(["cluster", "init", "--nodes", THREE, "--output", "d/cluster.toml"]) == 0
    for option, message in [
        ("--nodes 4", "--nodes 4: the cluster in d/cluster.toml has n1, n2, n3; leave the option out\n"),
        ("--replicas 3", "--replicas 3: the cluster in d/cluster.toml has 2; leave the option out\n"),
    ]:
        capsys.readouterr()
        assert run(["cluster", "up", "--data-dir", "d", *option.split()]) == 2
        assert capsys.readouterr().err == f"presencedb: {message}"

"""`presencedb cluster up` and `serve --nodes`: real clusters with one command, killed, restarted, ended."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest

import presencedb
from presencedb.cli.main import run
from tests.support.process import FREE_PORTS, ServerProcess, run_command
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

READY = re.compile(r"^ready (?:node=)?(\S+) pid=(\d+) (?:tcp=(\S+))?", re.MULTILINE)
USERS = range(1_000, 1_400)


class Cluster:
    """What `cluster up` has said on stdout so far."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        wait_until(lambda: "ready gateway" in process.stdout)

    def pid(self, name: str) -> int:
        """Of the latest process of this name."""
        return int([pid for who, pid, _ in READY.findall(self.process.stdout) if who == name][-1])

    @property
    def pids(self) -> list[int]:
        """Of all processes that there ever were, but that which started them."""
        return [int(pid) for _, pid, _ in READY.findall(self.process.stdout)]

    @property
    def url(self) -> str:
        """Of the router."""
        return next(f"presence://{tcp}" for who, _, tcp in READY.findall(self.process.stdout) if who == "router")

    def states(self) -> dict[str, str]:
        """Of each member, as `cluster status` tells it."""
        output = io.StringIO()
        with redirect_stdout(output):
            assert run(["cluster", "status", "--json", "--url", self.url]) == 0
        return {member["id"]: member["state"] for member in json.loads(output.getvalue())["members"]}


@contextmanager
def up(*arguments: str) -> Iterator[Cluster]:
    with ServerProcess("cluster", "up", *FREE_PORTS, "--log-level", "warning", *arguments) as process:
        yield Cluster(process)


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or only what is left of one until somebody asks how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_nobody_who_beats_is_lost_when_a_node_is_killed() -> None:
    with up("--ttl", "10") as cluster, presencedb.Client(cluster.url) as db:
        assert [who for who, _, _ in READY.findall(cluster.process.stdout)] == ["n1", "n2", "n3", "router", "gateway"]
        assert db.heartbeat_batch(USERS) == len(USERS)
        assert set(db.status(range(2_000, 2_100)).values()) == {False}
        victim = cluster.pid("n2")
        os.kill(victim, signal.SIGKILL)
        seen: set[bool | None] = set()

        def asked_until(condition: bool) -> bool:
            seen.update(db.status(USERS).values())
            return condition

        wait_until(lambda: asked_until("a process has died" in cluster.process.stderr))
        wait_until(lambda: asked_until(cluster.states()["n2"] == "down"))
        assert seen == {True}
        assert db.count() == len(USERS)
        assert cluster.states() == {"n1": "up", "n2": "down", "n3": "up"}
        told = next(line for line in cluster.process.stderr.splitlines() if "has died" in line)
        assert f"process=n2 pid={victim} how=SIGKILL" in told
        assert cluster.process.terminate() == 0
        assert all(map(is_gone, cluster.pids))
    assert "Traceback" not in cluster.process.stderr


def test_what_dies_is_started_again_and_nothing_outlives_its_parent() -> None:
    with up("--nodes", "2", "--ttl", "10m", "--restart") as cluster, presencedb.Client(cluster.url) as db:
        db.heartbeat_batch(USERS)
        first = cluster.pid("n1")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: cluster.pid("n1") != first)
        # It has pulled from the other what it had forgotten.
        wait_until(lambda: cluster.states() == {"n1": "up", "n2": "up"})
        os.kill(cluster.pid("n2"), signal.SIGKILL)
        assert set(db.status(USERS).values()) == {True}
        wait_until(lambda: len(cluster.pids) == 6)
        cluster.process.sigkill()
        wait_until(lambda: all(map(is_gone, cluster.pids)))


def test_a_cluster_in_a_folder_is_the_same_the_next_time(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path / "data"))
    with up(*folder, "--nodes", "a=127.0.0.1:0,b=127.0.0.1:0", "--replicas", "1", "--ttl", "10m") as cluster:
        before = (tmp_path / "data" / "cluster.toml").read_text()
        assert cluster.states() == {"a": "up", "b": "up"}
        cluster.process.terminate()
    with up(*folder, "--ttl", "10m") as cluster, presencedb.Client(cluster.url) as db:
        assert (tmp_path / "data" / "cluster.toml").read_text() == before
        # They know that they were there before, and have forgotten everybody: that is not the same as nobody.
        assert db.status([42]) == {42: None}
        assert db.heartbeat_batch([42]) == 1
        assert db.status([42]) == {42: True}
        assert cluster.states() == {"a": "syncing", "b": "syncing"}


def test_a_part_that_cannot_start_ends_all_with_its_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_command("cluster", "up", "--nodes", "1", "--http", "127.0.0.1:0", "--listen", f"127.0.0.1:{port}")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"presencedb: cannot listen on 127.0.0.1:{port}: address already in use (--listen)\n"


def test_serve_with_nodes_is_asked_as_one_node_is(tmp_path: Path) -> None:
    tokens, keys = tmp_path / "tokens", tmp_path / "keys"
    tokens.write_text("app:a-token-for-the-app:read,write,admin\n")
    keys.write_text("backend:a-key-for-the-backend\n")
    secrets = ("--token-file", str(tokens), "--api-keys", str(keys))
    with ServerProcess("serve", *FREE_PORTS, "--nodes", "2", "--ttl", "10m", *secrets) as process:
        assert re.fullmatch(r"ready tcp=127\.0\.0\.1:\d+ http=127\.0\.0\.1:\d+\n", process.stdout)
        assert run_command("status", "--url", process.url, "42").returncode == 1
        with presencedb.Client(process.url, token="a-token-for-the-app") as db:
            assert db.heartbeat_batch(USERS) == len(USERS)
            members = db.topology()["members"]
        # What the members ask each other for is no secret of clients.
        refused = run_command("status", "--url", f"presence://{members[0]['address']}", "--token-file", str(tokens), "42")
        assert (refused.returncode, "token" in refused.stderr) == (1, True)
        request = urllib.request.Request(
            f"{process.http_url}/status/{USERS[0]}", headers={"X-API-Key": "a-key-for-the-backend"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert json.loads(answer.read())["online"] is True

        tokens.write_text("app:another-token-for-it\n")
        process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: (
                run_command(
                    "count", "--url", process.url, environment={"PRESENCEDB_TOKEN": "another-token-for-it"}
                ).returncode
                == 0
            )
        )
        assert process.terminate() == 0
    assert "a-token-for-the-app" not in process.stderr
    assert "a-key-for-the-backend" not in process.stderr


def test_a_member_reads_the_list_anew(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        place = f"127.0.0.1:{bound.getsockname()[1]}"
    path = tmp_path / "cluster.toml"
    assert run_command("cluster", "init", "--nodes", f"n1={place}", "--output", str(path)).returncode == 0
    with ServerProcess("node", "--membership", f"static:{path}", "--data-dir", str(tmp_path / "n1")) as node:
        assert node.ready == {"tcp": place}
        good = path.read_text()

        def reload(text: str, outcome: str) -> None:
            path.write_text(text)
            node.send_signal(signal.SIGHUP)
            wait_until(lambda: outcome in node.stderr)

        reload(good.replace("weight = 100", "weight = 7"), "its epoch 1 is not later than 1")
        reload(good.replace("epoch = 1", "epoch = 2").replace("seed = ", "seed = 1 #"), "seed: up to 16 hexadecimal digits")
        reload(good.replace("epoch = 1", "epoch = 3").replace("weight = 100", "weight = 7"), " reloaded ")
        members = run_command("cluster", "members", "--json", "--url", node.url)
        assert json.loads(members.stdout) == {"id": "n1", "address": place, "weight": 7}
        shown = run_command("cluster", "status", "--url", node.url).stdout.splitlines()
        assert shown[0].split()[:4] == ["member", "address", "state", "epoch"]
        assert shown[1].split() == ["n1", place, "up", "3", "0", "0", "16384/16384"]

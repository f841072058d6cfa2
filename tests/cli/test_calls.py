"""The client commands against a real server: answers, JSON, ids from stdin, signals, closed pipes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from presencedb.cli.main import run
from tests.support.msgpackrpc import RawConnection
from tests.support.process import ServerProcess, clean_environment, run_command, serve
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "presencedb"]
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serve("--ttl", "600", "--tick", "50") as process:
        yield process


@pytest.fixture(autouse=True)
def nobody_online(server: ServerProcess) -> None:
    """Each test finds the server empty."""
    with RawConnection(server.tcp) as node:
        cursor = None
        while True:
            cursor, ids = node.call("online", cursor, 10_000)[1]
            assert node.call("offline", ids)[0] is None
            if cursor is None:
                return


def ask(server: ServerProcess, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command against the server; it has to succeed and say nothing beside its answer."""
    result = run_command(*arguments, stdin=stdin, environment={"PRESENCEDB_URL": server.url})
    assert (result.returncode, result.stderr) == (0, "")
    return result


def answer_here(server: ServerProcess, *arguments: str) -> str:
    """What a command answers, run in this process: where starting one would show nothing more, and take its time."""
    output = io.StringIO()
    with redirect_stdout(output):
        assert run([*arguments, "--url", server.url]) == 0
    return output.getvalue()


def info_of(server: ServerProcess) -> dict[str, Any]:
    with RawConnection(server.tcp) as node:
        info = node.call("info")[1]
    assert isinstance(info, dict)
    return info


def documents(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def started(server: ServerProcess, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is told to stop."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment({"PRESENCEDB_URL": server.url}),
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_answers_of_every_command(server: ServerProcess) -> None:
    assert ask(server, "heartbeat", "42", "alice").stdout == "2 heartbeats, 2 came online\n"
    assert ask(server, "heartbeat", "42").stdout == "1 heartbeat, 0 came online\n"
    assert ask(server, "status", "42", "bob", "42").stdout == "42\tonline\nbob\toffline\n42\tonline\n"
    assert MOMENT.fullmatch(ask(server, "last-seen", "42", "bob").stdout.split()[1])
    assert ask(server, "last-seen", "bob").stdout == "bob\t-\n"
    assert ask(server, "count").stdout == "2\n"
    assert sorted(ask(server, "online").stdout.split()) == ["42", "alice"]
    assert ask(server, "offline", "42", "nobody").stdout == "2 sign-offs, 1 went offline at once\n"
    assert ask(server, "offline", "--grace", "5m", "alice").stdout == "1 sign-off, 0 went offline at once\n"
    assert ask(server, "count").stdout == "1\n"
    assert re.fullmatch(rf"pong from {server.url} in \d+\.\d+ ms\n", ask(server, "ping").stdout)
    counters = dict(line.split("\t") for line in ask(server, "info").stdout.splitlines())
    assert counters["online"] == "1"
    assert counters["ttl_ms"] == "600000"


def test_the_answers_of_every_command_in_json(server: ServerProcess) -> None:
    def answer(*arguments: str) -> list[Any]:
        return documents(answer_here(server, *arguments, "--json"))

    assert answer("heartbeat", "42", "alice") == [{"heartbeats": 2, "came_online": 2}]
    assert answer("status", "42", "bob") == [{"id": "42", "online": True}, {"id": "bob", "online": False}]
    (seen, never) = answer("last-seen", "alice", "bob")
    assert seen["id"] == "alice"
    assert MOMENT.fullmatch(seen["last_seen"])
    assert never == {"id": "bob", "last_seen": None}
    assert answer("count") == [{"online": 2}]
    assert sorted(entry["id"] for entry in answer("online")) == ["42", "alice"]
    assert len(answer("online", "--limit", "1")) == 1
    assert answer("offline", "42") == [{"sign_offs": 1, "went_offline": 1}]
    (pong,) = answer("ping")
    assert pong["url"] == server.url
    assert pong["round_trip_ms"] > 0
    (info,) = answer("info")
    assert info["online"] == 1


def test_what_a_warming_server_does_not_know_is_unknown_and_null() -> None:
    with serve("--warm-up", "--ttl", "600") as process:
        assert ask(process, "status", "42").stdout == "42\tunknown\n"
        assert documents(ask(process, "status", "42", "--json").stdout) == [{"id": "42", "online": None}]


def test_follow_prints_each_change_as_it_happens(server: ServerProcess) -> None:
    with started(server, "follow") as text, started(server, "follow", "--json") as lines:
        assert text.stdout is not None
        assert lines.stdout is not None
        wait_until(lambda: info_of(server)["followers"] == 2)
        ask(server, "heartbeat", "alice")
        first = text.stdout.readline()
        change = json.loads(lines.stdout.readline())
        ask(server, "offline", "alice")
        second = text.stdout.readline()
        lines.stdout.readline()
        for process in (text, lines):
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert process.stderr is not None
            assert process.stderr.read() == ""
    assert re.fullmatch(rf"{MOMENT.pattern}\talice\tonline\theartbeat\n", first)
    assert re.fullmatch(rf"{MOMENT.pattern}\talice\toffline\tsign_off\n", second)
    assert MOMENT.fullmatch(change.pop("at"))
    cursor = change.pop("cursor")
    assert change == {"id": "alice", "online": True, "reason": "heartbeat"}
    with started(server, "follow", "--json", "--cursor", cursor) as resumed:
        assert resumed.stdout is not None
        missed = json.loads(resumed.stdout.readline())
        assert (missed["id"], missed["online"], missed["reason"]) == ("alice", False, "sign_off")


def test_follow_goes_on_at_any_cursor_that_it_printed(server: ServerProcess) -> None:
    def lines(process: subprocess.Popen[str], count: int) -> list[Any]:
        assert process.stdout is not None
        return [json.loads(process.stdout.readline()) for _ in range(count)]

    with started(server, "follow", "--json") as first:
        wait_until(lambda: info_of(server)["followers"] == 1)
        with RawConnection(server.tcp) as node:
            node.call("heartbeat", ["a", "b", "c"])
        told = lines(first, 3)
    assert [change["id"] for change in told] == ["a", "b", "c"]
    assert all(isinstance(change["cursor"], str) for change in told)
    ask(server, "heartbeat", "later")
    for number, change in enumerate(told):
        with started(server, "follow", "--json", "--cursor", change["cursor"]) as resumed:
            ids = [change["id"] for change in lines(resumed, 1 if number == 2 else 4)]
        assert ids == (["later"] if number == 2 else ["a", "b", "c", "later"])


def test_a_cursor_that_nobody_gave_out_is_a_gap(server: ServerProcess) -> None:
    result = run_command("follow", "--url", server.url, "--cursor", "made-up")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_follow_that_missed_changes_says_so_and_what_to_do(tmp_path: Path) -> None:
    url = f"presence+unix://{tmp_path / 'socket'}"
    arguments = ("node", "--listen", "off", "--unix", str(tmp_path / "socket"))

    def follower_count() -> int:
        answer = run_command("info", "--json", "--url", url).stdout
        return int(json.loads(answer)["followers"]) if answer else 0

    with ServerProcess(*arguments) as first:
        command = [*COMMAND, "follow", "--url", url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment())
        try:
            wait_until(lambda: follower_count() == 1)
            first.sigkill()
            with ServerProcess(*arguments):
                _, said = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 1
    assert said == (
        "presencedb: changes were missed: the server was started again or its warm-up ended, or this reader was too slow; "
        "run `presencedb follow` again\n"
    )


def test_ids_from_stdin(server: ServerProcess) -> None:
    text = "\ufeff42 alice\r\n\n  bob\tcarol\n" + "dave"
    assert ask(server, "heartbeat", "first", "-", "last", stdin=text).stdout == "7 heartbeats, 7 came online\n"
    listed = ask(server, "status", "-", stdin="dave first\n7").stdout
    assert listed == "dave\tonline\nfirst\tonline\n7\toffline\n"
    assert ask(server, "status", "-", stdin="").stdout == ""


def test_many_ids_from_stdin_in_batches(server: ServerProcess) -> None:
    ids = [str(number) for number in range(10**9, 10**9 + 30_000)]
    answer = ask(server, "heartbeat", "-", "--json", stdin="\n".join(ids)).stdout
    assert json.loads(answer) == {"heartbeats": 30_000, "came_online": 30_000}
    statuses = ask(server, "status", "-", stdin=" ".join(reversed(ids))).stdout.splitlines()
    assert statuses == [f"{user_id}\tonline" for user_id in reversed(ids)]
    assert sorted(ask(server, "online").stdout.split()) == ids


def test_ids_that_trickle_through_a_pipe_are_used_as_they_come(server: ServerProcess) -> None:
    with started(server, "status", "-", stdin=subprocess.PIPE, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        statuses = info_of(server)["statuses"]
        process.stdin.write("42\n")
        process.stdin.flush()
        wait_until(lambda: info_of(server)["statuses"] > statuses)
        process.stdin.write("alice")
        process.stdin.close()
        assert process.stdout.read() == "42\toffline\nalice\toffline\n"
        assert process.wait(20) == 0


def test_reading_stdin_can_be_interrupted(server: ServerProcess) -> None:
    with started(server, "heartbeat", "-", stdin=subprocess.PIPE, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("42\n")
        process.stdin.flush()
        wait_until(lambda: answer_here(server, "count") == "1\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_ids_that_look_like_options(server: ServerProcess) -> None:
    assert ask(server, "heartbeat", "--", "--json", "-7").stdout == "2 heartbeats, 2 came online\n"
    assert documents(ask(server, "status", "--json", "--", "--json").stdout) == [{"id": "--json", "online": True}]


def test_ids_cannot_drive_the_terminal(server: ServerProcess) -> None:
    strange = "red\x1b[31m\nline\u202eturned \u00fc \U0001f600"
    ask(server, "heartbeat", strange)
    assert ask(server, "online").stdout == "red\\x1b[31m\\nline\\u202eturned \u00fc \U0001f600\n"
    assert documents(ask(server, "online", "--json").stdout) == [{"id": strange}]
    ascii_only = {"PRESENCEDB_URL": server.url, "PYTHONIOENCODING": "ascii"}
    assert run_command("online", environment=ascii_only).stdout.endswith("turned \\xfc \\U0001f600\n")


def test_heartbeat_every_keeps_users_online_until_it_is_interrupted() -> None:
    with serve("--ttl", "0.5", "--tick", "50") as short, started(short, "heartbeat", "--every", "0.2", "42") as process:
        wait_until(lambda: info_of(short)["heartbeats"] >= 10)
        info = info_of(short)
        assert info["timeouts"] == 0
        assert info["online"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == ""
        assert process.stderr.read() == "presencedb: 1 id kept online, a heartbeat every 200ms; ^C ends\n"
        wait_until(lambda: answer_here(short, "count") == "0\n")


@pytest.mark.parametrize(
    ("every", "noted"),
    [
        ("240", ""),
        (
            "241.5",
            (
                "--every 241.5s: one late heartbeat takes users offline, the ttl of this server is 10m, "
                "and it asks for a heartbeat every 200s"
            ),
        ),
        ("600", "--every 10m: users go offline in between, the ttl of this server is 10m"),
    ],
)
def test_heartbeat_every_notes_a_pace_that_is_too_slow(server: ServerProcess, every: str, noted: str) -> None:
    with started(server, "heartbeat", "--every", every, "42") as process:
        assert process.stderr is not None
        if noted:
            assert process.stderr.readline() == f"presencedb: {noted}\n"
        assert process.stderr.readline().startswith("presencedb: 1 id kept online, a heartbeat every ")


def test_heartbeat_every_rides_out_an_outage(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    url = f"presence+unix://{path}"
    arguments = ("node", "--listen", "off", "--unix", str(path), "--ttl", "600")
    with ServerProcess(*arguments) as first:
        first.ready["tcp"] = ""
        process = subprocess.Popen(
            [*COMMAND, "heartbeat", "--every", "100ms", "--timeout", "0.2", "--url", url, "42"],
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        try:
            wait_until(lambda: run_command("count", "--url", url).stdout == "1\n")
            first.sigkill()
            assert process.stderr is not None
            lines = [process.stderr.readline(), process.stderr.readline()]
            with ServerProcess(*arguments):
                wait_until(lambda: run_command("count", "--url", url).stdout == "1\n")
                lines.append(process.stderr.readline())
                process.terminate()
                assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()
    assert lines[1].startswith(f"presencedb: cannot reach {url}: ")
    assert lines[1].endswith("; going on trying\n")
    assert lines[2] == "presencedb: the server is back\n"


def test_a_reader_that_goes_away_is_no_accident(server: ServerProcess) -> None:
    ask(server, "heartbeat", *(f"a-rather-long-name-{number}" for number in range(5_000)))
    with started(server, "online") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_cannot_be_written_is_a_failure(server: ServerProcess) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, "count", "--url", server.url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "presencedb: No space left on device\n")


def test_closed_streams_do_no_harm(server: ServerProcess) -> None:
    def run_closing(descriptor: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments, "--url", server.url],
            stdin=None if descriptor == 0 else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=clean_environment(),
            preexec_fn=lambda: os.close(descriptor),
            check=False,
        )

    assert run_closing(1, "count").returncode == 0
    assert run_closing(2, "count").stdout == "0\n"
    closed_stdin = run_closing(0, "status", "-")
    assert closed_stdin.returncode == 2
    assert "- reads ids from stdin, which is closed" in closed_stdin.stderr


def test_client_commands_load_nothing_of_a_server(server: ServerProcess) -> None:
    code = (
        "import sys; from presencedb.cli.main import run; status = run(sys.argv[1:]);"
        "print(*(name for name in sys.modules if name.partition('.')[0] in"
        " {'aiohttp', 'uvloop', 'structlog', 'jwt', 'cryptography', 'prometheus_client', 'msgspec'}"
        " or name.startswith(('presencedb.engine', 'presencedb.node', 'presencedb.gateway'))), file=sys.stderr);"
        "sys.exit(status)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "status", "42", "--url", server.url],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "42\toffline\n", "\n")

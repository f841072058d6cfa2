"""What a person reads when something is wrong, with which exit status; run as real processes. Never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, run_command, serve

NOT_TAKEN = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serve() as process:
        yield process


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "message"),
    [
        ("serv", "", 2, "no such command serv; did you mean serve?\nTry `presencedb --help`."),
        ("xyzzy", "", 2, "no such command xyzzy\nTry `presencedb --help`."),
        ("serve --tll 3", "", 2, "no such option --tll; did you mean --ttl?\nTry `presencedb serve --help`."),
        ("status --jso 42", "", 2, "no such option --jso; did you mean --json?\nTry `presencedb status --help`."),
        ("count --ttl 3", "", 2, "count has no option --ttl; it belongs to serve, node, cluster up\nTry `presencedb"),
        ("--json count", "", 2, "no option --json here; it goes behind heartbeat, offline, status,"),
        ("serve --no-ttl 3", "", 2, "no such option --no-ttl; did you mean --ttl?\nTry `presencedb serve --help`."),
        ("serve --no-json", "", 2, "serve has no option --no-json; it belongs to heartbeat, offline, status,"),
        ("serve --ttl", "", 2, "Option '--ttl' requires an argument.\nTry `presencedb serve --help`.\n"),
        ("count --json=1", "", 2, "Option '--json' does not take a value.\nTry `presencedb count --help`.\n"),
        ("--version=1", "", 2, "Option '--version' does not take a value.\nTry `presencedb --help`.\n"),
        ("heartbeat 42", "PRESENCEDB_EVERY=1", 2, "PRESENCEDB_EVERY is no variable: --every is for the command line only\n"),
        ("serve --tick 100.5", "", 2, "--tick 100.5: it takes whole milliseconds\n"),
        ("serve --ttl 0", "", 2, "--ttl 0: out of range, it takes one tick to a year (0.05 to 31536000 seconds)\n"),
        ("serve --tick 10", "", 2, "--tick 10: out of range, it takes 50 to 1000 milliseconds\n"),
        ("serve", "PRESENCEDB_TICK=10", 2, "PRESENCEDB_TICK=10: out of range, it takes 50 to 1000 milliseconds\n"),
        ("serve", "PRESENCEDB_TLL=10", 2, "unknown variable PRESENCEDB_TLL; did you mean PRESENCEDB_TTL?\n"),
        ("status 42", "PRESENCEDB_ULR=x", 2, "unknown variable PRESENCEDB_ULR; did you mean PRESENCEDB_URL?\n"),
        ("serve", "PRESENCEDB_IMPL=rust", 2, "PRESENCEDB_IMPL is 'c' or 'python', not 'rust'\n"),
        ("status 42 --url http://127.0.0.1:1", "", 2, "--url: no scheme 'http', a URL is presence://HOST"),
        ("count 42", "", 2, "count takes no arguments, only options\nTry `presencedb count --help`.\n"),
        ("status", "", 2, "it takes at least one ID, or - to read them from stdin\nTry `presencedb status --help`.\n"),
        ("status --grace 3 42", "", 2, "status has no option --grace; it belongs to offline\n"),
        ("heartbeat --every 1ms 42", "", 2, "--every 1ms: out of range, it takes 100ms to 365d\n"),
        ("serve --listen 0.0.0.0:0", "", 2, "--listen 0.0.0.0:0 listens beyond this machine"),
        ("node --listen [::]:0", "", 2, "--listen [::]:0 listens beyond this machine"),
        ("serve --listen 127.0.0.1:0 --http 0.0.0.0:0", "", 2, "--http 0.0.0.0:0 listens beyond this machine"),
        ("gateway --http 0.0.0.0:0", "", 2, "--http 0.0.0.0:0 listens beyond this machine"),
        ("serve --token-file nowhere", "", 2, "--token-file nowhere: cannot read nowhere: No such file"),
        ("serve --tls-key nowhere", "", 2, "--tls-key nowhere: a key without its certificate; give --tls-cert too\n"),
        ("serve --tls-cert nowhere", "", 2, "--tls-cert nowhere (which has to hold the key too"),
        ("serve", "PRESENCEDB_TOKEN=short", 2, "PRESENCEDB_TOKEN: a token has at least 8 characters\n"),
        ("serve --jwt-audience x", "", 2, "user tokens are checked with --jwt-key or with --jwks-url"),
        ("node --listen off", "", 2, "--listen off: then nobody can reach the node; give --unix PATH\n"),
        ("node --listen 203.0.113.1:7 --insecure", "", 1, "cannot listen on 203.0.113.1:7: cannot assign requested address"),
        ("node --listen off --unix no/socket", "", 1, "cannot listen on no/socket: no such file or directory (--unix)\n"),
        ("ping --url presence+unix:///no/socket", "", 1, "cannot reach presence+unix:///no/socket: no such file or dir"),
    ],
)  # fmt: skip
def test_messages_and_exit_statuses(arguments: str, environment: str, status: int, message: str) -> None:
    name, _, value = environment.partition("=")
    result = run_command(*arguments.split(), environment={name: value} if name else {})
    complaint = result.stderr.splitlines(keepends=True)
    assert result.returncode == status
    assert result.stdout == ""
    # A warning that somebody asked for trouble may stand before the trouble.
    shown = "".join(line for line in complaint if " warning " not in line)
    assert shown.startswith(f"presencedb: {message}")
    assert "Traceback" not in result.stderr


def test_no_server(server: ServerProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        free_port = bound.getsockname()[1]
    result = run_command("status", "--url", f"presence://127.0.0.1:{free_port}", "42")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"presencedb: cannot reach presence://127.0.0.1:{free_port}: connection refused; start one with `presencedb serve`\n"
    )


def test_the_port_of_http_is_told_from_that_of_the_protocol(server: ServerProcess) -> None:
    url = f"presence://{server.ready['http']}"
    result = run_command("status", "--url", url, "42")
    assert result.returncode == 1
    assert result.stderr == (f"presencedb: {url} is an HTTP port; this client's protocol is on another, usually port 7411\n")


@pytest.mark.parametrize(
    "arguments",
    [
        "ping --url presence://u:Sesame@host",
        "ping --url presence://u:Ses/Sesame@host",
        "ping --url presence+tls://u:Ses?Sesame@host",
        "ping --url presence+unix://u:Ses/Sesame@host",
        "ping --url presence:u:Sesame@host",
        "ping --url http://u:Sesame@host",
        "ping --url http://u:Ses/Sesame@host",
        "ping --url http://host/?token=Sesame",
        "ping --url presence://host/Sesame",
        "ping --tls-ca nowhere --url presence://u:Sesame@host",
        "ping presence://u:Sesame@host",
        "gateway --url presence://u:Sesame@host",
        "serve --jwks-url ftp://u:Sesame@host/keys",
        "serve --ulr=presence://u:Sesame@host",
    ],
)
def test_a_secret_in_a_url_is_not_repeated(arguments: str, tmp_path: Path) -> None:
    command, *rest = arguments.split()
    results = [run_command(command, *rest)]
    if rest[0] == "--url":
        results.append(run_command(command, environment={"PRESENCEDB_URL": rest[1]}))
        file = tmp_path / "presencedb.toml"
        file.write_text(f'url = "{rest[1]}"\n')
        results.append(run_command(command, "--config", str(file)))
        assert results[1].stderr.startswith("presencedb: PRESENCEDB_URL: ")
        assert results[2].stderr.startswith(f"presencedb: {file}, url: ")
    for result in results:
        assert result.returncode == 2
        assert "Ses" not in result.stderr


@pytest.mark.parametrize(
    ("flag", "others"),
    [
        ("--listen", ("--http", "127.0.0.1:0")),
        ("--http", ("--listen", "127.0.0.1:0")),
        ("--metrics-listen", NOT_TAKEN),
    ],
)
def test_a_port_that_is_taken_is_named_with_its_flag_in_one_line(
    server: ServerProcess, flag: str, others: tuple[str, ...]
) -> None:
    taken = server.ready["tcp" if flag == "--listen" else "http"]
    result = run_command("serve", flag, taken, *others)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.lower() == f"presencedb: cannot listen on {taken}: address already in use ({flag})\n"


def test_unknown_keys_and_values_of_a_file_are_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "presencedb.toml"
    path.write_text("tll = 3\n")
    result = run_command("serve", "--config", str(path))
    assert (result.returncode, result.stderr) == (2, f"presencedb: {path}: unknown key tll; did you mean ttl?\n")
    path.write_text("every = 3\n")
    result = run_command("heartbeat", "42", "--config", str(path))
    expected = f"presencedb: {path}: every is no key: --every is for the command line only\n"
    assert (result.returncode, result.stderr) == (2, expected)
    path.write_text("tick = 5000\n")
    result = run_command("serve", environment={"PRESENCEDB_CONFIG": str(path)})
    expected = f"presencedb: {path}, tick = 5000: out of range, it takes 50 to 1000 milliseconds\n"
    assert (result.returncode, result.stderr) == (2, expected)


def test_what_is_not_an_id(server: ServerProcess) -> None:
    result = run_command("status", "--url", server.url, "x" * 300)
    assert result.returncode == 2
    assert "a text id has between 1 and 255 bytes, not 300" in result.stderr
    result = run_command("heartbeat", "--url", server.url, "-", stdin=f"42 {'y' * 300}\n")
    assert result.returncode == 2
    assert "stdin, id number 2: a text id has between 1 and 255 bytes, not 300" in result.stderr


def test_a_token_that_is_wrong_or_missing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("app:a-token-for-the-app:read\n")
    with serve("--token-file", str(tokens)) as process:
        url = ("--url", process.url)
        missing = run_command("count", *url)
        wrong = run_command("count", *url, environment={"PRESENCEDB_TOKEN": "not-the-right-one"})
        right = run_command("count", *url, environment={"PRESENCEDB_TOKEN": "a-token-for-the-app"})
        denied = run_command("heartbeat", "42", *url, "--token-file", str(tokens))
        hidden = process.stderr + missing.stderr + wrong.stderr + denied.stderr
    assert [result.returncode for result in (missing, wrong, right, denied)] == [1, 1, 0, 1]
    assert right.stdout == "0\n"
    assert all(result.stderr.count("\n") == 1 for result in (missing, wrong, denied))
    assert "not-the-right-one" not in hidden
    assert "a-token-for-the-app" not in hidden

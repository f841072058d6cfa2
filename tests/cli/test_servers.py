"""Servers as processes: ready line, banner, doors, signals, reload, TLS."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.certificates import Certificate
from tests.support.msgpackrpc import RawConnection
from tests.support.process import FREE_PORTS, ServerProcess, clean_environment, run_command, serve
from tests.support.programs import require_program
from tests.support.waiting import wait_until

ADDRESS = r"127\.0\.0\.1:[1-9][0-9]*"


def pasted(server: ServerProcess, program: str) -> str:
    """What the banner's line with this program answers when it is pasted into a shell."""
    line = next(line for line in server.stderr.splitlines() if line.startswith("  ") and program in line)
    result = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        cwd=server.folder / "work",
        env=clean_environment(),
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_ready_line_names_what_is_served() -> None:
    with serve("--metrics-listen", "127.0.0.1:0", "--unix", "socket") as process:
        assert re.fullmatch(rf"ready tcp={ADDRESS} unix=socket http={ADDRESS} metrics={ADDRESS}\n", process.stdout)
        result = run_command("ping", "--url", f"presence+unix://{process.folder / 'work' / 'socket'}")
        assert result.returncode == 0
        with urllib.request.urlopen(f"http://{process.ready['metrics']}/metrics", timeout=20) as answer:
            assert answer.status == 200
        assert process.terminate() == 0
        assert not (process.folder / "work" / "socket").exists()
    with ServerProcess("node", "--listen", "off", "--unix", "socket") as process:
        assert process.stdout == "ready unix=socket\n"


def test_the_lines_of_the_banner_work_when_pasted() -> None:
    require_program("curl")
    with serve() as process:
        assert "HTTP/1.1 204" in pasted(process, "curl")
        assert pasted(process, "presencedb status") == "42\tonline\n"
        assert "engine" in process.stderr
        assert "asks for no token" in process.stderr
        assert "asks for no key, and serves this machine only" in process.stderr


def test_the_lines_of_the_banner_work_with_keys_and_tls(tmp_path: Path) -> None:
    require_program("curl")
    certificate = Certificate(tmp_path)
    tokens, keys = tmp_path / "tokens", tmp_path / "keys with a blank"
    tokens.write_text("# of the app\napp:a-token-for-the-app\n")
    keys.write_text("# of the backend\n\nbackend:a-key-for-the-backend\n")
    options = ("--token-file", str(tokens), "--api-keys", str(keys), "--tls-cert", str(certificate.certificate_path))
    with serve(*options, "--tls-key", str(certificate.key_path)) as process:
        assert "HTTP/1.1 204" in pasted(process, "curl")
        assert pasted(process, "presencedb status") == "42\tonline\n"
        assert "asks for a token" in process.stderr
        assert "asks for a key or a user token" in process.stderr
        assert "a-token-for-the-app" not in process.stderr + process.stdout
        assert "a-key-for-the-backend" not in process.stderr + process.stdout


@pytest.mark.parametrize(
    ("key_rights", "curl_shows", "token_rights", "line"),
    [
        ("read", '"online"', "write", "ping -> pong from presence://"),
        ("admin", '{"status":"ok"}', "read,admin", "status -> 42\toffline\n"),
        ("write", "HTTP/1.1 204", "admin", "ping -> pong from presence://"),
    ],
)
def test_the_lines_of_the_banner_work_with_the_rights_that_there_are(
    tmp_path: Path, key_rights: str, curl_shows: str, token_rights: str, line: str
) -> None:
    command, _, answer_begins = line.partition(" -> ")
    require_program("curl")
    tokens, keys = tmp_path / "tokens", tmp_path / "keys"
    tokens.write_text(f"app:a-token-for-the-app:{token_rights}\nall:a-token-for-everything:read,write,admin\n")
    keys.write_text(f" \n  # of the backend\n  backend:a-key-for-the-backend:{key_rights}\nall:a-key-for-everything\n")
    with serve("--token-file", str(tokens), "--api-keys", str(keys)) as process:
        answer = pasted(process, "curl")
        assert re.match("HTTP/1.1 20[04] ", answer)
        assert curl_shows in answer
        assert pasted(process, f"presencedb {command}").startswith(answer_begins)


def test_beyond_loopback_with_secrets_or_knowingly(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("app:a-token-for-the-app\n")
    with ServerProcess("node", "--listen", "0.0.0.0:0", "--token-file", str(tokens)) as process:
        assert process.ready["tcp"].startswith("0.0.0.0:")
        assert "warning" not in process.stderr
        assert pasted(process, "presencedb status") == "42\toffline\n"
    with ServerProcess("node", "--listen", "0.0.0.0:0", "--insecure") as process:
        assert "warning no token is asked for" in process.stderr
    with ServerProcess("node", "--listen", "0.0.0.0:0", environment={"PRESENCEDB_TOKEN": "a-token-for-all"}) as process:
        port = process.tcp[1]
        url = f"presence://127.0.0.1:{port}"
        assert run_command("count", "--url", url).returncode == 1
        assert run_command("info", "--url", url, environment={"PRESENCEDB_TOKEN": "a-token-for-all"}).returncode == 0


def test_a_gateway_alone_serves_before_its_node_does(tmp_path: Path) -> None:
    socket_path = tmp_path / "socket"
    url = f"presence+unix://{socket_path}"

    def status_of(path: str) -> int:
        try:
            with urllib.request.urlopen(gateway.http_url + path, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with ServerProcess("gateway", "--http", "127.0.0.1:0", "--url", url, "--timeout", "1") as gateway:
        assert re.fullmatch(rf"ready http={ADDRESS}\n", gateway.stdout)
        assert status_of("/healthz") == 200
        assert status_of("/readyz") == 503
        with ServerProcess("node", "--listen", "off", "--unix", str(socket_path)):
            wait_until(lambda: status_of("/readyz") == 200)
            assert status_of("/status/42") == 200
        assert gateway.terminate() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_end_cleanly(number: signal.Signals) -> None:
    with serve() as process, RawConnection(process.tcp) as idle:
        assert idle.call("ping")[1] == "pong"
        process.send_signal(number)
        assert process.wait() == 0
        assert "Traceback" not in process.stderr
        assert f"signal={number.name}" in process.stderr


def test_a_second_signal_ends_at_once() -> None:
    with serve("--drain-timeout", "10m") as process, socket.create_connection(process.http, timeout=20) as client:
        # The drain waits for the body of this request.
        client.sendall(
            b"POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: 20\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "signal=SIGTERM" in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 1
        assert "ending at once" in process.stderr


def test_sighup_reads_secrets_anew_and_keeps_the_old_where_the_new_are_broken(tmp_path: Path) -> None:
    tokens, keys = tmp_path / "tokens", tmp_path / "keys"
    tokens.write_text("app:the-first-token\n")
    keys.write_text("backend:the-first-key\n")

    def accepts_token(token: str) -> bool:
        return run_command("count", "--url", process.url, environment={"PRESENCEDB_TOKEN": token}).returncode == 0

    def accepts_key(key: str) -> bool:
        request = urllib.request.Request(process.http_url + "/status/42", headers={"X-API-Key": key})
        try:
            with urllib.request.urlopen(request, timeout=20):
                return True
        except urllib.error.HTTPError as error:
            with error:
                return False

    def reload() -> list[str]:
        lines_before = process.stderr.count("\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: process.stderr.count("reloaded") >= 2 + len(reloads) * 2)
        reloads.append(lines_before)
        return [line for line in process.stderr.splitlines()[lines_before:] if "reloaded" in line]

    reloads: list[int] = []
    with serve("--token-file", str(tokens), "--api-keys", str(keys)) as process:
        assert accepts_token("the-first-token")
        assert accepts_key("the-first-key")

        tokens.write_text("app:the-second-token\n")
        keys.write_text("backend:short\n")
        told = reload()
        assert accepts_token("the-second-token")
        assert not accepts_token("the-first-token")
        assert accepts_key("the-first-key")
        assert re.search(rf"info +reloaded +file=\"?--token-file {tokens}", told[0])
        assert re.search(rf"error +not reloaded.*--api-keys {keys}.*line 1: a secret has at least 8", told[1])

        tokens.unlink()
        keys.write_text("backend:the-second-key\n")
        told = reload()
        assert accepts_token("the-second-token")
        assert accepts_key("the-second-key")
        assert "cannot read" in told[0]
        assert told[0].count("--token-file") == 1
        assert process.poll() is None


def test_sighup_reads_the_certificate_anew(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = Certificate(tmp_path / "first"), Certificate(tmp_path / "second")
    served = Certificate(tmp_path)

    def install(certificate: Certificate) -> None:
        served.certificate_path.write_bytes(certificate.certificate_path.read_bytes())
        served.key_path.write_bytes(certificate.key_path.read_bytes())

    def shown() -> str:
        return ssl.get_server_certificate(process.tcp, timeout=20)

    def reload(outcome: str) -> None:
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: outcome in process.stderr)

    install(first)
    with serve("--tls-cert", str(served.certificate_path), "--tls-key", str(served.key_path)) as process:
        assert shown() == first.certificate_path.read_text()
        served.key_path.write_bytes(second.key_path.read_bytes())
        reload("the key is not that of the certificate")
        assert shown() == first.certificate_path.read_text()
        install(second)
        reload(" reloaded ")
        assert shown() == second.certificate_path.read_text()
        trusting = ("--url", f"presence+tls://127.0.0.1:{process.tcp[1]}", "--tls-ca", str(second.certificate_path))
        assert run_command("ping", *trusting).returncode == 0
        distrusting = run_command("ping", "--url", f"presence+tls://127.0.0.1:{process.tcp[1]}")
        assert distrusting.returncode == 1
        assert "the certificate is not accepted" in distrusting.stderr


def test_options_of_a_file_are_used_and_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "presencedb.toml"
    path.write_text(
        'listen = "127.0.0.1:0"\nhttp = "127.0.0.1:0"\nttl = 2\ntick = 1000\nretention = "forever"\nnode-id = "green"\n'
    )
    with ServerProcess("serve", "--config", str(path), environment={"PRESENCEDB_NODE_ID": "blue"}) as process:
        with RawConnection(process.tcp) as node:
            info = node.call("info")[1]
        assert (info["node"], info["ttl_ms"], info["tick_ms"], info["retention"]) == ("blue", 2000, 1000, "forever")
        assert f"{path}, retention = forever: last_seen is kept in memory only" in process.stderr
        assert f"{path}, ttl = 2 is less than 3 ticks of 1s" in process.stderr


def test_logs_can_be_json_and_as_quiet_as_wanted() -> None:
    with serve("--log-format", "json") as process:
        process.terminate()
        logged = [json.loads(line) for line in process.stderr.splitlines() if line.startswith("{")]
        events = {entry["event"]: entry for entry in logged}
    assert events["node started"]["level"] == "info"
    assert events["ending"]["signal"] == "SIGTERM"
    with serve("--log-level", "error") as process:
        process.terminate()
        assert " info " not in process.stderr


def test_a_server_goes_on_without_anybody_who_reads_its_logs(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with (tmp_path / "stdout").open("w") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "presencedb", "serve", *FREE_PORTS],
            stdout=stdout,
            stderr=write_end,
            env=clean_environment(),
        )
    try:
        os.close(write_end)
        wait_until(lambda: (tmp_path / "stdout").read_text().endswith("\n"))
        os.close(read_end)
        process.send_signal(signal.SIGHUP)
        host, port = re.findall(r"tcp=([0-9.]+):([0-9]+)", (tmp_path / "stdout").read_text())[0]
        with RawConnection((host, int(port))) as node:
            assert node.call("ping")[1] == "pong"
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()

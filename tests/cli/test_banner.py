"""The lines to paste, in the cases that a server process of the tests does not meet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from presencedb.cli.banner import cli_line, curl_line, gateway_lines, node_url
from presencedb.settings import Settings, read_settings
from presencedb.units import Address


def settings(**flags: str) -> Settings:
    return read_settings("serve", {name.replace("_", "-"): value for name, value in flags.items()}, {})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called presencedb, which is what runs."""
    program = tmp_path / "bin with a blank" / "presencedb"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    return program


def test_a_program_on_the_path_is_called_by_its_name(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    line = cli_line(settings(), "presence://127.0.0.1:7411")
    assert line == "presencedb status --url presence://127.0.0.1:7411 42"


def test_another_program_is_called_by_its_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli_line(settings(), "presence://127.0.0.1:7411").startswith(f"'{installed}' status ")


def test_a_module_is_called_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/presencedb/__main__.py"])
    assert cli_line(settings(), "presence://127.0.0.1:7411").startswith(f"{sys.executable} -m presencedb status ")


def test_every_interface_is_reached_through_loopback() -> None:
    assert node_url(settings(), Address("0.0.0.0", 7), None) == "presence://127.0.0.1:7"
    assert node_url(settings(), Address("::", 7), None) == "presence://[::1]:7"
    assert node_url(settings(), Address("::1", 7), None) == "presence://[::1]:7"
    assert node_url(settings(tls_cert="a"), Address("node.example.com", 7), None) == "presence+tls://node.example.com:7"
    assert node_url(settings(), None, Path("/run/socket")) == "presence+unix:///run/socket"
    assert node_url(settings(), None, Path("socket")) == f"presence+unix://{Path.cwd()}/socket"


def test_a_gateway_that_takes_user_tokens_only_is_asked_what_needs_none() -> None:
    assert curl_line(settings(jwt_key="key"), Address("127.0.0.1", 8)) == "curl -i http://127.0.0.1:8/readyz"
    line = curl_line(settings(jwks_url="https://a/b", tls_cert="my cert"), Address("127.0.0.1", 8))
    assert line == "curl -i --cacert 'my cert' https://127.0.0.1:8/readyz"


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        ({}, ["HTTP asks for no key, and serves this machine only"]),
        ({"insecure": "true"}, ["HTTP asks for no key, and serves this machine only"]),
        ({"insecure": "true", "http": "0.0.0.0:7412"}, ["HTTP asks for no key, and serves everybody"]),
        ({"jwt_key": "key", "http": "0.0.0.0:7412"}, ["HTTP asks for a key or a user token"]),
        (
            {"jwt_key": "key", "metrics_listen": "0.0.0.0:9100"},
            ["HTTP asks for a key or a user token", "metrics ask for no key, and are shown to everybody"],
        ),
        (
            {"metrics_listen": "[::1]:9100"},
            [
                "HTTP asks for no key, and serves this machine only",
                "metrics ask for no key, and are shown to this machine only",
            ],
        ),
    ],
)
def test_who_is_let_in_goes_by_the_address(flags: dict[str, str], lines: list[str]) -> None:
    assert [line.strip() for line in gateway_lines(settings(**flags))] == lines

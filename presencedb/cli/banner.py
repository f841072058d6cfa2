"""What a server says on stderr before it is ready: what runs, who is let in, and lines to paste that work at once."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from presencedb.cli.secrets import asks_for_token, first_rights, token_files
from presencedb.config import (
    API_KEYS,
    HTTP,
    JWKS_URL,
    JWT_KEY,
    METRICS_LISTEN,
    RETENTION,
    TICK,
    TLS_CERT,
    TOKEN_FILE,
    TOKEN_VARIABLE,
    TTL,
)
from presencedb.credentials import ALL_RIGHTS, Right
from presencedb.engine import IMPLEMENTATION
from presencedb.implementation import COMPILED
from presencedb.settings import Settings
from presencedb.transport.loop import loop_name
from presencedb.units import Address, duration_text, is_loopback
from presencedb.version import __version__

EXAMPLE_ID = "42"
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a client finds whoever listens there


def process_line() -> str:
    """Which of the things that may differ between installations runs here."""
    engine = "the compiled engine" if IMPLEMENTATION == COMPILED else "the engine in plain Python"
    return f"presencedb {__version__}: {engine}, on {loop_name()}"


def node_lines(settings: Settings) -> list[str]:
    """What a node promises, and whom it lets in."""
    retention_ms = settings[RETENTION]
    retention = "forever" if retention_ms is None else duration_text(retention_ms) if retention_ms else "online"
    return [
        f"  ttl {duration_text(settings[TTL])}, tick {duration_text(settings[TICK])}, retention {retention}",
        f"  MessagePack-RPC asks for {'a' if asks_for_token(settings) else 'no'} token",
    ]


def gateway_lines(settings: Settings) -> list[str]:
    """Whom HTTP lets in."""
    asked = f"no key, and serves {_audience(settings[HTTP])}" if _is_keyless(settings) else "a key or a user token"
    lines = [f"  HTTP asks for {asked}"]
    metrics = settings[METRICS_LISTEN]
    if metrics is not None:
        lines.append(f"  metrics ask for no key, and are shown to {_audience(metrics)}")
    return lines


def curl_line(settings: Settings, address: Address) -> str:
    """A heartbeat by curl that works when pasted; where the first key may not write, or there is none, what it may do."""
    tls = settings[TLS_CERT] is not None
    url = f"{'https' if tls else 'http'}://{_reachable(address)}"
    parts = ["curl", "-i"]
    if tls:
        parts += ["--cacert", shlex.quote(str(settings[TLS_CERT]))]
    rights = _rights_of_curl(settings)
    if not rights & {Right.READ, Right.WRITE}:
        return " ".join([*parts, f"{url}/readyz"])
    if settings[API_KEYS] is not None:
        keys = shlex.quote(str(settings[API_KEYS]))
        parts.append(f"-H \"X-API-Key: $(grep -m 1 '^[[:space:]]*[^#[:space:]]' {keys} | cut -d : -f 2)\"")
    if Right.WRITE not in rights:
        return " ".join([*parts, f"{url}/status/{EXAMPLE_ID}"])
    return " ".join(
        [*parts, "-H 'Content-Type: application/json'", "-d", f'\'{{"user_id": "{EXAMPLE_ID}"}}\'', f"{url}/heartbeat"]
    )


def cli_line(settings: Settings, url: str) -> str:
    """A question by this command line that works when pasted: `status`, or `ping` where the first token may not read."""
    may_read = Right.READ in _rights_of_cli(settings)
    line = _client_line(settings, url, "status" if may_read else "ping")
    return f"{line} {EXAMPLE_ID}" if may_read else line


def admin_line(settings: Settings, url: str, command: str) -> str | None:
    """A look inside that works when pasted; None: the first token may not look."""
    rights = _rights_of_cli(settings)
    return _client_line(settings, url, command) if {Right.READ, Right.ADMIN} <= rights else None


def _client_line(settings: Settings, url: str, command: str) -> str:
    parts = [_program(), command, "--url", url]
    if url.startswith("presence+tls:"):
        parts += ["--tls-ca", shlex.quote(str(settings[TLS_CERT]))]
    if of_file := token_files(settings)[:1]:
        parts += ["--token-file", shlex.quote(str(settings[of_file[0]]))]
    elif asks_for_token(settings):
        parts = [f'{TOKEN_VARIABLE}="${TOKEN_VARIABLE}"', *parts]
    return " ".join(parts)


def node_url(settings: Settings, tcp: Address | None, unix: Path | None) -> str:
    """How a client on this machine reaches the node."""
    if tcp is not None:
        return f"presence{'+tls' if settings[TLS_CERT] is not None else ''}://{_reachable(tcp)}"
    return f"presence+unix://{unix.absolute() if unix is not None else ''}"


def _audience(address: Address) -> str:
    return "this machine only" if is_loopback(address.host) else "everybody"


def _is_keyless(settings: Settings) -> bool:
    return settings[API_KEYS] is None and settings[JWT_KEY] is None and settings[JWKS_URL] is None


def _rights_of_curl(settings: Settings) -> frozenset[Right]:
    """What the line with curl may do: it shows the first key, and never has a user token."""
    if settings[API_KEYS] is not None:
        return first_rights(settings, API_KEYS)
    return ALL_RIGHTS if _is_keyless(settings) else frozenset()


def _rights_of_cli(settings: Settings) -> frozenset[Right]:
    """What the lines with this command line may do: they show the first token."""
    return first_rights(settings, TOKEN_FILE) if TOKEN_FILE in token_files(settings) else ALL_RIGHTS


def _reachable(address: Address) -> Address:
    return Address(_ANY_HOST.get(address.host, address.host), address.port)


def _program() -> str:
    """How to call this very installation from the folder where the server was started."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m presencedb"
    found = shutil.which(started.name)
    if found is not None and os.path.samefile(found, started.absolute()):
        return started.name
    return shlex.quote(str(started))

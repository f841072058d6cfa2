"""A cluster of real processes on this machine: nodes, and routers in front of them; and links that can be cut."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from presencedb.membership.static import ClusterFile
from presencedb.placement import Member
from tests.support.process import ServerProcess
from tests.support.proxy import HostileProxy

TTL_S: Final = 3.0
_TIMES: Final = ("--ttl", f"{TTL_S:g}", "--tick", "100")


class ClusterProcesses:
    """Nodes `n1`, `n2` ..., each a process that can be killed, stopped and started again."""

    def __init__(self, folder: Path, *, nodes: int = 3, replicas: int = 2) -> None:
        self.names = [f"n{number + 1}" for number in range(nodes)]
        self.nodes: dict[str, ServerProcess] = {}
        self._folder = folder
        self._stack = ExitStack()
        members = [Member(name, f"127.0.0.1:{port}") for name, port in zip(self.names, _free_ports(nodes), strict=True)]
        self.file = ClusterFile.found(members, replicas)
        self._path = self._write("cluster.toml", {})

    def __enter__(self) -> Self:
        for name in self.names:
            self.start(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self.nodes.values():
            process.__exit__(kind, error, traceback)
        self._stack.close()

    def start(self, name: str) -> None:
        """Start a node; one of that name must have been killed before."""
        data_dir = self._folder / name
        process = ServerProcess(
            "node", "--membership", f"static:{self._path}", "--node-id", name, "--data-dir", str(data_dir), *_TIMES
        )
        self.nodes[name] = process.__enter__()

    def kill(self, name: str) -> None:
        """End a node as a crash would."""
        process = self.nodes.pop(name)
        process.sigkill()
        process.close()

    def router(self, *, over: dict[str, HostileProxy] | None = None) -> ServerProcess:
        """A router, which runs as long as the cluster does.

        Args:
            over: the members that it reaches over a proxy.
        """
        addresses = {name: "{}:{}".format(*proxy.address) for name, proxy in (over or {}).items()}
        path = self._write(f"router-{len(addresses)}.toml", addresses)
        process = ServerProcess("router", "--membership", f"static:{path}", "--listen", "127.0.0.1:0")
        return self._stack.enter_context(process)

    def address(self, name: str) -> tuple[str, int]:
        """Where a node listens."""
        member = next(member for member in self.file.topology.members if member.id == name)
        host, _, port = member.address.rpartition(":")
        return host, int(port)

    def _write(self, file_name: str, addresses: dict[str, str]) -> Path:
        """The list of members, some of them elsewhere."""
        topology = self.file.topology
        members = tuple(
            Member(member.id, addresses.get(member.id, member.address), member.weight) for member in topology.members
        )
        file = ClusterFile(self.file.name, type(topology)(topology.epoch, topology.seed, topology.replicas, members))
        path = self._folder / file_name
        path.write_text(file.text(), encoding="utf-8")
        return path


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives to outgoing connections."""
    found: list[int] = []
    for port in range(21_000, 32_000):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no ports are free")

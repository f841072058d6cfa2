"""A cluster on this machine: its list of members, and what each of its processes is called with.

Nodes listen on loopback, on ports outside of those from which outgoing connections get theirs, so that a node which is
started again finds its port free. The gateway reaches the router by a Unix socket. Where clients are asked for tokens, a
secret made for this run is what the processes know each other by.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from presencedb.cli.children import Child, clean_environment
from presencedb.cli.cluster_init import write_new
from presencedb.cli.secrets import asks_for_token
from presencedb.config import (
    CLUSTER_TOKEN_FILE,
    CONFIG,
    DATA_DIR,
    INSECURE,
    LISTEN,
    LOG_FORMAT,
    MEMBERSHIP,
    NODE_ID,
    NODES,
    OPTIONS,
    REPLICAS,
    TLS_CERT,
    TLS_KEY,
    TOKEN_FILE,
    TOKEN_VARIABLE,
    UNIX,
    URL,
    Option,
)
from presencedb.errors import ConfigError, ListenError
from presencedb.membership.static import ClusterFile
from presencedb.placement import Member
from presencedb.settings import Settings
from presencedb.units import Address, NodePlace, parse_nodes

FILE_NAME: Final = "cluster.toml"
_SECRET_NAME: Final = "secret"  # noqa: S105 - the name of a file
_SOCKET_NAME: Final = "router.sock"
_SECRET_BYTES: Final = 24
_NODES_DEFAULT: Final = "3"
_PORTS: Final = range(20_000, 32_000)
_PORT_TRIES: Final = 1_000
_LABEL_CHARS: Final = 8


class LocalCluster:
    """The processes of a cluster, not started yet.

    Attributes:
        file: its list of members.
        folder: where that is, and a folder for each member.
        is_new: it was founded now.
        socket_path: where the router listens on a Unix socket.
        token_file: what the processes know each other by; None: nobody is asked.
        nodes, router, gateway: the processes.
    """

    def __init__(self, settings: Settings, run_folder: Path) -> None:
        """Found the cluster, or find it in `--data-dir`.

        Args:
            run_folder: an empty folder that is there as long as the processes are.

        Raises:
            ConfigError: what is in `--data-dir` is another cluster than the options say, or the folder cannot be used; or
                nobody could reach the cluster.
            ListenError: there is no free port.
        """
        if settings[LISTEN] is None and settings[UNIX] is None:
            raise ConfigError(f"{settings.origin(LISTEN)}: then nobody can reach the router; give --unix PATH")
        self._settings = settings
        self.folder = settings[DATA_DIR] or run_folder
        self.socket_path = settings[UNIX] or run_folder / _SOCKET_NAME
        path = self.folder / FILE_NAME
        self.is_new = not path.exists()
        self.file = self._found(path) if self.is_new else _checked(settings, path, ClusterFile.read(path))
        self.token_file = _write_secret(run_folder) if asks_for_token(settings) else None
        self.nodes = [self._node(member) for member in self.file.topology.members]
        self.router = self._router()
        self.gateway = self._gateway()

    @property
    def children(self) -> list[Child]:
        """All processes, in the order in which they start."""
        return [*self.nodes, self.router, self.gateway]

    def _found(self, path: Path) -> ClusterFile:
        settings = self._settings
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{settings.origin(DATA_DIR)}: {(error.strerror or str(error)).lower()}") from None
        ports = _free_ports()
        places = settings[NODES] or parse_nodes(_NODES_DEFAULT)
        members = [Member(place.name, str(_place_of(place, ports)), place.weight) for place in places]
        cluster = ClusterFile.found(members, settings[REPLICAS])
        write_new(path, cluster.text())
        return cluster

    def _node(self, member: Member) -> Child:
        own: dict[Option[Any], object] = {
            NODE_ID: member.id,
            MEMBERSHIP: f"static:{self.folder / FILE_NAME}",
            DATA_DIR: self.folder / member.id,
        }
        # Whoever may call is asked by the router and the gateway; members are reached by those alone.
        return self._child(
            "node",
            member.id,
            own | self._secret(CLUSTER_TOKEN_FILE),
            {LISTEN, UNIX, INSECURE, TOKEN_FILE, TLS_CERT, TLS_KEY},
        )

    def _router(self) -> Child:
        listen = self._settings[LISTEN]
        own: dict[Option[Any], object] = {
            MEMBERSHIP: f"static:{self.folder / FILE_NAME}",
            LISTEN: "off" if listen is None else listen,
            UNIX: self.socket_path,
        }
        token = self._settings.token
        environment = {TOKEN_VARIABLE: token} if token is not None else {}
        return self._child("router", "router", own | self._secret(CLUSTER_TOKEN_FILE), set(), environment)

    def _gateway(self) -> Child:
        own: dict[Option[Any], object] = {URL: f"presence+unix://{self.socket_path.absolute()}"}
        return self._child("gateway", "gateway", own | self._secret(TOKEN_FILE), {TOKEN_FILE})

    def _secret(self, option: Option[Any]) -> dict[Option[Any], object]:
        return {option: self.token_file} if self.token_file is not None else {}

    def _child(
        self,
        command: str,
        name: str,
        own: Mapping[Option[Any], object],
        not_theirs: set[Option[Any]],
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """A process with its own options, and of those that this command was given all that it takes but some."""
        arguments = [command]
        variables = clean_environment() | dict(environment or {})
        for option, text in self._passed_on(command, {CONFIG, *own, *not_theirs}):
            if option.may_hold_secret:
                variables[option.variable] = text
            elif option.metavar:
                arguments += [option.flag, text]
            else:
                arguments.append(option.flag if self._settings[option] else f"--no-{option.name}")
        for option, value in own.items():
            arguments += [option.flag, str(value)]
        label = f"{name:<{_LABEL_CHARS}} " if self._settings[LOG_FORMAT] == "text" else ""
        return Child(name, arguments, variables, label=label)

    def _passed_on(self, command: str, without: set[Option[Any]]) -> Iterator[tuple[Option[Any], str]]:
        for name, text in self._settings.given_texts().items():
            option = OPTIONS[name]
            if command in option.commands and option not in without:
                yield option, text


def _checked(settings: Settings, path: Path, found: ClusterFile) -> ClusterFile:
    """The cluster that is in the folder, if it is the one that the options mean."""
    ids = [member.id for member in found.topology.members]
    places = settings[NODES]
    if places is not None and sorted(place.name for place in places) != ids:
        raise ConfigError(f"{settings.origin(NODES)}: the cluster in {path} has {', '.join(ids)}; leave the option out")
    replicas = found.topology.replicas
    if settings.given(REPLICAS) and settings[REPLICAS] != replicas:
        raise ConfigError(f"{settings.origin(REPLICAS)}: the cluster in {path} has {replicas}; leave the option out")
    return found


def _place_of(place: NodePlace, ports: Iterator[int]) -> Address:
    return place.address if place.address.port else Address(place.address.host, next(ports))


def _free_ports() -> Iterator[int]:
    for port in SystemRandom().sample(_PORTS, _PORT_TRIES):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise ListenError(f"no free port was found between {_PORTS.start} and {_PORTS.stop}")


def _write_secret(folder: Path) -> Path:
    path = folder / _SECRET_NAME
    path.touch(mode=0o600)
    path.write_text(f"cluster:{secrets.token_hex(_SECRET_BYTES)}\n", encoding="ascii")
    return path

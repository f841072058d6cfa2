"""The list of members that `--membership` names, as nodes and routers use it: where to listen, how to reach the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from presencedb.cli.reload import Reloadable
from presencedb.cli.secrets import asks_for_token, load_from, token_for_members, trusted
from presencedb.client.cluster.dialling import Dialling, member_address
from presencedb.client.dial import socket_maker
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Greeting, target_of
from presencedb.config import CLUSTER_TOKEN_FILE, DATA_DIR, LISTEN, MEMBERSHIP, NODE_ID, TLS_CA, TLS_CERT, UNIX
from presencedb.errors import ConfigError
from presencedb.membership.static import ClusterFile
from presencedb.node.cluster.settings import ClusterSettings
from presencedb.placement import Topology
from presencedb.settings import Settings
from presencedb.units import parse_address

CONNECT_S: Final = 2.0
CALL_S: Final = 5.0
_UNIX: Final = "unix:"


def read_members(settings: Settings) -> ClusterFile:
    """The file that `--membership` names.

    Raises:
        ConfigError: none is given, or it cannot be read, or is wrong.
    """
    if settings[MEMBERSHIP] is None:
        raise ConfigError("give the list of members: --membership static:FILE; `presencedb cluster init` writes one")
    return load_from(settings, MEMBERSHIP, ClusterFile.read)


def at_home(settings: Settings, cluster: ClusterFile) -> Settings:
    """The settings of the member `--node-id`: if nothing else is said it listens where the list says.

    Raises:
        ConfigError: the list has no such member, or its address is none; or the members could not know each other.
    """
    ids = [member.id for member in cluster.topology.members]
    if not settings.given(NODE_ID) and len(ids) > 1:
        raise ConfigError(f"say which member this is: --node-id {' or '.join(ids[:5])}{' ...' if len(ids) > 5 else ''}")
    place = f"{settings.origin(MEMBERSHIP)}, address of {settings[NODE_ID]}"
    member = next((member for member in cluster.topology.members if member.id == settings[NODE_ID]), None)
    if member is None:
        raise ConfigError(
            f"{settings.origin(NODE_ID)}: {settings.origin(MEMBERSHIP)} has no such member, only {', '.join(ids)}"
        )
    if asks_for_token(settings) and token_for_members(settings) is None:
        raise ConfigError(
            "members have to know each other: give --cluster-token-file, or a line with the rights read,write,admin,cluster "
            "in --token-file"
        )
    if settings[TLS_CERT] is not None and settings[TLS_CA] is None:
        raise ConfigError(f"{settings.origin(TLS_CERT)}: give --tls-ca too, against which the other members are checked")
    if member.address.startswith(_UNIX):
        path = Path(member.address.removeprefix(_UNIX))
        return settings.with_default(LISTEN, None, place).with_default(UNIX, path, place)
    try:
        return settings.with_default(LISTEN, parse_address(member.address), f"{place}, {member.address},")
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


def cluster_settings(settings: Settings, cluster: ClusterFile) -> ClusterSettings:
    """What a member is told of its cluster.

    Raises:
        ConfigError: a file cannot be read, or an address is none.
    """
    return ClusterSettings(
        name=cluster.name,
        topology=cluster.topology,
        dialling=make_dialling(settings, cluster.topology, f"node {settings[NODE_ID]}"),
        data_dir=settings[DATA_DIR],
    )


def make_dialling(settings: Settings, topology: Topology, name: str) -> Dialling:
    """How to connect to members; `name` is what their logs call it.

    Raises:
        ConfigError: a file cannot be read, or an address is none.
    """
    context = trusted(settings)
    addresses = [member_address(member, tls=context is not None) for member in topology.members]
    client = ClientSettings(
        targets=[target_of(address, context, socket_maker) for address in addresses],
        greeting=Greeting(name, token_for_members(settings)),
        connect_timeout_s=CONNECT_S,
        timeout_s=CALL_S,
    )
    return Dialling(client, socket_maker, tls=context is not None)


def members_reloadables(
    settings: Settings, cluster: ClusterFile | None, set_topology: Callable[[Topology], bool]
) -> Iterator[Reloadable]:
    """The list of members, on SIGHUP."""
    if cluster is not None:
        current = cluster

        def apply() -> None:
            nonlocal current
            later = load_from(settings, MEMBERSHIP, ClusterFile.read)
            if current.check_successor(later):
                set_topology(later.topology)
                current = later

        yield Reloadable(settings.origin(MEMBERSHIP), apply)


def member_lines(settings: Settings, cluster: ClusterFile | None) -> list[str]:
    """What the banner says of the cluster."""
    if cluster is None:
        return []
    topology = cluster.topology
    known_by = "a token" if settings[CLUSTER_TOKEN_FILE] is not None or asks_for_token(settings) else "no token"
    ids = ", ".join(member.id for member in topology.members)
    lines = [
        f"  cluster {cluster.name}, epoch {topology.epoch}: {ids}",
        f"  replicas {topology.replicas}; members ask each other for {known_by}",
    ]
    if settings.takes(DATA_DIR) and settings[DATA_DIR] is None:
        lines.append("  no --data-dir: after each start it answers unknown for a ttl, unless another member tells it")
    return lines

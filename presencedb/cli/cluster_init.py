"""`presencedb cluster init`: writes the list of members of a new cluster."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from presencedb.cli.output import note, print_line
from presencedb.config import NODES, OUTPUT, REPLICAS
from presencedb.errors import ConfigError
from presencedb.membership.static import ClusterFile
from presencedb.placement import Member
from presencedb.settings import Settings
from presencedb.units import is_loopback


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    places = settings[NODES]
    if places is None:
        raise ConfigError("name the nodes: --nodes n1=HOST:PORT,n2=HOST:PORT,...")
    if portless := next((place.name for place in places if not place.address.port), None):
        raise ConfigError(
            f"{settings.origin(NODES)}: {portless} has no port; each node needs one, as in n1=10.0.0.1:7411,n2=10.0.0.2:7411"
        )
    cluster = ClusterFile.found(
        [Member(place.name, str(place.address), place.weight) for place in places], settings[REPLICAS]
    )
    path = settings[OUTPUT]
    write_new(path, cluster.text())
    if settings[REPLICAS] > len(places):
        note(f"only {len(places)} of {settings[REPLICAS]} replicas: there are no more nodes")
    beyond = any(not is_loopback(place.address.host) for place in places)
    for line in _next_steps(path, [place.name for place in places], beyond=beyond):
        print_line(line)


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        ConfigError: it is there, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already, and is not overwritten: its cluster would be lost") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def _next_steps(path: Path, ids: Sequence[str], *, beyond: bool) -> list[str]:
    shown = shlex.quote(str(path))
    secret = " --cluster-token-file secret" if beyond else ""
    lines = [f"wrote {path}. Next:"]
    if beyond:
        lines += [
            "  # one secret, by which members and routers know each other",
            "  (umask 077; echo \"cluster:$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \\n')\" > secret)",
            f"  # copy {shown} and secret to each machine, and start there",
        ]
    lines += [f"  presencedb node --membership static:{shown} --node-id {name} --data-dir {name}{secret}" for name in ids]
    lines += [
        "  # clients talk to a router",
        f"  presencedb router --membership static:{shown}{secret}",
        f"  presencedb cluster status --url presence://127.0.0.1:7413{secret.replace('cluster-token', 'token')}",
    ]
    return lines

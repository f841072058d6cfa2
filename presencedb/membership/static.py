"""A static list of members: a file that everybody in the cluster has a copy of, and reads anew on SIGHUP.

    # A presencedb cluster. Every node and router has a copy of this file; whoever changes it raises the epoch.
    name = "7f3a9c1be0d24455"
    epoch = 1
    seed = "a1b2c3d4e5f60718"
    replicas = 2

    [[node]]
    id = "n1"
    address = "10.0.0.1:7411"
    weight = 100

`name` names the founding: two clusters have two names, however alike their members are. `seed` is that of the hash, 64
bits in hexadecimal digits; the ids' places depend on it, so it never changes.
"""

from __future__ import annotations

import re
import secrets
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from presencedb.errors import ConfigError
from presencedb.placement.members import Member
from presencedb.placement.topology import Topology

_CLUSTER_BYTES: Final = 8
_SEED_BITS: Final = 64
_FILE_BYTES_MAX: Final = 1024 * 1024
_SEED: Final = re.compile(r"[0-9a-f]{1,16}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEYS: Final = {"name", "epoch", "seed", "replicas", "node"}
_MEMBER_KEYS: Final = {"id", "address", "weight"}
_HEADER: Final = (
    "# A presencedb cluster. Every node and router has a copy of this file; whoever changes it raises the epoch.\n"
)


@dataclass(frozen=True)
class ClusterFile:
    """What is in the file.

    Attributes:
        name: of the cluster; another founding has another.
        topology: the members at this epoch.
    """

    name: str
    topology: Topology

    @classmethod
    def found(cls, members: Iterable[Member], replicas: int) -> Self:
        """A new cluster, with a name and a seed that no other has.

        Raises:
            ConfigError: the members are none that a cluster can have.
        """
        try:
            topology = Topology(1, secrets.randbits(_SEED_BITS), replicas, tuple(members))
        except ValueError as wrong:
            raise ConfigError(f"no cluster can be made of this: {wrong}") from None
        return cls(secrets.token_hex(_CLUSTER_BYTES), topology)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            ConfigError: it cannot be read, or something in it is wrong; the message names the file and the place.
        """
        try:
            if path.stat().st_size > _FILE_BYTES_MAX:
                raise ConfigError(f"{path}: a list of members has at most {_FILE_BYTES_MAX} bytes")
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: it is not UTF-8 text") from None
        try:
            return cls._of_values(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, ValueError) as wrong:
            raise ConfigError(f"{path}: {wrong}") from None

    def text(self) -> str:
        """The file that says this."""
        topology = self.topology
        lines = [
            _HEADER,
            f'name = "{self.name}"\n',
            f"epoch = {topology.epoch}\n",
            f'seed = "{topology.seed:016x}"\n',
            f"replicas = {topology.replicas}\n",
        ]
        lines += [
            f"\n[[node]]\nid = {_quoted(member.id)}\naddress = {_quoted(member.address)}\nweight = {member.weight}\n"
            for member in topology.members
        ]
        return "".join(lines)

    def check_successor(self, later: ClusterFile) -> bool:
        """Whether a file that was read anew brings something else.

        Raises:
            ConfigError: it is of another cluster or seed, or says something else without a later epoch.
        """
        if later.name != self.name or later.topology.seed != self.topology.seed:
            raise ConfigError(
                "the list of members is of another cluster now, or has another seed: nobody can change to that"
            )
        if later.topology == self.topology:
            return False
        if later.topology.epoch <= self.topology.epoch:
            raise ConfigError(
                f"the list of members says something else than before, but its epoch {later.topology.epoch} is not later "
                f"than {self.topology.epoch}"
            )
        return True

    @classmethod
    def _of_values(cls, values: dict[str, Any]) -> Self:
        _check_keys("", values, _KEYS)
        seed, name, members = values["seed"], values["name"], values["node"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("name: 1 to 64 letters, digits, dots, dashes and underscores are expected")
        if not isinstance(seed, str) or not _SEED.fullmatch(seed):
            raise ValueError("seed: up to 16 hexadecimal digits in quotes are expected")
        if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
            raise ValueError("node: tables are expected, each beginning with [[node]]")
        if not members:
            raise ValueError("node: there is none")
        listed = []
        for index, member in enumerate(members):
            _check_keys(f"node[{index}].", member, _MEMBER_KEYS, optional={"weight"})
            try:
                listed.append(Member(**member))
            except ValueError as wrong:
                raise ValueError(f"node[{index}].{wrong}") from None
        addresses = [member.address for member in listed]
        if twice := next((address for address in addresses if addresses.count(address) > 1), None):
            raise ValueError(f"node: two have the address {twice}")
        return cls(name, Topology(values["epoch"], int(seed, 16), values["replicas"], tuple(listed)))


def _check_keys(path: str, values: dict[str, Any], known: set[str], optional: Iterable[str] = ()) -> None:
    if missing := known - set(values) - set(optional):
        raise ValueError(f"{path}{min(missing)}: it is missing")
    if unknown := set(values) - known:
        raise ValueError(f"{path}{min(unknown)}: there is no such key; known are {', '.join(sorted(known))}")


def _quoted(text: str) -> str:
    """A TOML string of printable text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""What an option is, and the groups of commands that take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)

PREFIX: Final = "PRESENCEDB_"
ENGINE: Final = frozenset({"serve", "node"})
LOCAL_CLUSTERS: Final = frozenset({"serve", "cluster up"})
STORES: Final = ENGINE | LOCAL_CLUSTERS
MEMBERS: Final = frozenset({"node", "router"})
TCP_SERVERS: Final = STORES | MEMBERS
HTTP_SERVERS: Final = frozenset({"serve", "gateway", "cluster up"})
SERVERS: Final = TCP_SERVERS | HTTP_SERVERS
CALLS: Final = frozenset(
    {"heartbeat", "offline", "status", "last-seen", "watch", "count", "online", "follow", "info", "ping"}
    | {"cluster status", "cluster members"}
)
CLIENTS: Final = CALLS | {"gateway"}
EVERYWHERE: Final = SERVERS | CALLS | {"cluster init"}


class Group(Enum):
    """The headings under which `--help` and the documentation list options."""

    CALL = "This command"
    PRESENCE = "Presence"
    CLUSTER = "Cluster"
    LISTEN = "Where it listens"
    SERVER = "The server to ask"
    SECRETS = "Secrets"
    RUNNING = "Running"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Option(Generic[T_co]):
    """One option.

    Attributes:
        name: the flag without its dashes, and the key in the file.
        parse: text to value; raises ValueError with what it takes.
        default: the value, already parsed.
        default_text: how the documentation writes the default; empty: there is none (a switch: false).
        metavar: what stands for the value in `--help`; empty: a switch.
        choices: the words it takes, where these are all.
        flag_only: it belongs to one call, so it is neither a variable nor a key.
        may_hold_secret: messages name the option and not its value, in which there may be a password by mistake.
    """

    name: str
    parse: Callable[[str], T_co]
    default: T_co
    default_text: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    group: Group
    commands: frozenset[str]
    help: str
    flag_only: bool = False
    may_hold_secret: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper().replace("-", "_")

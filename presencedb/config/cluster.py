"""Who is in the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from presencedb import limits, units
from presencedb.config.option import LOCAL_CLUSTERS, MEMBERS, STORES, Group, Option
from presencedb.units import NodePlace

MEMBERSHIP: Final[Option[Path | None]] = Option(
    name="membership",
    parse=units.parse_membership,
    default=None,
    metavar="static:FILE",
    group=Group.CLUSTER,
    commands=MEMBERS,
    help="The list of members that `cluster init` writes; SIGHUP reads it anew. A node with it is the member --node-id.",
)
NODES: Final[Option[tuple[NodePlace, ...] | None]] = Option(
    name="nodes",
    parse=units.parse_nodes,
    default=None,
    metavar="COUNT|NAME=HOST:PORT[*WEIGHT],...",
    group=Group.CLUSTER,
    commands=LOCAL_CLUSTERS | {"cluster init"},
    help="The nodes of the cluster: how many (n1, n2, ... on free ports of this machine; cluster up: 3), or each by name.",
)
REPLICAS: Final[Option[int]] = Option(
    name="replicas",
    parse=units.count_between(1, limits.REPLICAS_MAX),
    default=2,
    default_text="2",
    metavar="COUNT",
    group=Group.CLUSTER,
    commands=LOCAL_CLUSTERS | {"cluster init"},
    help=f"How many nodes know each user, 1 to {limits.REPLICAS_MAX}: with 2 no user is lost when one dies.",
)
DATA_DIR: Final[Option[Path | None]] = Option(
    name="data-dir",
    parse=units.parse_path,
    default=None,
    metavar="DIR",
    group=Group.CLUSTER,
    commands=STORES,
    help="Where a member remembers that it has started before, and nothing else: without it, it cannot tell its first start "
    "from a later one, and answers unknown for a ttl after each. cluster up: a folder for the whole cluster, with its list.",
)
ROUTER_ID: Final[Option[str]] = Option(
    name="router-id",
    parse=units.parse_name,
    default="r1",
    default_text="r1",
    metavar="NAME",
    group=Group.CLUSTER,
    commands=frozenset({"router"}),
    help="What the router calls itself to clients and members.",
)
RESTART: Final[Option[bool]] = Option(
    name="restart",
    parse=units.parse_switch,
    default=False,
    group=Group.CLUSTER,
    commands=LOCAL_CLUSTERS,
    help="Start a process of the cluster again when it has died.",
)
OUTPUT: Final[Option[Path]] = Option(
    name="output",
    parse=units.parse_path,
    default=Path("cluster.toml"),
    default_text="cluster.toml",
    metavar="FILE",
    group=Group.CALL,
    commands=frozenset({"cluster init"}),
    help="The file to write (cluster.toml, where it is not given); one that is there is never overwritten.",
    flag_only=True,
)

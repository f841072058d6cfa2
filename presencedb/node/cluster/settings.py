"""What a node is told of the cluster that it is a member of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from presencedb.client.cluster.dialling import Dialling
from presencedb.placement import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The cluster of a node.

    Attributes:
        name: of the cluster; another founding has another.
        topology: the members to begin with; the node itself is one of them.
        dialling: how to connect to the others.
        data_dir: where a node remembers that it has been a member; None: it cannot tell a restart from its first start.
    """

    name: str
    topology: Topology
    dialling: Dialling
    data_dir: Path | None = None

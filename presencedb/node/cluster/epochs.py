"""Which topology a node goes by: where somebody goes by a newer one, the others are asked for theirs.

Whoever asks a node by ids says by which epoch it has chosen the node, so news travels with the traffic. A node answers by
what it has meanwhile, and takes what a peer answers only if it is newer and of the same cluster. A caller may claim any
epoch at all; so all peers together are asked once in `EPOCH_ASK_MS` at most.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.errors import Error, ProtocolError
from presencedb.limits import EPOCH_ASK_MS, SECOND_MS
from presencedb.node.cluster.peers import Peers
from presencedb.placement import Topology

log = structlog.get_logger()


class Epochs:
    """The topology of one node, replaced by newer ones.

    Attributes:
        topology: the members, as this node knows them.
    """

    def __init__(
        self, topology: Topology, peers: Peers, loop: AbstractEventLoop, *, on_newer: Callable[[Topology], object]
    ) -> None:
        """Begin with this topology.

        Args:
            on_newer: called with a newer one, which is `topology` by then.
        """
        self.topology = topology
        self._peers = peers
        self._loop = loop
        self._on_newer = on_newer
        self._wanted_epoch = 0
        self._to_ask: deque[MemberConnection] = deque()
        self._is_asking = False
        self._next_round_s = 0.0

    def take(self, topology: Topology) -> bool:
        """Go by another topology, if it is newer; returns whether it was."""
        if topology.epoch <= self.topology.epoch:
            return False
        if topology.seed != self.topology.seed:
            log.error("a topology of another cluster is not obeyed", epoch=topology.epoch)
            return False
        # Which starts of the others it names was true where it came from.
        self.topology = replace(topology, members=tuple(replace(member, run="") for member in topology.members))
        log.info("the members have changed", epoch=topology.epoch, members=len(topology.members))
        self._on_newer(self.topology)
        return True

    def saw(self, epoch: int | None) -> None:
        """Somebody goes by this epoch, or does not say by which."""
        if epoch is None or epoch <= self.topology.epoch or self._is_asking or self._loop.time() < self._next_round_s:
            return
        self._next_round_s = self._loop.time() + EPOCH_ASK_MS / SECOND_MS
        self._wanted_epoch = epoch
        self._to_ask = deque(one for one in self._peers.connections.values() if one.state is MemberState.UP)
        self._ask_next()

    def ask(self, connection: MemberConnection) -> None:
        """Ask a member for its topology, such as one that has come back."""
        connection.ask(_TopologyAsked(self._take_answer), "topology", ())

    def _ask_next(self) -> None:
        self._is_asking = bool(self._to_ask) and self.topology.epoch < self._wanted_epoch
        if self._is_asking:
            self._to_ask.popleft().ask(_TopologyAsked(self._answered), "topology", ())

    def _answered(self, result: Any) -> None:
        self._take_answer(result)
        self._ask_next()

    def _take_answer(self, result: Any) -> None:
        if result is None:
            return
        try:
            self.take(Topology.from_wire(result))
        except ProtocolError as error:
            log.error("a member's topology is not understood", error=str(error))


class _TopologyAsked:
    """A member is asked for its topology; a `Question`."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    def answered(self, result: Any) -> None:
        self._take(result)

    def failed(self, error: Error) -> None:  # noqa: ARG002 - others have it too
        self._take(None)

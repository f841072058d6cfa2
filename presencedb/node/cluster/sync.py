"""Which slots are synced: where this node was told of every write, so that it may say that somebody is offline.

A slot of this node is synced when three things are true:

- it has a *base*: what had been written before this node came is here. It was pulled from a synced owner; or a whole ttl has
  gone by in which this node was told everything, so that who has not beaten since is offline; or the slot was founded: all
  its owners are in their first start, and nobody can have beaten before;
- nothing is *missed*: what others had to write without this node was pulled from them;
- every other owner of it was *heard* since this node last had reason to doubt (its start, a pause of its own). One that is
  gone cannot be heard, nor can what it was told meanwhile: the base is lost, unless it was gone before.

Each other owner is asked `missed` every `PEER_POLL_MS`, which also shows that it is there. What happened in a slot while it
was not synced was told nobody, so whoever reads the feed gets a gap when it becomes synced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog

from presencedb.client.cluster.member import MemberState
from presencedb.engine import Engine
from presencedb.errors import Error, ProtocolError, Unavailable
from presencedb.limits import PEER_POLL_MS
from presencedb.node.cluster.founding import Founding
from presencedb.node.cluster.peer_view import PeerView
from presencedb.node.cluster.peers import Peers
from presencedb.node.cluster.pull import Pull
from presencedb.node.tick_scale import TickScale
from presencedb.node.ticker import Ticker
from presencedb.placement import ALL_SLOTS, NO_SLOTS, SlotSet

log = structlog.get_logger()

_SLACK_TICKS: Final = 2
"""A ttl is over for sure when the ticks of its first and last beat are over too."""
_REFUSALS_MAX: Final = 2
"""The first one is usual where a member has just started: it has yet to connect to this node."""


class Sync:
    """The slots of one node.

    Attributes:
        synced: those that are.
        pulls: how many pulls have come to their end.
        registers: how many registers came by them.
    """

    def __init__(
        self,
        own_id: str,
        founding: Founding,
        peers: Peers,
        *,
        engine: Engine,
        ticker: Ticker,
        scale: TickScale,
        on_synced: Callable[[], None],
    ) -> None:
        """Begin, with no slots.

        Args:
            on_synced: called after slots have become synced.
        """
        self.synced: SlotSet = NO_SLOTS
        self.pulls = 0
        self.registers = 0
        self._own_id = own_id
        self._founding = founding
        self._peers = peers
        self._engine = engine
        self._ticker = ticker
        self._poll_ticks = max(1, scale.ticks(PEER_POLL_MS))
        self._warm_ticks = engine.config.ttl_ticks + _SLACK_TICKS
        self._on_synced = on_synced
        self._own: SlotSet = NO_SLOTS
        self._shared_with: dict[str, SlotSet] = {}
        self._views: dict[str, PeerView] = {}
        self._baseless: dict[int, SlotSet] = {}  # slots without a base, by the tick since when this node is told everything
        self._next_poll_tick = 0
        self._doubt = 0  # rises whenever what was heard before counts no more

    @property
    def is_first_start(self) -> bool:
        """Whether nobody can have beaten here before."""
        return self._founding.is_first_start

    @property
    def all_synced(self) -> bool:
        """Whether every slot of this node is."""
        return self.synced == self._own

    @property
    def missed_count(self) -> int:
        """Slots that are to be pulled because writes were missed."""
        return sum(len(view.missed) for view in self._views.values())

    def own(self, slots: SlotSet, shared_with: dict[str, SlotSet]) -> None:
        """These are this node's slots from now on.

        Args:
            shared_with: which of them each other member owns too.
        """
        gained, lost = slots - self._own, self._own - slots
        shared = NO_SLOTS
        for some in shared_with.values():
            shared |= some
        self._engine.set_shared(ALL_SLOTS - shared, shared=False)
        self._engine.set_shared(shared, shared=True)
        self._own = slots
        self._shared_with = shared_with
        for member_id in set(self._views) - set(shared_with):
            del self._views[member_id]
        for member_id in shared_with:
            self._views.setdefault(member_id, PeerView())
        if len(lost):
            self._take_base(lost)
        if len(gained):
            self._lose_base(gained)
        self._judge()
        if len(lost):
            self._engine.drop_slots(lost)

    def pause(self, jump_ticks: int) -> None:
        """This node was away itself: it may have missed writes, and knows nothing before it has asked."""
        self._doubt += 1
        for member_id, view in self._views.items():
            view.heard = view.heard and self._peers.is_gone(member_id)
        if jump_ticks > self._engine.config.ttl_ticks:
            shared = NO_SLOTS
            for slots in self._shared_with.values():
                shared |= slots
            self._lose_base(shared)
        self._next_poll_tick = 0
        self._judge()

    def hurry(self) -> None:
        """Ask at the next tick: somebody has come."""
        self._next_poll_tick = 0

    def step(self, tick: int) -> None:
        """At each tick: ask, pull, and see what has become true by time alone."""
        if tick >= self._next_poll_tick:
            self._next_poll_tick = tick + self._poll_ticks
            for member_id in self._views:
                self._poll(member_id)
        for since, slots in list(self._baseless.items()):
            if tick > since + self._warm_ticks:
                self._take_base(slots)
        self._found()
        for member_id in self._views:
            self._start_pull(member_id)
        self._judge()

    # --- what is known of the others -------------------------------------------------------------------------------

    def _poll(self, member_id: str) -> None:
        view, connection = self._views[member_id], self._peers.connections.get(member_id)
        if connection is None or connection.link is None or connection.state is not MemberState.UP:
            return
        run = connection.link.server.run
        if run != view.run:
            self._lose_base(view.begin(run))
        if view.poll:
            return
        view.poll = True
        poll = _Poll(self, member_id, run, view.pulled, self._doubt)
        connection.ask(poll, "missed", (self._own_id, {"slots": list(view.pulled)}))
        if self._baseless:
            connection.ask(_Slots(self, member_id, run), "slots", ())

    def polled(self, member_id: str, run: str, asked: _Poll, result: Any) -> None:
        """A member has told what was missed."""
        view = self._view_of(member_id, run)
        if view is None:
            return
        view.poll = False
        # It may have been taken note of, so it is not said again: what was noted since would be taken off with it.
        view.pulled -= asked.pulled
        view.refusals = 0
        try:
            missed = SlotSet.from_wire(result) & self._own
        except ProtocolError as error:
            log.error("a member's answer is not understood", member=member_id, error=str(error))
            return
        view.heard = view.heard or asked.doubt == self._doubt
        view.pulled -= asked.pulled
        view.missed |= missed
        if view.pull is not None:
            view.again |= missed & view.pull.slots
        view.unproven -= missed
        self._judge()
        self._start_pull(member_id)

    def not_polled(self, member_id: str, run: str, asked: _Poll, *, refused: bool) -> None:
        """A member did not answer; or it has refused to, since what this node misses could not be passed on to it now."""
        view = self._view_of(member_id, run)
        if view is None:
            return
        view.poll = False
        # It may have been taken note of, so it is not said again: what was noted since would be taken off with it.
        view.pulled -= asked.pulled
        view.refusals = view.refusals + 1 if refused else 0
        if view.refusals == _REFUSALS_MAX:
            view.heard = False
            self._judge()

    def told_slots(self, member_id: str, run: str, result: Any) -> None:
        """A member has told in which slots it is synced."""
        view = self._view_of(member_id, run)
        if view is None:
            return
        try:
            view.synced = SlotSet.from_wire(result["synced"])
            view.is_first_start = result["first_start"] is True
        except (TypeError, KeyError, ProtocolError) as error:
            log.error("a member's answer is not understood", member=member_id, error=str(error))
            return
        view.told = True
        self._take_base(view.unproven & view.synced)
        view.unproven = NO_SLOTS
        self._found()
        self._judge()
        self._start_pull(member_id)

    def _view_of(self, member_id: str, run: str) -> PeerView | None:
        view = self._views.get(member_id)
        return view if view is not None and view.run == run else None

    # --- pulling ---------------------------------------------------------------------------------------------------

    def _start_pull(self, member_id: str) -> None:
        view, connection = self._views[member_id], self._peers.connections.get(member_id)
        if view.pull is not None or connection is None or connection.state is not MemberState.UP or not view.run:
            return
        wanted = view.missed | (self._without_base & view.synced & self._shared_with[member_id])
        for other_id, other in self._views.items():
            if other_id != member_id and other.pull is not None:
                wanted -= other.pull.slots - view.missed
        if len(wanted):
            view.again = NO_SLOTS
            view.pull = Pull(connection, wanted, self._engine, self._ticker, on_end=_Ended(self, member_id, view.run))
            view.pull.start()

    def pulled(self, member_id: str, run: str, pull: Pull, *, merged: bool) -> None:
        """A pull has come to its end."""
        self.registers += pull.registers
        view = self._view_of(member_id, run)
        if view is None or view.pull is not pull:
            return
        view.pull = None
        if not merged:
            return
        self.pulls += 1
        complete = pull.slots - view.again
        view.missed -= complete
        view.pulled |= complete
        without_base = complete & self._without_base
        if len(without_base):
            # It must have been synced all the while, or there may have been writes that it missed itself.
            view.unproven |= without_base
            self._peers.connections[member_id].ask(_Slots(self, member_id, run), "slots", ())
        self._judge()

    # --- what follows ----------------------------------------------------------------------------------------------

    @property
    def _without_base(self) -> SlotSet:
        slots = NO_SLOTS
        for some in self._baseless.values():
            slots |= some
        return slots

    def _lose_base(self, slots: SlotSet) -> None:
        """From now on this node is told everything, but what was before in these slots is not known."""
        if len(slots):
            self._take_base(slots)
            now = self._ticker.now()
            self._baseless[now] = self._baseless.get(now, NO_SLOTS) | slots

    def _take_base(self, slots: SlotSet) -> None:
        for since in list(self._baseless):
            left = self._baseless[since] - slots
            if len(left):
                self._baseless[since] = left
            else:
                del self._baseless[since]

    def _found(self) -> None:
        """Slots whose owners are all in their first start have an empty base."""
        if not self._founding.is_first_start or not self._baseless:
            return
        founded = self._without_base
        for member_id, view in self._views.items():
            if not (view.told and view.is_first_start):
                founded -= self._shared_with[member_id]
        self._take_base(founded)

    def _judge(self) -> None:
        """Declare slots synced or not."""
        for member_id, view in self._views.items():
            if not view.heard and self._peers.is_gone(member_id):
                # Whatever it was told in the time in doubt is gone with it.
                self._lose_base(self._shared_with[member_id] - self._without_base)
                view.heard = True
        synced = self._own - self._without_base
        for member_id, view in self._views.items():
            synced -= view.missed
            if not view.heard:
                synced -= self._shared_with[member_id]
        lost, gained = self.synced - synced, synced - self.synced
        self.synced = synced
        if len(lost):
            self._engine.set_synced(lost, synced=False)
        if len(gained):
            self._engine.set_synced(gained, synced=True)
            self._on_synced()
        if len(synced) and self._founding.is_first_start and self.all_synced:
            self._record()

    def _record(self) -> None:
        try:
            self._founding.record()
        except OSError as error:
            log.error("the data directory cannot be written: a restart will look like this first start", error=str(error))


class _Ended:
    """What a pull calls at its end."""

    def __init__(self, sync: Sync, member_id: str, run: str) -> None:
        self._sync = sync
        self._member_id = member_id
        self._run = run

    def __call__(self, pull: Pull, merged: bool) -> None:
        self._sync.pulled(self._member_id, self._run, pull, merged=merged)


class _Poll:
    """A member is asked what was missed; a `Question`."""

    def __init__(self, sync: Sync, member_id: str, run: str, pulled: SlotSet, doubt: int) -> None:
        self.pulled = pulled
        self.doubt = doubt
        self._sync = sync
        self._member_id = member_id
        self._run = run

    def answered(self, result: Any) -> None:
        self._sync.polled(self._member_id, self._run, self, result)

    def failed(self, error: Error) -> None:
        self._sync.not_polled(self._member_id, self._run, self, refused=isinstance(error, Unavailable))


class _Slots:
    """A member is asked in which slots it is synced; a `Question`."""

    def __init__(self, sync: Sync, member_id: str, run: str) -> None:
        self._sync = sync
        self._member_id = member_id
        self._run = run

    def answered(self, result: Any) -> None:
        self._sync.told_slots(self._member_id, self._run, result)

    def failed(self, error: Error) -> None:
        """It is asked again."""

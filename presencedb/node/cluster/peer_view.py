"""What a node knows of another member, and what it has to pull from it."""

from __future__ import annotations

from presencedb.node.cluster.pull import Pull
from presencedb.placement import NO_SLOTS, SlotSet


class PeerView:
    """One other member.

    Attributes:
        run: names the start of it that all below is about.
        synced: the slots in which it said to be synced.
        is_first_start: whether it said to be in its first start.
        told: whether it has said these two.
        heard: whether it has told what was missed since this node last had reason to doubt.
        refusals: how many times in a row it has refused to tell, since it cannot reach this node.
        missed: slots to pull from it, since it has writes there that were missed.
        again: those of them that were told of while they were being pulled.
        unproven: slots that were pulled for their base, until it has said once more that it is synced in them.
        pulled: slots of which it has not been told yet that they were pulled.
        poll: whether it is being asked.
        pull: what is being pulled from it.
    """

    def __init__(self) -> None:
        self.heard = False
        self.missed: SlotSet = NO_SLOTS
        self.begin("")

    def begin(self, run: str) -> SlotSet:
        """Another start of it: what was known of it is void, but is no reason to doubt what this node has heard.

        Returns:
            The slots that were to be pulled from it, and now cannot be.
        """
        lost = self.missed
        self.run = run
        self.synced: SlotSet = NO_SLOTS
        self.is_first_start = False
        self.told = False
        self.refusals = 0
        self.missed = NO_SLOTS
        self.again: SlotSet = NO_SLOTS
        self.unproven: SlotSet = NO_SLOTS
        self.pulled: SlotSet = NO_SLOTS
        self.poll = False
        self.pull: Pull | None = None
        return lost

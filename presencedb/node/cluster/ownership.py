"""Requests by ids, held against what a member owns: reads of users whom others keep are refused, writes go to their owners.

The usual request is about users of this node alone, and names no owner that the writer has missed. To see that costs a look
at each id's slot; the node then serves it as if it stood alone. All others are taken apart here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from presencedb.errors import Error, Moved
from presencedb.ids import IdBatch
from presencedb.limits import SLOT_COUNT
from presencedb.node.cluster.epochs import Epochs
from presencedb.node.cluster.forwarding import Forwarding, Told
from presencedb.placement import SlotSet, positions_outside
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection


class Ownership:
    """What one member does about users whom it does not own, and about owners that a writer has missed.

    Attributes:
        moved_answers: reads that were answered with `moved`.
    """

    def __init__(self, epochs: Epochs, forwarding: Forwarding, late_ms: Callable[[], int]) -> None:
        """Begin.

        Args:
            late_ms: says by how much what is read now may be older than it seems.
        """
        self.moved_answers = 0
        self._late_ms = late_ms
        self._epochs = epochs
        self._forwarding = forwarding

    def own(self, slots: SlotSet) -> None:
        """These are this node's slots from now on."""
        self._bitmap = slots.to_bitmap()
        self._owns_all = len(slots) == SLOT_COUNT

    def check(self, request: Request) -> None:
        """Hold a read against what this node owns.

        Raises:
            Moved: it does not own all that it is asked about; the message names the epoch of its topology.
        """
        self._epochs.saw(request.options.epoch)
        if self._foreign(request.ids) is not None:
            self.moved_answers += 1
            raise self._moved()

    def read(self, connection: Connection, request: Request, answer: Callable[[IdBatch], bytes]) -> bool:
        """Answer a request that reads, if it asks about users whom this node does not own; returns whether it did.

        Args:
            answer: gives the statuses of the ids of one frame.

        Raises:
            Moved: as with `check`; of several frames each gets its own answer instead.
        """
        if request.run is None:
            self.check(request)
            return False
        if self._foreign(request.ids) is None:
            return False
        answers: list[Error | int | bytes] = []
        for ids in request.ids_by_frame():
            if self._foreign(ids) is None:
                answers.append(answer(ids))
            else:
                self.moved_answers += 1
                answers.append(self._moved())
        connection.reply_frames(request, answers)
        return True

    def write(self, connection: Connection, request: Request, apply: Callable[[IdBatch], int]) -> bool:
        """Take a request that writes, if others are to have a part of it; returns whether it did.

        It is answered when they have had it, or cannot be reached.

        Args:
            apply: writes ids here, and returns how many have changed by it.
        """
        options = request.options
        self._epochs.saw(options.epoch)
        if options.forwarded:
            # Whoever passes it on has its reasons; but whom that one could not reach is owed these slots.
            self._forwarding.note(request.ids, options.missed)
            return False
        if not options.missed and self._foreign(request.ids) is None:
            return False
        frames = request.ids_by_frame()
        answers = _Answers(connection, request, len(frames))
        for index, ids in enumerate(frames):
            self._write_frame(request, ids, apply, answers.place(index))
        return True

    # --- inside ------------------------------------------------------------------------------------------------------

    def _foreign(self, ids: IdBatch) -> array[int] | None:
        return None if self._owns_all else positions_outside(ids, self._epochs.topology.seed, self._bitmap)

    def _moved(self) -> Moved:
        return Moved(f"other members keep some of these users, by the topology of epoch {self._epochs.topology.epoch}")

    def _write_frame(
        self, request: Request, ids: IdBatch, apply: Callable[[IdBatch], int], on_end: Callable[[int | Error], None]
    ) -> None:
        options = request.options
        foreign = self._foreign(ids)
        own_ids = ids
        if foreign is not None:
            elsewhere = frozenset(foreign)
            own_ids = ids.take(array("I", [position for position in range(len(ids)) if position not in elsewhere]))
        told = Told(request.command.name, options.age_ms + self._late_ms(), options.grace_ms)
        write = self._forwarding.write(told, apply(own_ids), on_end)
        newer = options.epoch is not None and options.epoch > self._epochs.topology.epoch
        if foreign is not None:
            foreign_ids = ids.take(foreign)
            if newer:
                # By a topology that is not known here yet, these may be users of this node.
                apply(foreign_ids)
            write.to_owners(foreign_ids)
        write.to_missed(own_ids, options.missed, newer=newer)
        write.end_one()


class _Answers:
    """Gathers the answers to the frames of a request, and gives them when all are there."""

    def __init__(self, connection: Connection, request: Request, count: int) -> None:
        self._connection = connection
        self._request = request
        self._answers: list[Error | int | bytes] = [0] * count
        self._left = count

    def place(self, index: int) -> Callable[[int | Error], None]:
        """Where the answer to one frame goes."""

        def put(answer: int | Error) -> None:
            self._answers[index] = answer
            self._left -= 1
            if self._left == 0:
                self._give()

        return put

    def _give(self) -> None:
        if self._request.run is not None:
            self._connection.reply_frames(self._request, self._answers)
            return
        answer: Any = self._answers[0]
        if isinstance(answer, Error):
            self._connection.fail(self._request, answer)
        else:
            self._connection.reply(self._request, answer)

"""The contract of a watch index: who wants to know about whom, for any number of watchers and ids.

A *watcher* is a number that the index gives out, for as long as it is not removed; whoever asks for it knows what stands
behind it, such as a connection. A *watch* is one watcher and one id. The index knows nothing of statuses, sockets or time.

**What it costs.** A few bytes a watch in each direction (from the id to its watchers, from the watcher to its ids, in the
order in which it came to watch them), and one record for each id that anybody watches. An id that nobody watches any more
leaves nothing behind, nor does a watcher that is removed, whatever it watched.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

from presencedb.ids import IdBatch
from presencedb.transitions import Transitions


class WatchIndex(Protocol):
    """Who watches whom. Ids are told apart as `IdBatch` does; a batch may name one more than once.

    A watcher that was not given out, or was removed, is a ValueError everywhere.
    """

    def add_watcher(self) -> int:
        """A new watcher, who watches nobody. The number of one that was removed may come again."""
        ...

    def remove_watcher(self, watcher: int) -> int:
        """Forget a watcher; returns how many ids it watched."""
        ...

    def watch(self, watcher: int, ids: IdBatch, *, count_max: int) -> int:
        """Watch these ids too; those watched already stay where they are in the watcher's order.

        Returns:
            How many it had not watched before.

        Raises:
            TooLarge: it would then watch more than `count_max` ids; the message names both numbers. Nothing was changed.
        """
        ...

    def unwatch(self, watcher: int, ids: IdBatch) -> int:
        """Watch these ids no more; returns how many of them, each counted once, were watched."""
        ...

    def watched(self, watcher: int) -> IdBatch:
        """The ids that it watches, in the order in which it came to watch them. One that was unwatched and is watched
        again is the last."""
        ...

    def watched_count(self, watcher: int) -> int:
        """How many those are."""
        ...

    def match(self, ids: IdBatch) -> list[tuple[int, array[int]]]:
        """Who watches any of these ids: each such watcher once, with the indexes (type code 'I', rising) of those it
        watches. In no order of watchers.

        Watchers with the same indexes are given the same array, not an equal one, so that what is made of it need be made
        only once; nobody changes it.
        """
        ...

    def select(self, watcher: int, ids: IdBatch, start: int = 0) -> array[int]:
        """The indexes from `start` on (type code 'I', rising) of the ids that this watcher watches.

        Raises:
            ValueError: `start` is not in 0..len(ids).
        """
        ...

    @property
    def watcher_count(self) -> int: ...

    @property
    def id_count(self) -> int:
        """Ids that anybody watches."""
        ...

    @property
    def watch_count(self) -> int:
        """Pairs of a watcher and an id."""
        ...

    @property
    def bytes(self) -> int:
        """Memory in use; exact for the compiled index, an estimate for the one in Python."""
        ...


class Rewind(Protocol):
    """Bring statuses back to what they were before changes: in place."""

    def __call__(self, ids: IdBatch, statuses: bytearray, changes: Sequence[Transitions], start: int, /) -> None:
        """Of each id the first change from `start` on (an index into the first of `changes`) tells what was before it:
        whoever came online was offline, and the other way round; before one with the reason `KNOWN`, it was unknown. An id
        without any change keeps its status. A repeated id gets the same in each of its places.

        Args:
            ids: any number, repeated ones too.
            statuses: a `Status` byte for each.
            changes: one after the other, oldest first.

        Raises:
            ValueError: the number of statuses is not that of the ids, or `start` is beyond the first of the changes.
        """
        ...

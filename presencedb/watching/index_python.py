"""The watch index in plain Python: dicts and sets, the watcher's side being the one that keeps an order."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Final

from presencedb.errors import TooLarge
from presencedb.ids import Id, IdBatch
from presencedb.states import Reason, Status
from presencedb.transitions import REASON_SHIFT, STATUS_MASK, Transitions

_SEED_MAX: Final = 2**64 - 1
_WATCHER_BYTES: Final = 200
_ID_BYTES: Final = 400
"""With the set of its watchers; the id itself is counted as a short text."""
_WATCH_BYTES: Final = 120

_STATUS_BEFORE: Final = {Status.ONLINE: Status.OFFLINE, Status.OFFLINE: Status.ONLINE, Status.UNKNOWN: Status.UNKNOWN}


class PythonWatchIndex:
    """Who watches whom, in dicts. `interface.WatchIndex` says what each method promises."""

    def __init__(self, seed: int) -> None:
        if not 0 <= seed <= _SEED_MAX:
            raise ValueError(f"a hash seed has 64 bits, {seed} does not fit")
        self._watched: dict[int, dict[Id, None]] = {}
        self._watchers: dict[Id, set[int]] = {}
        self._free: list[int] = []
        self._watch_count = 0

    def add_watcher(self) -> int:
        watcher = self._free.pop() if self._free else len(self._watched)
        self._watched[watcher] = {}
        return watcher

    def remove_watcher(self, watcher: int) -> int:
        watched = self._watched_by(watcher)
        for user_id in watched:
            self._leave(watcher, user_id)
        del self._watched[watcher]
        self._free.append(watcher)
        if not self._watched:
            self._free.clear()
        return len(watched)

    def watch(self, watcher: int, ids: IdBatch, *, count_max: int) -> int:
        watched = self._watched_by(watcher)
        new = [user_id for user_id in dict.fromkeys(ids) if user_id not in watched]
        if len(watched) + len(new) > count_max:
            raise TooLarge(f"a connection watches at most {count_max} ids, not {len(watched) + len(new)}")
        for user_id in new:
            watched[user_id] = None
            self._watchers.setdefault(user_id, set()).add(watcher)
        self._watch_count += len(new)
        return len(new)

    def unwatch(self, watcher: int, ids: IdBatch) -> int:
        watched = self._watched_by(watcher)
        gone = [user_id for user_id in dict.fromkeys(ids) if user_id in watched]
        for user_id in gone:
            del watched[user_id]
            self._leave(watcher, user_id)
        return len(gone)

    def watched(self, watcher: int) -> IdBatch:
        return IdBatch.of_canonical(list(self._watched_by(watcher)))

    def watched_count(self, watcher: int) -> int:
        return len(self._watched_by(watcher))

    def match(self, ids: IdBatch) -> list[tuple[int, array[int]]]:
        found: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
        for index, user_id in enumerate(ids):
            for watcher in self._watchers.get(user_id, ()):
                found[watcher].append(index)
        shared: dict[bytes, array[int]] = {}
        return [(watcher, shared.setdefault(indexes.tobytes(), indexes)) for watcher, indexes in found.items()]

    def select(self, watcher: int, ids: IdBatch, start: int = 0) -> array[int]:
        watched = self._watched_by(watcher)
        if not 0 <= start <= len(ids):
            raise ValueError(f"a batch of {len(ids)} ids has no index {start}")
        return array("I", [index for index, user_id in enumerate(ids) if index >= start and user_id in watched])

    @property
    def watcher_count(self) -> int:
        return len(self._watched)

    @property
    def id_count(self) -> int:
        return len(self._watchers)

    @property
    def watch_count(self) -> int:
        return self._watch_count

    @property
    def bytes(self) -> int:
        return self.watcher_count * _WATCHER_BYTES + self.id_count * _ID_BYTES + self.watch_count * _WATCH_BYTES

    def _watched_by(self, watcher: int) -> dict[Id, None]:
        watched = self._watched.get(watcher)
        if watched is None:
            raise ValueError(f"there is no watcher {watcher}")
        return watched

    def _leave(self, watcher: int, user_id: Id) -> None:
        watchers = self._watchers[user_id]
        watchers.remove(watcher)
        if not watchers:
            del self._watchers[user_id]
        self._watch_count -= 1


def rewind(ids: IdBatch, statuses: bytearray, changes: Sequence[Transitions], start: int, /) -> None:
    """`interface.Rewind`, with a dict."""
    first_count = len(changes[0]) if changes else 0
    if len(statuses) != len(ids):
        raise ValueError(f"{len(ids)} ids have {len(ids)} statuses, not {len(statuses)}")
    if not 0 <= start <= first_count:
        raise ValueError(f"the first of the changes are {first_count}, there is no index {start}")
    places: defaultdict[Id, list[int]] = defaultdict(list)
    for index, user_id in enumerate(ids):
        places[user_id].append(index)
    for chunk in changes:
        for user_id, mark in islice(zip(chunk.ids, chunk.marks, strict=True), start, None):
            if user_id in places:
                before = _status_before(mark)
                for index in places.pop(user_id):
                    statuses[index] = before
        if not places:
            return
        start = 0


def _status_before(mark: int) -> Status:
    return Status.UNKNOWN if mark >> REASON_SHIFT == Reason.KNOWN else _STATUS_BEFORE[Status(mark & STATUS_MASK)]

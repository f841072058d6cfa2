"""A model of an engine that keeps no state at all: a history of what it was told, read again for every answer.

The reference engine is what the kernel is compared with; this is what the reference is compared with. It has no timers, no
index, no laziness and no batches: the story of one user (`story.py`) is told from the first event to the last, and every
answer is taken from such stories.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

from presencedb.engine import Copies, EngineConfig, EngineStats, TickWentBack, Transition, Transitions
from presencedb.ids import Hasher, Id, IdBatch
from presencedb.ids.hashing import WIDTH_BITS
from presencedb.limits import SLOT_COUNT
from tests.engine.story import (
    TIMELESS,
    Advance,
    Agree,
    Beat,
    Drop,
    Event,
    Hold,
    Merge,
    Seen,
    Share,
    SignOff,
    Story,
    Sync,
)


class ModelEngine:
    """The model behind the interface of an engine. `advance` is never bounded."""

    def __init__(self, config: EngineConfig, *, tick: int) -> None:
        self._config = config
        self._hasher = Hasher(config.seed)
        self._start = tick
        self._history: list[Event] = [Seen(tick)]
        self._taken: Counter[Id] = Counter()

    @property
    def config(self) -> EngineConfig:
        return self._config

    @property
    def tick(self) -> int:
        return max(event.tick for event in self._history if not isinstance(event, TIMELESS))

    @property
    def synced_count(self) -> int:
        return len(self._synced_slots())

    def _synced_slots(self) -> set[int]:
        synced = set(range(SLOT_COUNT)) if self._config.synced else set()
        for event in self._history:
            if isinstance(event, Sync):
                synced = synced | event.slots if event.synced else synced - event.slots
        return synced

    def _story(self, user_id: Id) -> Story:
        slot = self._hasher.place(user_id).slot
        story = Story(self._config, user_id, slot, self._config.synced, self._start, self._start, self._start)
        for event in self._history:
            story.tell(event)
        return story

    def _stories(self) -> list[Story]:
        named: dict[Id, None] = {}
        for event in self._history:
            if isinstance(event, Beat | SignOff):
                named.update(dict.fromkeys(event.ids))
            elif isinstance(event, Merge):
                named.update(dict.fromkeys(copy.id for copy in event.copies))
        return [self._story(user_id) for user_id in named]

    def _happens(self, event: Beat | SignOff | Merge | Advance | Seen) -> None:
        if event.tick < self.tick:
            raise TickWentBack("the tick went back")
        self._history.append(event)

    def _online_count(self) -> int:
        return sum(story.online for story in self._stories())

    def heartbeat(self, ids: IdBatch, tick: int, *, age_ticks: int = 0) -> int:
        before = self._online_count()
        self._happens(Beat(tuple(ids), tick, age_ticks))
        return self._online_count() - before

    def heartbeat_each(self, ids: IdBatch, tick: int) -> bytearray:
        return bytearray(self.heartbeat(IdBatch([user_id]), tick) for user_id in ids)

    def sign_off(self, ids: IdBatch, tick: int, *, age_ticks: int = 0, grace_ticks: int = 0) -> int:
        before = self._online_count()
        self._happens(SignOff(tuple(ids), tick, age_ticks, grace_ticks))
        return before - self._online_count()

    def merge(self, copies: Copies, tick: int) -> int:
        before = sum(story.changes for story in self._stories())
        self._happens(Merge(tuple(copies), tick))
        return sum(story.changes for story in self._stories()) - before

    def advance(self, tick: int, *, expiry_count_max: int) -> bool:
        self._happens(Advance(tick))
        return True

    def hold_timeouts(self, until_tick: int) -> None:
        self._history.append(Hold(until_tick))

    def set_synced(self, slots: Iterable[int], synced: bool) -> None:
        self._history.append(Sync(frozenset(slots), synced))

    def set_shared(self, slots: Iterable[int], shared: bool) -> None:
        self._history.append(Share(frozenset(slots), shared))

    def agree(self, slots: Iterable[int], through_tick: int) -> None:
        if through_tick > max((event.tick for event in self._history if isinstance(event, Advance)), default=self._start):
            raise ValueError("nothing is agreed that was not advanced to")
        self._history.append(Agree(frozenset(slots), through_tick))

    def overdue_slots(self) -> array[int]:
        return array("H", sorted({story.slot for story in self._stories() if story.is_overdue()}))

    def overdue(self, slots: Iterable[int]) -> IdBatch:
        wanted = set(slots)
        found = [story for story in self._stories() if story.slot in wanted and story.is_overdue()]
        return IdBatch([story.user_id for story in sorted(found, key=lambda story: story.slot)])

    def drop_slots(self, slots: Iterable[int]) -> None:
        dropped = frozenset(slots)
        if dropped & self._synced_slots():
            raise ValueError("a slot that is synced is not dropped")
        self._history.append(Drop(dropped))

    def status(self, ids: IdBatch) -> bytes:
        return bytes(self._story(user_id).status() for user_id in ids)

    def last_seen(self, ids: IdBatch) -> array[int]:
        return array("q", (self._last_seen(self._story(user_id)) for user_id in ids))

    def _last_seen(self, story: Story) -> int:
        retention = self._config.retention_ticks
        if story.write is None:
            return -1
        if not story.online and retention is not None and (retention == 0 or self.tick - story.write.tick > retention):
            return -1
        return story.write.tick

    def count(self, slots: Iterable[int] | None = None) -> int:
        wanted = None if slots is None else set(slots)
        return sum(story.online and (wanted is None or story.slot in wanted) for story in self._stories())

    def scan(self, cursor: int, limit: int, slots: Iterable[int] | None = None) -> tuple[int | None, list[Id]]:
        wanted = None if slots is None else set(slots)
        online = [story for story in self._stories() if story.online and (wanted is None or story.slot in wanted)]
        following, page = self._page(online, cursor, limit)
        return following, [story.user_id for story in page]

    def _page(self, stories: list[Story], cursor: int, limit: int) -> tuple[int | None, list[Story]]:
        ordered = sorted(stories, key=lambda story: self._position(story.user_id))
        rest = [story for story in ordered if self._position(story.user_id) >= cursor]
        return self._position(rest[limit].user_id) if len(rest) > limit else None, rest[:limit]

    def _position(self, user_id: Id) -> int:
        slot, kind, hash_value = self._hasher.place(user_id)
        return (slot << 130) + (kind << 128) + (hash_value << (128 - WIDTH_BITS[kind]))

    @property
    def transitions_waiting(self) -> int:
        return len(self._waiting())

    def drain_transitions(self, count_max: int) -> Transitions:
        taken = self._waiting()[:count_max]
        self._taken.update(transition.id for transition in taken)
        return Transitions.of(taken)

    def discard_transitions(self) -> int:
        return len(self.drain_transitions(self.transitions_waiting))

    def _waiting(self) -> list[Transition]:
        """Of each user, all that was said and not taken: user by user, which is as good an order as any."""
        stories = self._stories()
        return [transition for story in stories for transition in story.said[self._taken[story.user_id] :]]

    def export_slots(self, slots: Iterable[int], tick: int, *, count_max: int, cursor: int = 0) -> tuple[int | None, Copies]:
        self._happens(Seen(tick))
        wanted = set(slots)
        copied = [story for story in self._stories() if story.slot in wanted and story.copy(tick)]
        following, page = self._page(copied, cursor, count_max)
        return following, Copies.of(copy for story in page for copy in story.copy(tick))

    def export(self, ids: IdBatch, tick: int) -> Copies:
        self._happens(Seen(tick))
        return Copies.of(copy for user_id in ids for copy in self._story(user_id).copy(tick))

    def stats(self) -> EngineStats:
        stories = self._stories()
        lateness = [0] * 16
        for ticks in (late for story in stories for late in story.lateness):
            lateness[next(i for i in range(16) if ticks < 2**i or i == 15)] += 1
        return EngineStats(
            users=sum(story.known() is not None for story in stories),
            online=sum(story.online for story in stories),
            pending_sign_offs=sum(story.request is not None for story in stories),
            bytes=0,
            timeouts=sum(len(story.lateness) for story in stories),
            lateness_ticks=tuple(lateness),
        )

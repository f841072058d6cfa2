"""A model of an engine that keeps no state at all: a history of what it was told, read again for every answer.

The reference engine is what the kernel is compared with; this is what the reference is compared with. It has no timers, no
index, no laziness and no batches: the story of one user is told from the first event to the last, and every answer is taken
from such stories.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from presencedb.engine import Copy, EngineConfig, EngineStats, TickWentBack, Transition, Transitions
from presencedb.ids import Hasher, Id, IdBatch
from presencedb.ids.hashing import WIDTH_BITS
from presencedb.limits import SLOT_COUNT
from presencedb.states import Reason, Status


class Write(NamedTuple):
    """A register: a write at a tick. Tuples compare as registers do: the later wins, at a tie the sign-off."""

    tick: int
    signed_off: bool


class Beat(NamedTuple):
    ids: tuple[Id, ...]
    tick: int
    age: int


class SignOff(NamedTuple):
    ids: tuple[Id, ...]
    tick: int
    age: int
    grace: int


class Merge(NamedTuple):
    copies: tuple[Copy, ...]
    tick: int


class Advance(NamedTuple):
    tick: int


class Hold(NamedTuple):
    until: int


class Sync(NamedTuple):
    slots: frozenset[int]
    synced: bool


class Seen(NamedTuple):
    """Time went by, and nothing else happened."""

    tick: int


Event = Beat | SignOff | Merge | Advance | Hold | Sync | Seen


@dataclass
class Story:
    """What has become of one user, and what the node knew of time on the way."""

    config: EngineConfig
    user_id: Id
    slot: int
    synced: bool
    advanced: int
    expired: int
    hold: int = 0
    write: Write | None = None
    online: bool = False
    request: Write | None = None
    request_end: int = 0
    said: list[Transition] = field(default_factory=list)
    lateness: list[int] = field(default_factory=list)
    changes: int = 0

    def tell(self, event: Event) -> None:
        match event:
            case Beat(ids, tick, age):
                for _ in range(ids.count(self.user_id)):
                    self._beat(tick, age)
            case SignOff(ids, tick, age, grace):
                for _ in range(ids.count(self.user_id)):
                    self._sign_off(tick, age, grace)
            case Merge(copies, tick):
                for copy in copies:
                    if copy.id == self.user_id:
                        self._news(Write(max(tick - copy.age_ticks, 0), copy.signed_off))
            case Advance(tick):
                self._advance(tick)
            case Hold(until):
                self.hold = max(self.hold, until)
            case Sync(slots, synced):
                self.synced = synced if self.slot in slots else self.synced
            case Seen():
                pass

    def known(self) -> Write | None:
        """The register that counts: of whoever is online, or one that is still kept."""
        return self.write if self.write is not None and (self.online or self._is_kept(self.write)) else None

    def _is_kept(self, write: Write) -> bool:
        retention = self.config.retention_ticks
        if retention is None:
            return True
        if retention == 0 and not write.signed_off:
            return False
        return write.tick + max(retention, self.config.ttl_ticks) >= self.expired

    def _own_deadline(self, write: Write) -> int:
        return write.tick + self.config.ttl_ticks + 1

    def _say(self, online: bool, tick: int, reason: Reason) -> None:
        if self.synced:
            self.said.append(Transition(self.user_id, online, tick, reason))

    def _beat(self, tick: int, age: int) -> None:
        known = self.known()
        if age:
            self._news(Write(max(tick - age, 0), False))
            return
        self.request = None
        if known is not None and known.signed_off and known.tick >= tick:
            # Arrival decides, so this is no news but a fact: the sign-off is as if it had never been.
            self.write = None
            self._accept(Write(tick + 1, False), tick + 1)
        else:
            self._news(Write(tick, False))

    def _sign_off(self, tick: int, age: int, grace: int) -> None:
        known = self.known()
        if known is None and self.synced:
            return
        write = Write(max(tick - age, 0), True)
        if age == 0 and known is not None:
            write = Write(max(tick, known.tick), True)
        if grace == 0:
            self._news(write)
        elif known is None or write > known:
            waiting = self.request is not None
            self.request_end = min(self.request_end, tick + grace) if waiting else tick + grace
            self.request = max(write, self.request) if self.request is not None else write

    def _news(self, write: Write) -> None:
        if self.request is not None and not write.signed_off and write.tick > self.request.tick:
            self.request = None
        self._accept(write, max(write.tick, self.advanced))

    def _accept(self, write: Write, at: int) -> None:
        known = self.known()
        if known is not None and write <= known:
            return
        comes_online = (
            not self.online and not write.signed_off and write.tick > 0 and self._own_deadline(write) > self.expired
        )
        if not self.online and not comes_online and not self._is_kept(write):
            return
        self.changes += 1
        self.write = write
        if write.signed_off:
            self.request = None
            if self.online:
                self._say(False, at, Reason.SIGN_OFF)
            self.online = False
        elif comes_online:
            self.online = True
            self._say(True, at, Reason.HEARTBEAT)

    def _advance(self, tick: int) -> None:
        self.advanced = tick
        held = tick < self.hold
        if not held:
            self.expired = tick
        if self.request is not None and self.request_end <= tick:
            request, self.request = self.request, None
            known = self.known()
            timed_out_before = self.online and known is not None and self._deadline(known) <= self.request_end
            if not timed_out_before and (known is not None or not self.synced):
                self._accept(request, self.request_end)
        if self.online and self.write is not None and self._deadline(self.write) <= tick and not held:
            self.online = False
            self.request = None
            deadline = self._deadline(self.write)
            self._say(False, deadline, Reason.TIMEOUT)
            if self.synced:
                self.lateness.append(tick - deadline)

    def _deadline(self, write: Write) -> int:
        return max(self._own_deadline(write), self.hold)


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
        return max(event.tick for event in self._history if not isinstance(event, Hold | Sync))

    @property
    def synced_count(self) -> int:
        synced = dict.fromkeys(range(SLOT_COUNT), self._config.synced)
        for event in self._history:
            if isinstance(event, Sync):
                synced.update(dict.fromkeys(event.slots, event.synced))
        return sum(synced.values())

    def _story(self, user_id: Id) -> Story:
        slot = self._hasher.place(user_id).slot
        story = Story(self._config, user_id, slot, self._config.synced, advanced=self._start, expired=self._start)
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

    def merge(self, copies: Sequence[Copy], tick: int) -> int:
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

    def status(self, ids: IdBatch) -> bytes:
        stories = map(self._story, ids)
        return bytes(Status.ONLINE if s.online else Status.OFFLINE if s.synced else Status.UNKNOWN for s in stories)

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
        ordered = sorted((self._position(story.user_id), story.user_id) for story in online)
        rest = [(position, user_id) for position, user_id in ordered if position >= cursor]
        following = rest[limit][0] if len(rest) > limit else None
        return following, [user_id for _, user_id in rest[:limit]]

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

    def export_slot(self, slot: int, tick: int) -> list[Copy]:
        self._happens(Seen(tick))
        retention = self._config.retention_ticks
        age_max = None if retention is None else max(retention, self._config.ttl_ticks)
        copies: list[Copy] = []
        for story in self._stories():
            known = story.known()
            if known is not None and story.slot == slot and (age_max is None or tick - known.tick <= age_max):
                copies.append(Copy(story.user_id, max(tick - known.tick, 0), known.signed_off))
        return copies

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

"""What must hold in a simulated cluster, whatever happens to it.

The judge is told what users do and what becomes of it, what is answered and what is announced, and when something happens
to the cluster. It knows nothing of how the cluster works. What it holds against whom:

* **Nobody who beats in time is offline.** A user is *safe* from when a heartbeat is acknowledged until `ttl - SLACK` after
  that heartbeat was begun; a chain of heartbeats makes one safe time. A sign-off ends it, and heartbeats that were begun
  before the sign-off came to its end count no more. Who was safe from when a question was asked until it was answered is
  not answered false, and who was safe around the moment in which an event came is not announced offline. So a node may
  answer nothing, or that it does not know; it may not guess.
* **Who is gone is offline in time.** The cluster is *calm* when nothing is wrong with it but that processes are dead, and
  fewer of them than a user has owners. In a cluster that has been calm for `SETTLE_MS`, who has not beaten for a ttl is
  neither answered nor announced to be online later than `SOON_MS` after that, or `LATE_MS` while a process is dead. Where a
  process was away or a link bad, what was under way may have come late: there the ttl begins with the end of that. A
  sign-off holds everywhere once the cluster has been calm for `LATE_MS`.
* **Late writes** are what is known not to hold, and is looked at only where the judge is *strict*: a frame that waited on a
  link that was cut, or for a process that was away, is taken as fresh when it comes. So a sign-off from then undoes the
  heartbeats that went another way meanwhile, until the next one; and a heartbeat from then undoes a sign-off for a ttl.
* **Calm is known.** `KNOWN_MS` after it became calm (and a ttl where all owners may have lost what they knew) nobody
  is answered nil any more, and every call succeeds.
* **Each change is told once.** A feed says of a user by turns that it is online and that it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final

from presencedb.client.values import Change
from tests.simulation.cluster import Shape

NS_PER_MS: Final = 1_000_000
NEVER_NS: Final = -1

SLACK_TICKS: Final = 2
"""A heartbeat is stamped with the tick that has begun, and a copy of it with one before that."""
SLACK_MS: Final = 20
"""What a few ways over a healthy network take."""
SOON_MS: Final = 500
"""Beyond the ttl, where all is well: to ask the other owners, some ticks."""
LATE_MS: Final = 2_000
"""Beyond the ttl, where a process is gone: to find that out."""
SETTLE_MS: Final = 1_500
"""To connect again, and to pull what was missed."""
KNOWN_MS: Final = 2_000
EVENT_MS: Final = 5
"""How long an event may take from the node to the auditor beside it, beyond the tick that it waits for."""


@dataclass(slots=True)
class _User:
    """What the judge knows of a user. Moments in nanoseconds."""

    safe_from_ns: int = NEVER_NS
    safe_until_ns: int = NEVER_NS
    beats_under_way: int = 0
    beat_ended_ns: int = NEVER_NS
    """When the last attempt to beat ended: until then it may have come to effect."""
    sign_offs_under_way: int = 0
    signed_off_ns: int = NEVER_NS
    """When the last sign-off came to its end."""
    sign_off_holds: bool = False
    """It was acknowledged, and no heartbeat was begun since."""
    sign_off_may_come: bool = False
    """One may be under way still."""
    beat_may_come: bool = False


@dataclass
class Judge:
    """Holds what a cluster does against what it promises.

    Attributes:
        now_ns: gives the moment.
        copy_age_ms: by how much a copy may be older than the truth, which makes the safe time shorter.
        may_be_lost: all that is known of a user may be lost at once, so that it is unknown for a ttl.
        strict: look at what is known not to hold, too.
        violations: what was wrong, in words.
        calm_since_ns: since when it is calm; None: it is not.
        held_ns: when what was under way had arrived for the last time; None: it may be under way still.
    """

    shape: Shape
    now_ns: Callable[[], int]
    copy_age_ms: int = 0
    may_be_lost: bool = False
    strict: bool = False
    violations: list[str] = field(default_factory=list)
    calm_since_ns: int | None = 0
    held_ns: int | None = 0
    all_alive: bool = True

    def __post_init__(self) -> None:
        self._users: dict[int, _User] = {}
        self._told: dict[tuple[str, int], bool | None] = {}
        slack_ms = SLACK_TICKS * self.shape.tick_ms + SLACK_MS + self.copy_age_ms
        self._life_ns = (self.shape.ttl_ms - slack_ms) * NS_PER_MS
        self._ttl_ns = self.shape.ttl_ms * NS_PER_MS

    def blame(self, what: str) -> None:
        """Note a violation."""
        self.violations.append(f"at {self.now_ns() / 1e9:.3f} s: {what}")

    # --- what users do -----------------------------------------------------------------------------------------------

    def beat_begins(self, user_id: int) -> int:
        """A user beats; returns the moment, which `beat_ends` is told."""
        user = self._user(user_id)
        user.beats_under_way += 1
        user.beat_may_come |= self._may_be_late()
        user.sign_off_holds = False
        return self.now_ns()

    def beat_ends(self, user_id: int, began_ns: int, *, acknowledged: bool) -> None:
        """What has become of that."""
        user, now_ns = self._user(user_id), self.now_ns()
        user.beats_under_way -= 1
        user.beat_ended_ns = now_ns
        user.beat_may_come |= self._may_be_late()
        user.sign_off_may_come &= self._may_be_late(began_ns)
        if user.sign_off_may_come or not acknowledged or user.sign_offs_under_way or began_ns <= user.signed_off_ns:
            return
        if now_ns > user.safe_until_ns:
            user.safe_from_ns = now_ns
        user.safe_until_ns = max(user.safe_until_ns, began_ns + self._life_ns)

    def sign_off_begins(self, user_id: int) -> None:
        """A user signs off."""
        user = self._user(user_id)
        user.sign_offs_under_way += 1
        user.sign_off_may_come |= self._may_be_late()
        user.beat_may_come &= self._may_be_late()
        user.safe_until_ns = min(user.safe_until_ns, self.now_ns() - 1)

    def sign_off_ends(self, user_id: int, *, acknowledged: bool) -> None:
        """What has become of that."""
        user = self._user(user_id)
        user.sign_offs_under_way -= 1
        user.signed_off_ns = self.now_ns()
        user.sign_off_may_come |= self._may_be_late()
        user.sign_off_holds = acknowledged and not user.beats_under_way and not user.beat_may_come

    # --- what happens to the cluster ---------------------------------------------------------------------------------

    def changed(self, *, calm: bool, all_alive: bool, holding: bool) -> None:
        """Something begins to be wrong with it, or is over.

        Args:
            calm: nothing is wrong but that some processes are dead.
            all_alive: none is.
            holding: something is wrong that makes things come late.
        """
        now_ns = self.now_ns()
        if holding:
            self.held_ns = None
        elif self.held_ns is None:
            self.held_ns = now_ns
        self.calm_since_ns = now_ns if calm else None
        self.all_alive = all_alive

    # --- what it answers ---------------------------------------------------------------------------------------------

    def answered(self, who: str, user_id: int, asked_ns: int, online: bool | None) -> None:
        """A question about a user, asked at that moment, is answered now."""
        user, now_ns = self._user(user_id), self.now_ns()
        if online is False and self._is_safe(user, asked_ns, now_ns):
            self.blame(f"{who} is told that {user_id}, who beats, is offline")
        if online and self._must_be_offline(user, asked_ns):
            self.blame(f"{who} is told that {user_id}, who is gone, is online")
        if online is None and self._is_known(asked_ns):
            self.blame(f"{who} is told that {user_id} is unknown in a cluster that is well")

    def failed(self, who: str, asked_ns: int, error: Exception) -> None:
        """A call has failed."""
        if self._is_known(asked_ns):
            self.blame(f"{who} cannot use a cluster that is well: {error!r}")

    # --- what it announces -------------------------------------------------------------------------------------------

    def told(self, node: str, change: Change, node_away_ns: int) -> None:
        """The feed of a node has told something; the node was away for so long just before."""
        assert isinstance(change.id, int)
        user, now_ns = self._user(change.id), self.now_ns()
        from_ns = now_ns - (self.shape.tick_ms + EVENT_MS) * NS_PER_MS - node_away_ns
        if change.online is False and self._is_safe(user, from_ns, now_ns):
            self.blame(f"{node} announces by {change.reason} that {change.id}, who beats, is offline")
        key = (node, change.id)
        if change.reason not in {"known", "unknown"} and self._told.get(key, not change.online) is change.online:
            self.blame(f"{node} announces twice that {change.id} is {change.online}")
        self._told[key] = change.online

    def look(self, running: Container[str]) -> None:
        """Whether some feed should have announced something by now."""
        asked_ns = self.now_ns() - (self.shape.tick_ms + EVENT_MS) * NS_PER_MS
        for (node, user_id), online in self._told.items():
            if online and node in running and self._must_be_offline(self._user(user_id), asked_ns):
                self.blame(f"{node} does not announce that {user_id} is gone")

    def forget_feed(self, node: str) -> None:
        """The feed of a node begins anew: what it told before says nothing about what comes."""
        for key in [key for key in self._told if key[0] == node]:
            del self._told[key]

    # --- the end -----------------------------------------------------------------------------------------------------

    def holds_at_the_end(self, owner: str, user_id: int, online: bool | None, *, is_online: bool) -> None:
        """A healed cluster is asked about everybody: one owner says this, and it is that."""
        if online is not is_online:
            self.blame(f"after healing {owner} says {online} of {user_id}, and it is {is_online}")
        told = self._told.get((owner, user_id))
        if told is not None and told is not is_online:
            self.blame(f"after healing the feed of {owner} has told {told} of {user_id} last, and it is {is_online}")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _user(self, user_id: int) -> _User:
        return self._users.setdefault(user_id, _User())

    def _may_be_late(self, began_ns: int | None = None) -> bool:
        """Whether what was begun at some moment, or now, may meet what began earlier and was held up."""
        if self.strict:
            return False
        moment_ns = self.now_ns() if began_ns is None else began_ns
        return self.held_ns is None or (self.held_ns > 0 and moment_ns <= self.held_ns + SETTLE_MS * NS_PER_MS)

    def _is_safe(self, user: _User, from_ns: int, until_ns: int) -> bool:
        return user.safe_from_ns <= from_ns and until_ns <= user.safe_until_ns

    def _must_be_offline(self, user: _User, asked_ns: int) -> bool:
        calm_ns, held_ns = self.calm_since_ns, self.held_ns
        if calm_ns is None or held_ns is None or user.beats_under_way:
            return False
        if user.sign_off_holds and asked_ns >= user.signed_off_ns and asked_ns > calm_ns + LATE_MS * NS_PER_MS:
            return True
        bound_ms = SOON_MS if self.all_alive else LATE_MS
        due_ns = max(user.beat_ended_ns, held_ns) + self._ttl_ns + bound_ms * NS_PER_MS
        return asked_ns > max(due_ns, calm_ns + SETTLE_MS * NS_PER_MS)

    def _is_known(self, asked_ns: int) -> bool:
        calm_ns = self.calm_since_ns
        if calm_ns is None:
            return False
        warm_up_ns = self._ttl_ns if self.may_be_lost or self.shape.replicas == 1 else 0
        return asked_ns > calm_ns + warm_up_ns + KNOWN_MS * NS_PER_MS

"""The contract of an engine: what the store promises, for any implementation.

An engine knows who was last heard of when, who is online by it, and what changed. It does no I/O and reads no clock: time
enters as an argument, an integer *tick*. It calls nobody; the caller drains what changed.

**One register a user.** `(last_hb, signed_off)`: the tick of the last heartbeat or sign-off, and which of the two it was.
The later write wins; at the same tick a sign-off wins over a heartbeat. The one exception is arrival on this very node: a
heartbeat of age 0 that comes after a sign-off was stored with the same or a later tick is stamped one tick after it (at
most `tick + 1`, where it then simply clears the bit), and a sign-off of age 0 is stamped no earlier than `last_hb`.

**Online** means: not signed off, and the timeout not yet emitted. The *deadline* of a user is the first tick at which the
timeout may be emitted: `max(last_hb + ttl_ticks + 1, hold)`, where `hold` is the tick given to `hold_timeouts`. `advance`
emits each timeout whose deadline is at or before its tick, exactly once. A heartbeat before that prolongs, however late it
is. `status`, `count`, `scan` and the transitions always agree, in the middle of a bounded expiry too (but see *in doubt*).

*Expired through* is the tick of the last `advance` that was not below `hold`, finished or not (one below `hold` emits no
timeout and leaves it as it was); in a new engine, the tick it began with. A write with an age brings a user online only if
its own deadline, `stamp + ttl_ticks + 1`, is later than that: what has been expired is not revived by old news.

**Kept.** The register of a user who is not online is there while `stamp + max(ttl_ticks, retention_ticks) + 1` is later
than expired through; in `online` retention only if it is a sign-off. From then on everything behaves as if there were none,
whenever it is really removed.

**Synced slots.** In a slot that is not synced the engine has not been told everything: who is not online there is
`UNKNOWN`, never `OFFLINE`, and nothing is emitted, whatever happens. Becoming synced or unsynced emits nothing either; the
caller compares. A new engine has every slot synced or none, as its configuration says.

**Shared slots.** Other nodes have registers of the same users, which may be later: so in a *shared* slot silence is not
enough, and what is due must be *agreed* to. `agree` says through which tick it is; the next `advance` that is not below
`hold` goes by that, and emits no timeout of the slot with a later deadline. (No deadline is below `hold`, so what is agreed
below it is nothing.) When a slot becomes shared, all that is expired through counts as agreed; when it is shared no more,
everything. A new engine shares none. Whoever has a deadline at or before expired through that is not agreed to is *overdue*:
online for everybody who asks, until that is agreed to, or a heartbeat prolongs, or a sign-off comes. Sign-offs, with a grace
or without, need nobody's agreement. Nobody comes online overdue. What else this contract says goes for shared slots too,
except that:

- *In doubt* is who is in a shared slot with a deadline more than `doubt_ticks` before expired through, and not emitted: the
  others did not answer, so `status` says `UNKNOWN`. For `count`, `scan` and the transitions they are online, and nothing is
  emitted when doubt begins or ends.
- A heartbeat that does not bring online, but is kept, is written with a stamp of which the deadline is agreed to: if its
  own is later, then as late as that allows. (So a user's `last_seen` may be early by as much as agreement lags behind.)

**Transitions** wait, in the order in which they happened for each user, until the caller takes them: all, or some from the
front. In whatever pieces they are taken, and whatever is written between two of them, together they are the same.

**Ticks** are in 0..`TICK_MAX - 1` and never go back: every method that takes a tick refuses one smaller than any it has been
given before. A tick may be the same as the last, or jump by any amount. Arguments are checked first, so whatever a method
refuses (`TickWentBack`; `ValueError` for a tick, age, grace, slot, limit or count out of range) changes nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from presencedb.engine.copies import Copies
from presencedb.ids import Id, IdBatch
from presencedb.limits import TICK_MS_MIN, TTL_MS_MAX
from presencedb.transitions import Transitions

RETENTION_ONLINE: Final = 0
"""Forget a user who is not online. A sign-off is kept until its ttl is over, so that older news cannot undo it."""

LATENESS_BUCKETS: Final = 16
"""Bucket `i` counts timeouts emitted with `lateness < 2**i` ticks after their deadline; the last takes the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What an engine is told once.

    Attributes:
        ttl_ticks: a user is online while `tick - last_hb <= ttl_ticks`; from 1 to `TTL_MS_MAX / TICK_MS_MIN`.
        retention_ticks: how long `last_seen` is kept after the last write; `RETENTION_ONLINE`, or at least `ttl_ticks`, or
            None for ever.
        seed: the cluster's hash seed, 64 bits.
        synced: whether all slots start synced (a lone node, a founded cluster) or none.
        doubt_ticks: how long somebody in a shared slot may be overdue before they are in doubt; 0 or more.
    """

    ttl_ticks: int
    retention_ticks: int | None = RETENTION_ONLINE
    seed: int = 0
    synced: bool = True
    doubt_ticks: int = 20

    def __post_init__(self) -> None:
        """Refuse what no engine can do.

        Raises:
            ValueError: a field is out of its range.
        """
        if not 1 <= self.ttl_ticks <= TTL_MS_MAX // TICK_MS_MIN:
            raise ValueError(f"a ttl is between 1 and {TTL_MS_MAX // TICK_MS_MIN} ticks, not {self.ttl_ticks}")
        if self.retention_ticks not in (None, RETENTION_ONLINE) and self.retention_ticks < self.ttl_ticks:
            raise ValueError(f"a retention is at least the ttl of {self.ttl_ticks} ticks, not {self.retention_ticks}")
        if not 0 <= self.seed <= 2**64 - 1:
            raise ValueError(f"a hash seed has 64 bits, {self.seed} does not fit")
        if self.doubt_ticks < 0:
            raise ValueError(f"nobody is in doubt before being overdue: {self.doubt_ticks} ticks")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Counters of an engine. `bytes` is an estimate for the reference engine and exact for the kernel."""

    users: int
    """Registers kept, those of users who are not online included."""
    online: int
    pending_sign_offs: int
    bytes: int
    timeouts: int
    """Timeouts emitted since the start."""
    lateness_ticks: tuple[int, ...]
    """Histogram of `tick of emission - deadline`, see `LATENESS_BUCKETS`."""


class TickWentBack(ValueError):
    """A tick smaller than one given before: the caller's clock is broken, and nothing was changed."""


class Engine(Protocol):
    """A store of presence. Batches are applied id by id in order; a repeated id counts each time."""

    @property
    def config(self) -> EngineConfig: ...

    @property
    def tick(self) -> int:
        """The latest tick this engine was given."""
        ...

    def heartbeat(self, ids: IdBatch, tick: int, *, age_ticks: int = 0) -> int:
        """Write a heartbeat of each id, at `tick - age_ticks`.

        A stamp below 0 saturates to 0, which is never online. A sign-off that waits for its grace is dropped by a
        heartbeat that arrives after it with a later stamp (with age 0: with the same tick too).

        Returns:
            How many users came online by it, in synced slots or not.

        Raises:
            TickWentBack: see there.
        """
        ...

    def heartbeat_each(self, ids: IdBatch, tick: int) -> bytearray:
        """As `heartbeat` of age 0; returns a byte an id, 1 where the user came online by it and 0 elsewhere."""
        ...

    def sign_off(self, ids: IdBatch, tick: int, *, age_ticks: int = 0, grace_ticks: int = 0) -> int:
        """Write a sign-off of each id, at `tick - age_ticks`; with a grace, keep it aside until `tick + grace_ticks`.

        A sign-off with grace is requested at `tick - age_ticks`. If nothing came after it, `advance` applies it at the end
        of the grace: the register gets the tick of the *request*, the transition the end of the grace. If the timeout's
        deadline is not later than that end, the timeout does the work and the sign-off is dropped (in a shared slot only if
        that deadline is agreed to). A second request before
        that keeps the earlier end and the later tick of request; one older than the register says nothing. A sign-off
        without grace drops one that waits, unless it is older than the register.

        Of a user without a register a sign-off writes nothing in a synced slot, and a register (so that older news cannot
        bring the user online) in an unsynced one. In `online` retention a user who timed out has no register.

        Returns:
            How many users went offline by it at once, in synced slots or not.
        """
        ...

    def status(self, ids: IdBatch) -> bytes:
        """One `Status` byte an id, in order."""
        ...

    def last_seen(self, ids: IdBatch) -> array[int]:
        """The register's tick of each id (type code 'q'), or -1 where there is none to be told.

        That is: never seen; or not online, and in `online` retention or with `engine.tick - last_hb` above the retention.
        """
        ...

    def count(self, slots: Iterable[int] | None = None) -> int:
        """Users online: in all (O(1)), or in these slots (each counts once)."""
        ...

    def scan(self, cursor: int, limit: int, slots: Iterable[int] | None = None) -> tuple[int | None, list[Id]]:
        """Up to `limit` online users from `cursor` on (0 to start), ordered by `Hasher.place`.

        A user online from the first call to the last appears exactly once. `cursor` is
        `slot << 130 | kind << 128 | hash`, the first position to look at, with the hash shifted left to 128 bits; any value
        is legal. A page may be shorter than the limit only when it is the last one. (Two texts never share a 128-bit hash
        in practice; where they do, a page ends behind both and may be longer by one.)

        Returns:
            The next cursor, or None when there is nobody after this page, and the ids.
        """
        ...

    def advance(self, tick: int, *, expiry_count_max: int) -> bool:
        """Bring time to `tick` and emit what has become due: sign-offs at the end of their grace, then timeouts.

        Args:
            expiry_count_max: about how many users to emit at most in this call, at least 1. An implementation may go over
                it by one page.

        Returns:
            Whether everything due is emitted, in shared slots as far as it is agreed to. If False, there may be more: call
            again; the tick may be the same or later.
        """
        ...

    def hold_timeouts(self, until_tick: int) -> None:
        """Emit no timeout before `until_tick`: this node itself was away, so silence proves nothing. Only ever raised."""
        ...

    @property
    def transitions_waiting(self) -> int:
        """How many transitions were emitted and not taken yet (O(1))."""
        ...

    def drain_transitions(self, count_max: int) -> Transitions:
        """Take what waits longest, `count_max` transitions or as many as there are; none of them means that none waits.

        Raises:
            ValueError: `count_max` is below 1.
        """
        ...

    def discard_transitions(self) -> int:
        """Drop all that wait, for when nobody listens; returns how many there were."""
        ...

    def export_slots(self, slots: Iterable[int], tick: int, *, count_max: int, cursor: int = 0) -> tuple[int | None, Copies]:
        """Copies of the registers in these slots that still say something, from `cursor` on (0 to start; as of `scan`).

        A register that is there from the first call to the last appears exactly once, with its age at the tick of the call
        (below 0 counts as 0). Left out: in `online` retention whoever is past their ttl, be they overdue; else whoever is
        past the retention. Sign-offs that wait for their grace are not part of it.

        Returns:
            The next cursor, or None when there is nothing after it, and up to `count_max` copies, which is at least 1.
            (Two texts that share a hash may make it one more.)
        """
        ...

    def export(self, ids: IdBatch, tick: int) -> Copies:
        """The same of these ids, in their order, those without such a register left out."""
        ...

    def merge(self, copies: Copies, tick: int) -> int:
        """Merge copies from elsewhere: for each, the later of it and the own register wins, at a tie the sign-off.

        A copy that brings a user online or offline is a transition like any other (reason `HEARTBEAT` or `SIGN_OFF`). A
        copy of an unknown user is stored if it brings the user online, or would be kept (see above). The same copies
        merged any number of times at the same tick change nothing. A heartbeat later than a sign-off that waits for its
        grace drops it.

        Returns:
            How many registers changed.

        Raises:
            ValueError: the columns differ in length.
        """
        ...

    def drop_slots(self, slots: Iterable[int]) -> None:
        """Forget all registers of these slots, and the sign-offs that wait there: they are another node's now.

        Raises:
            ValueError: one of the slots is synced; nothing was dropped.
        """
        ...

    def set_synced(self, slots: Iterable[int], synced: bool) -> None:
        """Declare slots synced or not. Emits nothing.

        Raises:
            ValueError: a slot is not in 0..16383.
        """
        ...

    @property
    def synced_count(self) -> int:
        """How many slots are synced."""
        ...

    def set_shared(self, slots: Iterable[int], shared: bool) -> None:
        """Declare slots shared with other nodes or not. Emits nothing by itself."""
        ...

    def overdue_slots(self) -> array[int]:
        """The shared slots to ask the other owners about, in order (type code 'H'), at a cost that follows their number.

        After an advance that returned True: all in which it left somebody overdue, and maybe some more in which all of
        them beat since. Such a one is gone after `overdue` of it was asked for.
        """
        ...

    def overdue(self, slots: Iterable[int]) -> IdBatch:
        """Everybody who is overdue in these slots, one slot after the other."""
        ...

    def agree(self, slots: Iterable[int], through_tick: int) -> None:
        """From the next advance on, timeouts of these slots with a deadline at or before `through_tick` are agreed to.

        That goes for whoever was overdue when the owners were asked, so the tick is that of the last advance then. It never
        goes back; slots that are not shared need no agreement and are left alone.

        Raises:
            ValueError: `through_tick` is later than the last advance.
        """
        ...

    def stats(self) -> EngineStats: ...

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
"""The kernel: the store of presence, compiled. A paged hash table under a timing wheel.

Goals: exact answers, as `interface.py` promises them; about 8 bytes a user with a small integer for an id; one cache miss a
heartbeat or status; expiry on the tick at no cost a user; no step longer than the work on one page. Not goals: threads,
persistence, values beside the register.

    id --hash--> 14 bits slot | some bits page | 32 bits home line ... the rest is stored, so the id can be given back
                      |
    slots[kind][slot] +--> page                           or a branch to several pages, see store.h
                           |
           +---------------v------------------------------+
           | head: armed, used, online, wheel links       |  64 bytes
           | line 0  [ head | tags | rests | times ]      |  64 bytes (128 for UUIDs and text): 10 entries of a small
           | line 1  [ head | tags | rests | times ]      |  integer, 6 of a large one, 7 of a UUID or a text
           | ...                                          |
           +----------------------------------------------+
                           ^
    wheel, by tick --------+   a page stands at the first tick when anybody in it can time out

A user is an entry: 18 bits of *mark* (compared for a whole line at once), the rest of the hash, and a *time word*,
`last_hb << 1 | signed_off`. Nothing says "online": that follows from the time word and from how far timeouts have been
emitted, so a heartbeat writes four bytes and the expiry of a page writes none in retention beyond the ttl.

| file        | what is in it                                                                            |
|-------------|------------------------------------------------------------------------------------------|
| line.h      | entries in a cache line: layout, the search in one                                       |
| page.h      | lines in a page: home, guests, filters; pouring a page into another                      |
| pool.h      | memory: blocks without holes, in segments that go back to the system                     |
| wheel.h     | the hierarchical timing wheel                                                            |
| log.h       | what changed, until it is drained                                                        |
| grace.h     | sign-offs that wait for the end of their grace                                           |
| agreement.h | what the owners of a shared slot agreed on                                               |
| store.h     | all of these together, the way from slot to page, the text of text ids                   |
| growth.h    | pages grow, split, shrink, merge                                                         |
| expiry.h    | a page is looked at: timeouts, forgetting, the next time to look                         |
| write.h     | the rules by which a register changes                                                    |
| readout.h   | columns of users, as they are read out                                                   |
| overdue.h   | shared slots: whoever is past the deadline, until the owners agree                       |
| advance.h   | one bounded step of time                                                                 |
| batch.h     | loops over the ids of a request, fetching ahead                                          |
| scan.h      | reading slots out, a page of a scan or of copies at a time                               |
| exchange.h  | copies of registers, out and in; forgetting a slot                                       |
| check.h     | what must be true between two calls; asked by the tests                                  |

What is in C knows nothing of Python; this file checks arguments, converts, and holds no rule of its own.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from array import array

from presencedb.engine.copies import Copies
from presencedb.engine.interface import RETENTION_ONLINE, EngineStats, TickWentBack
from presencedb.engine.reference_slots import checked_slots
from presencedb.limits import SLOT_COUNT, TICK_MAX
from presencedb.transitions import Transitions

from presencedb.ids._batch cimport IDS_OK, IdBatch, ids_hash

HASH_BITS = 128
KIND_BITS = 2
COUNT_MAX = 1 << 40
"""More users than anybody emits in one call; what is above it is no different."""


cdef class KernelEngine:
    """A store of presence in compiled code. `interface.Engine` says what each method promises."""

    cdef Store *c
    cdef readonly object config
    cdef readonly object synced_count
    cdef int64_t _tick

    def __cinit__(self, config, *, tick):
        self._tick = 0
        self._accept(tick, 0)
        retention = config.retention_ticks
        keep = KEEP_EVER if retention is None else max(retention, config.ttl_ticks)
        forgets_offline = retention == RETENTION_ONLINE
        doubt = min(config.doubt_ticks, TICK_MAX)
        self.c = store_new(config.ttl_ticks, keep, forgets_offline, doubt, config.seed, config.synced, tick)
        if self.c == NULL:
            raise MemoryError
        self.config = config
        self.synced_count = SLOT_COUNT if config.synced else 0

    def __dealloc__(self):
        store_free(self.c)

    @property
    def tick(self):
        """The latest tick this engine was given."""
        return self._tick

    cdef int _accept(self, object tick, object age_ticks) except -1:
        """Take note of the tick, or refuse it with nothing changed."""
        if tick < self._tick:
            raise TickWentBack(f"the tick went back from {self._tick} to {tick}")
        if tick >= TICK_MAX:
            raise ValueError(f"a tick is at most {TICK_MAX - 1}, not {tick}")
        if age_ticks < 0:
            raise ValueError(f"an age is not negative: {age_ticks}")
        self._tick = tick
        return 0

    cdef int _hash(self, IdBatch ids) except -1:
        if ids_hash(&ids.c, &self.c.keys) != IDS_OK:
            raise MemoryError
        return 0

    # --- writes ------------------------------------------------------------------------------------------------------

    def heartbeat(self, IdBatch ids not None, tick, *, age_ticks=0):
        return self._heartbeat(ids, tick, age_ticks, NULL)

    def heartbeat_each(self, IdBatch ids not None, tick):
        marks = bytearray(len(ids))
        self._heartbeat(ids, tick, 0, <uint8_t *>PyByteArray_AS_STRING(marks))
        return marks

    cdef object _heartbeat(self, IdBatch ids, object tick, object age_ticks, uint8_t *came_online):
        cdef Batch batch = batch_empty()
        self._accept(tick, age_ticks)
        self._hash(ids)
        batch.time = max(tick - age_ticks, 0) << 1
        batch.arrives = age_ticks == 0
        batch.came_online = came_online
        batch_heartbeat(self.c, &ids.c, &batch)
        if batch.failed_count > 0:
            raise MemoryError(f"no memory for {batch.failed_count} of {len(ids)} users")
        return batch.online_count

    def sign_off(self, IdBatch ids not None, tick, *, age_ticks=0, grace_ticks=0):
        if grace_ticks < 0:
            raise ValueError(f"a grace is not negative: {grace_ticks}")
        cdef Batch batch = batch_empty()
        self._accept(tick, age_ticks)
        self._hash(ids)
        batch.time = max(tick - age_ticks, 0) << 1 | 1
        batch.arrives = age_ticks == 0
        batch.grace_ends = min(tick + grace_ticks, INT64_MAX) if grace_ticks > 0 else 0
        batch_sign_off(self.c, &ids.c, &batch)
        if batch.failed_count > 0:
            raise MemoryError(f"no memory for {batch.failed_count} of {len(ids)} users")
        return batch.offline_count

    def merge(self, copies, tick):
        cdef IdBatch ids = copies.ids
        cdef bytes signed_off = copies.signed_off
        cdef const uint32_t[::1] ages
        cdef Merging merging
        if not ids.c.count == len(copies.ages_ticks) == len(signed_off):
            raise ValueError(f"{len(ids)} copies have {len(copies.ages_ticks)} ages and {len(signed_off)} signs")
        self._accept(tick, 0)
        if ids.c.count == 0:
            return 0
        ages = copies.ages_ticks
        self._hash(ids)
        merging.ages = &ages[0]
        merging.signed_off = <const uint8_t *>PyBytes_AS_STRING(signed_off)
        merging.tick = tick
        merging.changed_count = merging.failed_count = 0
        store_merge_all(self.c, &ids.c, &merging)
        if merging.failed_count > 0:
            raise MemoryError(f"no memory for {merging.failed_count} of {len(ids)} copies")
        return merging.changed_count

    def drop_slots(self, slots):
        cdef SlotSet dropped = slot_set_of(slots)
        cdef uint32_t slot = slot_set_next(&dropped, 0)
        while slot < SLOT_COUNT:
            if store_is_synced(self.c, slot):
                raise ValueError(f"slot {slot} is synced, it cannot be dropped")
            slot = slot_set_next(&dropped, slot + 1)
        store_drop_slots(self.c, &dropped)

    # --- reads -------------------------------------------------------------------------------------------------------

    def status(self, IdBatch ids not None):
        cdef Batch batch = batch_empty()
        cdef bytes statuses = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>ids.c.count)
        self._hash(ids)
        batch.statuses = <uint8_t *>PyBytes_AS_STRING(statuses)
        batch_status(self.c, &ids.c, &batch)
        return statuses

    def last_seen(self, IdBatch ids not None):
        cdef Batch batch = batch_empty()
        cdef int64_t[::1] stamps
        result = array("q", bytes(8 * ids.c.count))
        if ids.c.count == 0:
            return result
        stamps = result
        self._hash(ids)
        retention = self.config.retention_ticks
        batch.tick = self._tick
        batch.retention = INT64_MAX if retention is None else retention
        batch.stamps = &stamps[0]
        batch_last_seen(self.c, &ids.c, &batch)
        return result

    def count(self, slots=None):
        cdef size_t online = 0
        if slots is None:
            return self.c.online
        for slot in checked_slots(slots):
            online += store_count_slot(self.c, slot)
        return online

    def scan(self, cursor, limit, slots=None):
        if limit < 1:
            raise ValueError(f"a page of a scan has room for one id at least, not {limit}")
        cdef Columns out = Columns()
        cdef SlotSet chosen = slot_set_of(slots)
        cdef size_t index
        following = self._read(cursor, limit, &chosen, True, &out.c)
        return following, [out.ids._object(index) for index in range(out.ids.c.count)]

    def export_slots(self, slots, tick, *, count_max, cursor=0):
        if count_max < 1:
            raise ValueError(f"a page of copies has room for one at least, not {count_max}")
        cdef Columns out = Columns()
        cdef SlotSet chosen = slot_set_of(slots)
        self._accept(tick, 0)
        following = self._read(cursor, count_max, &chosen, False, &out.c)
        return following, out.copies(tick)

    def export(self, IdBatch ids not None, tick):
        cdef Columns out = Columns()
        self._accept(tick, 0)
        self._hash(ids)
        if not store_export(self.c, &ids.c, tick, &out.c):
            raise MemoryError(f"no memory for the copies of {len(ids)} users")
        return out.copies(tick)

    cdef object _read(self, object cursor, object count_max, const SlotSet *slots, bint online, Readout *out):
        """Read a page from a cursor on; returns the next one."""
        cdef Reading reading
        cursor = max(cursor, 0)
        reading.slots = slots
        reading.online = online
        reading.tick = self._tick
        reading.count_max = min(count_max, COUNT_MAX)
        reading.next.slot = min(cursor >> (KIND_BITS + HASH_BITS), SLOT_COUNT)
        reading.next.kind = cursor >> HASH_BITS & (1 << KIND_BITS) - 1
        reading.next.hash.high = cursor >> 64 & UINT64_MAX
        reading.next.hash.low = cursor & UINT64_MAX
        if not store_read(self.c, &reading, out):
            raise MemoryError(f"no memory for a page of {count_max}")
        if not reading.more:
            return None
        place = <object>reading.next.slot << KIND_BITS | reading.next.kind
        return (place << 64 | reading.next.hash.high) << 64 | reading.next.hash.low

    # --- time and what changed ---------------------------------------------------------------------------------------

    def advance(self, tick, *, expiry_count_max):
        if expiry_count_max < 1:
            raise ValueError(f"a call emits one user at least, not {expiry_count_max}")
        self._accept(tick, 0)
        result = store_advance(self.c, tick, min(expiry_count_max, COUNT_MAX))
        if result == ADVANCE_NO_MEMORY:
            raise MemoryError("no memory to tell who went offline")
        return result == ADVANCE_DONE

    def hold_timeouts(self, until_tick):
        self.c.hold = max(self.c.hold, min(until_tick, INT64_MAX))

    @property
    def transitions_waiting(self):
        return log_waiting(&self.c.log)

    def drain_transitions(self, count_max):
        if count_max < 1:
            raise ValueError(f"a drain takes one transition at least, not {count_max}")
        cdef size_t count = min(count_max, self.transitions_waiting)
        cdef IdBatch ids = IdBatch.__new__(IdBatch)
        cdef bytes marks = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count)
        cdef uint32_t[::1] tick_column
        ticks = array("I", bytes(4 * count))
        if count > 0:
            tick_column = ticks
            if log_take(
                &self.c.log, &self.c.keys, count, &ids.c, <uint8_t *>PyBytes_AS_STRING(marks), &tick_column[0]
            ) != IDS_OK:
                raise MemoryError(f"no memory to take {count} transitions")
        return Transitions(ids, marks, ticks)

    def discard_transitions(self):
        count = self.transitions_waiting
        log_empty(&self.c.log)
        return count

    # --- slots -------------------------------------------------------------------------------------------------------

    def set_synced(self, slots, synced):
        for slot in checked_slots(slots):
            self.synced_count += store_set_synced(self.c, slot, synced)

    def set_shared(self, slots, shared):
        cdef SlotSet chosen = slot_set_of(slots)
        if not store_share(self.c, &chosen, shared):
            raise MemoryError("no memory for what is agreed of slots")

    def overdue_slots(self):
        cdef SlotSet found
        store_overdue_slots(self.c, &found)
        slots = array("H")
        cdef uint32_t slot = slot_set_next(&found, 0)
        while slot < SLOT_COUNT:
            slots.append(slot)
            slot = slot_set_next(&found, slot + 1)
        return slots

    def overdue(self, slots):
        cdef SlotSet chosen = slot_set_of(slots)
        cdef Columns out = Columns()
        if not store_overdue(self.c, &chosen, &out.c):
            raise MemoryError("no memory for the ids of who is overdue")
        return out.ids

    def agree(self, slots, through_tick):
        cdef SlotSet chosen = slot_set_of(slots)
        if through_tick > self.c.advanced_to:
            raise ValueError(f"the last advance was to tick {self.c.advanced_to}, nothing is agreed through {through_tick}")
        store_agree(self.c, &chosen, max(through_tick, 0))

    def stats(self):
        return EngineStats(
            users=self.c.users,
            online=self.c.online,
            pending_sign_offs=self.c.graces.count,
            bytes=store_bytes(self.c),
            timeouts=self.c.timeouts,
            lateness_ticks=tuple([self.c.lateness[bucket] for bucket in range(LATENESS_BUCKETS)]),
        )


cdef class Columns:
    """What the kernel reads out: ids, and beside them their registers."""

    cdef IdBatch ids
    cdef Readout c

    def __cinit__(self):
        self.ids = IdBatch.__new__(IdBatch)
        self.c.ids = &self.ids.c

    def __dealloc__(self):
        free(self.c.times)

    cdef object copies(self, int64_t tick):
        cdef bytes signed_off = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>self.ids.c.count)
        cdef uint32_t[::1] ages
        ages_ticks = array("I", bytes(4 * self.ids.c.count))
        if self.ids.c.count > 0:
            ages = ages_ticks
            readout_columns(&self.c, tick, &ages[0], <uint8_t *>PyBytes_AS_STRING(signed_off))
        return Copies(self.ids, ages_ticks, signed_off)


cdef Batch batch_empty():
    cdef Batch batch
    batch.time = 0
    batch.arrives = False
    batch.grace_ends = batch.tick = batch.retention = 0
    batch.came_online = batch.statuses = NULL
    batch.stamps = NULL
    batch.online_count = batch.offline_count = batch.failed_count = 0
    return batch


cdef SlotSet slot_set_of(object slots) except *:
    """The slots as a set; None stands for all."""
    cdef SlotSet chosen
    memset(&chosen, 0xFF if slots is None else 0, sizeof(chosen))
    for slot in () if slots is None else checked_slots(slots):
        slot_set_put(&chosen, slot, True)
    return chosen


def check(KernelEngine engine not None):
    """Hold the engine's memory against the rules that it keeps, for the tests.

    Raises:
        AssertionError: one is broken, and which.
    """
    cdef const char *broken = store_check(engine.c)
    if broken != NULL:
        raise AssertionError(broken.decode())


def geometry():
    """By kind: bytes of a line, and entries in it. With a kind of -1: bytes of a page's head."""
    return {-1: (PAGE_HEAD_BYTES, 0), **{kind: (line_bytes(kind), line_entries(kind)) for kind in range(KIND_COUNT)}}

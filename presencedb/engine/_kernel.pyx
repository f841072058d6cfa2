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

| file       | what is in it                                                                            |
|------------|------------------------------------------------------------------------------------------|
| line.h     | entries in a cache line: layout, the search in one                                       |
| page.h     | lines in a page: home, guests, filters; pouring a page into another                      |
| pool.h     | memory: blocks without holes, in segments that go back to the system                     |
| wheel.h    | the hierarchical timing wheel                                                            |
| log.h      | what changed, until it is drained                                                        |
| grace.h    | sign-offs that wait for the end of their grace                                           |
| store.h    | all of these together, the way from slot to page, the text of text ids                   |
| growth.h   | pages grow, split, shrink, merge                                                         |
| expiry.h   | a page is looked at: timeouts, forgetting, the next time to look                         |
| write.h    | the rules by which a register changes                                                    |
| advance.h  | one bounded step of time                                                                 |
| batch.h    | loops over the ids of a request, fetching ahead                                          |
| scan.h     | reading pages out                                                                        |
| check.h    | what must be true between two calls; asked by the tests                                  |

What is in C knows nothing of Python; this file checks arguments, converts, and holds no rule of its own.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t

from array import array

from presencedb.engine.interface import RETENTION_ONLINE, Copy, EngineStats, TickWentBack
from presencedb.engine.reference_slots import checked_slots
from presencedb.limits import SLOT_COUNT, TICK_MAX
from presencedb.transitions import Transitions

from presencedb.ids._batch cimport IDS_OK, KIND_TEXT, IdBatch, id_object, ids_hash, value_of_hash

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
        self.c = store_new(config.ttl_ticks, keep, retention == RETENTION_ONLINE, config.seed, config.synced, tick)
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
        cdef IdBatch ids = IdBatch.of_canonical([copy.id for copy in copies])
        cdef size_t index
        cdef Key key
        cdef int result
        cdef size_t changed = 0
        self._accept(tick, min((copy.age_ticks for copy in copies), default=0))
        self._hash(ids)
        for index, copy in enumerate(copies):
            key = batch_key(&ids.c, ids.c.kinds[index], index)
            result = store_merge(self.c, ids.c.kinds[index], &key, max(tick - copy.age_ticks, 0) << 1 | copy.signed_off)
            if result == WRITE_NO_MEMORY:
                raise MemoryError(f"no memory for copy {index} of {len(copies)}")
            changed += (result & WROTE_REGISTER) != 0
        return changed

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
        cursor = max(cursor, 0)
        first_slot = cursor >> (KIND_BITS + HASH_BITS)
        found = []
        for slot in self._online_slots(first_slot) if slots is None else checked_slots(slots):
            if slot >= first_slot:
                beyond = self._scan_slot(slot, cursor, limit, found)
                if beyond is not None:
                    return beyond, found
        return None, found

    def _online_slots(self, first_slot):
        """The slots from this one on where anybody is online."""
        cdef uint32_t slot = min(first_slot, SLOT_COUNT)
        while (slot := store_next_online_slot(self.c, slot)) < SLOT_COUNT:
            yield slot
            slot += 1

    cdef object _scan_slot(self, uint32_t slot, object cursor, object limit, list ids):
        """Append who is online in this slot from the cursor on. Returns the position of the first one beyond the limit."""
        cdef Page *page
        cdef size_t at
        cdef int kind
        for kind in range(KIND_COUNT):
            first = (<object>slot << KIND_BITS | kind) << HASH_BITS
            if cursor >= first + (1 << HASH_BITS):
                continue
            at = 0
            while True:
                page = store_walk(self.c, kind, slot, &at)
                if page == NULL:
                    break
                if page.online > 0:
                    beyond = self._scan_page(page, max(cursor - first, 0), limit, ids)
                    if beyond is not None:
                        return first + beyond
        return None

    cdef object _scan_page(self, const Page *page, object cursor, object limit, list ids):
        """The same for a page; cursor and position are hashes."""
        cdef Found *found = page_found(page)
        cdef bits128 start
        cdef size_t index, count
        try:
            start.high = cursor >> 64
            start.low = cursor & 0xFFFFFFFFFFFFFFFF
            count = page_read_online(self.c, page, start, found)
            for index in range(count):
                if len(ids) >= limit and not (index > 0 and bits_equal(found[index].hash, found[index - 1].hash)):
                    return <object>found[index].hash.high << 64 | found[index].hash.low
                ids.append(self._id(page.kind, &found[index]))
        finally:
            PyMem_Free(found)
        return None

    cdef object _id(self, int kind, const Found *found):
        cdef bits128 value
        if kind == KIND_TEXT:
            value.high = 0
            value.low = <uint8_t>found.text[0]
            return id_object(kind, value, found.text + 1)
        return id_object(kind, value_of_hash(&self.c.keys, kind, found.hash), NULL)

    def export_slot(self, slot, tick):
        cdef Page *page
        cdef size_t at
        cdef int kind
        checked_slots((slot,))
        self._accept(tick, 0)
        copies = []
        for kind in range(KIND_COUNT):
            at = 0
            while True:
                page = store_walk(self.c, kind, slot, &at)
                if page == NULL:
                    break
                self._export_page(page, copies)
        return copies

    cdef int _export_page(self, const Page *page, list copies) except -1:
        cdef Found *found = page_found(page)
        cdef size_t index, count
        cdef int64_t age
        try:
            count = page_read(self.c, page, found)
            for index in range(count):
                age = max(self._tick - (found[index].time >> 1), 0)
                if age <= self.c.keep:
                    copies.append(Copy(self._id(page.kind, &found[index]), age, (found[index].time & 1) != 0))
        finally:
            PyMem_Free(found)
        return 0

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

    def set_synced(self, slots, synced):
        for slot in checked_slots(slots):
            self.synced_count += store_set_synced(self.c, slot, synced)

    def stats(self):
        return EngineStats(
            users=self.c.users,
            online=self.c.online,
            pending_sign_offs=self.c.graces.count,
            bytes=store_bytes(self.c),
            timeouts=self.c.timeouts,
            lateness_ticks=tuple([self.c.lateness[bucket] for bucket in range(LATENESS_BUCKETS)]),
        )


cdef Batch batch_empty():
    cdef Batch batch
    batch.time = 0
    batch.arrives = False
    batch.grace_ends = batch.tick = batch.retention = 0
    batch.statuses = NULL
    batch.stamps = NULL
    batch.online_count = batch.offline_count = batch.failed_count = 0
    return batch


cdef Found *page_found(const Page *page) except NULL:
    """Room for everybody in a page."""
    cdef Found *room = <Found *>PyMem_Malloc(page.used * sizeof(Found))
    if room == NULL:
        raise MemoryError
    return room


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

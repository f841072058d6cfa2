# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The watch index, compiled: from ids to watchers and back, at a few bytes a watch in each direction.

Goals: an id that nobody watches is passed over in some nanoseconds, whatever is watched; a step is as long as the work
it was asked for, and nothing is ever made anew at one go; memory is that of what is watched now. Not goals: threads, and anything about
statuses, sockets and time.

    id --hash--> 28 bits --> bucket --> record --> record         a chain; each link has a filter, so that most searches
                                |                                 for what nobody watches end at the bucket
                 +--------------v---------------------------+
                 | value 16 | audience 8, count 4 | name 4, |     40 bytes an id
                 |     |    |       |             | next 4, |
                 |     |    |       |             | kind    |
                 +-----|------------|----------------|------+
                       |            |                |
        of a text: [ bytes ]    one or two watchers  |            inline;
                                [ 7 12 40 ]          |            or more of them in a block, sorted
    watcher 7:                                       |
    [ name name name ... ]  <------------------------+            in the order in which it came to watch

Records stand in a pool without holes: the last one moves into the place of one that goes. A *name* stays with its record
wherever that moves, and whatever happens to the buckets, since it is what they are chosen by.

| file         | what is in it                                                                          |
|--------------|----------------------------------------------------------------------------------------|
| _memory.h    | memory, counted                                                                        |
| _pool.h      | blocks of one size without holes                                                       |
| _store.h     | records, names, buckets, and how they are found                                        |
| _audience.h  | the watchers of one id                                                                 |
| _roster.h    | the watchers by number, and what each watches                                          |
| _index.h     | watch, unwatch, forget a watcher, select                                               |
| _match.h     | who watches any of these ids                                                           |
| _rewind.h    | statuses brought back to what they were before changes                                 |
| _check.h     | what must be true between two calls; asked by the tests                                |

What is in C knows nothing of Python; this file checks arguments and converts.
"""

from cpython cimport array
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import array
import secrets

from presencedb.errors import TooLarge

from presencedb.ids._batch cimport IdBatch, ids


cdef extern from "presencedb/watching/_match.h" nogil:
    enum: INDEX_OK
    enum: INDEX_NO_MEMORY
    enum: INDEX_TOO_MANY
    uint32_t WATCHER_NONE

    struct Memory "memory":
        size_t bytes
        uint64_t grants

    struct Pool "pool":
        uint32_t count

    struct Store "store":
        Memory memory
        Pool records

    struct Watcher "watcher":
        uint32_t count

    struct Roster "roster":
        uint32_t count

    struct Index "watch_index":
        Store store
        Roster roster
        uint64_t watch_count

    struct Matches "matches":
        uint32_t *watchers
        uint32_t *same_as
        uint32_t *places
        size_t *starts
        size_t count

    Index *index_new(uint64_t seed)
    void index_free(Index *index)
    Watcher *roster_find(const Roster *roster, uint64_t number)
    uint32_t roster_add(Roster *roster, Memory *memory)
    int index_watch(Index *index, uint32_t number, const ids *ids, uint64_t count_max, uint32_t *count)
    int index_unwatch(Index *index, uint32_t number, const ids *ids, uint32_t *count)
    uint32_t index_remove_watcher(Index *index, uint32_t number)
    int index_watched(const Index *index, uint32_t number, ids *ids)
    size_t index_select(const Index *index, uint32_t number, const ids *ids, size_t start, uint32_t *places)
    int index_match(Index *index, const ids *ids, Matches *matches)
    void matches_clear(Index *index, Matches *matches)


cdef extern from "presencedb/watching/_rewind.h" nogil:
    struct Rewind "rewind":
        pass

    bint rewind_init(Rewind *rewind, const ids *ids, uint64_t seed)
    bint rewind_pass(Rewind *rewind, const ids *changed, const uint8_t *marks, size_t start, uint8_t *statuses)
    void rewind_clear(Rewind *rewind)


cdef extern from "presencedb/watching/_check.h" nogil:
    const char *index_check(Index *index)


cdef object COUNT_MAX = 2**64 - 1
cdef uint32_t INDEX_MAX = 2**32 - 1
cdef array.array PLACES = array.array("I")
# Of the tables that rewinding is done with. They do not outlive it, so theirs need not be the seed of the cluster.
cdef uint64_t REWIND_SEED = secrets.randbits(64)


cdef const ids *indexed(IdBatch batch) except NULL:
    """The ids of a batch, whose indexes are handed out with 32 bits each."""
    if batch.c.count > INDEX_MAX:
        raise ValueError(f"a batch that is matched has at most {INDEX_MAX} ids, not {len(batch)}")
    return &batch.c


cdef class CompiledWatchIndex:
    """Who watches whom, in compiled code. `interface.WatchIndex` says what each method promises."""

    cdef Index *c

    def __cinit__(self, seed):
        if not 0 <= seed <= COUNT_MAX:
            raise ValueError(f"a hash seed has 64 bits, {seed} does not fit")
        self.c = index_new(seed)
        if self.c == NULL:
            raise MemoryError

    def __dealloc__(self):
        index_free(self.c)

    cdef uint32_t _number(self, object watcher) except? 0xFFFFFFFF:
        """The number of a watcher that there is."""
        cdef uint32_t number
        if 0 <= watcher < WATCHER_NONE:
            number = watcher
            if roster_find(&self.c.roster, number) != NULL:
                return number
        raise ValueError(f"there is no watcher {watcher}")

    def add_watcher(self):
        cdef uint32_t watcher = roster_add(&self.c.roster, &self.c.store.memory)
        if watcher == WATCHER_NONE:
            raise MemoryError("no memory for one more watcher")
        return watcher

    def remove_watcher(self, watcher):
        return index_remove_watcher(self.c, self._number(watcher))

    def watch(self, watcher, IdBatch ids not None, *, count_max):
        cdef uint32_t number = self._number(watcher), count = 0
        cdef int result = index_watch(self.c, number, &ids.c, min(max(count_max, 0), COUNT_MAX), &count)
        if result == INDEX_TOO_MANY:
            raise TooLarge(f"a connection watches at most {count_max} ids, not {count}")
        if result != INDEX_OK:
            raise MemoryError(f"no memory to watch {len(ids)} ids")
        return count

    def unwatch(self, watcher, IdBatch ids not None):
        cdef uint32_t number = self._number(watcher), count = 0
        if index_unwatch(self.c, number, &ids.c, &count) != INDEX_OK:
            raise MemoryError(f"no memory to tell which of {len(ids)} ids are watched")
        return count

    def watched(self, watcher):
        cdef IdBatch ids = IdBatch(())
        if index_watched(self.c, self._number(watcher), &ids.c) != INDEX_OK:
            raise MemoryError(f"no memory for {self.watched_count(watcher)} ids")
        return ids

    def watched_count(self, watcher):
        return roster_find(&self.c.roster, self._number(watcher)).count

    def match(self, IdBatch ids not None):
        cdef Matches matches
        cdef size_t index, start
        cdef int result = index_match(self.c, indexed(ids), &matches)
        found = []
        different = []
        try:
            if result != INDEX_OK:
                raise MemoryError(f"no memory to tell who watches {len(ids)} ids")
            for index in range(matches.count):
                if matches.same_as[index] == index:
                    start = matches.starts[index]
                    places = places_of(&matches.places[start], matches.starts[index + 1] - start)
                else:
                    places = different[matches.same_as[index]]
                different.append(places)
                found.append((matches.watchers[index], places))
        finally:
            matches_clear(self.c, &matches)
        return found

    def select(self, watcher, IdBatch ids not None, start=0):
        cdef uint32_t number = self._number(watcher)
        cdef uint32_t *places
        if not 0 <= start <= len(ids):
            raise ValueError(f"a batch of {len(ids)} ids has no index {start}")
        places = <uint32_t *>PyMem_Malloc((ids.c.count - <size_t>start) * sizeof(uint32_t))
        if places == NULL:
            raise MemoryError(f"no memory to tell which of {len(ids)} ids are watched")
        try:
            return places_of(places, index_select(self.c, number, indexed(ids), start, places))
        finally:
            PyMem_Free(places)

    @property
    def watcher_count(self):
        return self.c.roster.count

    @property
    def id_count(self):
        return self.c.store.records.count

    @property
    def watch_count(self):
        return self.c.watch_count

    @property
    def bytes(self):
        return self.c.store.memory.bytes


cdef array.array places_of(const uint32_t *places, size_t count):
    cdef array.array made = array.clone(PLACES, <Py_ssize_t>count, zero=False)
    if count > 0:
        memcpy(made.data.as_uints, places, count * sizeof(uint32_t))
    return made


def rewind(IdBatch ids not None, bytearray statuses not None, changes, start, /):
    """Bring statuses back to what they were before changes; the twin in Python says how."""
    cdef Rewind state
    cdef IdBatch changed
    cdef bytes marks
    cdef size_t first
    cdef list columns = [(chunk.ids, chunk.marks) for chunk in changes]
    first_count = len(columns[0][0]) if columns else 0
    if len(statuses) != len(ids):
        raise ValueError(f"{len(ids)} ids have {len(ids)} statuses, not {len(statuses)}")
    if not 0 <= start <= first_count:
        raise ValueError(f"the first of the changes are {first_count}, there is no index {start}")
    first = start
    try:
        if not rewind_init(&state, &ids.c, REWIND_SEED):
            raise MemoryError(f"no memory to bring {len(ids)} statuses back")
        for changed, marks in columns:
            if len(changed) != len(marks):
                raise ValueError(f"{len(changed)} changes have {len(changed)} marks, not {len(marks)}")
            if rewind_pass(&state, &changed.c, <const uint8_t *>PyBytes_AS_STRING(marks), first,
                           <uint8_t *>PyByteArray_AS_STRING(statuses)):
                break
            first = 0
    finally:
        rewind_clear(&state)


def check(CompiledWatchIndex index not None):
    """Hold the index's memory against the rules that it keeps, for the tests.

    Raises:
        AssertionError: one is broken, and which.
    """
    cdef const char *broken = index_check(index.c)
    if broken != NULL:
        raise AssertionError(broken.decode())


def grant_memory(CompiledWatchIndex index not None, count):
    """Let the index have memory so many times more, and then none; None: as often as it asks. For the tests."""
    index.c.store.memory.grants = COUNT_MAX if count is None else count

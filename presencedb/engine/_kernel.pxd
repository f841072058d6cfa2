# What the kernel's shell uses of its C.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from presencedb.ids._batch cimport bits128, hash_keys, ids


cdef extern from "presencedb/engine/kernel/batch.h" nogil:
    int64_t KEEP_EVER
    enum: KIND_COUNT
    enum: LATENESS_BUCKETS
    enum: PAGE_USERS_MAX
    enum: PAGE_HEAD_BYTES
    enum: ADVANCE_NO_MEMORY
    enum: ADVANCE_DONE
    enum: WRITE_NO_MEMORY
    enum: WROTE_REGISTER

    struct Log "log":
        pass

    struct Graces "graces":
        size_t count

    struct Page "page":
        uint16_t used
        uint16_t online
        uint16_t line_count
        uint8_t kind

    struct Store "store":
        int64_t keep
        int64_t hold
        size_t users
        size_t online
        uint64_t timeouts
        uint64_t lateness[16]
        hash_keys keys
        Graces graces
        Log log

    struct Key "key":
        uint32_t slot

    struct Batch "batch":
        uint32_t time
        bint arrives
        int64_t grace_ends
        int64_t tick
        int64_t retention
        uint8_t *came_online
        uint8_t *statuses
        int64_t *stamps
        size_t online_count
        size_t offline_count
        size_t failed_count

    Store *store_new(int64_t ttl, int64_t keep, bint forgets_offline, uint64_t seed, bint synced, int64_t tick)
    void store_free(Store *store)
    size_t store_bytes(const Store *store)
    Page *store_walk(const Store *store, int kind, uint32_t slot, size_t *at)
    int store_advance(Store *store, int64_t tick, int64_t count_max)
    int store_merge(Store *store, int kind, const Key *key, uint32_t time)
    size_t log_waiting(const Log *log)
    int log_take(Log *log, const hash_keys *keys, size_t count, ids *ids, uint8_t *marks, uint32_t *ticks)
    void log_empty(Log *log)

    void batch_heartbeat(Store *store, const ids *ids, Batch *batch)
    void batch_sign_off(Store *store, const ids *ids, Batch *batch)
    void batch_status(Store *store, const ids *ids, Batch *batch)
    void batch_last_seen(Store *store, const ids *ids, Batch *batch)
    Key batch_key(const ids *ids, int kind, size_t index)

    unsigned line_bytes(int kind)
    unsigned line_entries(int kind)


cdef extern from "presencedb/engine/kernel/scan.h" nogil:
    struct Found "found":
        bits128 hash
        const char *text
        uint32_t time
        uint8_t online

    bint bits_equal(bits128 a, bits128 b)
    size_t page_read(const Store *store, const Page *page, Found *found)
    size_t page_read_online(const Store *store, const Page *page, bits128 from_hash, Found *found)
    size_t store_count_slot(const Store *store, uint32_t slot)
    uint32_t store_next_online_slot(const Store *store, uint32_t slot)
    int store_set_synced(Store *store, uint32_t slot, bint synced)


cdef extern from "presencedb/engine/kernel/check.h" nogil:
    const char *store_check(const Store *store)

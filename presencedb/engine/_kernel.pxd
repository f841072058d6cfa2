# What the kernel's shell uses of its C.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from presencedb.ids._batch cimport bits128, hash_keys, ids


cdef extern from "presencedb/engine/kernel/batch.h" nogil:
    int64_t KEEP_EVER
    enum: KIND_COUNT
    enum: LATENESS_BUCKETS
    enum: PAGE_USERS_MAX
    enum: PAGE_HEAD_BYTES
    enum: ADVANCE_NO_MEMORY
    enum: ADVANCE_DONE

    struct Log "log":
        pass

    struct Graces "graces":
        size_t count

    struct SlotSet "slot_set":
        pass

    struct Store "store":
        int64_t hold
        int64_t advanced_to
        size_t users
        size_t online
        uint64_t timeouts
        uint64_t lateness[16]
        hash_keys keys
        Graces graces
        Log log

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

    Store *store_new(int64_t ttl, int64_t keep, bint forgets_offline, int64_t doubt, uint64_t seed, bint synced, int64_t tick)
    void store_free(Store *store)
    size_t store_bytes(const Store *store)
    int store_advance(Store *store, int64_t tick, int64_t count_max)
    bint store_is_synced(const Store *store, uint32_t slot)
    void slot_set_put(SlotSet *set, uint32_t slot, bint member)
    uint32_t slot_set_next(const SlotSet *set, uint32_t slot)
    size_t log_waiting(const Log *log)
    int log_take(Log *log, const hash_keys *keys, size_t count, ids *ids, uint8_t *marks, uint32_t *ticks)
    void log_empty(Log *log)

    void batch_heartbeat(Store *store, const ids *ids, Batch *batch)
    void batch_sign_off(Store *store, const ids *ids, Batch *batch)
    void batch_status(Store *store, const ids *ids, Batch *batch)
    void batch_last_seen(Store *store, const ids *ids, Batch *batch)

    unsigned line_bytes(int kind)
    unsigned line_entries(int kind)


cdef extern from "presencedb/engine/kernel/overdue.h" nogil:
    struct Readout "readout":
        ids *ids
        uint32_t *times

    void readout_columns(const Readout *out, int64_t tick, uint32_t *ages, uint8_t *signed_off)
    bint store_share(Store *store, const SlotSet *slots, bint shared)
    void store_agree(Store *store, const SlotSet *slots, uint32_t through)
    void store_overdue_slots(const Store *store, SlotSet *found)
    bint store_overdue(Store *store, const SlotSet *slots, Readout *out)


cdef extern from "presencedb/engine/kernel/exchange.h" nogil:
    struct Place "place":
        uint32_t slot
        int kind
        bits128 hash

    struct Reading "reading":
        const SlotSet *slots
        bint online
        int64_t tick
        size_t count_max
        Place next
        bint more

    struct Merging "merging":
        const uint32_t *ages
        const uint8_t *signed_off
        int64_t tick
        size_t changed_count
        size_t failed_count

    bint store_read(const Store *store, Reading *reading, Readout *out)
    size_t store_count_slot(const Store *store, uint32_t slot)
    int store_set_synced(Store *store, uint32_t slot, bint synced)
    bint store_export(const Store *store, const ids *ids, int64_t tick, Readout *out)
    void store_merge_all(Store *store, const ids *ids, Merging *merging)
    void store_drop_slots(Store *store, const SlotSet *slots)


cdef extern from "presencedb/engine/kernel/check.h" nogil:
    const char *store_check(const Store *store)

/* Loops over the ids of a request, in blocks: the memory that a block will need is asked for first, level by level, so that
 * its cache misses overlap; then the block is worked on. What was fetched ahead is looked up again then, since a write may
 * have moved a page meanwhile.
 */
#ifndef PRESENCEDB_BATCH_H
#define PRESENCEDB_BATCH_H

#include "presencedb/engine/kernel/advance.h"
#include "presencedb/ids/_ids.h"

enum { BATCH_BLOCK = 32 };

enum status { STATUS_OFFLINE = 0, STATUS_ONLINE = 1, STATUS_UNKNOWN = 2 }; /* as in `states.py` */

enum batch_kind { BATCH_HEARTBEAT, BATCH_SIGN_OFF, BATCH_STATUS, BATCH_LAST_SEEN };

/* What is done to every id of a batch, and what comes of it. */
struct batch {
    uint32_t time; /* of a write */
    bool arrives;
    int64_t grace_ends;
    int64_t tick, retention; /* of `last_seen` */
    uint8_t *came_online; /* a byte an id, or NULL */
    uint8_t *statuses;
    int64_t *stamps;
    size_t online_count, offline_count, failed_count; /* came online, went offline, found no memory */
};

ALWAYS_INLINE struct key batch_key(const struct ids *ids, int kind, size_t index) {
    const char *text = kind == KIND_TEXT ? ids->texts + ids->values[index].high : NULL;
    return key_of_hash(kind, ids->hashes[index], text, kind == KIND_TEXT ? (uint32_t)ids->values[index].low : 0);
}

ALWAYS_INLINE void batch_fetch(const struct store *store, const struct ids *ids, int kind, size_t first, size_t count) {
    const struct page *pages[BATCH_BLOCK];
    uint64_t fractions[BATCH_BLOCK];
    for (size_t i = 0; i < count; i++) {
        const struct bits128 hash = ids->hashes[first + i];
        const int of_kind = kind < 0 ? ids->kinds[first + i] : kind;
        fractions[i] = hash.high << SLOT_BITS | hash.low >> (64 - SLOT_BITS);
        pages[i] = store_page(store, of_kind, (uint32_t)(hash.high >> (64 - SLOT_BITS)), fractions[i]);
        __builtin_prefetch(pages[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (pages[i] != NULL) {
            const int of_kind = kind < 0 ? ids->kinds[first + i] : kind;
            const unsigned char *line = page_line(pages[i], of_kind, page_home(pages[i], (uint32_t)(fractions[i] >> 32)));
            __builtin_prefetch(line);
            __builtin_prefetch(line + LINE_UNIT_BYTES); /* the second half of it, or where its guests are most likely */
        }
    }
}

ALWAYS_INLINE int64_t store_last_seen(const struct store *store, int kind, const struct key *key,
                                      const struct batch *batch) {
    const struct user user = store_find(store, kind, key);
    if (user.time == TIME_EMPTY) {
        return -1;
    }
    const int64_t stamp = time_stamp(user.time);
    return user.online || (!store->forgets_offline && batch->tick - stamp <= batch->retention) ? stamp : -1;
}

ALWAYS_INLINE uint8_t store_status(const struct store *store, int kind, const struct key *key) {
    const struct page *page = store_page(store, kind, key->slot, key->fraction);
    if (page != NULL) {
        const struct entry entry = page_find(page, kind, key);
        if (entry.line != NULL) {
            const uint32_t time = line_time(entry.line, kind, entry.index);
            if (time_is_online(time, store_offline_at(store, page))) {
                const bool due = __builtin_expect(page->armed <= store->expired_through, 0);
                return due && store_is_in_doubt(store, key->slot, time) ? STATUS_UNKNOWN : STATUS_ONLINE;
            }
        }
    }
    return store_is_synced(store, key->slot) ? STATUS_OFFLINE : STATUS_UNKNOWN;
}

ALWAYS_INLINE void batch_one(struct store *store, const struct ids *ids, enum batch_kind what, int kind, size_t index,
                             struct batch *batch) {
    const struct key key = batch_key(ids, kind, index);
    int result = WROTE_NOTHING;
    if (what == BATCH_STATUS) {
        batch->statuses[index] = store_status(store, kind, &key);
    } else if (what == BATCH_LAST_SEEN) {
        batch->stamps[index] = store_last_seen(store, kind, &key, batch);
    } else if (what == BATCH_HEARTBEAT) {
        result = store_heartbeat(store, kind, &key, batch->time, batch->arrives);
    } else {
        result = store_sign_off(store, kind, &key, batch->time, batch->arrives, batch->grace_ends);
    }
    if (result != WROTE_NOTHING) {
        batch->failed_count += result < 0;
        if (result > 0 && (result & WROTE_ONLINE) != 0) {
            batch->online_count++;
            if (batch->came_online != NULL) {
                batch->came_online[index] = 1;
            }
        }
        batch->offline_count += result > 0 && (result & WROTE_OFFLINE) != 0;
    }
}

/* Runs `statement` with `KIND` for the kind of the id at `index`, which `kind` says already unless it is -1. */
#define WITH_KIND_OF_ID(ids, kind, index, statement)                                                                        \
    if ((kind) == KIND_INT32) {                                                                                             \
        enum { KIND = KIND_INT32 };                                                                                         \
        statement;                                                                                                          \
    } else if ((kind) == KIND_INT64) {                                                                                      \
        enum { KIND = KIND_INT64 };                                                                                         \
        statement;                                                                                                          \
    } else if ((kind) == KIND_UUID) {                                                                                       \
        enum { KIND = KIND_UUID };                                                                                          \
        statement;                                                                                                          \
    } else {                                                                                                                \
        WITH_CONSTANT_KIND((ids)->kinds[index], statement)                                                                  \
    }

/* Heartbeats of those who are online, who are nearly all; of the others, the indexes come first in `left`. */
ALWAYS_INLINE size_t batch_beat_online(struct store *store, const struct ids *ids, int kind, size_t first, size_t count,
                                       const struct batch *batch, size_t left[BATCH_BLOCK]) {
    size_t left_count = 0;
    for (size_t i = first; i < first + count; i++) {
        bool done;
        WITH_KIND_OF_ID(ids, kind, i, {
            const struct key key = batch_key(ids, KIND, i);
            done = store_heartbeat_of_online(store, KIND, &key, batch->time, batch->arrives);
        })
        left[left_count] = i;
        left_count += !done;
    }
    return left_count;
}

/* `kind` is that of all ids, or -1 where they differ. */
ALWAYS_INLINE void batch_run_kind(struct store *store, const struct ids *ids, enum batch_kind what, int kind,
                                  struct batch *batch) {
    for (size_t first = 0; first < ids->count; first += BATCH_BLOCK) {
        size_t count = ids->count - first < BATCH_BLOCK ? ids->count - first : BATCH_BLOCK;
        size_t left[BATCH_BLOCK];
        batch_fetch(store, ids, kind, first, count);
        if (what == BATCH_HEARTBEAT) {
            count = batch_beat_online(store, ids, kind, first, count, batch, left);
        }
        for (size_t i = 0; i < count; i++) {
            const size_t index = what == BATCH_HEARTBEAT ? left[i] : first + i;
            WITH_KIND_OF_ID(ids, kind, index, batch_one(store, ids, what, KIND, index, batch))
        }
    }
}

ALWAYS_INLINE void batch_run(struct store *store, const struct ids *ids, enum batch_kind what, struct batch *batch) {
    switch (ids->kinds_seen) {
    case 1 << KIND_INT32:
        batch_run_kind(store, ids, what, KIND_INT32, batch);
        break;
    case 1 << KIND_INT64:
        batch_run_kind(store, ids, what, KIND_INT64, batch);
        break;
    case 1 << KIND_UUID:
        batch_run_kind(store, ids, what, KIND_UUID, batch);
        break;
    default:
        batch_run_kind(store, ids, what, -1, batch);
    }
}

static inline void batch_heartbeat(struct store *store, const struct ids *ids, struct batch *batch) {
    batch_run(store, ids, BATCH_HEARTBEAT, batch);
}

static inline void batch_sign_off(struct store *store, const struct ids *ids, struct batch *batch) {
    batch_run_kind(store, ids, BATCH_SIGN_OFF, -1, batch);
}

static inline void batch_status(struct store *store, const struct ids *ids, struct batch *batch) {
    batch_run(store, ids, BATCH_STATUS, batch);
}

static inline void batch_last_seen(struct store *store, const struct ids *ids, struct batch *batch) {
    batch_run_kind(store, ids, BATCH_LAST_SEEN, -1, batch);
}

#endif

/* Time: who is not online any more, and who is forgotten.
 */
#ifndef PRESENCEDB_EXPIRY_H
#define PRESENCEDB_EXPIRY_H

#include "presencedb/engine/kernel/growth.h"

enum {
    LOOKED_AT_PER_EXPIRY = 16, /* entries that a call may look at for each user it may emit: about 100 ns of each */
    LOOK_COST = 8,             /* of a page, beside its entries */
    FORGET_LATER_BITS = 10,    /* registers past their retention are removed up to a 1024th of it later, many at once */
};

static inline int64_t time_stamp(uint32_t time) { return (int64_t)(time >> 1); }

static inline int64_t store_deadline(const struct store *store, uint32_t time) { return time_stamp(time) + store->ttl + 1; }

/* The same as everybody outside sees it. */
static inline int64_t store_held_deadline(const struct store *store, uint32_t time) {
    const int64_t deadline = store_deadline(store, time);
    return deadline > store->hold ? deadline : store->hold;
}

/* When a page has to be looked at to remove a register that is not online. */
static inline int64_t store_forgets_at(const struct store *store, uint32_t time) {
    if (store->keep == KEEP_EVER) {
        return INT64_MAX;
    }
    return time_stamp(time) + store->keep + 1 + (store->forgets_offline ? 0 : store->keep >> FORGET_LATER_BITS);
}

/* A moment behind the end of all ticks never comes. */
static inline void store_arm(struct store *store, struct page *page, int64_t tick) {
    if (tick < ARMED_NEVER) {
        wheel_arm(&store->wheel, page, (uint32_t)tick);
    }
}

/* The key of an entry, its text included. */
static inline struct key store_entry_key(const struct store *store, const struct page *page, const unsigned char *line,
                                         unsigned index) {
    if (page->kind == KIND_TEXT) {
        const char *text = line_text(line, index);
        const unsigned size = (unsigned char)text[0];
        return key_of_hash(KIND_TEXT, hash_of_text(&store->keys, text + 1, size), text + 1, size);
    }
    return key_of_hash(page->kind, line_hash(line, page->kind, index, page->slot), NULL, 0);
}

static inline void store_drop_request(struct store *store, int kind, const struct key *key) {
    struct request *request = grace_find(&store->graces, kind, key);
    if (request != NULL) {
        grace_drop(&store->graces, request);
    }
}

static inline void store_tell_timeout(struct store *store, int kind, const struct key *key, int64_t deadline) {
    const int64_t lateness = store->expired_through - deadline;
    const unsigned bucket = lateness == 0 ? 0 : 64 - (unsigned)__builtin_clzll((uint64_t)lateness);
    store->timeouts++;
    store->lateness[bucket < LATENESS_BUCKETS ? bucket : LATENESS_BUCKETS - 1]++;
    log_change(&store->log, kind, key->hash, key->text, key->text_size, false, (uint32_t)deadline, REASON_TIMEOUT);
}

static inline void page_drop(struct store *store, struct page *page, unsigned char *line, unsigned index) {
    const char *text = page->kind == KIND_TEXT ? line_text(line, index) : NULL;
    line_set_time(line, page->kind, index, TIME_EMPTY);
    page->used--;
    store->users--;
    if (text != NULL) {
        store_free_text(store, text);
    }
}

/* Looks at a page: emits the timeouts that are due and agreed to, removes what is not kept, and arms the page for the next that
 * comes; with somebody overdue in it the page stands aside until that is agreed to. Its `armed` is then the first of their
 * deadlines, so that they are still online by it, see `store_offline_at`.
 * Not to be called while timeouts are held. Returns how many went offline, or -1 without memory, with nothing changed. */
static inline int store_look_at(struct store *store, struct page *page) {
    const int kind = page->kind;
    const bool told = store_is_synced(store, page->slot);
    const uint32_t offline_at = store_offline_at(store, page);
    const int64_t through = store_emits_through(store, page->slot);
    const unsigned used = page->used;
    int64_t next = INT64_MAX;
    int count = 0;
    if (told && !log_reserve(&store->log, kind, page->online)) {
        return -1;
    }
    wheel_disarm(&store->wheel, page);
    for (unsigned at = 0; at < page->line_count; at++) {
        unsigned char *line = page_line(page, kind, at);
        __builtin_prefetch(line + FETCH_AHEAD_BYTES);
        for (unsigned index = 0; index < line_entries(kind); index++) {
            const uint32_t time = line_time(line, kind, index);
            if (time == TIME_EMPTY) {
                continue;
            }
            int64_t then = store_deadline(store, time);
            if (!time_is_online(time, offline_at)) {
                then = store_forgets_at(store, time);
            } else if (then <= through) {
                const struct key key = store_entry_key(store, page, line, index);
                store_drop_request(store, kind, &key);
                if (told) {
                    store_tell_timeout(store, kind, &key, store_held_deadline(store, time));
                }
                then = store_forgets_at(store, time);
                page->online--;
                count++;
            } else {
                next = then < next ? then : next;
                continue;
            }
            if (store_keeps(store, time)) {
                next = then < next ? then : next;
            } else {
                page_drop(store, page, line, index);
            }
        }
    }
    store->online -= (size_t)count;
    if (next <= store->expired_through) {
        wheel_stand(&store->wheel, page, (struct standing){(uint32_t)next, true});
    } else {
        store_arm(store, page, next);
    }
    if (page->used < used) {
        store_refit(store, page);
    }
    return count;
}

#endif

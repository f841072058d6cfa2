/* Reading slots out, from a place on: who is online, in the order of their places, or every register, for a copy.
 */
#ifndef PRESENCEDB_SCAN_H
#define PRESENCEDB_SCAN_H

#include "presencedb/engine/kernel/readout.h"

/* Where a user stands: slots one after the other, in each the kinds, of each the hashes. */
struct place {
    uint32_t slot;
    int kind;
    struct bits128 hash;
};

struct found {
    struct bits128 hash;
    const char *text; /* of a text: the kept one, its length first */
    uint32_t time;
};

/* What is asked for, and where to go on. */
struct reading {
    const struct slot_set *slots;
    bool online; /* whoever is online, in order; else every register that says something at `tick`, in any order */
    int64_t tick;
    size_t count_max;
    struct place next; /* the first place that was not read */
    bool more;         /* whether anybody is there or behind it */
};

static inline bool bits_before(struct bits128 a, struct bits128 b) {
    return a.high != b.high ? a.high < b.high : a.low < b.low;
}

static inline bool bits_equal(struct bits128 a, struct bits128 b) { return a.high == b.high && a.low == b.low; }

static inline int found_compare(const void *a, const void *b) {
    const struct found *first = (const struct found *)a, *second = (const struct found *)b;
    return bits_before(second->hash, first->hash) - bits_before(first->hash, second->hash);
}

/* Whether a register is part of a copy: not one that says nothing any more, however late it is removed or told. */
static inline bool store_exports(const struct store *store, uint32_t time, bool online, int64_t tick) {
    return (online || store_keeps(store, time)) && (store->keep == KEEP_EVER || tick - time_stamp(time) <= store->keep);
}

/* What is asked for of a page, from this hash on; `found` has room for `page->used`. Returns how many there are. */
static inline size_t page_read(const struct store *store, const struct page *page, const struct reading *reading,
                               struct bits128 from, struct found *found) {
    const uint32_t offline_at = store_offline_at(store, page);
    size_t count = 0;
    for (unsigned at = 0; at < page->line_count; at++) {
        const unsigned char *line = page_line(page, page->kind, at);
        for (unsigned index = 0; index < line_entries(page->kind); index++) {
            const uint32_t time = line_time(line, page->kind, index);
            const bool online = time_is_online(time, offline_at);
            if (time != TIME_EMPTY && (reading->online ? online : store_exports(store, time, online, reading->tick))) {
                const struct key key = store_entry_key(store, page, line, index);
                if (!bits_before(key.hash, from)) {
                    found[count++] = (struct found){key.hash, key.text == NULL ? NULL : key.text - 1, time};
                }
            }
        }
    }
    return count;
}

/* Takes of a page what there is room for, and says where to go on; false without memory. */
static inline bool reading_take(struct reading *reading, const struct store *store, const struct page *page,
                                struct found *found, size_t count, struct readout *out) {
    const size_t room = reading->count_max - out->ids->count;
    size_t taken = 0;
    if (reading->online || count > room) {
        qsort(found, count, sizeof *found, found_compare);
    }
    /* Two texts of one hash are never parted. */
    for (; taken < count && (taken < room || (taken > 0 && bits_equal(found[taken].hash, found[taken - 1].hash))); taken++) {
        if (!readout_add_hash(out, store, page->kind, found[taken].hash, found[taken].text, found[taken].time)) {
            return false;
        }
    }
    if (taken < count) {
        reading->next = (struct place){page->slot, page->kind, found[taken].hash};
        reading->more = true;
    }
    return true;
}

/* Whether all of a page is before this hash. */
static inline bool page_is_before(const struct page *page, struct bits128 hash) {
    const uint64_t fraction = hash.high << SLOT_BITS | hash.low >> (64 - SLOT_BITS);
    return page->depth > 0 && page->prefix < fraction >> (64 - page->depth);
}

/* Reads one kind of a slot from a hash on; false without memory. */
static inline bool store_read_kind(const struct store *store, struct place from, struct reading *reading, struct found *found,
                                   struct readout *out) {
    const struct page *page;
    size_t at = 0;
    while (!reading->more && (page = store_walk(store, from.kind, from.slot, &at)) != NULL) {
        if (!page_is_before(page, from.hash) && (page->online > 0 || !reading->online)) {
            const size_t count = page_read(store, page, reading, from.hash, found);
            if (!reading_take(reading, store, page, found, count, out)) {
                return false;
            }
        }
    }
    return true;
}

/* Reads from `reading->next` on what there is room for; false without memory. */
static inline bool store_read(const struct store *store, struct reading *reading, struct readout *out) {
    struct found *found = (struct found *)malloc(PAGE_USERS_MAX * sizeof *found);
    const struct place start = reading->next;
    bool fits = found != NULL;
    reading->more = false;
    for (uint32_t slot = slot_set_next(reading->slots, start.slot); slot < SLOT_COUNT && fits && !reading->more;
         slot = slot_set_next(reading->slots, slot + 1)) {
        for (int kind = slot == start.slot ? start.kind : 0; kind < KIND_COUNT && fits && !reading->more; kind++) {
            struct place from = {slot, kind, {0, 0}};
            if (slot == start.slot && kind == start.kind) {
                from.hash = start.hash;
            }
            fits = store_read_kind(store, from, reading, found, out);
        }
    }
    free(found);
    return fits;
}

static inline size_t store_count_slot(const struct store *store, uint32_t slot) {
    size_t count = 0;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        const struct page *page;
        size_t at = 0;
        while ((page = store_walk(store, kind, slot, &at)) != NULL) {
            count += page->online;
        }
    }
    return count;
}

/* Declares a slot synced or not; returns by how much the number of synced slots changed. */
static inline int store_set_synced(struct store *store, uint32_t slot, bool synced) {
    const bool was = store_is_synced(store, slot);
    slot_set_put(&store->synced, slot, synced);
    return synced - was;
}

#endif

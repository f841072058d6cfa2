/* Reading a page out: who is online in it in the order of a scan, or every register of it for a copy.
 */
#ifndef PRESENCEDB_SCAN_H
#define PRESENCEDB_SCAN_H

#include "presencedb/engine/kernel/write.h"

struct found {
    struct bits128 hash;
    const char *text; /* of a text: the kept one, its length first */
    uint32_t time;
    uint8_t online;
};

static inline bool bits_before(struct bits128 a, struct bits128 b) {
    return a.high != b.high ? a.high < b.high : a.low < b.low;
}

static inline bool bits_equal(struct bits128 a, struct bits128 b) { return a.high == b.high && a.low == b.low; }

static inline int found_compare(const void *a, const void *b) {
    const struct found *first = (const struct found *)a, *second = (const struct found *)b;
    return bits_before(second->hash, first->hash) - bits_before(first->hash, second->hash);
}

/* Every register of a page; `found` has room for `page->used`. Returns how many there are. */
static inline size_t page_read(const struct store *store, const struct page *page, struct found *found) {
    const uint32_t offline_at = store_offline_at(store, page);
    size_t count = 0;
    for (unsigned at = 0; at < page->line_count; at++) {
        const unsigned char *line = page_line(page, page->kind, at);
        for (unsigned index = 0; index < line_entries(page->kind); index++) {
            const uint32_t time = line_time(line, page->kind, index);
            const bool online = time_is_online(time, offline_at);
            if (time != TIME_EMPTY && (online || store_keeps(store, time))) {
                const struct key key = store_entry_key(store, page, line, index);
                found[count++] = (struct found){key.hash, key.text == NULL ? NULL : key.text - 1, time, online};
            }
        }
    }
    return count;
}

/* Whoever is online in a page, from this hash on, in order. */
static inline size_t page_read_online(const struct store *store, const struct page *page, struct bits128 from,
                                      struct found *found) {
    const size_t all = page_read(store, page, found);
    size_t count = 0;
    for (size_t i = 0; i < all; i++) {
        if (found[i].online && !bits_before(found[i].hash, from)) {
            found[count++] = found[i];
        }
    }
    qsort(found, count, sizeof *found, found_compare);
    return count;
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

/* The first slot from this one on where anybody is online; `SLOT_COUNT` if there is none. */
static inline uint32_t store_next_online_slot(const struct store *store, uint32_t slot) {
    while (slot < SLOT_COUNT && store_count_slot(store, slot) == 0) {
        slot++;
    }
    return slot;
}

/* Declares a slot synced or not; returns by how much the number of synced slots changed. */
static inline int store_set_synced(struct store *store, uint32_t slot, bool synced) {
    const uint64_t bit = 1ULL << (slot % 64);
    const bool was = store_is_synced(store, slot);
    store->synced[slot / 64] = synced ? store->synced[slot / 64] | bit : store->synced[slot / 64] & ~bit;
    return synced - was;
}

#endif

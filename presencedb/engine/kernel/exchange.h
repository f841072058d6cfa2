/* Copies of registers, out to other nodes and in from them, and forgetting a slot that went elsewhere. Like the loops of
 * `batch.h` these ask ahead for the memory that a block of ids will need.
 */
#ifndef PRESENCEDB_EXCHANGE_H
#define PRESENCEDB_EXCHANGE_H

#include "presencedb/engine/kernel/batch.h"
#include "presencedb/engine/kernel/scan.h"

/* Copies from elsewhere, as columns; and what came of them. */
struct merging {
    const uint32_t *ages;
    const uint8_t *signed_off;
    int64_t tick;
    size_t changed_count, failed_count;
};

/* Appends the registers of these ids that say something; false without memory. */
static inline bool store_export(const struct store *store, const struct ids *ids, int64_t tick, struct readout *out) {
    for (size_t first = 0; first < ids->count; first += BATCH_BLOCK) {
        const size_t count = ids->count - first < BATCH_BLOCK ? ids->count - first : BATCH_BLOCK;
        batch_fetch(store, ids, -1, first, count);
        for (size_t i = first; i < first + count; i++) {
            const int kind = ids->kinds[i];
            const struct key key = batch_key(ids, kind, i);
            const struct user user = store_find(store, kind, &key);
            if (user.time != TIME_EMPTY && store_exports(store, user.time, user.online, tick) &&
                !readout_add(out, kind, ids->values[i], key.text, key.text_size, user.time)) {
                return false;
            }
        }
    }
    return true;
}

static inline void store_merge_all(struct store *store, const struct ids *ids, struct merging *merging) {
    for (size_t first = 0; first < ids->count; first += BATCH_BLOCK) {
        const size_t count = ids->count - first < BATCH_BLOCK ? ids->count - first : BATCH_BLOCK;
        batch_fetch(store, ids, -1, first, count);
        for (size_t i = first; i < first + count; i++) {
            const int64_t stamp = merging->tick - merging->ages[i];
            const uint32_t time = (uint32_t)(stamp < 0 ? 0 : stamp) << 1 | (merging->signed_off[i] != 0);
            int result;
            WITH_KIND_OF_ID(ids, -1, i, {
                const struct key key = batch_key(ids, KIND, i);
                result = store_merge(store, KIND, &key, time);
            })
            merging->failed_count += result < 0;
            merging->changed_count += result > 0 && (result & WROTE_REGISTER) != 0;
        }
    }
}

/* Drops a page with everybody on it. */
static inline void store_drop_page(struct store *store, struct page *page) {
    store->online -= page->online;
    page->online = 0;
    for (unsigned at = 0; at < page->line_count; at++) {
        unsigned char *line = page_line(page, page->kind, at);
        for (uint32_t taken = line_taken(line, page->kind); taken != 0; taken &= taken - 1) {
            page_drop(store, page, line, (unsigned)__builtin_ctz(taken));
        }
    }
    store_refit(store, page);
}

/* Forgets everybody in these slots, and the sign-offs that wait there. */
static inline void store_drop_slots(struct store *store, const struct slot_set *slots) {
    for (uint32_t slot = slot_set_next(slots, 0); slot < SLOT_COUNT; slot = slot_set_next(slots, slot + 1)) {
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            struct page *page;
            size_t at = 0;
            while ((page = store_walk(store, kind, slot, &at)) != NULL) {
                store_drop_page(store, page);
                at = 0;
            }
        }
    }
    size_t at = 0;
    while (at < store->graces.places) {
        struct request *request = &store->graces.requests[at];
        if (request->used && slot_set_has(slots, (uint32_t)(request->hash.high >> (64 - SLOT_BITS)))) {
            grace_drop(&store->graces, request); /* another may have moved up to this place */
        } else {
            at++;
        }
    }
}

#endif

/* Shared slots: whoever is past the deadline there waits for the owners to agree, on a page that stands aside of the wheel.
 */
#ifndef PRESENCEDB_OVERDUE_H
#define PRESENCEDB_OVERDUE_H

#include "presencedb/engine/kernel/readout.h"

/* Declares slots shared or not; false without memory. */
static inline bool store_share(struct store *store, const struct slot_set *slots, bool shared) {
    if (store->agreements == NULL) {
        if (!shared) {
            return true;
        }
        store->agreements = (struct agreements *)malloc(sizeof *store->agreements);
        if (store->agreements == NULL) {
            return false;
        }
        agreements_init(store->agreements);
    }
    for (uint32_t slot = slot_set_next(slots, 0); slot < SLOT_COUNT; slot = slot_set_next(slots, slot + 1)) {
        agreement_share(store->agreements, slot, shared, (uint32_t)store->expired_through);
    }
    return true;
}

static inline void store_agree(struct store *store, const struct slot_set *slots, uint32_t through) {
    if (store->agreements != NULL) {
        for (uint32_t slot = slot_set_next(slots, 0); slot < SLOT_COUNT; slot = slot_set_next(slots, slot + 1)) {
            agreement_reach(store->agreements, slot, through);
        }
    }
}

/* Puts the pages of a slot that have waited for as much as is agreed now back into the wheel, where they are due at once. */
static inline void store_rejoin(struct store *store, uint32_t slot) {
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct page *page;
        size_t at = 0;
        while ((page = store_walk(store, kind, slot, &at)) != NULL) {
            if (wheel_is_aside(page) && page->armed <= store->agreements->in_force[slot]) {
                wheel_move(&store->wheel, page, false);
            }
        }
    }
}

/* Lets count what was said since the last advance. Not to be called while timeouts are held. */
static inline void store_bring_into_force(struct store *store) {
    struct agreements *agreements = store->agreements;
    if (agreements == NULL) {
        return;
    }
    for (uint32_t slot = slot_set_next(&agreements->waiting, 0); slot < SLOT_COUNT;
         slot = slot_set_next(&agreements->waiting, slot + 1)) {
        slot_set_put(&agreements->waiting, slot, false);
        if (agreements->said[slot] >= store->hold) {
            agreements->in_force[slot] = agreements->said[slot];
            store_rejoin(store, slot);
        }
    }
}

/* Shared slots with a page that stands aside. */
static inline void store_overdue_slots(const struct store *store, struct slot_set *found) {
    memset(found, 0, sizeof *found);
    if (store->agreements != NULL && store->hold <= store->expired_through) {
        for (const struct page *page = store->wheel.buckets[WHEEL_ASIDE][0]; page != NULL; page = page->wheel_next) {
            if (slot_set_has(&store->agreements->shared, page->slot)) {
                slot_set_put(found, page->slot, true);
            }
        }
    }
}

/* Puts a page in which nobody is overdue any more back into the wheel: due at once if there is somebody to forget. That is later
 * than what is agreed to, so that those who timed out are still offline by it. */
static inline void store_end_aside(struct store *store, struct page *page) {
    const uint32_t offline_at = store_offline_at(store, page);
    int64_t next = INT64_MAX;
    for (unsigned at = 0; at < page->line_count; at++) {
        const unsigned char *line = page_line(page, page->kind, at);
        for (unsigned index = 0; index < line_entries(page->kind); index++) {
            const uint32_t time = line_time(line, page->kind, index);
            if (time != TIME_EMPTY) {
                const int64_t then =
                    time_is_online(time, offline_at) ? store_deadline(store, time) : store_forgets_at(store, time);
                next = then < next ? then : next;
            }
        }
    }
    wheel_disarm(&store->wheel, page);
    store_arm(store, page, next);
}

/* Appends whoever is overdue in a page; false without memory. */
static inline bool store_read_overdue(struct store *store, struct page *page, struct readout *out) {
    const uint32_t offline_at = store_offline_at(store, page);
    const int64_t through = store_emits_through(store, page->slot);
    const size_t before = out->ids->count;
    for (unsigned at = 0; at < page->line_count; at++) {
        unsigned char *line = page_line(page, page->kind, at);
        __builtin_prefetch(line + FETCH_AHEAD_BYTES);
        for (unsigned index = 0; index < line_entries(page->kind); index++) {
            const uint32_t time = line_time(line, page->kind, index);
            const int64_t deadline = store_deadline(store, time);
            if (time_is_online(time, offline_at) && deadline > through && deadline <= store->expired_through) {
                const char *text = page->kind == KIND_TEXT ? line_text(line, index) : NULL;
                if (!readout_add_hash(out, store, page->kind, line_hash(line, page->kind, index, page->slot), text, time)) {
                    return false;
                }
            }
        }
    }
    if (wheel_is_aside(page) && out->ids->count == before) {
        store_end_aside(store, page);
    }
    return true;
}

/* Appends whoever is overdue in some slots, by slot; false without memory. */
static inline bool store_overdue(struct store *store, const struct slot_set *slots, struct readout *out) {
    if (store->agreements == NULL || store->hold > store->expired_through) {
        return true;
    }
    for (uint32_t slot = slot_set_next(slots, 0); slot < SLOT_COUNT; slot = slot_set_next(slots, slot + 1)) {
        for (int kind = 0; kind < KIND_COUNT && slot_set_has(&store->agreements->shared, slot); kind++) {
            struct page *page;
            size_t at = 0;
            while ((page = store_walk(store, kind, slot, &at)) != NULL) {
                if (page->armed <= store->expired_through && !store_read_overdue(store, page, out)) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* Whether somebody who is online is overdue for so long that nothing can be said of them any more. */
static NOINLINE bool store_is_in_doubt(const struct store *store, uint32_t slot, uint32_t time) {
    return store->agreements != NULL && slot_set_has(&store->agreements->shared, slot) &&
           store_held_deadline(store, time) + store->doubt < store->expired_through;
}

#endif

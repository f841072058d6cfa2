/* One step of time, bounded: sign-offs at the end of their grace, then timeouts.
 */
#ifndef PRESENCEDB_ADVANCE_H
#define PRESENCEDB_ADVANCE_H

#include "presencedb/engine/kernel/overdue.h"

enum advance_result { ADVANCE_NO_MEMORY = -1, ADVANCE_MORE = 0, ADVANCE_DONE = 1 };

/* Applies one sign-off whose grace has ended, unless the timeout does the work by then and may. */
static inline int store_end_grace(struct store *store, struct request *request) {
    char text[ID_TEXT_BYTES_MAX];
    const int kind = request->kind;
    const uint32_t time = request->register_value, size = request->text_size;
    const int64_t ends = request->ends;
    if (kind == KIND_TEXT) {
        memcpy(text, request->text, size);
    }
    const struct key key = key_of_hash(kind, request->hash, text, size);
    grace_drop(&store->graces, request);
    const struct user user = store_find(store, kind, &key);
    if (user.time == TIME_EMPTY && store_is_synced(store, key.slot)) {
        return WROTE_NOTHING;
    }
    if (user.online) {
        const int64_t deadline = store_held_deadline(store, user.time);
        if (deadline <= ends && deadline <= store_emits_through(store, key.slot)) {
            return WROTE_NOTHING;
        }
    }
    return store_put(store, kind, &key, time, ends);
}

static inline enum advance_result store_end_graces(struct store *store, int64_t tick, int64_t *count_max) {
    struct request *request;
    while ((request = grace_ended(&store->graces, tick)) != NULL) {
        if (*count_max == 0) {
            return ADVANCE_MORE;
        }
        --*count_max;
        if (store_end_grace(store, request) < 0) {
            return ADVANCE_NO_MEMORY;
        }
    }
    return ADVANCE_DONE;
}

static inline enum advance_result store_advance(struct store *store, int64_t tick, int64_t count_max) {
    const bool held = tick < store->hold;
    int64_t looks = count_max * LOOKED_AT_PER_EXPIRY, moves = count_max;
    store->advanced_to = tick;
    if (!held) {
        store_expire_through(store, tick);
        store_bring_into_force(store);
    }
    const enum advance_result graces = store_end_graces(store, tick, &count_max);
    if (graces != ADVANCE_DONE || held) {
        return graces;
    }
    for (;;) {
        struct page *page;
        const enum wheel_result result = wheel_turn(&store->wheel, (uint64_t)tick, &moves, &page);
        if (result == WHEEL_DONE) {
            return ADVANCE_DONE;
        }
        if (result == WHEEL_WORKED_ENOUGH || count_max <= 0 || looks <= 0) {
            return ADVANCE_MORE;
        }
        looks -= page->used + LOOK_COST;
        const int count = store_look_at(store, page);
        if (count < 0) {
            return ADVANCE_NO_MEMORY;
        }
        count_max -= count;
    }
}

#endif

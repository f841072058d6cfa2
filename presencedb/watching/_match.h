/* Who watches any of these ids: for each watcher the places of those it watches. Watchers with the same places share them.
 *
 *     watchers  [ w w w ... ]      each once, in the order in which they are met
 *     starts    [ 0 | . | . ... ]  where the places of each begin; one more at the end
 *     places    [ 3 17 40 | 3 17 40 | 8 ... ]
 *     same_as   [ 0 0 2 ... ]      the first watcher with the same places: often itself, as often one of thousands that
 *                                  watch the same celebrity
 */
#ifndef PRESENCEDB_WATCHING_MATCH_H
#define PRESENCEDB_WATCHING_MATCH_H

#include "presencedb/watching/_index.h"

struct hit {
    uint32_t place, record;
};

struct matches {
    uint32_t *watchers, *same_as, *places;
    size_t *starts;
    size_t count;
    void *room; /* for all of these */
    size_t room_bytes;
};

static inline void matches_clear(struct watch_index *index, struct matches *matches) {
    memory_free(&index->store.memory, matches->room, matches->room_bytes);
    *matches = (struct matches){0};
}

/* The ids that anybody watches; `hits` has room for all. */
static inline size_t match_hits(const struct watch_index *index, const struct ids *ids, struct hit *hits) {
    uint32_t hashes[FETCH_BLOCK];
    size_t count = 0;
    for (size_t first = 0; first < ids->count; first += FETCH_BLOCK) {
        const size_t block = fetch_ids(&index->store, ids, first, hashes);
        for (size_t i = 0; i < block; i++) {
            const uint32_t record = store_find(&index->store, hashes[i], ids, first + i);
            hits[count] = (struct hit){(uint32_t)(first + i), record};
            count += record != RECORD_NONE;
        }
    }
    return count;
}

/* Lists everybody who watches one of the hits, and counts, behind their starts, the places of each. */
static inline void match_count(const struct watch_index *index, const struct hit *hits, size_t hit_count,
                               struct matches *matches) {
    for (size_t i = 0; i < hit_count; i++) {
        struct record *record = store_record(&index->store, hits[i].record);
        const uint32_t *numbers = audience_numbers(record);
        for (uint32_t j = 0; j < record->audience_count; j++) {
            struct watcher *watcher = &index->roster.watchers[numbers[j]];
            if (watcher->touched == 0) {
                matches->watchers[matches->count++] = numbers[j];
                matches->starts[matches->count] = 0;
                watcher->touched = (uint32_t)matches->count;
            }
            matches->starts[watcher->touched]++;
        }
    }
}

/* Turns the counts into starts, and puts every place where it belongs. */
static inline void match_fill(const struct watch_index *index, const struct hit *hits, size_t hit_count,
                              struct matches *matches) {
    size_t start = 0;
    for (size_t i = 1; i <= matches->count; i++) {
        const size_t count = matches->starts[i];
        matches->starts[i] = start; /* and moves up to where the next begins while it is filled */
        start += count;
    }
    for (size_t i = 0; i < hit_count; i++) {
        struct record *record = store_record(&index->store, hits[i].record);
        const uint32_t *numbers = audience_numbers(record);
        for (uint32_t j = 0; j < record->audience_count; j++) {
            const struct watcher *watcher = &index->roster.watchers[numbers[j]];
            matches->places[matches->starts[watcher->touched]++] = hits[i].place;
        }
    }
    for (size_t i = 0; i < matches->count; i++) {
        index->roster.watchers[matches->watchers[i]].touched = 0;
    }
}

/* Finds out who has the same places; `slots` has `mask + 1` places, all 0. */
static inline void match_share(const struct watch_index *index, struct matches *matches, uint32_t *slots, size_t mask) {
    for (size_t i = 0; i < matches->count; i++) {
        const uint32_t *places = &matches->places[matches->starts[i]];
        const size_t bytes = (matches->starts[i + 1] - matches->starts[i]) * sizeof *places;
        size_t slot = (size_t)XXH3_64bits_withSeed(places, bytes, index->store.keys.seed) & mask;
        for (; slots[slot] != 0; slot = (slot + 1) & mask) {
            const size_t other = slots[slot] - 1;
            if ((matches->starts[other + 1] - matches->starts[other]) * sizeof *places == bytes &&
                memcmp(&matches->places[matches->starts[other]], places, bytes) == 0) {
                break;
            }
        }
        if (slots[slot] == 0) {
            slots[slot] = (uint32_t)i + 1;
        }
        matches->same_as[i] = slots[slot] - 1;
    }
}

/* Room for `pair_count` places of at most `watcher_count` watchers, and, at the end, for so many slots. */
static inline uint32_t *matches_reserve(struct watch_index *index, struct matches *matches, size_t pair_count,
                                        size_t watcher_count, size_t slot_count) {
    if (pair_count > SIZE_MAX / sizeof(size_t) / 2) {
        return NULL;
    }
    const size_t number_count = pair_count + 2 * watcher_count + slot_count;
    const size_t bytes = (watcher_count + 1) * sizeof *matches->starts + number_count * sizeof(uint32_t);
    matches->room = memory_resize(&index->store.memory, NULL, 0, bytes);
    if (matches->room == NULL) {
        return NULL;
    }
    matches->room_bytes = bytes;
    matches->starts = (size_t *)matches->room;
    matches->watchers = (uint32_t *)(matches->starts + watcher_count + 1);
    matches->same_as = matches->watchers + watcher_count;
    matches->places = matches->same_as + watcher_count;
    return (uint32_t *)memset(matches->places + pair_count, 0, slot_count * sizeof(uint32_t));
}

static inline bool match_of_hits(struct watch_index *index, const struct hit *hits, size_t hit_count,
                                 struct matches *matches) {
    size_t pair_count = 0, mask = 1;
    for (size_t i = 0; i < hit_count; i++) {
        pair_count += store_record(&index->store, hits[i].record)->audience_count;
    }
    const size_t watcher_count = pair_count < index->roster.count ? pair_count : index->roster.count;
    while (mask < 2 * watcher_count) {
        mask = 2 * mask + 1;
    }
    uint32_t *slots = matches_reserve(index, matches, pair_count, watcher_count, mask + 1);
    if (slots == NULL) {
        return false;
    }
    matches->starts[0] = 0;
    match_count(index, hits, hit_count, matches);
    match_fill(index, hits, hit_count, matches);
    match_share(index, matches, slots, mask);
    return true;
}

/* `matches` is to be cleared whatever comes of it. */
static inline enum index_result index_match(struct watch_index *index, const struct ids *ids, struct matches *matches) {
    *matches = (struct matches){0};
    if (index->store.records.count == 0 || ids->count == 0) {
        return INDEX_OK;
    }
    const size_t bytes = ids->count * sizeof(struct hit);
    struct hit *hits = (struct hit *)memory_resize(&index->store.memory, NULL, 0, bytes);
    if (hits == NULL) {
        return INDEX_NO_MEMORY;
    }
    const size_t hit_count = match_hits(index, ids, hits);
    const bool matched = hit_count == 0 || match_of_hits(index, hits, hit_count, matches);
    memory_free(&index->store.memory, hits, bytes);
    return matched ? INDEX_OK : INDEX_NO_MEMORY;
}

#endif

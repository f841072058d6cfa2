/* What is done with an index: watch, unwatch, forget a watcher, select. Loops over ids and names go in blocks: what a block
 * will need is fetched first, level by level, so that its cache misses overlap.
 */
#ifndef PRESENCEDB_WATCHING_INDEX_H
#define PRESENCEDB_WATCHING_INDEX_H

#include "presencedb/watching/_audience.h"
#include "presencedb/watching/_roster.h"

enum { FETCH_BLOCK = 32 };

enum index_result { INDEX_OK = 0, INDEX_NO_MEMORY = -1, INDEX_TOO_MANY = -2 };

struct watch_index {
    struct store store;
    struct roster roster;
    uint64_t watch_count;
};

static inline struct watch_index *index_new(uint64_t seed) {
    struct watch_index *index = (struct watch_index *)calloc(1, sizeof *index);
    if (index != NULL) {
        index->store.memory = (struct memory){memory_cost(sizeof *index), UINT64_MAX};
        hash_keys_init(&index->store.keys, seed);
        pool_init(&index->store.records, sizeof(struct record));
        pool_init(&index->store.heads, sizeof(uint32_t));
    }
    return index;
}

static inline void index_free(struct watch_index *index) {
    if (index == NULL) {
        return;
    }
    struct store *store = &index->store;
    for (uint32_t number = 0; number < store->records.count; number++) {
        const struct record *record = store_record(store, number);
        free(record->kind == KIND_TEXT ? record_text(record) : NULL);
        free(record->audience_count > AUDIENCE_FEW ? record->audience.many : NULL);
    }
    pool_clear(&store->records, &store->memory);
    pool_clear(&store->heads, &store->memory);
    for (uint32_t number = 0; number < index->roster.size; number++) {
        free(index->roster.watchers[number].names);
    }
    free(index->roster.watchers);
    free(index);
}

/* --- fetching ahead --- */

static inline void fetch_records(const struct store *store, const uint32_t hashes[FETCH_BLOCK], size_t count) {
    const uint32_t *heads[FETCH_BLOCK];
    if (store->heads.count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        heads[i] = store_head(store, hashes[i]);
        __builtin_prefetch(heads[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (*heads[i] & link_bit(hashes[i])) {
            __builtin_prefetch(store_record(store, link_record(*heads[i])));
        }
    }
}

/* The short hashes of a block of ids; their records are on the way. */
static inline size_t fetch_ids(const struct store *store, const struct ids *ids, size_t first,
                               uint32_t hashes[FETCH_BLOCK]) {
    const size_t count = ids->count - first < FETCH_BLOCK ? ids->count - first : FETCH_BLOCK;
    for (size_t i = 0; i < count; i++) {
        hashes[i] = hash_short(ids_hash_of(ids, &store->keys, first + i));
    }
    fetch_records(store, hashes, count);
    return count;
}

/* The same for the names that a watcher watches. */
static inline size_t fetch_names(const struct store *store, const struct watcher *watcher, uint32_t first) {
    uint32_t hashes[FETCH_BLOCK];
    const uint32_t count = watcher->count - first < FETCH_BLOCK ? watcher->count - first : FETCH_BLOCK;
    for (uint32_t i = 0; i < count; i++) {
        hashes[i] = name_hash(watcher->names[first + i]);
    }
    fetch_records(store, hashes, count);
    return count;
}

/* --- a watch more, a watch less --- */

static inline enum audience_result watch_add(struct watch_index *index, uint32_t number, struct watcher *watcher,
                                             uint32_t hash, const struct ids *ids, size_t at) {
    struct store *store = &index->store;
    const uint32_t found = store_find(store, hash, ids, at);
    const uint32_t which = found == RECORD_NONE ? store_add(store, hash, ids, at) : found;
    if (which == RECORD_NONE) {
        return AUDIENCE_NO_MEMORY;
    }
    struct record *record = store_record(store, which);
    const enum audience_result result = audience_add(&store->memory, record, number);
    if (result == AUDIENCE_ADDED) {
        watcher->names[watcher->count++] = record->name;
        index->watch_count++;
    }
    return result;
}

static inline bool watch_remove(struct watch_index *index, uint32_t number, uint32_t which) {
    struct record *record = store_record(&index->store, which);
    if (!audience_remove(&index->store.memory, record, number)) {
        return false;
    }
    index->watch_count--;
    if (record->audience_count == 0) {
        store_remove(&index->store, which);
    }
    return true;
}

/* Ends the watches from this place of the watcher's list on. */
static inline void watches_cut(struct watch_index *index, uint32_t number, struct watcher *watcher, uint32_t from) {
    for (uint32_t first = from; first < watcher->count; first += FETCH_BLOCK) {
        const size_t block = fetch_names(&index->store, watcher, first);
        for (size_t i = 0; i < block; i++) {
            watch_remove(index, number, store_named(&index->store, watcher->names[first + i]));
        }
    }
    watcher->count = from;
    names_fit(watcher, &index->store.memory);
}

/* --- what Python calls; a watcher's number is one that there is --- */

/* `*count` becomes the number of new watches; or where that is too many, of those that it would watch then. */
static inline enum index_result index_watch(struct watch_index *index, uint32_t number, const struct ids *ids,
                                            uint64_t count_max, uint32_t *count) {
    struct watcher *watcher = &index->roster.watchers[number];
    const uint32_t before = watcher->count;
    uint32_t hashes[FETCH_BLOCK];
    if (!names_reserve(watcher, &index->store.memory, ids->count)) {
        return INDEX_NO_MEMORY;
    }
    for (size_t first = 0; first < ids->count; first += FETCH_BLOCK) {
        const size_t block = fetch_ids(&index->store, ids, first, hashes);
        for (size_t i = 0; i < block; i++) {
            if (watch_add(index, number, watcher, hashes[i], ids, first + i) == AUDIENCE_NO_MEMORY) {
                watches_cut(index, number, watcher, before);
                return INDEX_NO_MEMORY;
            }
        }
    }
    if (watcher->count > count_max) {
        *count = watcher->count;
        watches_cut(index, number, watcher, before);
        return INDEX_TOO_MANY;
    }
    *count = watcher->count - before;
    names_fit(watcher, &index->store.memory);
    return INDEX_OK;
}

static inline int names_compare(const void *first, const void *second) {
    const uint32_t a = *(const uint32_t *)first, b = *(const uint32_t *)second;
    return (a > b) - (a < b);
}

/* Takes these names, which are sorted thereby, out of the watcher's list. */
static inline void names_remove(struct watcher *watcher, uint32_t *removed, uint32_t removed_count) {
    uint32_t kept = 0;
    qsort(removed, removed_count, sizeof *removed, names_compare);
    for (uint32_t i = 0; i < watcher->count; i++) {
        const uint32_t name = watcher->names[i], at = numbers_below(removed, removed_count, name);
        if (at == removed_count || removed[at] != name) {
            watcher->names[kept++] = name;
        }
    }
    watcher->count = kept;
}

/* `*count` becomes the number of watches that there were. */
static inline enum index_result index_unwatch(struct watch_index *index, uint32_t number, const struct ids *ids,
                                              uint32_t *count) {
    struct store *store = &index->store;
    struct watcher *watcher = &index->roster.watchers[number];
    const size_t bytes = (ids->count < watcher->count ? ids->count : watcher->count) * sizeof(uint32_t);
    uint32_t hashes[FETCH_BLOCK];
    *count = 0;
    if (bytes == 0) {
        return INDEX_OK;
    }
    uint32_t *removed = (uint32_t *)memory_resize(&store->memory, NULL, 0, bytes);
    if (removed == NULL) {
        return INDEX_NO_MEMORY;
    }
    for (size_t first = 0; first < ids->count; first += FETCH_BLOCK) {
        const size_t block = fetch_ids(store, ids, first, hashes);
        for (size_t i = 0; i < block; i++) {
            const uint32_t which = store_find(store, hashes[i], ids, first + i);
            const uint32_t name = which == RECORD_NONE ? 0 : store_record(store, which)->name;
            if (which != RECORD_NONE && watch_remove(index, number, which)) {
                removed[(*count)++] = name;
            }
        }
    }
    if (*count > 0) {
        names_remove(watcher, removed, *count);
        names_fit(watcher, &store->memory);
    }
    memory_free(&store->memory, removed, bytes);
    return INDEX_OK;
}

/* Returns how many ids it watched. */
static inline uint32_t index_remove_watcher(struct watch_index *index, uint32_t number) {
    struct watcher *watcher = &index->roster.watchers[number];
    const uint32_t count = watcher->count;
    watches_cut(index, number, watcher, 0);
    roster_remove(&index->roster, &index->store.memory, number);
    return count;
}

/* Appends the ids that a watcher watches, in order. */
static inline enum index_result index_watched(const struct watch_index *index, uint32_t number, struct ids *ids) {
    const struct watcher *watcher = &index->roster.watchers[number];
    if (ids_reserve(ids, watcher->count) != IDS_OK) {
        return INDEX_NO_MEMORY;
    }
    for (uint32_t first = 0; first < watcher->count; first += FETCH_BLOCK) {
        const size_t block = fetch_names(&index->store, watcher, first);
        for (size_t i = 0; i < block; i++) {
            const uint32_t which = store_named(&index->store, watcher->names[first + i]);
            const struct record *record = store_record(&index->store, which);
            if (record->kind != KIND_TEXT) {
                ids_put(ids, record->kind, record->value);
            } else if (ids_append_text(ids, record_text(record), record->value.low) != IDS_OK) {
                return INDEX_NO_MEMORY;
            }
        }
    }
    return INDEX_OK;
}

/* Writes the places from `start` on of the ids that this watcher watches to `places`, which has room; returns how many. */
static inline size_t index_select(const struct watch_index *index, uint32_t number, const struct ids *ids, size_t start,
                                  uint32_t *places) {
    uint32_t hashes[FETCH_BLOCK];
    size_t found = 0;
    for (size_t first = start; first < ids->count; first += FETCH_BLOCK) {
        const size_t block = fetch_ids(&index->store, ids, first, hashes);
        for (size_t i = 0; i < block; i++) {
            const uint32_t which = store_find(&index->store, hashes[i], ids, first + i);
            if (which != RECORD_NONE && audience_has(store_record(&index->store, which), number)) {
                places[found++] = (uint32_t)(first + i);
            }
        }
    }
    return found;
}

#endif

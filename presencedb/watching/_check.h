/* What must be true of an index between two calls, for the tests to ask after every step.
 */
#ifndef PRESENCEDB_WATCHING_CHECK_H
#define PRESENCEDB_WATCHING_CHECK_H

#include "presencedb/watching/_index.h"

/* What is seen on the way, to be compared with what the index says. */
struct tally {
    size_t bytes;
    uint64_t audience, named; /* watches, from either side */
    uint32_t records, watchers;
};

static inline const char *check_audience(const struct watch_index *index, struct record *record, struct tally *tally) {
    const uint32_t *numbers = audience_numbers(record);
    if (record->audience_count == 0) {
        return "a record is kept that nobody watches";
    }
    for (uint32_t i = 0; i < record->audience_count; i++) {
        if (roster_find(&index->roster, numbers[i]) == NULL || (i > 0 && numbers[i] <= numbers[i - 1])) {
            return "an audience is not sorted, or has a watcher that is gone";
        }
    }
    tally->audience += record->audience_count;
    tally->bytes += memory_cost(audience_bytes(record->audience_count));
    return NULL;
}

static inline const char *check_record(const struct watch_index *index, uint32_t number, struct tally *tally) {
    const struct store *store = &index->store;
    struct record *record = store_record(store, number);
    struct bits128 value = record->value;
    struct ids id = {.kinds = &record->kind, .values = &value, .count = 1};
    if (record->kind == KIND_TEXT) {
        id.texts = record_text(record);
        value.high = 0;
        tally->bytes += memory_cost(value.low);
    }
    const uint32_t hash = hash_short(ids_hash_of(&id, &store->keys, 0));
    if (name_hash(record->name) != hash || store_find(store, hash, &id, 0) != number ||
        store_named(store, record->name) != number) {
        return "a record is not found by its id or its name";
    }
    return check_audience(index, record, tally);
}

static inline const char *check_chain(const struct store *store, uint32_t bucket, struct tally *tally) {
    uint32_t link = *(uint32_t *)pool_at(&store->heads, bucket);
    while (link != 0) {
        if (link_record(link) >= store->records.count || tally->records++ >= store->records.count) {
            return "a chain has records that are gone, or goes in a circle";
        }
        const struct record *record = store_record(store, link_record(link));
        const uint32_t hash = name_hash(record->name);
        if (bucket_among(hash, store->heads.count) != bucket ||
            (link & LINK_FILTER_MASK) != ((record->next & LINK_FILTER_MASK) | link_bit(hash))) {
            return "a record is in the wrong chain, or a filter is wrong";
        }
        link = record->next;
    }
    return NULL;
}

static inline const char *check_watcher(struct watch_index *index, uint32_t number, const struct watcher *watcher,
                                        struct tally *tally) {
    const struct store *store = &index->store;
    if (watcher->capacity != list_room(watcher->count) || watcher->touched != 0) {
        return "a watcher's list has too little room or too much, or a match was not finished";
    }
    for (uint32_t i = 0; i < watcher->count; i++) {
        const uint32_t name = watcher->names[i];
        uint32_t link = store->heads.count == 0 ? 0 : *store_head(store, name_hash(name));
        while (link != 0 && store_record(store, link_record(link))->name != name) {
            link = store_record(store, link_record(link))->next;
        }
        if (link == 0 || !audience_has(store_record(store, link_record(link)), number)) {
            return "a watcher watches an id that does not know of it";
        }
        for (uint32_t j = 0; j < i; j++) {
            if (watcher->names[j] == name) {
                return "a watcher watches an id twice";
            }
        }
    }
    tally->named += watcher->count;
    tally->watchers++;
    tally->bytes += memory_cost(watcher->capacity * sizeof *watcher->names);
    return NULL;
}

static inline const char *check_roster(struct watch_index *index, struct tally *tally) {
    const struct roster *roster = &index->roster;
    const char *broken = NULL;
    if (roster->size > roster->capacity || roster->open > roster->size ||
        (roster->size > 0 && roster_find(roster, roster->size - 1) == NULL)) {
        return "the roster does not end at its last watcher";
    }
    for (uint32_t number = 0; broken == NULL && number < roster->size; number++) {
        const struct watcher *watcher = roster_find(roster, number);
        if (watcher != NULL) {
            broken = check_watcher(index, number, watcher, tally);
        } else if (number < roster->open) {
            broken = "a free number is passed over";
        }
    }
    tally->bytes += memory_cost(roster->capacity * sizeof *roster->watchers);
    return broken;
}

static inline void check_pool(const struct pool *pool, struct tally *tally) {
    tally->bytes += pool->segment_count * memory_cost(pool_segment_bytes(pool)) +
                    memory_cost(pool_list_bytes(pool->segment_count));
}

/* What is broken, or NULL. */
static inline const char *index_check(struct watch_index *index) {
    const struct store *store = &index->store;
    struct tally tally = {.bytes = memory_cost(sizeof *index)};
    const char *broken = NULL;
    for (uint32_t bucket = 0; broken == NULL && bucket < store->heads.count; bucket++) {
        broken = check_chain(store, bucket, &tally);
    }
    if (broken == NULL && tally.records != store->records.count) {
        broken = "records are in no chain";
    }
    for (uint32_t number = 0; broken == NULL && number < store->records.count; number++) {
        broken = check_record(index, number, &tally);
    }
    if (broken == NULL) {
        broken = check_roster(index, &tally);
    }
    if (broken != NULL) {
        return broken;
    }
    check_pool(&store->records, &tally);
    check_pool(&store->heads, &tally);
    if (tally.audience != index->watch_count || tally.named != index->watch_count ||
        tally.watchers != index->roster.count) {
        return "the watches or the watchers are miscounted";
    }
    if (store->heads.count > store->records.count + store->records.count / 3) {
        return "there are too many buckets";
    }
    return tally.bytes == store->memory.bytes ? NULL : "the memory in use is miscounted";
}

#endif

/* The ids that somebody watches, and how they are found: by id, and by name. `_index.pyx` has a drawing of it.
 *
 * A *record* stands for an id. It has a *name*, 28 bits of the id's hash and 4 bits that tell apart those few whose hashes
 * agree in them. Records move, names do not: a watcher's ids are a list of names. Records with the same bucket form a chain:
 *
 *     link    [ record 28 | filter 4 ]     0: nobody. A bit of the filter stands for two bits of the name, and is set if any
 *                                          record from here on has them: most ids that nobody watches end at the first link
 *
 * The buckets are those of linear hashing (W. Litwin, "Linear hashing: a new tool for file and table addressing", 1980):
 * one bucket more or less at a time, so that no insertion or removal waits for a table to be made anew.
 */
#ifndef PRESENCEDB_WATCHING_STORE_H
#define PRESENCEDB_WATCHING_STORE_H

#include "presencedb/ids/_ids.h"
#include "presencedb/watching/_pool.h"

enum {
    NAME_COPY_BITS = 4,
    NAME_COPIES_MAX = 1 << NAME_COPY_BITS,
    LINK_FILTER_BITS = 4,
    LINK_FILTER_MASK = (1 << LINK_FILTER_BITS) - 1,
    AUDIENCE_FEW = 2,
};

#define RECORD_NONE POOL_NONE

struct record {
    struct bits128 value; /* as in `struct ids`, but of a text, `high` is its address */
    union {
        uint32_t few[AUDIENCE_FEW];
        uint32_t *many;
    } audience; /* its watchers, sorted */
    uint32_t audience_count;
    uint32_t name, next;
    uint8_t kind;
};

/* Of watchers it knows only that a record has room for them. */
struct store {
    struct memory memory;
    struct hash_keys keys;
    struct pool records, heads;
};

/* --- links and buckets --- */

static inline uint32_t hash_short(struct bits128 hash) { return (uint32_t)(hash.high >> (64 - 32 + NAME_COPY_BITS)); }

static inline uint32_t name_hash(uint32_t name) { return name >> NAME_COPY_BITS; }

/* By the top bits of the hash, since records that share a bucket agree in the low ones. */
static inline uint32_t link_bit(uint32_t hash) { return 1U << (hash >> (32 - NAME_COPY_BITS - 2)); }

static inline uint32_t link_record(uint32_t link) { return link >> LINK_FILTER_BITS; }

/* The bucket among `count`, which is not 0: as many low bits as number `count` buckets, or one less if there is no such. */
static inline uint32_t bucket_among(uint32_t hash, uint32_t count) {
    const uint32_t mask = count == 1 ? 0 : UINT32_MAX >> __builtin_clz(count - 1);
    const uint32_t bucket = hash & mask;
    return bucket < count ? bucket : bucket & (mask >> 1);
}

/* There is a bucket wherever there is a record. */
static inline uint32_t *store_head(const struct store *store, uint32_t hash) {
    return (uint32_t *)pool_at(&store->heads, bucket_among(hash, store->heads.count));
}

static inline struct record *store_record(const struct store *store, uint32_t record) {
    return (struct record *)pool_at(&store->records, record);
}

/* --- finding --- */

static inline char *record_text(const struct record *record) { return (char *)(uintptr_t)record->value.high; }

static inline bool record_is(const struct record *record, const struct ids *ids, size_t at) {
    const struct bits128 value = ids->values[at];
    if (record->kind != ids->kinds[at] || record->value.low != value.low) {
        return false;
    }
    return record->kind == KIND_TEXT ? memcmp(record_text(record), ids->texts + value.high, value.low) == 0
                                     : record->value.high == value.high;
}

/* The record of the id at this place, whose short hash this is, or `RECORD_NONE`. */
static inline uint32_t store_find(const struct store *store, uint32_t hash, const struct ids *ids, size_t at) {
    const uint32_t bit = link_bit(hash);
    uint32_t link = store->heads.count == 0 ? 0 : *store_head(store, hash);
    while (link & bit) {
        const struct record *record = store_record(store, link_record(link));
        if (name_hash(record->name) == hash && record_is(record, ids, at)) {
            return link_record(link);
        }
        link = record->next;
    }
    return RECORD_NONE;
}

/* The record with this name, which there is. */
static inline uint32_t store_named(const struct store *store, uint32_t name) {
    uint32_t link = *store_head(store, name_hash(name));
    while (store_record(store, link_record(link))->name != name) {
        link = store_record(store, link_record(link))->next;
    }
    return link_record(link);
}

/* --- chains and buckets come and go --- */

static inline void chain_push(struct store *store, uint32_t number) {
    struct record *record = store_record(store, number);
    const uint32_t hash = name_hash(record->name);
    uint32_t *head = store_head(store, hash);
    record->next = *head;
    *head = number << LINK_FILTER_BITS | (*head & LINK_FILTER_MASK) | link_bit(hash);
}

/* Puts every record of a chain, which hangs nowhere any more, where it belongs now; all but one. */
static inline void chain_regroup(struct store *store, uint32_t link, uint32_t left_out) {
    while (link != 0) {
        const uint32_t record = link_record(link);
        link = store_record(store, record)->next;
        if (record != left_out) {
            chain_push(store, record);
        }
    }
}

static inline uint32_t chain_detach(uint32_t *head) {
    const uint32_t link = *head;
    *head = 0;
    return link;
}

/* One bucket more, if there is memory for it; without it the chains are longer. */
static inline bool buckets_grow(struct store *store) {
    const uint32_t added = pool_take(&store->heads, &store->memory);
    if (added == POOL_NONE) {
        return false;
    }
    *(uint32_t *)pool_at(&store->heads, added) = 0;
    if (added > 0) {
        chain_regroup(store, chain_detach((uint32_t *)pool_at(&store->heads, bucket_among(added, added))), RECORD_NONE);
    }
    return true;
}

/* Gives back the buckets that are too many: over a third more than the records, so that coming and going moves none. */
static inline void buckets_fit(struct store *store) {
    while (store->heads.count > store->records.count + store->records.count / 3) {
        const uint32_t last = store->heads.count - 1;
        const uint32_t link = *(uint32_t *)pool_at(&store->heads, last);
        pool_give(&store->heads, &store->memory, last);
        chain_regroup(store, link, RECORD_NONE);
    }
}

/* --- records come and go --- */

/* Gives a record without a name a free one; false if all are taken: that is beyond what hashes do by chance. */
static inline bool record_name(const struct store *store, struct record *record, uint32_t hash) {
    uint32_t taken = 0;
    for (uint32_t link = *store_head(store, hash); link != 0; link = store_record(store, link_record(link))->next) {
        const uint32_t name = store_record(store, link_record(link))->name;
        if (name_hash(name) == hash) {
            taken |= 1U << (name & (NAME_COPIES_MAX - 1));
        }
    }
    const uint32_t copy = (uint32_t)__builtin_ctz(~taken);
    record->name = hash << NAME_COPY_BITS | copy;
    return copy < NAME_COPIES_MAX;
}

/* Gives a record the id at this place; false where there is no memory for its text. */
static inline bool record_value(struct memory *memory, struct record *record, const struct ids *ids, size_t at) {
    record->kind = ids->kinds[at];
    record->value = ids->values[at];
    if (record->kind == KIND_TEXT) {
        char *text = (char *)memory_resize(memory, NULL, 0, record->value.low);
        if (text == NULL) {
            return false;
        }
        memcpy(text, ids->texts + record->value.high, record->value.low);
        record->value.high = (uint64_t)(uintptr_t)text;
    }
    return true;
}

/* The record of an id that has none yet, watched by nobody so far; `RECORD_NONE` where there is no memory. */
static inline uint32_t store_add(struct store *store, uint32_t hash, const struct ids *ids, size_t at) {
    struct record made = {0};
    uint32_t number = RECORD_NONE;
    if ((store->heads.count > 0 || buckets_grow(store)) && record_name(store, &made, hash)) {
        number = pool_take(&store->records, &store->memory);
    }
    if (number != RECORD_NONE && !record_value(&store->memory, &made, ids, at)) {
        pool_give(&store->records, &store->memory, number);
        number = RECORD_NONE;
    }
    if (number == RECORD_NONE) {
        buckets_fit(store);
        return RECORD_NONE;
    }
    *store_record(store, number) = made;
    chain_push(store, number);
    if (store->heads.count < store->records.count) {
        buckets_grow(store);
    }
    return number;
}

/* Mends the link to the record that was `from` and is now `to`. */
static inline void record_moved(struct store *store, uint32_t from, uint32_t to) {
    uint32_t *link = store_head(store, name_hash(store_record(store, to)->name));
    while (link_record(*link) != from) {
        link = &store_record(store, link_record(*link))->next;
    }
    *link = to << LINK_FILTER_BITS | (*link & LINK_FILTER_MASK);
}

/* Removes a record that nobody watches any more. The last record then has its number. */
static inline void store_remove(struct store *store, uint32_t number) {
    const struct record *record = store_record(store, number);
    if (record->kind == KIND_TEXT) {
        memory_free(&store->memory, record_text(record), record->value.low);
    }
    chain_regroup(store, chain_detach(store_head(store, name_hash(record->name))), number);
    const uint32_t last = pool_give(&store->records, &store->memory, number);
    if (last != number) {
        record_moved(store, last, number);
    }
    buckets_fit(store);
}

#endif

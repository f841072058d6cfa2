/* The ids of one request as C arrays: what an `IdBatch` holds, filled by the codec straight from a frame.
 *
 *     kinds   [k k k ...]              one byte an id
 *     values  [128 bits | ...]         an integer (in `low`), a UUID, or of a text: offset (`high`) and length (`low`)
 *     texts   [bytes of all texts one after the other]
 *     hashes  [128 bits | ...]         left-aligned, for one seed; made when first asked for
 */
#ifndef PRESENCEDB_IDS_H
#define PRESENCEDB_IDS_H

#include <stdlib.h>

#include "presencedb/ids/_hash.h"
#include "presencedb/ids/_text.h"

enum ids_result {
    IDS_OK = 0,
    IDS_NO_MEMORY = -1,
    IDS_BAD_SIZE = -2, /* a text of 0 or more than 255 bytes */
    IDS_BAD_UTF8 = -3,
    IDS_HAS_NUL = -4,
    IDS_BAD_POSITION = -5,
};

struct ids {
    size_t count, capacity;
    uint8_t *kinds;
    struct bits128 *values;
    struct bits128 *hashes;
    char *texts;
    size_t texts_size, texts_capacity;
    uint64_t hashed_seed;
    bool hashed;
    uint8_t kinds_seen; /* bit `k` is set where an id of kind `k` is in it */
};

static inline void ids_clear(struct ids *ids) {
    free(ids->kinds);
    free(ids->values);
    free(ids->hashes);
    free(ids->texts);
    *ids = (struct ids){0};
}

/* Makes room for `more` further ids. */
static inline int ids_reserve(struct ids *ids, size_t more) {
    if (more <= ids->capacity - ids->count) {
        return IDS_OK;
    }
    if (more > SIZE_MAX / sizeof(struct bits128) / 4 - ids->count) {
        return IDS_NO_MEMORY;
    }
    size_t capacity = ids->count + more;
    if (capacity < 2 * ids->capacity) {
        capacity = 2 * ids->capacity;
    }
    uint8_t *kinds = (uint8_t *)realloc(ids->kinds, capacity);
    if (kinds != NULL) {
        ids->kinds = kinds;
    }
    struct bits128 *values = (struct bits128 *)realloc(ids->values, capacity * sizeof *values);
    if (values != NULL) {
        ids->values = values;
    }
    if (kinds == NULL || values == NULL) {
        return IDS_NO_MEMORY;
    }
    ids->capacity = capacity;
    return IDS_OK;
}

/* Makes room for `more` further bytes of texts. */
static inline int ids_reserve_texts(struct ids *ids, size_t more) {
    if (more <= ids->texts_capacity - ids->texts_size) {
        return IDS_OK;
    }
    char *texts = (char *)realloc(ids->texts, ids->texts_size + more);
    if (texts == NULL) {
        return IDS_NO_MEMORY;
    }
    ids->texts = texts;
    ids->texts_capacity = ids->texts_size + more;
    return IDS_OK;
}

static inline void ids_put(struct ids *ids, int kind, struct bits128 value) {
    ids->kinds[ids->count] = (uint8_t)kind;
    ids->values[ids->count] = value;
    ids->kinds_seen |= (uint8_t)(1U << kind);
    ids->count++;
    ids->hashed = false;
}

static inline int ids_append_int(struct ids *ids, uint64_t value) {
    if (ids->count == ids->capacity && ids_reserve(ids, 8) != IDS_OK) {
        return IDS_NO_MEMORY;
    }
    ids_put(ids, value <= UINT32_MAX ? KIND_INT32 : KIND_INT64, (struct bits128){0, value});
    return IDS_OK;
}

/* Appends `count` integers that stand `stride` bytes apart, aligned or not. */
static inline int ids_append_ints(struct ids *ids, const char *first, ptrdiff_t stride, size_t count) {
    if (ids_reserve(ids, count) != IDS_OK) {
        return IDS_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, first + (ptrdiff_t)i * stride, sizeof value);
        ids_put(ids, value <= UINT32_MAX ? KIND_INT32 : KIND_INT64, (struct bits128){0, value});
    }
    return IDS_OK;
}

/* Appends a text of any origin in its canonical form: a number, a UUID, or the text itself. */
static inline int ids_append_text(struct ids *ids, const char *text, size_t size) {
    uint64_t number;
    struct bits128 bits;
    if (size < 1 || size > ID_TEXT_BYTES_MAX) {
        return IDS_BAD_SIZE;
    }
    if (text_is_decimal(text, size, &number)) {
        return ids_append_int(ids, number);
    }
    if (ids->count == ids->capacity && ids_reserve(ids, 8) != IDS_OK) {
        return IDS_NO_MEMORY;
    }
    if (text_is_uuid(text, size, &bits)) {
        ids_put(ids, KIND_UUID, bits);
        return IDS_OK;
    }
    if (!text_is_utf8(text, size)) {
        return IDS_BAD_UTF8;
    }
    if (memchr(text, 0, size) != NULL) {
        return IDS_HAS_NUL;
    }
    if (size > ids->texts_capacity - ids->texts_size &&
        ids_reserve_texts(ids, ids->texts_capacity + 4 * ID_TEXT_BYTES_MAX) != IDS_OK) {
        return IDS_NO_MEMORY;
    }
    memcpy(ids->texts + ids->texts_size, text, size);
    ids_put(ids, KIND_TEXT, (struct bits128){ids->texts_size, size});
    ids->texts_size += size;
    return IDS_OK;
}

/* Appends the ids at `count` positions of another batch; with a position that it does not have, none of them. */
static inline int ids_take(struct ids *to, const struct ids *from, const uint32_t *positions, size_t count) {
    const bool texts = (from->kinds_seen & 1U << KIND_TEXT) != 0;
    size_t text_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (positions[i] >= from->count) {
            return IDS_BAD_POSITION;
        }
        if (texts && from->kinds[positions[i]] == KIND_TEXT) {
            text_bytes += (size_t)from->values[positions[i]].low;
        }
    }
    if (ids_reserve(to, count) != IDS_OK || ids_reserve_texts(to, text_bytes) != IDS_OK) {
        return IDS_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t kind = from->kinds[positions[i]];
        struct bits128 value = from->values[positions[i]];
        if (kind == KIND_TEXT) {
            memcpy(to->texts + to->texts_size, from->texts + value.high, (size_t)value.low);
            value.high = to->texts_size;
            to->texts_size += (size_t)value.low;
        }
        ids_put(to, kind, value);
    }
    return IDS_OK;
}

/* Appends all ids of another batch. */
static inline int ids_append_all(struct ids *to, const struct ids *from) {
    if (ids_reserve(to, from->count) != IDS_OK || ids_reserve_texts(to, from->texts_size) != IDS_OK) {
        return IDS_NO_MEMORY;
    }
    for (size_t i = 0; i < from->count; i++) {
        struct bits128 value = from->values[i];
        if (from->kinds[i] == KIND_TEXT) {
            value.high += to->texts_size;
        }
        ids_put(to, from->kinds[i], value);
    }
    if (from->texts_size > 0) {
        memcpy(to->texts + to->texts_size, from->texts, from->texts_size);
        to->texts_size += from->texts_size;
    }
    return IDS_OK;
}

static inline struct bits128 ids_hash_of(const struct ids *ids, const struct hash_keys *keys, size_t index) {
    const struct bits128 value = ids->values[index];
    switch (ids->kinds[index]) {
    case KIND_INT32:
        return hash_of_int32(keys, (uint32_t)value.low);
    case KIND_INT64:
        return hash_of_int64(keys, value.low);
    case KIND_UUID:
        return hash_of_uuid(keys, value);
    default:
        return hash_of_text(keys, ids->texts + value.high, (size_t)value.low);
    }
}

/* Sees to it that `hashes` holds the hashes under these keys. */
static inline int ids_hash(struct ids *ids, const struct hash_keys *keys) {
    if (ids->hashed && ids->hashed_seed == keys->seed) {
        return IDS_OK;
    }
    struct bits128 *hashes = (struct bits128 *)realloc(ids->hashes, (ids->count + 1) * sizeof *hashes);
    if (hashes == NULL) {
        return IDS_NO_MEMORY;
    }
    ids->hashes = hashes;
    if (ids->kinds_seen == 1U << KIND_INT32) {
        for (size_t i = 0; i < ids->count; i++) {
            hashes[i] = hash_of_int32(keys, (uint32_t)ids->values[i].low);
        }
    } else if (ids->kinds_seen == 1U << KIND_INT64) {
        for (size_t i = 0; i < ids->count; i++) {
            hashes[i] = hash_of_int64(keys, ids->values[i].low);
        }
    } else {
        for (size_t i = 0; i < ids->count; i++) {
            hashes[i] = ids_hash_of(ids, keys, i);
        }
    }
    ids->hashed = true;
    ids->hashed_seed = keys->seed;
    return IDS_OK;
}

#endif

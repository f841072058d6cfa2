/* Columns that grow: users and their registers, as they are read out of the store.
 */
#ifndef PRESENCEDB_READOUT_H
#define PRESENCEDB_READOUT_H

#include "presencedb/engine/kernel/write.h"
#include "presencedb/ids/_ids.h"

struct readout {
    struct ids *ids;
    uint32_t *times; /* the time word of each id; room for as many as there is for ids */
};

/* Makes room for one more id, and for a text of this size. */
static inline bool readout_reserve(struct readout *out, size_t text_size) {
    struct ids *ids = out->ids;
    if (ids->count == ids->capacity) {
        if (ids_reserve(ids, ids->capacity + 64) != IDS_OK) {
            return false;
        }
        uint32_t *times = (uint32_t *)realloc(out->times, ids->capacity * sizeof *times);
        if (times == NULL) {
            return false;
        }
        out->times = times;
    }
    return text_size <= ids->texts_capacity - ids->texts_size ||
           ids_reserve_texts(ids, ids->texts_capacity + 4 * ID_TEXT_BYTES_MAX) == IDS_OK;
}

/* Appends an id; false without memory. A text stands at `text`; other kinds are their value. */
static inline bool readout_add(struct readout *out, int kind, struct bits128 value, const char *text, size_t text_size,
                               uint32_t time) {
    if (!readout_reserve(out, text_size)) {
        return false;
    }
    struct ids *ids = out->ids;
    if (kind == KIND_TEXT) {
        memcpy(ids->texts + ids->texts_size, text, text_size);
        value = (struct bits128){ids->texts_size, text_size};
        ids->texts_size += text_size;
    }
    out->times[ids->count] = time;
    ids_put(ids, kind, value);
    return true;
}

/* The same for an entry of the store. */
static inline bool readout_add_hash(struct readout *out, const struct store *store, int kind, struct bits128 hash,
                                    const char *text, uint32_t time) {
    if (kind == KIND_TEXT) {
        return readout_add(out, kind, hash, text + 1, (unsigned char)text[0], time);
    }
    return readout_add(out, kind, value_of_hash(&store->keys, kind, hash), NULL, 0, time);
}

/* The columns of copies that follow from the time words: ages at that tick, of no more than `UINT32_MAX`, and a byte that tells
 * sign-offs. */
static inline void readout_columns(const struct readout *out, int64_t tick, uint32_t *ages, uint8_t *signed_off) {
    for (size_t i = 0; i < out->ids->count; i++) {
        const int64_t age = tick - time_stamp(out->times[i]);
        ages[i] = (uint32_t)(age < 0 ? 0 : age);
        signed_off[i] = out->times[i] & 1;
    }
}

#endif

/* Statuses brought back to what they were before changes. The ids asked about stand in a hash table, the changes pass by; of
 * each id the first one decides, and when all are decided the rest need not pass.
 */
#ifndef PRESENCEDB_WATCHING_REWIND_H
#define PRESENCEDB_WATCHING_REWIND_H

#include <stdbool.h>

#include "presencedb/ids/_ids.h"

enum {
    MARK_STATUS_MASK = 3, /* a mark is `reason << 2 | status`: `transitions.py` */
    MARK_REASON_SHIFT = 2,
    REASON_KNOWN = 3, /* `states.py` */
    STATUS_UNKNOWN = 2,
    REWIND_IDS_MAX = 1 << 28,
};

#define REWIND_NONE UINT32_MAX
#define REWIND_DECIDED (UINT32_MAX - 1)

struct rewind {
    struct hash_keys keys;
    const struct ids *ids;
    uint32_t *slots; /* the place of an id, the last one of those that are repeated; or none, or one that is decided */
    uint32_t *repeats; /* by place: the place before it of the same id */
    size_t mask; /* of slots */
    uint32_t undecided;
    int shift; /* of a hash, to have a slot */
};

static inline void rewind_clear(struct rewind *rewind) {
    free(rewind->slots);
    free(rewind->repeats);
}

static inline bool ids_equal(const struct ids *first, size_t at, const struct ids *second, size_t other) {
    const struct bits128 a = first->values[at], b = second->values[other];
    if (first->kinds[at] != second->kinds[other] || a.low != b.low) {
        return false;
    }
    return first->kinds[at] == KIND_TEXT ? memcmp(first->texts + a.high, second->texts + b.high, a.low) == 0
                                         : a.high == b.high;
}

/* The slot of an id, or the empty one where it belongs. */
static inline uint32_t *rewind_slot(const struct rewind *rewind, const struct ids *ids, size_t at) {
    size_t slot = (size_t)(ids_hash_of(ids, &rewind->keys, at).high >> rewind->shift);
    while (rewind->slots[slot] != REWIND_NONE &&
           (rewind->slots[slot] == REWIND_DECIDED || !ids_equal(rewind->ids, rewind->slots[slot], ids, at))) {
        slot = (slot + 1) & rewind->mask;
    }
    return &rewind->slots[slot];
}

/* Both to be cleared whatever comes of it; false where there is no memory. */
static inline bool rewind_init(struct rewind *rewind, const struct ids *ids, uint64_t seed) {
    int bits = 3;
    *rewind = (struct rewind){.ids = ids};
    if (ids->count > REWIND_IDS_MAX) {
        return false;
    }
    while ((size_t)1 << bits < 4 * ids->count) {
        bits++;
    }
    hash_keys_init(&rewind->keys, seed);
    rewind->shift = 64 - bits;
    rewind->mask = ((size_t)1 << bits) - 1;
    rewind->slots = (uint32_t *)malloc((rewind->mask + 1) * sizeof *rewind->slots);
    rewind->repeats = (uint32_t *)malloc((ids->count + 1) * sizeof *rewind->repeats);
    if (rewind->slots == NULL || rewind->repeats == NULL) {
        return false;
    }
    memset(rewind->slots, 0xFF, (rewind->mask + 1) * sizeof *rewind->slots);
    for (size_t at = 0; at < ids->count; at++) {
        uint32_t *slot = rewind_slot(rewind, ids, at);
        rewind->undecided += *slot == REWIND_NONE;
        rewind->repeats[at] = *slot;
        *slot = (uint32_t)at;
    }
    return true;
}

static inline uint8_t status_before(uint8_t mark) {
    const uint8_t status = mark & MARK_STATUS_MASK;
    return mark >> MARK_REASON_SHIFT == REASON_KNOWN || status == STATUS_UNKNOWN ? STATUS_UNKNOWN : !status;
}

/* Lets changes pass, from the oldest on; true as soon as no later one can say anything. */
static inline bool rewind_pass(struct rewind *rewind, const struct ids *changed, const uint8_t *marks, size_t start,
                               uint8_t *statuses) {
    for (size_t at = start; at < changed->count && rewind->undecided > 0; at++) {
        uint32_t *slot = rewind_slot(rewind, changed, at);
        if (*slot != REWIND_NONE) {
            for (uint32_t place = *slot; place != REWIND_NONE; place = rewind->repeats[place]) {
                statuses[place] = status_before(marks[at]);
            }
            *slot = REWIND_DECIDED;
            rewind->undecided--;
        }
    }
    return rewind->undecided == 0;
}

#endif

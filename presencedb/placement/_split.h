/* A batch by owner, in two passes over C arrays: how many ids each member gets, then which. `split.py` says what is right.
 *
 *     starts     [0, 3, 3, 7, ...]        one more than parts; the last part is of those that nobody owns
 *     positions  [0 4 5 | | 1 2 3 6 ...]  of member 0, of member 1, ...
 */
#ifndef PRESENCEDB_SPLIT_H
#define PRESENCEDB_SPLIT_H

#include <stdbool.h>
#include <stdlib.h>

#include "presencedb/ids/_ids.h"
#include "presencedb/placement/_ranks.h"

enum split_result { SPLIT_OK = 0, SPLIT_NO_MEMORY = -1, SPLIT_BAD_POSITION = -2, SPLIT_BAD_MEMBER = -3 };

struct owners {
    const uint16_t *cells;
    size_t depth, member_count;
    const uint8_t *mask; /* a byte a member, 0: is left out; or NULL */
};

struct split {
    size_t *starts;
    uint32_t *positions;
};

static inline void split_free(struct split *split) {
    free(split->starts);
    free(split->positions);
    *split = (struct split){0};
}

static inline const uint16_t *owners_of(const struct owners *owners, struct bits128 hash) {
    return owners->cells + (size_t)(hash.high >> (64 - SLOT_BITS)) * owners->depth;
}

/* The next rank from `rank` on whose owner is wanted, or the depth where there is none. */
static inline size_t next_rank(const struct owners *owners, const uint16_t *row, size_t rank) {
    while (rank < owners->depth) {
        const uint16_t member = row[rank];
        if (member == NO_MEMBER) {
            return owners->depth;
        }
        if (owners->mask == NULL || member >= owners->member_count || owners->mask[member] != 0) {
            return rank;
        }
        rank++;
    }
    return rank;
}

/* Counts of parts become their starts; what is counted at `starts[1 + part]` is thereby moved to `cursors[part]`. */
static inline int split_reserve(struct split *split, size_t part_count) {
    for (size_t part = 0; part < part_count; part++) {
        split->starts[part + 1] += split->starts[part];
    }
    split->positions = (uint32_t *)malloc((split->starts[part_count] + 1) * sizeof *split->positions);
    return split->positions == NULL ? SPLIT_NO_MEMORY : SPLIT_OK;
}

/* After every part was filled from its start on, its start stands at its end, which is the next one's start. */
static inline void split_rewind(struct split *split, size_t part_count) {
    memmove(split->starts + 1, split->starts, part_count * sizeof *split->starts);
    split->starts[0] = 0;
}

/* Each of `count` positions (NULL: of all ids, in order) to the first owner from `rank` on. The ids are hashed. */
static inline int split_by_first(struct split *split, const struct owners *owners, const struct ids *ids,
                                 const uint32_t *positions, size_t count, size_t rank) {
    const size_t part_count = owners->member_count + 1;
    uint16_t *chosen = (uint16_t *)malloc((count + 1) * sizeof *chosen);
    split->starts = (size_t *)calloc(part_count + 1, sizeof *split->starts);
    int result = chosen == NULL || split->starts == NULL ? SPLIT_NO_MEMORY : SPLIT_OK;
    for (size_t i = 0; i < count && result == SPLIT_OK; i++) {
        const size_t position = positions == NULL ? i : positions[i];
        if (position >= ids->count) {
            result = SPLIT_BAD_POSITION;
            break;
        }
        const uint16_t *row = owners_of(owners, ids->hashes[position]);
        const size_t found = next_rank(owners, row, rank);
        const size_t part = found < owners->depth ? row[found] : owners->member_count;
        if (found < owners->depth && part >= owners->member_count) {
            result = SPLIT_BAD_MEMBER;
            break;
        }
        chosen[i] = (uint16_t)part;
        split->starts[part + 1]++;
    }
    if (result == SPLIT_OK) {
        result = split_reserve(split, part_count);
    }
    if (result == SPLIT_OK) {
        for (size_t i = 0; i < count; i++) {
            split->positions[split->starts[chosen[i]]++] = positions == NULL ? (uint32_t)i : positions[i];
        }
        split_rewind(split, part_count);
    }
    free(chosen);
    return result;
}

/* Every id to each of its owners. The ids are hashed. */
static inline int split_by_all(struct split *split, const struct owners *owners, const struct ids *ids) {
    const size_t part_count = owners->member_count + 1;
    split->starts = (size_t *)calloc(part_count + 1, sizeof *split->starts);
    if (split->starts == NULL) {
        return SPLIT_NO_MEMORY;
    }
    for (size_t i = 0; i < ids->count; i++) {
        const uint16_t *row = owners_of(owners, ids->hashes[i]);
        size_t rank = next_rank(owners, row, 0);
        if (rank == owners->depth) {
            split->starts[part_count]++;
        }
        for (; rank < owners->depth; rank = next_rank(owners, row, rank + 1)) {
            if (row[rank] >= owners->member_count) {
                return SPLIT_BAD_MEMBER;
            }
            split->starts[row[rank] + 1]++;
        }
    }
    if (split_reserve(split, part_count) != SPLIT_OK) {
        return SPLIT_NO_MEMORY;
    }
    for (size_t i = 0; i < ids->count; i++) {
        const uint16_t *row = owners_of(owners, ids->hashes[i]);
        size_t rank = next_rank(owners, row, 0);
        if (rank == owners->depth) {
            split->positions[split->starts[owners->member_count]++] = (uint32_t)i;
        }
        for (; rank < owners->depth; rank = next_rank(owners, row, rank + 1)) {
            split->positions[split->starts[row[rank]]++] = (uint32_t)i;
        }
    }
    split_rewind(split, part_count);
    return SPLIT_OK;
}

static inline bool is_in_slots(const uint8_t *bitmap, struct bits128 hash) {
    const unsigned slot = (unsigned)(hash.high >> (64 - SLOT_BITS));
    return bitmap[slot / 8] >> slot % 8 & 1;
}

/* How many ids lie outside of these slots. The ids are hashed. */
static inline size_t count_outside(const struct ids *ids, const uint8_t *bitmap) {
    size_t count = 0;
    for (size_t i = 0; i < ids->count; i++) {
        count += !is_in_slots(bitmap, ids->hashes[i]);
    }
    return count;
}

/* Which ones. */
static inline void list_outside(uint32_t *positions, const struct ids *ids, const uint8_t *bitmap) {
    for (size_t i = 0; i < ids->count; i++) {
        if (!is_in_slots(bitmap, ids->hashes[i])) {
            *positions++ = (uint32_t)i;
        }
    }
}

/* Marks the slots of the ids. They are hashed. */
static inline void mark_slots(uint8_t *bitmap, const struct ids *ids) {
    for (size_t i = 0; i < ids->count; i++) {
        const unsigned slot = (unsigned)(ids->hashes[i].high >> (64 - SLOT_BITS));
        bitmap[slot / 8] |= (uint8_t)(1U << slot % 8);
    }
}

#endif

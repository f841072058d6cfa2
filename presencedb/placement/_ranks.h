/* Weighted rendezvous hashing in C, and other loops over the slots of a table. `ranks.py` says what is right and why.
 */
#ifndef PRESENCEDB_RANKS_H
#define PRESENCEDB_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include "presencedb/vendor/xxhash/xxhash.h"

enum {
    SLOT_BITS = 14,
    SLOT_COUNT = 1 << SLOT_BITS,
    SLOT_SET_BYTES = SLOT_COUNT / 8,
    OWNERS_MAX = 16,
    MEMBER_ID_BYTES_MAX = 64,
    NO_MEMBER = 0xFFFF,
    FRACTION_BITS = 48,
    TABLE_BITS = 8,
    INTERPOLATED_BITS = 23,
};

/* One that takes part in the ranking. The last two bytes of its text are the slot. */
struct contender {
    unsigned char text[MEMBER_ID_BYTES_MAX + 2];
    uint8_t id_size;
    uint16_t member;
    uint32_t weight;
};

struct draw {
    uint64_t distance, hash;
    uint32_t weight;
    uint16_t member;
};

static inline uint64_t distance(const uint64_t *table, uint64_t hash) {
    const uint64_t value = hash == 0 ? 1 : hash;
    const unsigned whole = 63 - (unsigned)__builtin_clzll(value);
    const uint64_t leading = value << (63 - whole) >> 32;
    const size_t index = leading >> INTERPOLATED_BITS & ((1U << TABLE_BITS) - 1);
    const uint64_t part = leading & ((1U << INTERPOLATED_BITS) - 1);
    const uint64_t between = (table[index + 1] - table[index]) * part >> INTERPOLATED_BITS;
    return ((uint64_t)(64 - whole) << FRACTION_BITS) - table[index] - between;
}

static inline bool draw_is_before(const struct draw *one, const struct draw *other) {
    const uint64_t left = one->distance * other->weight, right = other->distance * one->weight;
    if (left != right) {
        return left < right;
    }
    return one->hash != other->hash ? one->hash > other->hash : one->member < other->member;
}

/* Ranks the contenders for one slot into `row`. */
static inline void rank_slot(uint16_t *row, size_t depth, struct contender *contenders, size_t count, unsigned slot,
                             const uint64_t *table) {
    struct draw first[OWNERS_MAX + 1];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        struct contender *one = &contenders[i];
        one->text[one->id_size] = (unsigned char)(slot & 0xFF);
        one->text[one->id_size + 1] = (unsigned char)(slot >> 8);
        struct draw draw = {0, XXH3_64bits(one->text, (size_t)one->id_size + 2), one->weight, one->member};
        /* Most are beaten in hash and weight, and then without a logarithm: the distance never grows with the hash. */
        if (used == depth && draw.hash < first[used - 1].hash && draw.weight <= first[used - 1].weight) {
            continue;
        }
        draw.distance = distance(table, draw.hash);
        size_t at = used;
        while (at > 0 && draw_is_before(&draw, &first[at - 1])) {
            first[at] = first[at - 1];
            at--;
        }
        first[at] = draw;
        used += used < depth;
    }
    for (size_t rank = 0; rank < depth; rank++) {
        row[rank] = rank < used ? first[rank].member : NO_MEMBER;
    }
}

static inline void rank_slots(uint16_t *cells, size_t depth, struct contender *contenders, size_t count,
                              const uint64_t *table) {
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        rank_slot(cells + slot * depth, depth, contenders, count, slot, table);
    }
}

/* The first member that a table names and does not have, or -1. */
static inline long stranger_in(const uint16_t *cells, size_t depth, size_t member_count) {
    for (size_t i = 0; i < SLOT_COUNT * depth; i++) {
        if (cells[i] >= member_count && cells[i] != NO_MEMBER) {
            return cells[i];
        }
    }
    return -1;
}

/* Appends the members of a row that `to` does not have yet. */
static inline size_t join_row(uint16_t *to, size_t used, const uint16_t *row, size_t depth, const uint16_t *indexes) {
    for (size_t rank = 0; rank < depth && row[rank] != NO_MEMBER; rank++) {
        const uint16_t member = indexes[row[rank]];
        size_t at = 0;
        while (at < used && to[at] != member) {
            at++;
        }
        to[at] = member;
        used += at == used;
    }
    return used;
}

static inline void join_slots(uint16_t *to, const uint16_t *old_cells, size_t old_depth, const uint16_t *old_indexes,
                              const uint16_t *new_cells, size_t new_depth, const uint16_t *new_indexes) {
    const size_t depth = old_depth + new_depth;
    for (size_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t *row = to + slot * depth;
        size_t used = join_row(row, 0, old_cells + slot * old_depth, old_depth, old_indexes);
        used = join_row(row, used, new_cells + slot * new_depth, new_depth, new_indexes);
        while (used < depth) {
            row[used++] = NO_MEMBER;
        }
    }
}

static inline void fill_bitmaps(uint8_t *bitmaps, const uint16_t *cells, size_t depth) {
    for (size_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (size_t rank = 0; rank < depth; rank++) {
            const uint16_t member = cells[slot * depth + rank];
            if (member != NO_MEMBER) {
                bitmaps[(size_t)member * SLOT_SET_BYTES + slot / 8] |= (uint8_t)(1U << slot % 8);
            }
        }
    }
}

#endif

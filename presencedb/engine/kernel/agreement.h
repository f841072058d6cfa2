/* Slots that other nodes have registers of too, and through which tick their owners agreed that silence means offline.
 *
 * What is *said* comes into force with the next advance, and only there: between two of them nothing that depends on it
 * changes. `in_force` is beyond all ticks for a slot that is not shared. An engine that never shared any has no such table.
 */
#ifndef PRESENCEDB_AGREEMENT_H
#define PRESENCEDB_AGREEMENT_H

#include "presencedb/engine/kernel/line.h"

#define AGREED_ALL UINT32_MAX

struct slot_set {
    uint64_t words[SLOT_COUNT / 64];
};

struct agreements {
    struct slot_set shared;
    struct slot_set waiting; /* what was said of these is not in force yet */
    uint32_t said[SLOT_COUNT], in_force[SLOT_COUNT];
};

ALWAYS_INLINE bool slot_set_has(const struct slot_set *set, uint32_t slot) { return set->words[slot / 64] >> (slot % 64) & 1; }

static inline void slot_set_put(struct slot_set *set, uint32_t slot, bool in) {
    const uint64_t bit = 1ULL << (slot % 64);
    set->words[slot / 64] = in ? set->words[slot / 64] | bit : set->words[slot / 64] & ~bit;
}

/* The first slot of a set from this one on; `SLOT_COUNT` if there is none. */
static inline uint32_t slot_set_next(const struct slot_set *set, uint32_t slot) {
    while (slot < SLOT_COUNT) {
        const uint64_t word = set->words[slot / 64] >> (slot % 64);
        if (word != 0) {
            return slot + (uint32_t)__builtin_ctzll(word);
        }
        slot = (slot / 64 + 1) * 64;
    }
    return SLOT_COUNT;
}

static inline void agreements_init(struct agreements *agreements) {
    memset(agreements, 0, sizeof *agreements);
    memset(agreements->in_force, 0xFF, sizeof agreements->in_force);
}

static inline void agreement_say(struct agreements *agreements, uint32_t slot, uint32_t through) {
    agreements->said[slot] = through;
    slot_set_put(&agreements->waiting, slot, true);
}

/* Declares a slot shared or not. What is due at that tick when it becomes shared needs nobody's agreement; nothing does when it
 * is shared no more. */
static inline void agreement_share(struct agreements *agreements, uint32_t slot, bool shared, uint32_t expired_through) {
    if (slot_set_has(&agreements->shared, slot) == shared) {
        return;
    }
    slot_set_put(&agreements->shared, slot, shared);
    agreement_say(agreements, slot, shared ? expired_through : AGREED_ALL);
    if (agreements->in_force[slot] == AGREED_ALL) {
        agreements->in_force[slot] = expired_through;
    }
}

static inline void agreement_reach(struct agreements *agreements, uint32_t slot, uint32_t through) {
    if (slot_set_has(&agreements->shared, slot) && agreements->said[slot] < through) {
        agreement_say(agreements, slot, through);
    }
}

#endif

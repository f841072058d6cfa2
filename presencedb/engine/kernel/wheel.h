/* The timing wheel: pages, each at the tick when somebody has to look at it.
 *
 *     level 0    64 buckets of 1 tick        a page stands on the level of the highest group of 6 bits in which its tick
 *     level 1    64 buckets of 64 ticks      differs from `now`, in the bucket that this group names; when `now` reaches
 *     ...                                    that bucket, its pages move to lower levels
 *     level 5    64 buckets of 2^30 ticks
 *
 * (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 7.) A word of 64 bits a level says which
 * buckets hold anything, so time may jump by any amount: the cost is that of the pages that are met, never of the ticks.
 */
#ifndef PRESENCEDB_WHEEL_H
#define PRESENCEDB_WHEEL_H

#include "presencedb/engine/kernel/page.h"

enum { WHEEL_BITS = 6, WHEEL_BUCKETS = 1 << WHEEL_BITS, WHEEL_LEVELS = 6 };

struct wheel {
    uint64_t now;
    uint64_t occupied[WHEEL_LEVELS];
    struct page *buckets[WHEEL_LEVELS][WHEEL_BUCKETS];
};

static inline void wheel_link(struct wheel *wheel, struct page *page) {
    const uint64_t tick = page->armed > wheel->now ? page->armed : wheel->now;
    const uint64_t differs = tick ^ wheel->now;
    const unsigned level = differs == 0 ? 0 : (63 - (unsigned)__builtin_clzll(differs)) / WHEEL_BITS;
    const unsigned bucket = tick >> (WHEEL_BITS * level) & (WHEEL_BUCKETS - 1);
    struct page *first = wheel->buckets[level][bucket];
    page->wheel_level = (uint8_t)level;
    page->wheel_bucket = (uint8_t)bucket;
    page->wheel_previous = NULL;
    page->wheel_next = first;
    if (first != NULL) {
        first->wheel_previous = page;
    }
    wheel->buckets[level][bucket] = page;
    wheel->occupied[level] |= 1ULL << bucket;
}

/* Takes a page out of the wheel, if it is in it. */
static inline void wheel_disarm(struct wheel *wheel, struct page *page) {
    if (page->armed == ARMED_NEVER) {
        return;
    }
    page->armed = ARMED_NEVER;
    if (page->wheel_next != NULL) {
        page->wheel_next->wheel_previous = page->wheel_previous;
    }
    if (page->wheel_previous != NULL) {
        page->wheel_previous->wheel_next = page->wheel_next;
        return;
    }
    wheel->buckets[page->wheel_level][page->wheel_bucket] = page->wheel_next;
    if (page->wheel_next == NULL) {
        wheel->occupied[page->wheel_level] &= ~(1ULL << page->wheel_bucket);
    }
}

/* Sees to it that a page is looked at no later than at `tick`. */
static inline void wheel_arm(struct wheel *wheel, struct page *page, uint32_t tick) {
    if (page->armed <= tick) {
        return;
    }
    wheel_disarm(wheel, page);
    page->armed = tick;
    wheel_link(wheel, page);
}

/* After a page was moved in memory: points its neighbours to where it is now. */
static inline void wheel_mend(struct wheel *wheel, struct page *page) {
    if (page->armed == ARMED_NEVER) {
        return;
    }
    if (page->wheel_next != NULL) {
        page->wheel_next->wheel_previous = page;
    }
    if (page->wheel_previous != NULL) {
        page->wheel_previous->wheel_next = page;
    } else {
        wheel->buckets[page->wheel_level][page->wheel_bucket] = page;
    }
}

/* The first bucket that holds anything: its level, or -1 if the wheel is empty, and the tick at which it begins. Of two that
 * begin together the coarser comes first, as it may hold pages for the very beginning. */
static inline int wheel_first(const struct wheel *wheel, unsigned *bucket, uint64_t *begins) {
    int first = -1;
    for (int level = WHEEL_LEVELS - 1; level >= 0; level--) {
        if (wheel->occupied[level] == 0) {
            continue;
        }
        const unsigned shift = WHEEL_BITS * (unsigned)level;
        const unsigned index = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        uint64_t tick = (wheel->now >> (shift + WHEEL_BITS) << WHEEL_BITS | index) << shift;
        tick = tick < wheel->now ? wheel->now : tick;
        if (first < 0 || tick < *begins) {
            first = level;
            *bucket = index;
            *begins = tick;
        }
    }
    return first;
}

enum wheel_result { WHEEL_PAGE, WHEEL_DONE, WHEEL_WORKED_ENOUGH };

/* Finds the next page that is due at `tick`; it stays in the wheel until it is disarmed. `moves` bounds the pages moved to
 * a lower level on the way, and is reduced by them. Once nothing is due, time is `tick`. */
static inline enum wheel_result wheel_turn(struct wheel *wheel, uint64_t tick, int64_t *moves, struct page **due) {
    unsigned bucket;
    uint64_t begins;
    int level;
    while ((level = wheel_first(wheel, &bucket, &begins)) >= 0 && begins <= tick) {
        wheel->now = begins;
        struct page *page = wheel->buckets[level][bucket];
        if (page->armed <= tick) {
            *due = page;
            return WHEEL_PAGE;
        }
        if (--*moves < 0) {
            return WHEEL_WORKED_ENOUGH;
        }
        const uint32_t armed = page->armed;
        wheel_disarm(wheel, page);
        page->armed = armed;
        wheel_link(wheel, page);
    }
    wheel->now = tick;
    return WHEEL_DONE;
}

#endif

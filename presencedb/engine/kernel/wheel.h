/* The timing wheel: pages, each at the tick when somebody has to look at it.
 *
 *     level 0    64 buckets of 1 tick        a page stands on the level of the highest group of 6 bits in which its tick
 *     level 1    64 buckets of 64 ticks      differs from `now`, in the bucket that this group names; when `now` reaches
 *     ...                                    that bucket, its pages move to lower levels
 *     level 5    64 buckets of 2^30 ticks
 *     aside      one bucket                  pages that are due, but wait for something else than time
 *
 * (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 7.) A word of 64 bits a level says which
 * buckets hold anything, so time may jump by any amount: the cost is that of the pages that are met, never of the ticks.
 */
#ifndef PRESENCEDB_WHEEL_H
#define PRESENCEDB_WHEEL_H

#include "presencedb/engine/kernel/page.h"

enum { WHEEL_BITS = 6, WHEEL_BUCKETS = 1 << WHEEL_BITS, WHEEL_LEVELS = 6, WHEEL_ASIDE = WHEEL_LEVELS };

struct wheel {
    uint64_t now;
    uint64_t occupied[WHEEL_LEVELS + 1];
    struct page *buckets[WHEEL_LEVELS + 1][WHEEL_BUCKETS]; /* of the last level the first, for pages that stand aside */
};

/* When a page is looked at, and whether it stands aside until then. */
struct standing {
    uint32_t armed;
    bool aside;
};

static inline bool wheel_is_aside(const struct page *page) {
    return page->armed != ARMED_NEVER && page->wheel_level == WHEEL_ASIDE;
}

static inline struct standing wheel_standing(const struct page *page) {
    return (struct standing){page->armed, wheel_is_aside(page)};
}

static inline void wheel_link_in(struct wheel *wheel, struct page *page, unsigned level, unsigned bucket) {
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

static inline void wheel_link(struct wheel *wheel, struct page *page) {
    const uint64_t tick = page->armed > wheel->now ? page->armed : wheel->now;
    const uint64_t differs = tick ^ wheel->now;
    const unsigned level = differs == 0 ? 0 : (63 - (unsigned)__builtin_clzll(differs)) / WHEEL_BITS;
    wheel_link_in(wheel, page, level, tick >> (WHEEL_BITS * level) & (WHEEL_BUCKETS - 1));
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

/* Puts a page that is not in the wheel where another stood. */
static inline void wheel_stand(struct wheel *wheel, struct page *page, struct standing standing) {
    page->armed = standing.armed;
    if (standing.aside) {
        wheel_link_in(wheel, page, WHEEL_ASIDE, 0);
    } else if (standing.armed != ARMED_NEVER) {
        wheel_link(wheel, page);
    }
}

/* Takes a page out of its bucket and puts it into the one where it belongs by now, aside or not. */
static inline void wheel_move(struct wheel *wheel, struct page *page, bool aside) {
    const uint32_t armed = page->armed;
    wheel_disarm(wheel, page);
    wheel_stand(wheel, page, (struct standing){armed, aside});
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
        wheel_move(wheel, page, false);
    }
    wheel->now = tick;
    return WHEEL_DONE;
}

#endif

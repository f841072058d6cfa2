/* How pages grow, split, shrink and merge: always one at a time, so that the longest step is that of one page.
 */
#ifndef PRESENCEDB_GROWTH_H
#define PRESENCEDB_GROWTH_H

#include "presencedb/engine/kernel/store.h"

/* Puts a page in its slot and in the wheel; the entries are already in it. */
static inline void store_enter(struct store *store, struct page *page, struct standing standing, unsigned online) {
    store_point(store, page, page);
    page->online = (uint16_t)online;
    wheel_stand(&store->wheel, page, standing);
}

/* Gives a page another number of lines. Returns the new page, or NULL without memory, with nothing changed. */
static inline struct page *store_resize(struct store *store, struct page *old, unsigned line_count) {
    struct page *page = store_new_page(store, old->kind, line_count, old->slot, old->depth, old->prefix);
    if (page == NULL) {
        return NULL;
    }
    struct pour pour;
    pour_start(&pour, page, NULL);
    pour_page(&pour, old);
    pour_end(&pour);
    const struct standing standing = wheel_standing(old);
    wheel_disarm(&store->wheel, old);
    store_enter(store, page, standing, old->online);
    store_free_page(store, old, NULL);
    return page;
}

struct half {
    unsigned used, online;
};

/* How many of a page go to each side of the bit behind its prefix. */
static inline void page_halves(const struct page *page, uint32_t offline_at, struct half halves[2]) {
    halves[0] = halves[1] = (struct half){0, 0};
    for (unsigned at = 0; at < page->line_count; at++) {
        const unsigned char *line = page_line(page, page->kind, at);
        for (unsigned index = 0; index < line_entries(page->kind); index++) {
            const uint32_t time = line_time(line, page->kind, index);
            if (time != TIME_EMPTY) {
                struct half *half = &halves[line_place(line, page->kind, index) >> (31 - page->depth) & 1];
                half->used++;
                half->online += time_is_online(time, offline_at);
            }
        }
    }
}

/* Splits a page by the next bit of the hash; a side where nobody is gets no page. */
static inline bool store_split(struct store *store, struct page *old) {
    struct half halves[2];
    struct page *sides[2] = {NULL, NULL};
    const int kind = old->kind;
    const uint32_t slot = old->slot, depth = old->depth + 1U;
    const struct standing standing = wheel_standing(old);
    page_halves(old, store_offline_at(store, old), halves);
    if (!store_deepen(store, kind, slot, depth)) {
        return false;
    }
    for (unsigned side = 0; side < 2; side++) {
        if (halves[side].used > 0) {
            const unsigned line_count = page_lines_for(kind, halves[side].used + 1);
            sides[side] = store_new_page(store, kind, line_count, slot, depth, old->prefix << 1 | side);
            if (sides[side] == NULL) {
                if (side == 1 && sides[0] != NULL) {
                    store_free_page(store, sides[0], NULL);
                }
                return false;
            }
        }
    }
    struct pour pour;
    if (sides[0] != NULL && sides[1] != NULL) {
        pour_start(&pour, sides[0], sides[1]);
    } else {
        pour_start(&pour, sides[0] != NULL ? sides[0] : sides[1], NULL);
    }
    pour_page(&pour, old);
    pour_end(&pour);
    wheel_disarm(&store->wheel, old);
    store_point(store, old, NULL);
    for (unsigned side = 0; side < 2; side++) {
        if (sides[side] != NULL) {
            store_enter(store, sides[side], standing, halves[side].online);
        }
    }
    store_free_page(store, old, NULL);
    return true;
}

/* Whether the other half of what a page was split from is a single page, or nothing: it is then in `*sibling`. */
static inline bool store_sibling(const struct store *store, const struct page *page, struct page **sibling) {
    const uintptr_t entry = store->slots[page->kind][page->slot];
    if ((entry & 1) == 0 || page->depth == 0) {
        return false;
    }
    const struct branch *branch = slot_branch(entry);
    const unsigned shift = branch->bits - page->depth;
    const size_t first = (size_t)(page->prefix ^ 1) << shift;
    *sibling = branch->pages[first];
    for (size_t i = first; i < first + ((size_t)1 << shift); i++) {
        if (branch->pages[i] != *sibling) {
            return false;
        }
    }
    return true;
}

/* Makes one page of two siblings, the second of which may be NULL. Without memory they stay two. */
static inline bool store_merge_pages(struct store *store, struct page *old, struct page *sibling) {
    const unsigned users = old->used + (sibling == NULL ? 0U : sibling->used);
    const unsigned line_count = page_lines_for(old->kind, users);
    struct page *page = store_new_page(store, old->kind, line_count, old->slot, old->depth - 1U, old->prefix >> 1);
    if (page == NULL) {
        return false;
    }
    struct pour pour;
    unsigned online = old->online;
    struct standing standing = wheel_standing(old);
    pour_start(&pour, page, NULL);
    pour_page(&pour, old);
    wheel_disarm(&store->wheel, old);
    if (sibling != NULL) {
        pour_page(&pour, sibling);
        online += sibling->online;
        standing.aside |= wheel_is_aside(sibling);
        standing.armed = sibling->armed < standing.armed ? sibling->armed : standing.armed;
        wheel_disarm(&store->wheel, sibling);
    }
    pour_end(&pour);
    store_enter(store, page, standing, online);
    const int kind = old->kind;
    const uint32_t slot = old->slot;
    store_free_page(store, old, sibling == NULL ? NULL : &sibling);
    if (sibling != NULL) {
        store_free_page(store, sibling, NULL);
    }
    store_flatten(store, kind, slot);
    return true;
}

/* Whether a page that was just looked at and its sibling fit in one. Not while one of them has timeouts to emit that are agreed
 * to: those who timed out in the other would be judged by the time before that, and be online again. */
static inline bool store_may_merge(const struct store *store, const struct page *page, const struct page *sibling) {
    const int64_t agreed = store_agreed_through(store, page->slot);
    return sibling == NULL || (page->used + sibling->used <= PAGE_USERS_MERGE && sibling->armed > agreed && page->armed > agreed);
}

/* After users have left a page: gives back what is not needed. The page may be gone, or elsewhere, afterwards. */
static inline void store_refit(struct store *store, struct page *page) {
    const int kind = page->kind;
    const uint32_t slot = page->slot;
    struct page *sibling;
    if (page->used == 0) {
        wheel_disarm(&store->wheel, page);
        store_point(store, page, NULL);
        store_free_page(store, page, NULL);
        store_flatten(store, kind, slot);
        return;
    }
    if (page->used <= PAGE_USERS_MERGE && store_sibling(store, page, &sibling) && store_may_merge(store, page, sibling) &&
        store_merge_pages(store, page, sibling)) {
        return;
    }
    const unsigned wanted = page_lines_for(kind, page->used);
    if (8 * wanted > 7U * page->line_count || store_resize(store, page, wanted) == NULL) {
        page_refilter(page);
    }
}

/* The page where a new user of this key can be put, with room in it; NULL without memory. */
static inline struct page *store_make_room(struct store *store, int kind, const struct key *key) {
    for (;;) {
        struct page *page = store_page(store, kind, key->slot, key->fraction);
        if (page == NULL) {
            const uintptr_t entry = store->slots[kind][key->slot];
            const uint32_t depth = entry & 1 ? slot_branch(entry)->bits : 0;
            const uint32_t prefix = depth == 0 ? 0 : (uint32_t)(key->fraction >> (64 - depth));
            page = store_new_page(store, kind, 1, key->slot, depth, prefix);
            if (page == NULL) {
                return NULL;
            }
            store_enter(store, page, (struct standing){ARMED_NEVER, false}, 0);
        }
        if (page->used < PAGE_USERS_MAX && page->used < page_room(kind, page->line_count)) {
            return page;
        }
        if (page->used < PAGE_USERS_MAX) {
            if (store_resize(store, page, page_lines_after(page->line_count)) == NULL) {
                return NULL;
            }
        } else if (page->depth == PAGE_DEPTH_MAX || !store_split(store, page)) {
            return NULL;
        }
    }
}

#endif

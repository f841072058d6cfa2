/* The watchers by number, and for each the names of what it watches, in the order in which it came to watch them.
 *
 * A number is a place in one array. The lowest free one is given out, and the array ends at the highest in use.
 */
#ifndef PRESENCEDB_WATCHING_ROSTER_H
#define PRESENCEDB_WATCHING_ROSTER_H

#include "presencedb/watching/_pool.h"

enum { WATCHERS_MAX = 1 << 28, NAMES_MAX = POOL_BLOCKS_MAX };

#define WATCHER_NONE UINT32_MAX
#define WATCHER_FREE UINT32_MAX /* as a count */

struct watcher {
    uint32_t *names;
    uint32_t count, capacity;
    uint32_t touched; /* while a match is made: its place in there, from 1; else 0 */
};

struct roster {
    struct watcher *watchers;
    uint32_t size, capacity; /* of the array */
    uint32_t count;          /* of those in use */
    uint32_t open;           /* no number below is free */
};

/* The watcher of this number, or NULL where there is none. */
static inline struct watcher *roster_find(const struct roster *roster, uint64_t number) {
    return number < roster->size && roster->watchers[number].count != WATCHER_FREE ? &roster->watchers[number] : NULL;
}

static inline void *roster_resize(const struct roster *roster, struct memory *memory, uint32_t capacity,
                                  void *(*resize)(struct memory *, void *, size_t, size_t)) {
    const size_t one = sizeof(struct watcher);
    return resize(memory, roster->watchers, roster->capacity * one, capacity * one);
}

/* The number of a new watcher, or `WATCHER_NONE` where there is no memory. */
static inline uint32_t roster_add(struct roster *roster, struct memory *memory) {
    uint32_t number = roster->count == roster->size ? roster->size : roster->open;
    while (number < roster->size && roster->watchers[number].count != WATCHER_FREE) {
        number++;
    }
    if (number == roster->capacity) {
        const uint32_t capacity = number + number / 4 + 4;
        void *watchers = number >= WATCHERS_MAX ? NULL : roster_resize(roster, memory, capacity, memory_resize);
        if (watchers == NULL) {
            return WATCHER_NONE;
        }
        roster->watchers = (struct watcher *)watchers;
        roster->capacity = capacity;
    }
    roster->watchers[number] = (struct watcher){0};
    roster->size += number == roster->size;
    roster->open = number + 1;
    roster->count++;
    return number;
}

/* Removes a watcher who watches nobody any more, and has no list. */
static inline void roster_remove(struct roster *roster, struct memory *memory, uint32_t number) {
    roster->watchers[number].count = WATCHER_FREE;
    roster->count--;
    while (roster->size > 0 && roster->watchers[roster->size - 1].count == WATCHER_FREE) {
        roster->size--;
    }
    roster->open = number < roster->open ? number : roster->open;
    if (roster->size == 0 || roster->size < roster->capacity / 2) {
        roster->watchers = (struct watcher *)roster_resize(roster, memory, roster->size, memory_shrink);
        roster->capacity = roster->size;
    }
}

/* --- the names that one watches --- */

/* Makes room for `more` further names. */
static inline bool names_reserve(struct watcher *watcher, struct memory *memory, size_t more) {
    if (more <= watcher->capacity - watcher->count) {
        return true;
    }
    if (more > NAMES_MAX - (size_t)watcher->count) {
        return false;
    }
    const uint32_t capacity = list_room(watcher->count + (uint32_t)more);
    uint32_t *names = (uint32_t *)memory_resize(memory, watcher->names, watcher->capacity * sizeof *names,
                                                capacity * sizeof *names);
    if (names == NULL) {
        return false;
    }
    watcher->names = names;
    watcher->capacity = capacity;
    return true;
}

static inline void names_fit(struct watcher *watcher, struct memory *memory) {
    const uint32_t capacity = list_room(watcher->count);
    if (watcher->capacity > capacity) {
        watcher->names = (uint32_t *)memory_shrink(memory, watcher->names, watcher->capacity * sizeof *watcher->names,
                                                   capacity * sizeof *watcher->names);
        watcher->capacity = capacity;
    }
}

#endif

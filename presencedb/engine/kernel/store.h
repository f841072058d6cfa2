/* The store: everything an engine holds, and the way from a slot to its pages.
 *
 *     slots[kind][slot] --+--> nothing
 *                         +--> a page                      up to some 1,500 users of that kind in that slot
 *                         +--> a branch --> pages          2^bits places, by the bits behind the slot; a page of a
 *                                                          smaller depth stands in several places next to each other
 *
 * (A branch is the directory of extendible hashing: Fagin et al., ACM TODS 4(3), 1979.) The low bit tells a branch.
 */
#ifndef PRESENCEDB_STORE_H
#define PRESENCEDB_STORE_H

#include "presencedb/engine/kernel/agreement.h"
#include "presencedb/engine/kernel/grace.h"
#include "presencedb/engine/kernel/log.h"
#include "presencedb/engine/kernel/page.h"
#include "presencedb/engine/kernel/pool.h"
#include "presencedb/engine/kernel/wheel.h"

enum {
    LATENESS_BUCKETS = 16,
    TEXT_GRAIN_BYTES = 8,
    MEMORY_PAGE_BYTES = 4096,
    TEXT_POOLS = (1 + ID_TEXT_BYTES_MAX + TEXT_GRAIN_BYTES - 1) / TEXT_GRAIN_BYTES + 1,
    SLOTS_BYTES = KIND_COUNT * SLOT_COUNT * sizeof(uintptr_t),
};
/* Of `keep`, for ever; a register that is never forgotten. */
#define KEEP_EVER INT64_MAX

struct branch {
    uint32_t bits;
    struct page *pages[];
};

struct store {
    int64_t ttl;
    int64_t keep;         /* how many ticks a register is kept after its stamp, at least `ttl` */
    bool forgets_offline; /* retention `online`: nobody is kept who is not online, sign-offs excepted */
    int64_t advanced_to;
    int64_t expired_through;
    uint32_t fresh_above; /* a heartbeat with a larger time word brings online: follows from `expired_through` */
    int64_t hold;
    int64_t doubt; /* how long somebody may be overdue and still be called online */
    size_t users, online;
    uint64_t timeouts, lateness[LATENESS_BUCKETS];
    uintptr_t (*slots)[SLOT_COUNT]; /* [kind][slot] */
    struct slot_set synced;
    struct agreements *agreements; /* NULL: no slot was ever shared */
    size_t branch_bytes;
    struct hash_keys keys;
    struct arena arena;
    struct pool pages[PAGE_UNITS_MAX + 1]; /* by units */
    struct pool texts[TEXT_POOLS];         /* by grains */
    struct wheel wheel;
    struct graces graces;
    struct log log;
};

/* The largest time word that is offline when timeouts are emitted through that tick. At tick 0 nobody is online. */
static inline uint32_t time_offline_at(int64_t ttl, int64_t through) {
    const int64_t stamp = through - ttl - 1;
    return (uint32_t)(stamp < 0 ? 0 : stamp) << 1 | 1;
}

/* Whether a time word means online, given the largest that does not. Signed off, and empty, are odd. */
ALWAYS_INLINE bool time_is_online(uint32_t time, uint32_t offline_at) { return (time & 1) == 0 && time > offline_at; }

/* The same for the entries of a page. A page that is due and was not looked at yet has emitted nothing since it was armed,
 * so its users are judged by the tick before that. No register of it that is not online is in doubt by this: they all were
 * offline at a tick before it was armed. (A write that would break this has the page looked at first, see `write.h`.) */
ALWAYS_INLINE uint32_t store_offline_at(const struct store *store, const struct page *page) {
    if (__builtin_expect(page->armed > store->expired_through, 1)) {
        return store->fresh_above;
    }
    return time_offline_at(store->ttl, (int64_t)page->armed - 1);
}

static inline void store_expire_through(struct store *store, int64_t tick) {
    store->expired_through = tick;
    store->fresh_above = time_offline_at(store->ttl, tick);
}

/* Through which tick timeouts of this slot count as agreed to. Nobody who is not online for want of a heartbeat has a deadline
 * behind it. */
static inline int64_t store_agreed_through(const struct store *store, uint32_t slot) {
    if (store->agreements == NULL || store->agreements->in_force[slot] > store->expired_through) {
        return store->expired_through;
    }
    return store->agreements->in_force[slot];
}

/* Through which tick timeouts of this slot may be emitted now; -1: none. No deadline is before `hold`. */
static inline int64_t store_emits_through(const struct store *store, uint32_t slot) {
    const int64_t agreed = store_agreed_through(store, slot);
    return agreed < store->hold ? -1 : agreed;
}

/* Whether the register of somebody who is not online is there. */
static inline bool store_keeps(const struct store *store, uint32_t time) {
    if (store->forgets_offline && (time & 1) == 0) {
        return false;
    }
    return store->keep == KEEP_EVER || (int64_t)(time >> 1) + store->keep + 1 > store->expired_through;
}

static inline bool store_is_synced(const struct store *store, uint32_t slot) {
    return slot_set_has(&store->synced, slot);
}

ALWAYS_INLINE struct branch *slot_branch(uintptr_t entry) { return (struct branch *)(entry & ~(uintptr_t)1); }

ALWAYS_INLINE struct page *store_page(const struct store *store, int kind, uint32_t slot, uint64_t fraction) {
    const uintptr_t entry = store->slots[kind][slot];
    if ((entry & 1) == 0) {
        return (struct page *)entry;
    }
    const struct branch *branch = slot_branch(entry);
    return branch->pages[fraction >> (64 - branch->bits)];
}

/* Walks the pages of a slot in the order of their hashes: `at` starts at 0 and is moved on. NULL at the end. */
static inline struct page *store_walk(const struct store *store, int kind, uint32_t slot, size_t *at) {
    const uintptr_t entry = store->slots[kind][slot];
    if ((entry & 1) == 0) {
        return (*at)++ == 0 ? (struct page *)entry : NULL;
    }
    const struct branch *branch = slot_branch(entry);
    while (*at < (size_t)1 << branch->bits) {
        struct page *page = branch->pages[*at];
        *at += page == NULL ? 1 : (size_t)1 << (branch->bits - page->depth);
        if (page != NULL) {
            return page;
        }
    }
    return NULL;
}

/* Points to `page` (or to nothing) from wherever a page of this kind, slot, depth and prefix is looked for. */
static inline void store_point(struct store *store, const struct page *where, struct page *page) {
    uintptr_t *entry = &store->slots[where->kind][where->slot];
    if ((*entry & 1) == 0) {
        *entry = (uintptr_t)page;
        return;
    }
    struct branch *branch = slot_branch(*entry);
    const unsigned shift = branch->bits - where->depth;
    const size_t first = (size_t)where->prefix << shift;
    for (size_t i = first; i < first + ((size_t)1 << shift); i++) {
        branch->pages[i] = page;
    }
}

static inline size_t branch_bytes(uint32_t bits) {
    return sizeof(struct branch) + sizeof(struct page *) * ((size_t)1 << bits);
}

/* Makes the branch of a slot deep enough for pages of this depth. */
static inline bool store_deepen(struct store *store, int kind, uint32_t slot, uint32_t depth) {
    uintptr_t *entry = &store->slots[kind][slot];
    const struct branch *old = *entry & 1 ? slot_branch(*entry) : NULL;
    const uint32_t old_bits = old == NULL ? 0 : old->bits;
    if (old != NULL && old_bits >= depth) {
        return true;
    }
    struct branch *branch = (struct branch *)malloc(branch_bytes(depth));
    if (branch == NULL) {
        return false;
    }
    branch->bits = depth;
    for (size_t i = 0; i < (size_t)1 << depth; i++) {
        branch->pages[i] = old == NULL ? (struct page *)*entry : old->pages[i >> (depth - old_bits)];
    }
    store->branch_bytes += branch_bytes(depth) - (old == NULL ? 0 : branch_bytes(old_bits));
    free((void *)old);
    *entry = (uintptr_t)branch | 1;
    return true;
}

/* Drops the branch of a slot that has no page left, or only the one that is all of it. */
static inline void store_flatten(struct store *store, int kind, uint32_t slot) {
    uintptr_t *entry = &store->slots[kind][slot];
    if ((*entry & 1) == 0) {
        return;
    }
    struct branch *branch = slot_branch(*entry);
    for (size_t i = 1; i < (size_t)1 << branch->bits; i++) {
        if (branch->pages[i] != branch->pages[0]) {
            return;
        }
    }
    *entry = (uintptr_t)branch->pages[0];
    store->branch_bytes -= branch_bytes(branch->bits);
    free(branch);
}

/* --- blocks ----------------------------------------------------------------------------------------------------------- */

/* A new page, in no slot and no wheel yet; NULL without memory. */
static inline struct page *store_new_page(struct store *store, int kind, unsigned line_count, uint32_t slot, uint32_t depth,
                                          uint32_t prefix) {
    const unsigned units = page_units(kind, line_count);
    struct pool *pool = &store->pages[units];
    if (pool->block_bytes == 0) {
        pool_init(pool, units * LINE_UNIT_BYTES);
    }
    struct page *page = (struct page *)pool_take(pool, &store->arena);
    if (page != NULL) {
        page_init(page, kind, line_count);
        page->slot = (uint16_t)slot;
        page->depth = (uint8_t)depth;
        page->prefix = prefix;
    }
    return page;
}

/* Gives back a page that nothing points to any more. Returns the page that was moved to where it stood, or NULL; all that
 * points to that one is mended, except for `unlinked`, to which nothing points. */
static inline void store_free_page(struct store *store, struct page *page, struct page **unlinked) {
    struct pool *pool = &store->pages[page_units(page->kind, page->line_count)];
    const struct page *moved_from = (const struct page *)pool_give(pool, &store->arena, page);
    if (moved_from == NULL) {
        return;
    }
    if (unlinked != NULL && moved_from == *unlinked) {
        *unlinked = page;
        return;
    }
    store_point(store, page, page);
    wheel_mend(&store->wheel, page);
}

static inline unsigned text_grains(unsigned size) { return (1 + size + TEXT_GRAIN_BYTES - 1) / TEXT_GRAIN_BYTES; }

/* Keeps a text: a byte of length, then its bytes. */
static inline char *store_keep_text(struct store *store, const char *text, unsigned size) {
    struct pool *pool = &store->texts[text_grains(size)];
    if (pool->block_bytes == 0) {
        pool_init(pool, text_grains(size) * TEXT_GRAIN_BYTES);
    }
    char *kept = (char *)pool_take(pool, &store->arena);
    if (kept != NULL) {
        kept[0] = (char)(unsigned char)size;
        memcpy(kept + 1, text, size);
    }
    return kept;
}

/* Points the entry that keeps its text at `old` to `text`, where the same text is now. */
static inline void store_move_text(struct store *store, const char *old, const char *text) {
    const unsigned size = (unsigned char)text[0];
    const struct key key = key_of_hash(KIND_TEXT, hash_of_text(&store->keys, text + 1, size), text + 1, size);
    struct page *page = store_page(store, KIND_TEXT, key.slot, key.fraction);
    unsigned at = page_home(page, (uint32_t)(key.fraction >> 32));
    for (unsigned step = 0; step <= page->travel; step++) {
        unsigned char *line = page_line(page, KIND_TEXT, at);
        for (unsigned index = 0; index < line_entries(KIND_TEXT); index++) {
            if (line_time(line, KIND_TEXT, index) != TIME_EMPTY && line_text(line, index) == old) {
                memcpy(line_text_place(line, index), &text, sizeof text);
                return;
            }
        }
        at = page_next_line(page, at);
    }
}

/* Gives back a text that no entry keeps any more. */
static inline void store_free_text(struct store *store, const char *text) {
    struct pool *pool = &store->texts[text_grains((unsigned char)text[0])];
    const char *moved_from = (const char *)pool_give(pool, &store->arena, (void *)(uintptr_t)text);
    if (moved_from != NULL) {
        store_move_text(store, moved_from, text);
    }
}

/* --- the whole -------------------------------------------------------------------------------------------------------- */

static inline void store_free(struct store *store) {
    if (store == NULL) {
        return;
    }
    for (size_t i = 0; store->slots != NULL && store->branch_bytes > 0 && i < KIND_COUNT * SLOT_COUNT; i++) {
        const uintptr_t entry = store->slots[i / SLOT_COUNT][i % SLOT_COUNT];
        if (entry & 1) {
            free(slot_branch(entry));
        }
    }
    for (size_t i = 0; i <= PAGE_UNITS_MAX; i++) {
        pool_clear(&store->pages[i]);
    }
    for (size_t i = 0; i < TEXT_POOLS; i++) {
        pool_clear(&store->texts[i]);
    }
    if (store->slots != NULL) {
        munmap(store->slots, SLOTS_BYTES);
    }
    grace_clear(&store->graces);
    free(store->agreements);
    log_free(&store->log);
    arena_clear(&store->arena);
    free(store);
}

static inline struct store *store_new(int64_t ttl, int64_t keep, bool forgets_offline, int64_t doubt, uint64_t seed, bool synced,
                                      int64_t tick) {
    struct store *store = (struct store *)calloc(1, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    /* Zero pages of the system: a slot that was never used takes no memory. */
    void *slots = mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) {
        free(store);
        return NULL;
    }
    store->slots = (uintptr_t(*)[SLOT_COUNT])slots;
    store->ttl = ttl;
    store->keep = keep;
    store->forgets_offline = forgets_offline;
    store->doubt = doubt;
    store->advanced_to = tick;
    store_expire_through(store, tick);
    store->wheel.now = (uint64_t)tick;
    hash_keys_init(&store->keys, seed);
    memset(&store->synced, synced ? 0xFF : 0, sizeof store->synced);
    return store;
}

/* Blocks in use, in whole memory pages: what is behind the last one in its segment may never have been touched. */
static inline size_t pool_bytes(const struct pool *pool) {
    const size_t used = pool->block_count * pool->block_bytes;
    const size_t whole = (used + MEMORY_PAGE_BYTES - 1) / MEMORY_PAGE_BYTES * MEMORY_PAGE_BYTES;
    return whole + pool->segment_capacity * sizeof *pool->segments;
}

/* What the store has in use, in bytes. */
static inline size_t store_bytes(const struct store *store) {
    size_t bytes = sizeof *store + SLOTS_BYTES + store->branch_bytes;
    bytes += store->arena.chunk_capacity * sizeof *store->arena.chunks;
    for (size_t i = 0; i <= PAGE_UNITS_MAX; i++) {
        bytes += pool_bytes(&store->pages[i]);
    }
    for (size_t i = 0; i < TEXT_POOLS; i++) {
        bytes += pool_bytes(&store->texts[i]);
    }
    bytes += store->agreements == NULL ? 0 : sizeof *store->agreements;
    bytes += store->graces.places * sizeof *store->graces.requests;
    bytes += store->graces.heap_capacity * sizeof *store->graces.heap;
    return bytes + store->log.capacity * sizeof *store->log.changes + store->log.texts_capacity;
}

#endif

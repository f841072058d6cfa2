/* Blocks of one size, numbered from 0 without a hole, in segments that go back to the allocator as soon as they are empty.
 *
 * Whoever gives a block back has the last one moved into its place, and mends what named that one. Hence no free lists, and
 * nothing is stranded: however many blocks there once were, at most one segment is not full.
 */
#ifndef PRESENCEDB_WATCHING_POOL_H
#define PRESENCEDB_WATCHING_POOL_H

#include "presencedb/watching/_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum {
#ifdef PRESENCEDB_TINY_PAGES
    POOL_SEGMENT_BYTES = 512,
#else
    POOL_SEGMENT_BYTES = 16 << 10,
#endif
    POOL_BLOCKS_MAX = 1 << 28,
};

#define POOL_NONE UINT32_MAX

struct pool {
    char **segments;
    uint32_t count; /* of blocks */
    uint32_t segment_count;
    uint16_t block_bytes, shift; /* 2^shift blocks a segment */
};

static inline void pool_init(struct pool *pool, uint16_t block_bytes) {
    uint16_t shift = 0;
    while ((size_t)block_bytes << (shift + 1) <= POOL_SEGMENT_BYTES) {
        shift++;
    }
    *pool = (struct pool){.block_bytes = block_bytes, .shift = shift};
}

static inline size_t pool_segment_bytes(const struct pool *pool) { return (size_t)pool->block_bytes << pool->shift; }

static inline void *pool_at(const struct pool *pool, uint32_t block) {
    const uint32_t within = block & ((1U << pool->shift) - 1);
    return pool->segments[block >> pool->shift] + (size_t)within * pool->block_bytes;
}

static inline size_t pool_list_bytes(uint32_t segment_count) { return list_room(segment_count) * sizeof(char *); }

static inline void pool_list_fit(struct pool *pool, struct memory *memory, size_t from_bytes) {
    const size_t bytes = pool_list_bytes(pool->segment_count);
    if (bytes < from_bytes) {
        pool->segments = (char **)memory_shrink(memory, pool->segments, from_bytes, bytes);
    }
}

static inline bool pool_add_segment(struct pool *pool, struct memory *memory) {
    const size_t from_bytes = pool_list_bytes(pool->segment_count), to_bytes = pool_list_bytes(pool->segment_count + 1);
    if (to_bytes > from_bytes) {
        char **segments = (char **)memory_resize(memory, pool->segments, from_bytes, to_bytes);
        if (segments == NULL) {
            return false;
        }
        pool->segments = segments;
    }
    char *segment = (char *)memory_resize(memory, NULL, 0, pool_segment_bytes(pool));
    if (segment == NULL) {
        pool_list_fit(pool, memory, to_bytes);
        return false;
    }
    ASAN_POISON_MEMORY_REGION(segment, pool_segment_bytes(pool));
    pool->segments[pool->segment_count++] = segment;
    return true;
}

/* A new block, behind all others, with anything in it; `POOL_NONE` where there is no memory. */
static inline uint32_t pool_take(struct pool *pool, struct memory *memory) {
    if (pool->count == pool->segment_count << pool->shift &&
        (pool->count >= POOL_BLOCKS_MAX || !pool_add_segment(pool, memory))) {
        return POOL_NONE;
    }
    ASAN_UNPOISON_MEMORY_REGION(pool_at(pool, pool->count), pool->block_bytes);
    return pool->count++;
}

static inline void pool_fit(struct pool *pool, struct memory *memory) {
    const uint32_t used = (pool->count + (1U << pool->shift) - 1) >> pool->shift;
    const size_t from_bytes = pool_list_bytes(pool->segment_count);
    while (pool->segment_count > used) {
        char *segment = pool->segments[--pool->segment_count];
        ASAN_UNPOISON_MEMORY_REGION(segment, pool_segment_bytes(pool));
        memory_free(memory, segment, pool_segment_bytes(pool));
    }
    pool_list_fit(pool, memory, from_bytes);
}

/* Gives a block back. Returns the number of the one that now stands there instead: its own, if none was moved. */
static inline uint32_t pool_give(struct pool *pool, struct memory *memory, uint32_t block) {
    const uint32_t last = --pool->count;
    if (last != block) {
        memcpy(pool_at(pool, block), pool_at(pool, last), pool->block_bytes);
    }
    ASAN_POISON_MEMORY_REGION(pool_at(pool, last), pool->block_bytes);
    pool_fit(pool, memory);
    return last;
}

static inline void pool_clear(struct pool *pool, struct memory *memory) {
    pool->count = 0;
    pool_fit(pool, memory);
}

#endif

/* Memory: blocks of one size stand in a pool without a hole, and memory goes back as soon as it is not used.
 *
 *     chunk    2 MiB from the system     [ segment | segment | ... | segment ]      8 of them, each lent to one pool
 *     pool     blocks of one size        [ b b b b b | b b b b b | b b . . . ]      the holes are all at the end
 *
 * Whoever gives a block back has the last block of the pool moved into its place, and is told, since it has to mend what
 * pointed there. Hence no free lists, and nothing is stranded when sizes change: at most one segment a size is not full.
 */
#ifndef PRESENCEDB_POOL_H
#define PRESENCEDB_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum {
    CHUNK_BYTES = 2 << 20,
    SEGMENT_BYTES = 256 << 10,
    SEGMENTS_PER_CHUNK = CHUNK_BYTES / SEGMENT_BYTES,
    SEGMENTS_ALL = (1 << SEGMENTS_PER_CHUNK) - 1,
};

struct chunk {
    char *base;
    unsigned lent; /* a bit a segment */
};

struct arena {
    struct chunk *chunks;
    size_t chunk_count, chunk_capacity;
};

struct pool {
    char **segments;
    uint32_t block_bytes, blocks_per_segment;
    uint32_t segment_count, segment_capacity;
    size_t block_count;
};

/* A chunk of its own alignment, for which twice as much address space is asked for and the rest returned. Huge memory pages
 * are not asked for: they made lookups 5 to 8 % faster, but the first touch of one took 5 ms where the host had to find
 * it. */
static inline char *chunk_map(void) {
    char *base = (char *)mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    const size_t before = (size_t)(-(uintptr_t)base) % CHUNK_BYTES;
    if (before > 0) {
        munmap(base, before);
    }
    munmap(base + before + CHUNK_BYTES, CHUNK_BYTES - before);
    ASAN_POISON_MEMORY_REGION(base + before, CHUNK_BYTES);
    return base + before;
}

static inline char *arena_lend(struct arena *arena) {
    for (size_t i = arena->chunk_count; i-- > 0;) {
        struct chunk *chunk = &arena->chunks[i];
        if (chunk->lent != SEGMENTS_ALL) {
            const unsigned segment = (unsigned)__builtin_ctz(~chunk->lent);
            chunk->lent |= 1U << segment;
            return chunk->base + (size_t)segment * SEGMENT_BYTES;
        }
    }
    if (arena->chunk_count == arena->chunk_capacity) {
        const size_t capacity = 2 * arena->chunk_capacity + 8;
        struct chunk *chunks = (struct chunk *)realloc(arena->chunks, capacity * sizeof *chunks);
        if (chunks == NULL) {
            return NULL;
        }
        arena->chunks = chunks;
        arena->chunk_capacity = capacity;
    }
    char *base = chunk_map();
    if (base == NULL) {
        return NULL;
    }
    arena->chunks[arena->chunk_count++] = (struct chunk){base, 1};
    return base;
}

static inline void arena_return(struct arena *arena, char *segment) {
    char *base = (char *)((uintptr_t)segment & ~(uintptr_t)(CHUNK_BYTES - 1));
    size_t i = 0;
    while (arena->chunks[i].base != base) {
        i++;
    }
    arena->chunks[i].lent &= ~(1U << ((size_t)(segment - base) / SEGMENT_BYTES));
    if (arena->chunks[i].lent == 0) {
        ASAN_UNPOISON_MEMORY_REGION(base, CHUNK_BYTES);
        munmap(base, CHUNK_BYTES);
        arena->chunks[i] = arena->chunks[--arena->chunk_count];
        return;
    }
    madvise(segment, SEGMENT_BYTES, MADV_DONTNEED);
}

static inline void arena_clear(struct arena *arena) {
    for (size_t i = 0; i < arena->chunk_count; i++) {
        ASAN_UNPOISON_MEMORY_REGION(arena->chunks[i].base, CHUNK_BYTES);
        munmap(arena->chunks[i].base, CHUNK_BYTES);
    }
    free(arena->chunks);
    *arena = (struct arena){0};
}

static inline void pool_init(struct pool *pool, uint32_t block_bytes) {
    *pool = (struct pool){.block_bytes = block_bytes, .blocks_per_segment = SEGMENT_BYTES / block_bytes};
}

static inline char *pool_block(const struct pool *pool, size_t index) {
    return pool->segments[index / pool->blocks_per_segment] + (index % pool->blocks_per_segment) * pool->block_bytes;
}

/* A new block, with anything in it; NULL where there is no memory. */
static inline void *pool_take(struct pool *pool, struct arena *arena) {
    if (pool->block_count == (size_t)pool->segment_count * pool->blocks_per_segment) {
        if (pool->segment_count == pool->segment_capacity) {
            const uint32_t capacity = 2 * pool->segment_capacity + 4;
            char **segments = (char **)realloc(pool->segments, capacity * sizeof *segments);
            if (segments == NULL) {
                return NULL;
            }
            pool->segments = segments;
            pool->segment_capacity = capacity;
        }
        char *segment = arena_lend(arena);
        if (segment == NULL) {
            return NULL;
        }
        pool->segments[pool->segment_count++] = segment;
    }
    void *block = pool_block(pool, pool->block_count++);
    ASAN_UNPOISON_MEMORY_REGION(block, pool->block_bytes);
    return block;
}

/* Gives a block back. Returns where the block stood that now stands here instead, or NULL if none was moved. */
static inline void *pool_give(struct pool *pool, struct arena *arena, void *block) {
    void *last = pool_block(pool, --pool->block_count);
    if (last != block) {
        memcpy(block, last, pool->block_bytes);
    }
    ASAN_POISON_MEMORY_REGION(last, pool->block_bytes);
    /* One empty segment is kept, so that a pool at the edge of one does not go back and forth; none by an empty pool. */
    const size_t kept = pool->block_count == 0 ? 0 : (pool->block_count - 1) / pool->blocks_per_segment + 2;
    while (pool->segment_count > kept) {
        arena_return(arena, pool->segments[--pool->segment_count]);
    }
    if (pool->block_count == 0) {
        free(pool->segments);
        pool->segments = NULL;
        pool->segment_capacity = 0;
    }
    return last != block ? last : NULL;
}

static inline void pool_clear(struct pool *pool) {
    free(pool->segments);
    pool->segments = NULL;
    pool->segment_count = pool->segment_capacity = 0;
    pool->block_count = 0;
}

#endif

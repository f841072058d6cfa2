/* Memory goes through one door, so that what an index holds is known at any time, and so that the tests can have it refused.
 * Whoever holds a block knows its size.
 */
#ifndef PRESENCEDB_WATCHING_MEMORY_H
#define PRESENCEDB_WATCHING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct memory {
    size_t bytes;
    uint64_t grants; /* how many more times memory is to be had; in use, for ever */
};

/* What a block takes from the process: glibc puts 8 bytes before each and hands out multiples of 16, 32 at least. */
static inline size_t memory_cost(size_t bytes) {
    return bytes == 0 ? 0 : bytes <= 24 ? 32 : (bytes + 8 + 15) / 16 * 16;
}

/* How many items a list of `count` has room for: of 32-bit numbers, as many as fit what the block takes anyway; and for
 * many, up to an eighth more, so that a list which grows one by one is seldom moved. */
static inline uint32_t list_room(uint32_t count) {
    if (count <= 6) {
        return count == 0 ? 0 : 6;
    }
    const int bits = 32 - __builtin_clz((count + 1) | 32);
    const uint32_t step = 4U << (bits - 6);
    return (count + 1) / step * step + step - 2;
}

/* A block of another size with what was in it; NULL where there is no memory, and the old one is as it was. */
static inline void *memory_resize(struct memory *memory, void *old, size_t from_bytes, size_t to_bytes) {
    if (memory->grants == 0) {
        return NULL;
    }
    memory->grants--;
    void *block = realloc(old, to_bytes);
    if (block != NULL) {
        memory->bytes += memory_cost(to_bytes) - memory_cost(from_bytes);
    }
    return block;
}

static inline void memory_free(struct memory *memory, void *block, size_t bytes) {
    free(block);
    memory->bytes -= memory_cost(bytes);
}

/* The same block or another, smaller. Never fails: where the allocator has no smaller one, the old one goes on for it. */
static inline void *memory_shrink(struct memory *memory, void *old, size_t from_bytes, size_t to_bytes) {
    if (to_bytes == 0) {
        memory_free(memory, old, from_bytes);
        return NULL;
    }
    void *block = memory_resize(memory, old, from_bytes, to_bytes);
    if (block == NULL) {
        memory->bytes -= memory_cost(from_bytes) - memory_cost(to_bytes);
        return old;
    }
    return block;
}

#endif

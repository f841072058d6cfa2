/* The keyed hash of an id in C: the same as `hashing.py`, which says what it is and why. No Python in here.
 *
 * A hash is always handed on left-aligned in 128 bits, so that whoever takes its top bits (slot, page, line) need not know
 * how wide the kind is.
 */
#ifndef PRESENCEDB_HASH_H
#define PRESENCEDB_HASH_H

#include <stdint.h>

#define XXH_INLINE_ALL
#include "presencedb/vendor/xxhash/xxhash.h"

enum id_kind { KIND_INT32 = 0, KIND_INT64 = 1, KIND_UUID = 2, KIND_TEXT = 3, KIND_COUNT = 4 };

/* 128 bits: of a UUID, or of a hash. */
struct bits128 {
    uint64_t high, low;
};

struct hash_keys {
    uint64_t seed;
    uint64_t key[8];
};

static const uint32_t MUL32_A = 0x7FEB352DU, MUL32_B = 0x846CA68BU;
static const uint64_t MUL64 = 0x0E9846AF9B1A615DULL;

/* The inverse of an odd number modulo 2^64 by Newton's iteration: every round doubles the correct bits, from 5. */
static inline uint64_t inverse_of_odd(uint64_t odd) {
    uint64_t inverse = 3 * odd ^ 2;
    for (int round = 0; round < 4; round++) {
        inverse *= 2 - odd * inverse;
    }
    return inverse;
}

static inline void hash_keys_init(struct hash_keys *keys, uint64_t seed) {
    keys->seed = seed;
    for (uint8_t i = 0; i < 8; i++) {
        const uint8_t little_endian[8] = {i};
        keys->key[i] = XXH3_64bits_withSeed(little_endian, sizeof little_endian, seed);
    }
}

static inline uint32_t mix32(const struct hash_keys *keys, uint32_t x) {
    x += (uint32_t)keys->key[0];
    x ^= x >> 16;
    x *= MUL32_A;
    x ^= x >> 15;
    x += (uint32_t)keys->key[1];
    x *= MUL32_B;
    return x ^ (x >> 16);
}

static inline uint32_t unmix32(const struct hash_keys *keys, uint32_t x) {
    x ^= x >> 16;
    x *= (uint32_t)inverse_of_odd(MUL32_B);
    x -= (uint32_t)keys->key[1];
    x ^= (x >> 15) ^ (x >> 30);
    x *= (uint32_t)inverse_of_odd(MUL32_A);
    x ^= x >> 16;
    return x - (uint32_t)keys->key[0];
}

static inline uint64_t mix64(const struct hash_keys *keys, uint64_t x, int first_key) {
    x += keys->key[first_key];
    x ^= x >> 32;
    x *= MUL64;
    x ^= x >> 32;
    x += keys->key[first_key + 1];
    x *= MUL64;
    return x ^ (x >> 28);
}

static inline uint64_t unmix64(const struct hash_keys *keys, uint64_t x, int first_key) {
    const uint64_t inverse = inverse_of_odd(MUL64);
    x ^= (x >> 28) ^ (x >> 56);
    x *= inverse;
    x -= keys->key[first_key + 1];
    x ^= x >> 32;
    x *= inverse;
    x ^= x >> 32;
    return x - keys->key[first_key];
}

static inline struct bits128 hash_of_int32(const struct hash_keys *keys, uint32_t x) {
    return (struct bits128){(uint64_t)mix32(keys, x) << 32, 0};
}

static inline struct bits128 hash_of_int64(const struct hash_keys *keys, uint64_t x) {
    return (struct bits128){mix64(keys, x, 2), 0};
}

static inline struct bits128 hash_of_uuid(const struct hash_keys *keys, struct bits128 x) {
    x.low ^= mix64(keys, x.high, 4);
    x.high ^= mix64(keys, x.low, 6);
    return x;
}

static inline struct bits128 hash_of_text(const struct hash_keys *keys, const char *text, size_t size) {
    const XXH128_hash_t hash = XXH3_128bits_withSeed(text, size, keys->seed);
    return (struct bits128){hash.high64, hash.low64};
}

/* What was hashed, for every kind but TEXT: an integer stands in `low`. */
static inline struct bits128 value_of_hash(const struct hash_keys *keys, int kind, struct bits128 hash) {
    if (kind == KIND_INT32) {
        return (struct bits128){0, unmix32(keys, (uint32_t)(hash.high >> 32))};
    }
    if (kind == KIND_INT64) {
        return (struct bits128){0, unmix64(keys, hash.high, 2)};
    }
    hash.high ^= mix64(keys, hash.low, 6);
    hash.low ^= mix64(keys, hash.high, 4);
    return hash;
}

#endif

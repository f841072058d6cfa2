/* MessagePack as a peer of this protocol writes it: every value in its shortest form.
 *
 * `size_of_*` is how many bytes a value takes, `put_*` writes it at `at`, where there is room, and returns where it ends.
 */
#ifndef PRESENCEDB_WRITE_H
#define PRESENCEDB_WRITE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "presencedb/ids/_ids.h"

/* `size` bytes of a number, big endian: 1, 2, 4 or 8. */
static inline uint8_t *put_big_endian(uint8_t *at, uint64_t value, int size) {
    for (int i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    }
    return at + size;
}

static inline size_t size_of_uint(uint64_t value) {
    return value <= 0x7F ? 1 : value <= 0xFF ? 2 : value <= 0xFFFF ? 3 : value <= UINT32_MAX ? 5 : 9;
}

static inline uint8_t *put_uint(uint8_t *at, uint64_t value) {
    if (value <= 0x7F) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value <= 0xFF) {
        *at = 0xCC;
        return put_big_endian(at + 1, value, 1);
    }
    if (value <= 0xFFFF) {
        *at = 0xCD;
        return put_big_endian(at + 1, value, 2);
    }
    if (value <= UINT32_MAX) {
        *at = 0xCE;
        return put_big_endian(at + 1, value, 4);
    }
    *at = 0xCF;
    return put_big_endian(at + 1, value, 8);
}

static inline size_t size_of_int(int64_t value) {
    if (value >= 0) {
        return size_of_uint((uint64_t)value);
    }
    return value >= -32 ? 1 : value >= INT8_MIN ? 2 : value >= INT16_MIN ? 3 : value >= INT32_MIN ? 5 : 9;
}

static inline uint8_t *put_int(uint8_t *at, int64_t value) {
    if (value >= 0) {
        return put_uint(at, (uint64_t)value);
    }
    const size_t size = size_of_int(value);
    if (size == 1) {
        *at = (uint8_t)value;
        return at + 1;
    }
    *at = size == 2 ? 0xD0 : size == 3 ? 0xD1 : size == 5 ? 0xD2 : 0xD3;
    return put_big_endian(at + 1, (uint64_t)value, (int)size - 1);
}

static inline size_t size_of_array(size_t count) { return count <= 0x0F ? 1 : count <= 0xFFFF ? 3 : 5; }

/* The head of an array, its elements are to follow. */
static inline uint8_t *put_array(uint8_t *at, size_t count) {
    if (count <= 0x0F) {
        *at = (uint8_t)(0x90 | count);
        return at + 1;
    }
    const int size = count <= 0xFFFF ? 2 : 4;
    *at = size == 2 ? 0xDC : 0xDD;
    return put_big_endian(at + 1, count, size);
}

static inline size_t size_of_text(size_t size) {
    return size + (size <= 0x1F ? 1 : size <= 0xFF ? 2 : size <= 0xFFFF ? 3 : 5);
}

static inline uint8_t *put_text(uint8_t *at, const char *text, size_t size) {
    if (size <= 0x1F) {
        *at++ = (uint8_t)(0xA0 | size);
    } else if (size <= 0xFF) {
        *at = 0xD9;
        at = put_big_endian(at + 1, size, 1);
    } else {
        *at = size <= 0xFFFF ? 0xDA : 0xDB;
        at = put_big_endian(at + 1, size, size <= 0xFFFF ? 2 : 4);
    }
    memcpy(at, text, size);
    return at + size;
}

/* An id of a batch. */
static inline size_t size_of_id(const struct ids *ids, size_t index) {
    switch (ids->kinds[index]) {
    case KIND_TEXT:
        return size_of_text((size_t)ids->values[index].low);
    case KIND_UUID:
        return size_of_text(UUID_TEXT_BYTES);
    default:
        return size_of_uint(ids->values[index].low);
    }
}

static inline uint8_t *put_id(uint8_t *at, const struct ids *ids, size_t index) {
    const struct bits128 value = ids->values[index];
    switch (ids->kinds[index]) {
    case KIND_TEXT:
        return put_text(at, ids->texts + value.high, (size_t)value.low);
    case KIND_UUID: {
        char text[UUID_TEXT_BYTES];
        uuid_write(value, text);
        return put_text(at, text, UUID_TEXT_BYTES);
    }
    default:
        return put_uint(at, value.low);
    }
}

/* A response without an error, up to its result, which is to follow. */
static inline uint8_t *put_answer(uint8_t *at, uint32_t msgid) {
    at[0] = 0x94;
    at[1] = 0x01;
    at = put_uint(at + 2, msgid);
    *at = 0xC0;
    return at + 1;
}

#endif

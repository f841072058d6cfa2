/* Text ids in C: what is valid, what is a number, what is a UUID. The rules are those of `canonical.py`.
 */
#ifndef PRESENCEDB_TEXT_H
#define PRESENCEDB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "presencedb/ids/_hash.h"

enum {
    ID_TEXT_BYTES_MAX = 255,
    DECIMAL_DIGITS_MAX = 20, /* of 2^64 - 1 */
    UUID_TEXT_BYTES = 36,
};

/* The length of the UTF-8 sequence at `text`, or 0 where there is none: table 3-7 of the Unicode standard, chapter 3. */
static inline size_t utf8_sequence(const unsigned char *text, size_t size) {
    const unsigned char lead = text[0];
    unsigned char second_min = 0x80, second_max = 0xBF;
    size_t length;
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        second_min = lead == 0xE0 ? 0xA0 : 0x80;
        second_max = lead == 0xED ? 0x9F : 0xBF;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        second_min = lead == 0xF0 ? 0x90 : 0x80;
        second_max = lead == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (size < length || text[1] < second_min || text[1] > second_max) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (text[i] < 0x80 || text[i] > 0xBF) {
            return 0;
        }
    }
    return length;
}

static inline bool text_is_utf8(const char *text, size_t size) {
    const unsigned char *bytes = (const unsigned char *)text;
    size_t at = 0;
    while (at < size) {
        const size_t length = utf8_sequence(bytes + at, size - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

/* Whether the text is the canonical decimal of an integer id, which is then in `*number`. */
static inline bool text_is_decimal(const char *text, size_t size, uint64_t *number) {
    if (size == 0 || size > DECIMAL_DIGITS_MAX || (text[0] == '0' && size > 1)) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        const uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

static inline bool uuid_has_dash_at(size_t position) {
    return position == 8 || position == 13 || position == 18 || position == 23;
}

/* Whether the text is a canonical lower-case UUID, whose bits are then in `*bits`. */
static inline bool text_is_uuid(const char *text, size_t size, struct bits128 *bits) {
    if (size != UUID_TEXT_BYTES) {
        return false;
    }
    uint64_t high = 0, low = 0;
    for (size_t i = 0; i < UUID_TEXT_BYTES; i++) {
        const char c = text[i];
        if (uuid_has_dash_at(i)) {
            if (c != '-') {
                return false;
            }
            continue;
        }
        uint64_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint64_t)(c - 'a') + 10;
        } else {
            return false;
        }
        high = (high << 4) | (low >> 60);
        low = (low << 4) | digit;
    }
    *bits = (struct bits128){high, low};
    return true;
}

/* Writes the 36 bytes of a UUID's text, without a terminating NUL. */
static inline void uuid_write(struct bits128 bits, char *text) {
    for (size_t i = 0; i < UUID_TEXT_BYTES; i++) {
        if (uuid_has_dash_at(i)) {
            text[i] = '-';
            continue;
        }
        text[i] = "0123456789abcdef"[bits.high >> 60];
        bits.high = (bits.high << 4) | (bits.low >> 60);
        bits.low <<= 4;
    }
}

#endif

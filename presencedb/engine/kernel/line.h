/* A line: a few entries of one kind in one or two cache lines. What a lookup touches.
 *
 *     kind    bytes  entries   head       tags         rests            times
 *     INT32     64     10      4 bytes    10 x 2       -                10 x 4     bytes
 *     INT64     64      6      4           6 x 2        6 x 4            6 x 4
 *     UUID     128      7      2           7 x 2        7 x 12           7 x 4
 *     TEXT     128      7      2           7 x 2        7 x (4 + 8)      7 x 4     rest: hash, then where the text is
 *
 * What of the hash is behind the slot is cut in two. The low 18 bits are the *mark*: 16 of them are the tag, compared in one
 * go for the whole line; the other two are in the *planes* of the head, bit `i` of a plane belonging to entry `i`. Above
 * the mark are the 0, 32 or 96 bits of the rest. (Of a text the rest and the mark hold the first 50 bits behind the slot.)
 *
 *     head    [ plane 0 | plane 1 | filter ]     low bits first; a plane has as many bits as the line has entries
 *
 * The *filter* is about entries whose home is this line and which had to go elsewhere: each sets the bit that its mark
 * chooses. Where the bit is clear, a search ends here. A time is `last_hb << 1 | signed_off`, or `TIME_EMPTY`.
 */
#ifndef PRESENCEDB_LINE_H
#define PRESENCEDB_LINE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "presencedb/ids/_hash.h"

#if defined(__SSE2__) && !defined(PRESENCEDB_PORTABLE)
#include <emmintrin.h>
#define LINE_SSE2 1
#else
#define LINE_SSE2 0
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline)) /* keeps a rare way out of the loops over batches */

/* The last time that a register can hold, signed off. `TICK_LAST` keeps registers below it. */
#define TIME_EMPTY UINT32_MAX
enum { SLOT_BITS = 14, SLOT_COUNT = 1 << SLOT_BITS, MARK_BITS = 18, LINE_UNIT_BYTES = 64, LINE_ENTRIES_MAX = 10 };

/* The geometry, as functions of a kind that is a constant wherever it matters. */
ALWAYS_INLINE unsigned line_bytes(int kind) { return kind <= KIND_INT64 ? 64 : 128; }
ALWAYS_INLINE unsigned line_entries(int kind) { return kind == KIND_INT32 ? 10 : kind == KIND_INT64 ? 6 : 7; }
ALWAYS_INLINE unsigned line_tags_at(int kind) { return kind <= KIND_INT64 ? 4 : 2; }
ALWAYS_INLINE unsigned line_rest_bytes(int kind) { return kind == KIND_INT32 ? 0 : kind == KIND_INT64 ? 4 : 12; }
ALWAYS_INLINE unsigned line_rests_at(int kind) { return line_tags_at(kind) + 2 * line_entries(kind); }
ALWAYS_INLINE unsigned line_times_at(int kind) { return line_bytes(kind) - 4 * line_entries(kind); }
ALWAYS_INLINE unsigned line_filter_bits(int kind) { return kind == KIND_INT32 ? 8 : kind == KIND_INT64 ? 16 : 2; }

/* What a search needs of an id. */
struct key {
    struct bits128 hash; /* left-aligned */
    uint64_t fraction;   /* the 64 bits behind the slot: say page and home line */
    uint32_t slot;
    uint32_t mark;
    uint32_t rest[3]; /* rest[0] is the top half of the fraction, if the kind has a rest */
    const char *text; /* of a text: its bytes */
    uint32_t text_size;
};

ALWAYS_INLINE struct key key_of_hash(int kind, struct bits128 hash, const char *text, uint32_t text_size) {
    struct key key;
    const uint64_t fraction = (hash.high << SLOT_BITS) | (hash.low >> (64 - SLOT_BITS));
    const uint64_t behind = hash.low << SLOT_BITS;
    const unsigned mark_mask = (1U << MARK_BITS) - 1;
    key.hash = hash;
    key.slot = (uint32_t)(hash.high >> (64 - SLOT_BITS));
    key.fraction = fraction;
    key.rest[0] = (uint32_t)(fraction >> 32);
    key.rest[1] = (uint32_t)fraction;
    key.rest[2] = (uint32_t)(behind >> 32);
    key.mark = kind == KIND_INT32  ? (uint32_t)(fraction >> (64 - MARK_BITS))
               : kind == KIND_UUID ? (uint32_t)(behind >> 14) & mark_mask
                                   : (uint32_t)(fraction >> 14) & mark_mask;
    key.text = text;
    key.text_size = text_size;
    return key;
}

ALWAYS_INLINE uint16_t load16(const unsigned char *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

ALWAYS_INLINE uint32_t load32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

ALWAYS_INLINE uint32_t line_head(const unsigned char *line, int kind) {
    return kind <= KIND_INT64 ? load32(line) : load16(line);
}

ALWAYS_INLINE void line_set_head(unsigned char *line, int kind, uint32_t head) {
    memcpy(line, &head, kind <= KIND_INT64 ? 4 : 2); /* little endian, as is everything this is built for */
}

ALWAYS_INLINE uint32_t line_time(const unsigned char *line, int kind, unsigned index) {
    return load32(line + line_times_at(kind) + 4 * index);
}

ALWAYS_INLINE void line_set_time(unsigned char *line, int kind, unsigned index, uint32_t time) {
    memcpy(line + line_times_at(kind) + 4 * index, &time, 4);
}

/* Where entry `index` keeps the place of its text. */
ALWAYS_INLINE unsigned char *line_text_place(unsigned char *line, unsigned index) {
    return line + line_rests_at(KIND_TEXT) + 12 * index + 4;
}

ALWAYS_INLINE const char *line_text(const unsigned char *line, unsigned index) {
    const char *text;
    memcpy(&text, line + line_rests_at(KIND_TEXT) + 12 * index + 4, sizeof text);
    return text;
}

ALWAYS_INLINE uint32_t line_filter_bit(int kind, uint32_t mark) {
    return 1U << (2 * line_entries(kind) + (mark & (line_filter_bits(kind) - 1)));
}

ALWAYS_INLINE uint32_t line_mark(const unsigned char *line, int kind, unsigned index) {
    const uint32_t head = line_head(line, kind) >> index;
    const uint32_t planes = (head & 1) | ((head >> line_entries(kind) & 1) << 1);
    return (planes << 16) | load16(line + line_tags_at(kind) + 2 * index);
}

/* The top half of the fraction of entry `index`: enough to find its page and home line. */
ALWAYS_INLINE uint32_t line_place(const unsigned char *line, int kind, unsigned index) {
    if (kind == KIND_INT32) {
        return line_mark(line, kind, index) << (32 - MARK_BITS);
    }
    return load32(line + line_rests_at(kind) + line_rest_bytes(kind) * index);
}

/* The entries whose tag is the key's, one bit each. */
ALWAYS_INLINE uint32_t line_same_tag(const unsigned char *line, int kind, uint16_t tag) {
#if LINE_SSE2
    const __m128i wanted = _mm_set1_epi16((short)tag);
    if (kind == KIND_INT32) {
        const __m128i first = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)(line + 4)), wanted);
        const __m128i last = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)(line + 8)), wanted); /* tags 2 to 9 */
        const uint32_t both = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(first, last));
        return (both & 0xFF) | ((both >> 14) << 8);
    }
    const __m128i all = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)(line + (kind == KIND_INT64 ? 4 : 0))), wanted);
    const uint32_t mask = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(all, all));
    return kind == KIND_INT64 ? mask & 0x3F : (mask >> 1) & 0x7F; /* of a UUID the first two bytes are the head */
#else
    uint32_t mask = 0;
    for (unsigned i = 0; i < line_entries(kind); i++) {
        mask |= (uint32_t)(load16(line + line_tags_at(kind) + 2 * i) == tag) << i;
    }
    return mask;
#endif
}

/* The entries whose mark is the key's, one bit each. Of an INT32 that is all there is to compare. */
ALWAYS_INLINE uint32_t line_same_mark(const unsigned char *line, int kind, uint32_t head, uint32_t mark) {
    const uint32_t plane = (1U << line_entries(kind)) - 1;
    const uint32_t unlike = (head ^ (0U - (mark >> 16 & 1))) | ((head >> line_entries(kind)) ^ (0U - (mark >> 17 & 1)));
    return line_same_tag(line, kind, (uint16_t)mark) & ~unlike & plane;
}

ALWAYS_INLINE bool line_same_rest(const unsigned char *line, int kind, unsigned index, const struct key *key) {
    const unsigned char *rest = line + line_rests_at(kind) + line_rest_bytes(kind) * index;
    if (kind == KIND_INT32) {
        return true;
    }
    if (load32(rest) != key->rest[0]) {
        return false;
    }
    if (kind == KIND_UUID) {
        return load32(rest + 4) == key->rest[1] && load32(rest + 8) == key->rest[2];
    }
    if (kind == KIND_TEXT) {
        const char *text = line_text(line, index); /* its first byte is the length */
        return (unsigned char)text[0] == key->text_size && memcmp(text + 1, key->text, key->text_size) == 0;
    }
    return true;
}

/* The index of the key's entry in this line, or -1. */
ALWAYS_INLINE int line_find(const unsigned char *line, int kind, uint32_t head, const struct key *key) {
    uint32_t same = line_same_mark(line, kind, head, key->mark);
    while (same != 0) {
        const unsigned index = (unsigned)__builtin_ctz(same);
        if (line_time(line, kind, index) != TIME_EMPTY && line_same_rest(line, kind, index, key)) {
            return (int)index;
        }
        same &= same - 1;
    }
    return -1;
}

#if LINE_SSE2
/* Which of four times are empty, one bit each. */
ALWAYS_INLINE uint32_t line_four_empty(const unsigned char *times) {
    const __m128i four = _mm_loadu_si128((const __m128i *)times);
    return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(four, _mm_set1_epi32(-1))));
}
#endif

/* The empty places, one bit each. */
ALWAYS_INLINE uint32_t line_empty(const unsigned char *line, int kind) {
    const unsigned char *times = line + line_times_at(kind);
#if LINE_SSE2
    /* The last four overlap those before them. */
    const unsigned last = line_entries(kind) - 4;
    const uint32_t ends = line_four_empty(times) | line_four_empty(times + 4 * last) << last;
    return kind == KIND_INT32 ? ends | line_four_empty(times + 16) << 4 : ends;
#else
    uint32_t mask = 0;
    for (unsigned i = 0; i < line_entries(kind); i++) {
        mask |= (uint32_t)(load32(times + 4 * i) == TIME_EMPTY) << i;
    }
    return mask;
#endif
}

/* The places that are taken, one bit each. */
ALWAYS_INLINE uint32_t line_taken(const unsigned char *line, int kind) {
    return ~line_empty(line, kind) & ((1U << line_entries(kind)) - 1);
}

ALWAYS_INLINE void line_put_mark(unsigned char *line, int kind, unsigned index, uint32_t mark) {
    const uint32_t bit = 1U << index, tag = mark & 0xFFFF;
    uint32_t head = line_head(line, kind) & ~(bit | bit << line_entries(kind));
    head |= (mark >> 16 & 1) << index | (mark >> 17 & 1) << (index + line_entries(kind));
    line_set_head(line, kind, head);
    memcpy(line + line_tags_at(kind) + 2 * index, &tag, 2);
}

/* Copies entry `from_index` of a line to place `index` of another. */
ALWAYS_INLINE void line_copy(unsigned char *line, unsigned index, const unsigned char *from, unsigned from_index, int kind) {
    const unsigned size = line_rest_bytes(kind), at = line_rests_at(kind);
    line_put_mark(line, kind, index, line_mark(from, kind, from_index));
    memcpy(line + at + size * index, from + at + size * from_index, size);
    line_set_time(line, kind, index, line_time(from, kind, from_index));
}

/* The left-aligned hash of an entry; of a text only its first 64 bits, cut off behind the mark. */
ALWAYS_INLINE struct bits128 line_hash(const unsigned char *line, int kind, unsigned index, uint32_t slot) {
    const unsigned char *rest = line + line_rests_at(kind) + line_rest_bytes(kind) * index;
    const uint64_t mark = line_mark(line, kind, index);
    uint64_t fraction, behind = 0;
    if (kind == KIND_INT32) {
        fraction = mark << (64 - MARK_BITS);
    } else if (kind == KIND_UUID) {
        fraction = (uint64_t)load32(rest) << 32 | load32(rest + 4);
        behind = (uint64_t)load32(rest + 8) << 32 | mark << 14;
    } else {
        fraction = (uint64_t)load32(rest) << 32 | mark << 14;
    }
    return (struct bits128){
        (uint64_t)slot << (64 - SLOT_BITS) | fraction >> SLOT_BITS,
        fraction << (64 - SLOT_BITS) | behind >> SLOT_BITS,
    };
}

#endif

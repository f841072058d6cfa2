/* A page: up to `PAGE_USERS_MAX` users of one kind and one slot, in one block of memory.
 *
 *     [ head 64 bytes | line 0 | line 1 | ... | line n-1 ]
 *
 * The home line of an entry follows from its hash: the `depth` bits behind the slot have chosen the page, the next 32
 * choose the line (their product with n, shifted). An entry that finds its home full goes to the next line with room, at
 * most `travel` lines further, and leaves its bit in the filter of its home.
 */
#ifndef PRESENCEDB_PAGE_H
#define PRESENCEDB_PAGE_H

#include "presencedb/engine/kernel/line.h"

enum {
    PAGE_HEAD_BYTES = 64,
#ifdef PRESENCEDB_TINY_PAGES /* so that the tests of a few users meet all there is to go wrong between pages */
    PAGE_USERS_MAX = 8,
    PAGE_USERS_MERGE = 3,
#else
    PAGE_USERS_MAX = 1536,  /* above it a page is split */
    PAGE_USERS_MERGE = 512, /* two siblings with no more than this together become one */
#endif
    PAGE_LINES_MAX = 320,
    FETCH_AHEAD_BYTES = 10 * LINE_UNIT_BYTES, /* of a walk over lines: some 100 ns of work */
    PAGE_UNITS_MAX = 1 + 2 * PAGE_LINES_MAX,
    PAGE_DEPTH_MAX = MARK_BITS, /* an INT32 has no more bits behind its slot */
};
#define ARMED_NEVER UINT32_MAX

struct page {
    struct page *wheel_next, *wheel_previous;
    uint32_t armed;  /* the tick at which the wheel looks at it: no timeout in it is earlier */
    uint32_t prefix; /* the `depth` bits behind the slot that all its entries share */
    uint16_t slot, line_count, used, online;
    uint16_t travel;
    uint8_t wheel_level, wheel_bucket;
    uint8_t kind, depth;
};
_Static_assert(sizeof(struct page) <= PAGE_HEAD_BYTES, "the head of a page is one line");

struct entry {
    unsigned char *line; /* NULL: there is none */
    unsigned index;
};

/* The size of a page, in units of 64 bytes. */
ALWAYS_INLINE unsigned page_units(int kind, unsigned line_count) {
    return 1 + line_count * (line_bytes(kind) / LINE_UNIT_BYTES);
}

/* How many users a page of so many lines takes before it grows. The fewer lines, the less a search can lose in them. */
static inline unsigned page_room(int kind, unsigned line_count) {
    const unsigned places = line_count * line_entries(kind);
    /* In 256ths: what the target of bytes a user asks of each geometry, and no more, since searches pay for it. */
    const unsigned load = kind == KIND_INT32 ? 228 : kind == KIND_INT64 ? 236 : 214;
    return line_count <= 2 ? places : (places * load + 255) >> 8;
}

/* The next larger number of lines: one more up to 16, then in steps of an 8th to a 16th. Smaller steps would save a little
 * memory, and cost first inserts a lot: each moves the whole page. */
static inline unsigned page_lines_after(unsigned line_count) {
    return line_count < 16 ? line_count + 1 : line_count + (1U << (28 - __builtin_clz(line_count)));
}

/* The smallest number of lines that has room for so many users. */
static inline unsigned page_lines_for(int kind, unsigned users) {
    unsigned line_count = 1;
    while (page_room(kind, line_count) < users) {
        line_count = page_lines_after(line_count);
    }
    return line_count;
}

ALWAYS_INLINE unsigned char *page_line(const struct page *page, int kind, unsigned line) {
    return (unsigned char *)page + PAGE_HEAD_BYTES + (size_t)line * line_bytes(kind);
}

ALWAYS_INLINE unsigned page_home(const struct page *page, uint32_t place) {
    return (unsigned)(((uint64_t)(uint32_t)(place << page->depth) * page->line_count) >> 32);
}

ALWAYS_INLINE unsigned page_next_line(const struct page *page, unsigned line) {
    return line + 1 == page->line_count ? 0 : line + 1;
}

ALWAYS_INLINE struct entry page_find(const struct page *page, int kind, const struct key *key) {
    unsigned at = page_home(page, (uint32_t)(key->fraction >> 32));
    unsigned char *line = page_line(page, kind, at);
    uint32_t head = line_head(line, kind);
    int index = line_find(line, kind, head, key);
    if (index >= 0) {
        return (struct entry){line, (unsigned)index};
    }
    if ((head & line_filter_bit(kind, key->mark)) == 0) {
        return (struct entry){NULL, 0};
    }
    for (unsigned step = page->travel; step > 0; step--) {
        at = page_next_line(page, at);
        line = page_line(page, kind, at);
        index = line_find(line, kind, line_head(line, kind), key);
        if (index >= 0) {
            return (struct entry){line, (unsigned)index};
        }
    }
    return (struct entry){NULL, 0};
}

/* Notes that an entry of this mark is `distance` lines behind its home. */
ALWAYS_INLINE void page_note_travel(struct page *page, int kind, unsigned home, uint32_t mark, unsigned distance) {
    unsigned char *line = page_line(page, kind, home);
    line_set_head(line, kind, line_head(line, kind) | line_filter_bit(kind, mark));
    if (page->travel < distance) {
        page->travel = (uint16_t)distance;
    }
}

/* An empty place as near to its home as there is one; the page must have one. */
ALWAYS_INLINE struct entry page_take_place(struct page *page, int kind, uint32_t place, uint32_t mark) {
    const unsigned home = page_home(page, place);
    unsigned at = home, distance = 0;
    uint32_t empty;
    while ((empty = line_empty(page_line(page, kind, at), kind)) == 0) {
        at = page_next_line(page, at);
        distance++;
        __builtin_prefetch(page_line(page, kind, at) + FETCH_AHEAD_BYTES / 2);
    }
    if (distance > 0) {
        page_note_travel(page, kind, home, mark, distance);
    }
    page->used++;
    return (struct entry){page_line(page, kind, at), (unsigned)__builtin_ctz(empty)};
}

ALWAYS_INLINE struct entry page_put(struct page *page, int kind, const struct key *key, uint32_t time) {
    const struct entry entry = page_take_place(page, kind, (uint32_t)(key->fraction >> 32), key->mark);
    unsigned char *rest = entry.line + line_rests_at(kind) + line_rest_bytes(kind) * entry.index;
    line_put_mark(entry.line, kind, entry.index, key->mark);
    memcpy(rest, key->rest, kind == KIND_TEXT ? 4 : line_rest_bytes(kind));
    line_set_time(entry.line, kind, entry.index, time);
    return entry;
}

/* Makes an empty page of a block of `page_units` units. */
static inline void page_init(struct page *page, int kind, unsigned line_count) {
    memset(page, 0, PAGE_HEAD_BYTES);
    page->kind = (uint8_t)kind;
    page->line_count = (uint16_t)line_count;
    page->armed = ARMED_NEVER;
    for (unsigned line = 0; line < line_count; line++) {
        unsigned char *bytes = page_line(page, kind, line);
        memset(bytes, 0, line_times_at(kind));
        memset(bytes + line_times_at(kind), 0xFF, 4 * line_entries(kind));
    }
}

/* Pouring entries from old pages into new ones. Whoever finds room at home gets it; the rest find places after that, so
 * that nobody is pushed out of a home by a guest. */
struct pour {
    struct page *to[2]; /* chosen by the bit behind the prefix of the pages that come out */
    unsigned guest_count;
    struct { const unsigned char *line; unsigned index; } guests[PAGE_USERS_MAX + 1];
    uint8_t fill[2][PAGE_LINES_MAX];
};

static inline void pour_start(struct pour *pour, struct page *first, struct page *second) {
    pour->to[0] = first;
    pour->to[1] = second;
    pour->guest_count = 0;
    memset(pour->fill, 0, sizeof pour->fill);
}

ALWAYS_INLINE unsigned pour_side(const struct pour *pour, uint32_t place) {
    return pour->to[1] == NULL ? 0 : place >> (32 - pour->to[0]->depth) & 1;
}

ALWAYS_INLINE void pour_page_of_kind(struct pour *pour, const struct page *from, int kind) {
    for (unsigned at = 0; at < from->line_count; at++) {
        const unsigned char *line = page_line(from, kind, at);
        __builtin_prefetch(line + FETCH_AHEAD_BYTES);
        for (uint32_t taken = line_taken(line, kind); taken != 0; taken &= taken - 1) {
            const unsigned index = (unsigned)__builtin_ctz(taken);
            const uint32_t place = line_place(line, kind, index);
            const unsigned side = pour_side(pour, place);
            struct page *to = pour->to[side];
            const unsigned home = page_home(to, place);
            if (pour->fill[side][home] < line_entries(kind)) {
                line_copy(page_line(to, kind, home), pour->fill[side][home]++, line, index, kind);
                to->used++;
            } else {
                pour->guests[pour->guest_count].line = line;
                pour->guests[pour->guest_count++].index = index;
            }
        }
    }
}

ALWAYS_INLINE void pour_end_of_kind(struct pour *pour, int kind) {
    for (unsigned i = 0; i < pour->guest_count; i++) {
        const unsigned char *line = pour->guests[i].line;
        const unsigned index = pour->guests[i].index;
        const uint32_t place = line_place(line, kind, index);
        const unsigned side = pour_side(pour, place);
        struct page *to = pour->to[side];
        const unsigned home = page_home(to, place);
        unsigned at = home, distance = 0;
        while (pour->fill[side][at] == line_entries(kind)) {
            at = page_next_line(to, at);
            distance++;
        }
        line_copy(page_line(to, kind, at), pour->fill[side][at]++, line, index, kind);
        page_note_travel(to, kind, home, line_mark(line, kind, index), distance);
        to->used++;
    }
}

/* Runs a statement with `KIND` as a constant: the compiler then makes one version of it for each kind. */
#define WITH_CONSTANT_KIND(kind, statement)                                                                                 \
    switch (kind) {                                                                                                         \
    case KIND_INT32: { enum { KIND = KIND_INT32 }; statement; break; }                                                      \
    case KIND_INT64: { enum { KIND = KIND_INT64 }; statement; break; }                                                      \
    case KIND_UUID: { enum { KIND = KIND_UUID }; statement; break; }                                                        \
    default: { enum { KIND = KIND_TEXT }; statement; break; }                                                               \
    }

static inline void pour_page(struct pour *pour, const struct page *from) {
    WITH_CONSTANT_KIND(from->kind, pour_page_of_kind(pour, from, KIND))
}

static inline void pour_end(struct pour *pour) { WITH_CONSTANT_KIND(pour->to[0]->kind, pour_end_of_kind(pour, KIND)) }

/* Makes the filters and the travel of a page anew, after entries have left it: what they left behind costs misses. */
ALWAYS_INLINE void page_refilter_of_kind(struct page *page, int kind) {
    page->travel = 0;
    for (unsigned at = 0; at < page->line_count; at++) {
        unsigned char *line = page_line(page, kind, at);
        line_set_head(line, kind, line_head(line, kind) & ((1U << 2 * line_entries(kind)) - 1));
    }
    for (unsigned at = 0; at < page->line_count; at++) {
        const unsigned char *line = page_line(page, kind, at);
        for (uint32_t taken = line_taken(line, kind); taken != 0; taken &= taken - 1) {
            const unsigned index = (unsigned)__builtin_ctz(taken);
            const unsigned home = page_home(page, line_place(line, kind, index));
            if (home != at) {
                const unsigned distance = at > home ? at - home : at + page->line_count - home;
                page_note_travel(page, kind, home, line_mark(line, kind, index), distance);
            }
        }
    }
}

static inline void page_refilter(struct page *page) { WITH_CONSTANT_KIND(page->kind, page_refilter_of_kind(page, KIND)) }

#endif

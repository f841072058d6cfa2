/* MessagePack as the calls with many ids use it, read straight from the receive buffer. Every read is held against the end
 * first.
 *
 * Two ways lead through a frame. `wire_head` and `wire_ids` take the usual calls, `[0, msgid, method, [ids ...]]` and
 * `[2, method, [ids ...]]`, and put the ids where the table will look for them; `wire_answer` and the columns after it take
 * the answers `[1, msgid, nil, [values ...]]`. Whatever is not of that shape they call odd, without judging it; `scan` then
 * finds where the frame ends, and the slow way through Python says what is wrong with it.
 */
#ifndef PRESENCEDB_WIRE_H
#define PRESENCEDB_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "presencedb/ids/_ids.h"

enum wire_result { WIRE_OK = 0, WIRE_MORE = 1, WIRE_ODD = 2, WIRE_NO_MEMORY = 3 };

struct wire {
    const uint8_t *at, *end;
};

/* The head of a call: everything before its parameters. */
struct wire_call {
    int64_t msgid; /* -1: a notification */
    const uint8_t *method;
    size_t method_size;
    uint32_t param_count;
};

static inline uint64_t wire_big_endian(const uint8_t *bytes, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* An unsigned integer in any of its forms; a positive one that is encoded as signed counts too. */
static inline int wire_uint(struct wire *wire, uint64_t *value) {
    if (wire->at == wire->end) {
        return WIRE_MORE;
    }
    const uint8_t mark = *wire->at;
    if (mark <= 0x7F) {
        *value = mark;
        wire->at++;
        return WIRE_OK;
    }
    if (mark < 0xCC || mark > 0xD3) {
        return WIRE_ODD;
    }
    const size_t size = (size_t)1 << (mark & 3); /* cc..cf unsigned, d0..d3 signed: 1, 2, 4, 8 bytes */
    if ((size_t)(wire->end - wire->at) < 1 + size) {
        return WIRE_MORE;
    }
    if (mark >= 0xD0 && (wire->at[1] & 0x80) != 0) {
        return WIRE_ODD;
    }
    *value = wire_big_endian(wire->at + 1, size);
    wire->at += 1 + size;
    return WIRE_OK;
}

/* The head of an array: its size. */
static inline int wire_array(struct wire *wire, uint32_t *count) {
    if (wire->at == wire->end) {
        return WIRE_MORE;
    }
    const uint8_t mark = *wire->at;
    if (mark >= 0x90 && mark <= 0x9F) {
        *count = mark & 0x0F;
        wire->at++;
        return WIRE_OK;
    }
    if (mark != 0xDC && mark != 0xDD) {
        return WIRE_ODD;
    }
    const size_t size = mark == 0xDC ? 2 : 4;
    if ((size_t)(wire->end - wire->at) < 1 + size) {
        return WIRE_MORE;
    }
    *count = (uint32_t)wire_big_endian(wire->at + 1, size);
    wire->at += 1 + size;
    return WIRE_OK;
}

/* A text: where it lies and how long it is. */
static inline int wire_text(struct wire *wire, const uint8_t **text, size_t *text_size) {
    if (wire->at == wire->end) {
        return WIRE_MORE;
    }
    const size_t left = (size_t)(wire->end - wire->at);
    const uint8_t mark = *wire->at;
    size_t head = 1, size = mark & 0x1F;
    if (mark < 0xA0 || mark > 0xBF) {
        if (mark < 0xD9 || mark > 0xDB) {
            return WIRE_ODD;
        }
        head = 1 + ((size_t)1 << (mark - 0xD9));
        if (left < head) {
            return WIRE_MORE;
        }
        size = (size_t)wire_big_endian(wire->at + 1, head - 1);
    }
    if (left - head < size) {
        return WIRE_MORE;
    }
    *text = wire->at + head;
    *text_size = size;
    wire->at += head + size;
    return WIRE_OK;
}

/* Everything before the parameters of a request or notification. */
static inline int wire_head(struct wire *wire, struct wire_call *call) {
    if ((size_t)(wire->end - wire->at) < 2) {
        return WIRE_MORE;
    }
    if (wire->at[0] == 0x94 && wire->at[1] == 0x00) {
        uint64_t msgid = 0;
        wire->at += 2;
        const int result = wire_uint(wire, &msgid);
        if (result != WIRE_OK) {
            return result;
        }
        if (msgid > UINT32_MAX) {
            return WIRE_ODD;
        }
        call->msgid = (int64_t)msgid;
    } else if (wire->at[0] == 0x93 && wire->at[1] == 0x02) {
        wire->at += 2;
        call->msgid = -1;
    } else {
        return WIRE_ODD;
    }
    const int result = wire_text(wire, &call->method, &call->method_size);
    return result == WIRE_OK ? wire_array(wire, &call->param_count) : result;
}

static inline int wire_id(struct wire *wire, struct ids *ids) {
    uint64_t value;
    int result = wire_uint(wire, &value);
    if (result == WIRE_OK) {
        return ids_append_int(ids, value) == IDS_OK ? WIRE_OK : WIRE_NO_MEMORY;
    }
    if (result == WIRE_ODD) {
        const uint8_t *text;
        size_t size;
        result = wire_text(wire, &text, &size);
        if (result == WIRE_OK) {
            const int appended = ids_append_text(ids, (const char *)text, size);
            return appended == IDS_OK ? WIRE_OK : appended == IDS_NO_MEMORY ? WIRE_NO_MEMORY : WIRE_ODD;
        }
    }
    return result;
}

/* An array of ids, or one id, appended to `ids`; if it is not all there or not all ids, nothing is. */
static inline int wire_ids(struct wire *wire, struct ids *ids, uint32_t count_max) {
    const size_t count_before = ids->count, texts_before = ids->texts_size;
    uint32_t count = 1;
    int result = wire_array(wire, &count);
    if (result == WIRE_MORE) {
        return result;
    }
    if (count > count_max) {
        return WIRE_ODD;
    }
    /* Each takes a byte at least: what is not there yet cannot make us ask for memory. */
    if (count > (size_t)(wire->end - wire->at)) {
        return WIRE_MORE;
    }
    if (ids_reserve(ids, count) != IDS_OK) {
        return WIRE_NO_MEMORY;
    }
    result = WIRE_OK;
    for (uint32_t i = 0; i < count && result == WIRE_OK; i++) {
        result = wire_id(wire, ids);
    }
    if (result != WIRE_OK) {
        ids->count = count_before;
        ids->texts_size = texts_before;
    }
    return result;
}

/* Everything before the result of an answer without an error. */
static inline int wire_answer(struct wire *wire, uint32_t *msgid) {
    uint64_t value = 0;
    if ((size_t)(wire->end - wire->at) < 4) {
        return WIRE_MORE;
    }
    if (wire->at[0] != 0x94 || wire->at[1] != 0x01) {
        return WIRE_ODD;
    }
    wire->at += 2;
    const int result = wire_uint(wire, &value);
    if (result != WIRE_OK) {
        return result;
    }
    if (wire->at == wire->end) {
        return WIRE_MORE;
    }
    if (value > UINT32_MAX || *wire->at != 0xC0) {
        return WIRE_ODD;
    }
    wire->at++;
    *msgid = (uint32_t)value;
    return WIRE_OK;
}

/* The head of an array whose values may be all there: what is not there yet cannot make us ask for memory. */
static inline int wire_column(struct wire *wire, uint32_t *count) {
    const int result = wire_array(wire, count);
    return result == WIRE_OK && *count > (size_t)(wire->end - wire->at) ? WIRE_MORE : result;
}

/* `count` values that are false, true or nil, to a `Status` byte each; `wire_column` has seen to it that they are there. */
static inline int wire_statuses(struct wire *wire, uint8_t *statuses, uint32_t count) {
    const uint8_t *at = wire->at;
    uint8_t other = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t status = at[i] ^ 0xC2; /* c2 false, c3 true, c0 nil; others, the unused c1 among them, are above 2 */
        statuses[i] = status;
        other |= status > 2;
    }
    wire->at += count;
    return other ? WIRE_ODD : WIRE_OK;
}

/* `count` moments from 0 to 2^63-1, or nil, which becomes -1. */
static inline int wire_times(struct wire *wire, int64_t *times, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = 0;
        if (wire->at < wire->end && *wire->at == 0xC0) {
            wire->at++;
            times[i] = -1;
            continue;
        }
        const int result = wire_uint(wire, &value);
        if (result != WIRE_OK) {
            return result;
        }
        if (value > INT64_MAX) {
            return WIRE_ODD;
        }
        times[i] = (int64_t)value;
    }
    return WIRE_OK;
}

/* Finds the end of one value, in pieces: `at` is how far it got, `left` how many values each open array or map still wants. */
struct scan {
    size_t at;
    uint32_t depth, capacity;
    uint64_t *left;
};

enum scan_result { SCAN_DONE = 0, SCAN_MORE = 1, SCAN_BAD = 2, SCAN_NO_MEMORY = 3 };

static inline struct scan scan_new(void) { return (struct scan){0}; }

static inline void scan_start(struct scan *scan) { scan->at = scan->depth = 0; }

static inline void scan_free(struct scan *scan) {
    free(scan->left);
    *scan = (struct scan){0};
}

/* What follows a mark: bytes of head (the mark included), and whether they say a count of bytes, values or pairs. */
struct scan_shape {
    uint8_t head, extra;
    enum { SHAPE_NONE, SHAPE_BYTES, SHAPE_VALUES, SHAPE_PAIRS, SHAPE_BAD } counts;
};

static inline struct scan_shape scan_shape_of(uint8_t mark) {
    static const struct scan_shape shapes[] = {
        /* c0 */ {1, 0, SHAPE_NONE}, {1, 0, SHAPE_BAD}, {1, 0, SHAPE_NONE}, {1, 0, SHAPE_NONE},
        /* c4 bin */ {2, 0, SHAPE_BYTES}, {3, 0, SHAPE_BYTES}, {5, 0, SHAPE_BYTES},
        /* c7 ext */ {2, 1, SHAPE_BYTES}, {3, 1, SHAPE_BYTES}, {5, 1, SHAPE_BYTES},
        /* ca float */ {5, 0, SHAPE_NONE}, {9, 0, SHAPE_NONE},
        /* cc uint */ {2, 0, SHAPE_NONE}, {3, 0, SHAPE_NONE}, {5, 0, SHAPE_NONE}, {9, 0, SHAPE_NONE},
        /* d0 int */ {2, 0, SHAPE_NONE}, {3, 0, SHAPE_NONE}, {5, 0, SHAPE_NONE}, {9, 0, SHAPE_NONE},
        /* d4 fixext */ {3, 0, SHAPE_NONE}, {4, 0, SHAPE_NONE}, {6, 0, SHAPE_NONE}, {10, 0, SHAPE_NONE}, {18, 0, SHAPE_NONE},
        /* d9 str */ {2, 0, SHAPE_BYTES}, {3, 0, SHAPE_BYTES}, {5, 0, SHAPE_BYTES},
        /* dc array */ {3, 0, SHAPE_VALUES}, {5, 0, SHAPE_VALUES},
        /* de map */ {3, 0, SHAPE_PAIRS}, {5, 0, SHAPE_PAIRS}};
    if (mark >= 0xC0 && mark < 0xE0) {
        return shapes[mark - 0xC0];
    }
    return (struct scan_shape){1, 0, SHAPE_NONE};
}

static inline int scan_open(struct scan *scan, uint64_t count) {
    if (scan->depth == scan->capacity) {
        const uint32_t capacity = 2 * scan->capacity + 8;
        uint64_t *left = (uint64_t *)realloc(scan->left, capacity * sizeof *left);
        if (left == NULL) {
            return SCAN_NO_MEMORY;
        }
        scan->left = left;
        scan->capacity = capacity;
    }
    scan->left[scan->depth++] = count;
    return SCAN_MORE;
}

/* Goes on through `data`, whose first `scan->at` bytes it has seen before. `at` is the end of the value when it is done. */
static inline int scan_on(struct scan *scan, const uint8_t *data, size_t size, uint32_t depth_max) {
    while (scan->at < size) {
        const uint8_t mark = data[scan->at];
        const struct scan_shape shape = scan_shape_of(mark);
        const size_t left = size - scan->at;
        uint64_t body = 0, count = 0;
        bool opens = false;
        if (shape.counts == SHAPE_BAD) {
            return SCAN_BAD;
        }
        if (left < shape.head) {
            return SCAN_MORE;
        }
        if (mark >= 0x80 && mark <= 0x9F) {
            count = (uint64_t)(mark & 0x0F) << (mark < 0x90); /* a small map has pairs, a small array values */
            opens = true;
        } else if (mark >= 0xA0 && mark <= 0xBF) {
            body = mark & 0x1F;
        } else if (shape.counts != SHAPE_NONE) {
            const uint64_t said = wire_big_endian(data + scan->at + 1, (size_t)shape.head - 1);
            body = shape.counts == SHAPE_BYTES ? said + shape.extra : 0;
            count = shape.counts == SHAPE_VALUES ? said : shape.counts == SHAPE_PAIRS ? 2 * said : 0;
            opens = shape.counts != SHAPE_BYTES;
        }
        if (left - shape.head < body) {
            return SCAN_MORE;
        }
        if (opens && scan->depth == depth_max) {
            return SCAN_BAD;
        }
        if (count > 0) {
            const int result = scan_open(scan, count);
            if (result != SCAN_MORE) {
                return result;
            }
        }
        scan->at += shape.head + (size_t)body;
        if (count == 0) {
            while (scan->depth > 0 && --scan->left[scan->depth - 1] == 0) {
                scan->depth--;
            }
            if (scan->depth == 0) {
                return SCAN_DONE;
            }
        }
    }
    return SCAN_MORE;
}

#endif

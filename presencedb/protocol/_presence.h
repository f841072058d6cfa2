/* A `presence` notification straight from columns: measured first, then written into bytes of just that size.
 *
 *     [2, "presence", [cursor, [[id, online, at_ms, reason], ...]]]
 */
#ifndef PRESENCEDB_PRESENCE_H
#define PRESENCEDB_PRESENCE_H

#include "presencedb/protocol/_write.h"

#define PRESENCE_REASON_BYTES 16

/* What a mark says, as it is written. */
struct presence_mark {
    uint8_t online;
    uint8_t reason_size; /* 0: no such mark */
    uint8_t reason[PRESENCE_REASON_BYTES];
};

struct presence {
    const struct ids *ids; /* its count is that of the columns */
    const uint8_t *marks;
    const int64_t *times_ms;
    const uint32_t *positions; /* which to tell; NULL: all */
    size_t count;              /* of those to tell */
    const struct presence_mark *known;
};

enum presence_result { PRESENCE_OK = 0, PRESENCE_BAD_POSITION = 1, PRESENCE_BAD_MARK = 2 };

static const uint8_t PRESENCE_HEAD[] = {0x93, 0x02, 0xA8, 'p', 'r', 'e', 's', 'e', 'n', 'c', 'e', 0x92};

/* How many bytes the notification takes; or the first position that is wrong, in `bad`. */
static inline int presence_measure(const struct presence *presence, size_t cursor_size, size_t *size, size_t *bad) {
    const struct ids *ids = presence->ids;
    size_t sum = sizeof PRESENCE_HEAD + size_of_text(cursor_size) + size_of_array(presence->count);
    for (size_t i = 0; i < presence->count; i++) {
        const size_t index = presence->positions == NULL ? i : presence->positions[i];
        *bad = index;
        if (index >= ids->count) {
            return PRESENCE_BAD_POSITION;
        }
        const struct presence_mark *mark = &presence->known[presence->marks[index]];
        if (mark->reason_size == 0) {
            return PRESENCE_BAD_MARK;
        }
        sum += 2 + size_of_id(ids, index) + size_of_int(presence->times_ms[index]) + mark->reason_size;
    }
    *size = sum;
    return PRESENCE_OK;
}

/* Writes what has been measured to take `size` bytes. */
static inline void presence_put(uint8_t *at, size_t size, const struct presence *presence, const char *cursor,
                                size_t cursor_size) {
    const uint8_t *end = at + size;
    memcpy(at, PRESENCE_HEAD, sizeof PRESENCE_HEAD);
    at = put_text(at + sizeof PRESENCE_HEAD, cursor, cursor_size);
    at = put_array(at, presence->count);
    for (size_t i = 0; i < presence->count; i++) {
        const size_t index = presence->positions == NULL ? i : presence->positions[i];
        const struct presence_mark *mark = &presence->known[presence->marks[index]];
        *at = 0x94;
        at = put_id(at + 1, presence->ids, index);
        *at = mark->online;
        at = put_int(at + 1, presence->times_ms[index]);
        /* One store of a fixed size where there is room; what goes over the end of the reason is overwritten next. */
        if ((size_t)(end - at) >= PRESENCE_REASON_BYTES) {
            memcpy(at, mark->reason, PRESENCE_REASON_BYTES);
        } else {
            memcpy(at, mark->reason, mark->reason_size);
        }
        at += mark->reason_size;
    }
}

#endif

/* Bytes as they came from a peer, until the frames in them are read.
 *
 *     data    [read | frame | frame | frame that is not all th ... room]
 *             0     start                                      end     capacity
 */
#ifndef PRESENCEDB_INBOX_H
#define PRESENCEDB_INBOX_H

#include "presencedb/protocol/_wire.h"

#define INBOX_KEPT_BYTES_MAX 65536

struct inbox {
    uint8_t *data;
    size_t start, end, capacity;
    struct scan scan;
    bool partial; /* the frame at `start` is not all there; `scan` has seen what is */
};

static inline void inbox_free(struct inbox *inbox) {
    free(inbox->data);
    scan_free(&inbox->scan);
    *inbox = (struct inbox){0};
}

static inline bool inbox_reserve(struct inbox *inbox, size_t more) {
    const size_t size = inbox->end - inbox->start;
    if (more <= inbox->capacity - inbox->end) {
        return true;
    }
    if (inbox->start > 0) {
        memmove(inbox->data, inbox->data + inbox->start, size);
        inbox->start = 0;
        inbox->end = size;
    }
    if (size + more > inbox->capacity) {
        const size_t capacity = size + more > 2 * inbox->capacity ? size + more : 2 * inbox->capacity;
        uint8_t *data = (uint8_t *)realloc(inbox->data, capacity);
        if (data == NULL) {
            return false;
        }
        inbox->data = data;
        inbox->capacity = capacity;
    }
    return true;
}

/* Appends a copy of the bytes; false where there is no memory for them. */
static inline bool inbox_feed(struct inbox *inbox, const void *bytes, size_t size) {
    if (size == 0) {
        return true;
    }
    if (!inbox_reserve(inbox, size)) {
        return false;
    }
    memcpy(inbox->data + inbox->end, bytes, size);
    inbox->end += size;
    return true;
}

/* All is read: begins again at the front, and gives back what a rare large frame needed. */
static inline void inbox_tidy(struct inbox *inbox) {
    inbox->start = inbox->end = 0;
    if (inbox->capacity > INBOX_KEPT_BYTES_MAX) {
        free(inbox->data);
        inbox->data = NULL;
        inbox->capacity = 0;
    }
}

static inline struct wire inbox_wire(const struct inbox *inbox) {
    return (struct wire){inbox->data + inbox->start, inbox->data + inbox->end};
}

enum inbox_result { INBOX_FRAME = 0, INBOX_MORE = 1, INBOX_BAD = 2, INBOX_TOO_LARGE = 3, INBOX_NO_MEMORY = 4 };

/* Looks on for the end of the frame at `start`, from where it stopped last; `size` is that of a whole frame. */
static inline int inbox_look(struct inbox *inbox, size_t frame_bytes_max, uint32_t depth_max, size_t *size) {
    if (!inbox->partial) {
        scan_start(&inbox->scan);
        inbox->partial = true;
    }
    const size_t held = inbox->end - inbox->start;
    const int result = scan_on(&inbox->scan, inbox->data + inbox->start, held, depth_max);
    if (result == SCAN_NO_MEMORY) {
        return INBOX_NO_MEMORY;
    }
    if (result == SCAN_BAD) {
        return INBOX_BAD;
    }
    if ((result == SCAN_DONE ? inbox->scan.at : held) > frame_bytes_max) {
        return INBOX_TOO_LARGE;
    }
    if (result == SCAN_MORE) {
        return INBOX_MORE;
    }
    *size = inbox->scan.at;
    inbox->partial = false;
    return INBOX_FRAME;
}

#endif

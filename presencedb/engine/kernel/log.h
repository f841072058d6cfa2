/* What changed, in order, until somebody takes it, from the front and in pieces of any size.
 *
 *     changes  [taken | waiting ... | room]       `start` and `count` are where those that wait begin and end
 *     texts    [taken | waiting ... | room]       of those of them that are texts, one after the other
 *
 * Taking moves nothing. What is taken gives its room to what comes when that would ask for more, unless more waits than was
 * taken: so nobody's change is moved more often than, on average, others are taken.
 */
#ifndef PRESENCEDB_LOG_H
#define PRESENCEDB_LOG_H

#include "presencedb/engine/kernel/line.h"
#include "presencedb/ids/_ids.h"

enum reason { REASON_HEARTBEAT = 0, REASON_TIMEOUT = 1, REASON_SIGN_OFF = 2 }; /* as in `states.py` */
enum { MARK_REASON_SHIFT = 2 };                                                /* as in `transitions.py` */
/* A log that grew beyond these, in changes or bytes of texts, gives its memory back when it is emptied. */
enum { LOG_KEPT_MAX = 256, LOG_TEXTS_KEPT_MAX = 16 << 10 };

struct change {
    struct bits128 id; /* the hash; of a text, its length (in `low`) */
    uint32_t tick;
    uint8_t kind, mark;
};

struct log {
    struct change *changes;
    size_t start, count, capacity;
    char *texts;
    size_t texts_start, texts_size, texts_capacity;
};

static inline bool log_grow(void **array, size_t *capacity, size_t wanted, size_t size) {
    size_t larger = 2 * *capacity + 64;
    larger = larger < wanted ? wanted : larger;
    void *grown = realloc(*array, larger * size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *capacity = larger;
    return true;
}

static inline void log_reuse_taken(struct log *log) {
    const size_t waiting = log->count - log->start, texts_waiting = log->texts_size - log->texts_start;
    if (log->start > 0 && log->start >= waiting) {
        memcpy(log->changes, log->changes + log->start, waiting * sizeof *log->changes);
        log->start = 0;
        log->count = waiting;
    }
    if (log->texts_start > 0 && log->texts_start >= texts_waiting) {
        memcpy(log->texts, log->texts + log->texts_start, texts_waiting);
        log->texts_start = 0;
        log->texts_size = texts_waiting;
    }
}

/* Makes sure that so many changes can be told without asking for memory; of texts, with the longest text each. */
static inline bool log_reserve(struct log *log, int kind, size_t count) {
    const size_t texts = kind == KIND_TEXT ? count * ID_TEXT_BYTES_MAX : 0;
    if (count <= log->capacity - log->count && texts <= log->texts_capacity - log->texts_size) {
        return true;
    }
    log_reuse_taken(log);
    return (count <= log->capacity - log->count ||
            log_grow((void **)&log->changes, &log->capacity, log->count + count, sizeof *log->changes)) &&
           (texts <= log->texts_capacity - log->texts_size ||
            log_grow((void **)&log->texts, &log->texts_capacity, log->texts_size + texts, 1));
}

static inline void log_change(struct log *log, int kind, struct bits128 hash, const char *text, size_t text_size,
                              bool online, uint32_t tick, enum reason reason) {
    struct change *change = &log->changes[log->count++];
    *change = (struct change){hash, tick, (uint8_t)kind, (uint8_t)(reason << MARK_REASON_SHIFT | online)};
    if (kind == KIND_TEXT) {
        memcpy(log->texts + log->texts_size, text, text_size);
        change->id = (struct bits128){0, text_size};
        log->texts_size += text_size;
    }
}

static inline void log_free(struct log *log) {
    free(log->changes);
    free(log->texts);
    *log = (struct log){0};
}

static inline void log_empty(struct log *log) {
    if (log->capacity > LOG_KEPT_MAX || log->texts_capacity > LOG_TEXTS_KEPT_MAX) {
        log_free(log);
    }
    log->start = log->count = 0;
    log->texts_start = log->texts_size = 0;
}

static inline size_t log_waiting(const struct log *log) { return log->count - log->start; }

/* How many bytes the texts of the first of those that wait have. */
static inline size_t log_text_bytes(const struct log *log, size_t count) {
    size_t bytes = 0;
    if (log->texts_start < log->texts_size) {
        for (size_t i = log->start; i < log->start + count; i++) {
            bytes += log->changes[i].kind == KIND_TEXT ? (size_t)log->changes[i].id.low : 0;
        }
    }
    return bytes;
}

/* Takes as many as there are places from the front of those that wait, into a batch that is empty and columns beside it.
 * Returns `IDS_OK`, or `IDS_NO_MEMORY` with nothing taken. */
static inline int log_take(struct log *log, const struct hash_keys *keys, size_t count, struct ids *ids, uint8_t *marks,
                           uint32_t *ticks) {
    const size_t text_bytes = log_text_bytes(log, count);
    if (ids_reserve(ids, count) != IDS_OK || ids_reserve_texts(ids, text_bytes) != IDS_OK) {
        return IDS_NO_MEMORY;
    }
    uint64_t text_at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct change *change = &log->changes[log->start + i];
        if (change->kind == KIND_TEXT) {
            ids_put(ids, KIND_TEXT, (struct bits128){text_at, change->id.low});
            text_at += change->id.low;
        } else {
            ids_put(ids, change->kind, value_of_hash(keys, change->kind, change->id));
        }
        marks[i] = change->mark;
        ticks[i] = change->tick;
    }
    if (text_bytes > 0) {
        memcpy(ids->texts, log->texts + log->texts_start, text_bytes);
        ids->texts_size = text_bytes;
    }
    log->start += count;
    log->texts_start += text_bytes;
    if (log->start == log->count) {
        log_empty(log);
    }
    return IDS_OK;
}

#endif

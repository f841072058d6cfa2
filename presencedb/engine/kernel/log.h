/* What changed, in order, until somebody takes it.
 */
#ifndef PRESENCEDB_LOG_H
#define PRESENCEDB_LOG_H

#include "presencedb/engine/kernel/line.h"

enum reason { REASON_HEARTBEAT = 0, REASON_TIMEOUT = 1, REASON_SIGN_OFF = 2 }; /* as in `states.py` */
/* A log that grew beyond these, in changes or bytes of texts, gives its memory back when it is emptied. */
enum { LOG_KEPT_MAX = 256, LOG_TEXTS_KEPT_MAX = 16 << 10 };

struct change {
    struct bits128 id; /* the hash, or of a text: where in `texts` (high), and its length (low) */
    uint32_t tick;
    uint8_t kind, online, reason;
};

struct log {
    struct change *changes;
    size_t start, count, capacity; /* those before `start` are taken already */
    char *texts;
    size_t texts_size, texts_capacity;
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

/* Makes sure that so many changes can be told without asking for memory; of texts, with the longest text each. */
static inline bool log_reserve(struct log *log, int kind, size_t count) {
    if (log->count + count > log->capacity &&
        !log_grow((void **)&log->changes, &log->capacity, log->count + count, sizeof *log->changes)) {
        return false;
    }
    const size_t texts = kind == KIND_TEXT ? log->texts_size + count * 255 : 0;
    return texts <= log->texts_capacity || log_grow((void **)&log->texts, &log->texts_capacity, texts, 1);
}

static inline void log_change(struct log *log, int kind, struct bits128 hash, const char *text, size_t text_size,
                              bool online, uint32_t tick, enum reason reason) {
    struct change *change = &log->changes[log->count++];
    *change = (struct change){hash, tick, (uint8_t)kind, online, (uint8_t)reason};
    if (kind == KIND_TEXT) {
        memcpy(log->texts + log->texts_size, text, text_size);
        change->id = (struct bits128){log->texts_size, text_size};
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
    log->start = 0;
    log->count = 0;
    log->texts_size = 0;
}

#endif

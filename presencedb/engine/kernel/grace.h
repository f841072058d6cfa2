/* Sign-offs that wait for the end of their grace: a small hash table of requests, and a heap of their ends.
 *
 * A request may be dropped, or its end come earlier, at any time; its old entry in the heap is then skipped when it comes
 * up. The heap is made anew when most of it is of that sort.
 */
#ifndef PRESENCEDB_GRACE_H
#define PRESENCEDB_GRACE_H

#include "presencedb/engine/kernel/line.h"

enum { GRACE_STALE_MAX = 64 };

struct request {
    struct bits128 hash;
    char *text; /* of a text: its own copy */
    int64_t ends;
    uint32_t register_value; /* what to write: the tick of the request, signed off */
    uint8_t kind, text_size, used;
};

struct ending {
    int64_t ends;
    struct bits128 hash;
    uint8_t kind;
};

struct graces {
    struct request *requests; /* open addressing, a power of two of places */
    size_t count, places;
    struct ending *heap;
    size_t heap_count, heap_capacity;
};

static inline bool request_is_of(const struct request *request, int kind, const struct key *key) {
    return request->kind == kind && request->hash.high == key->hash.high && request->hash.low == key->hash.low &&
           (kind != KIND_TEXT ||
            (request->text_size == key->text_size && memcmp(request->text, key->text, key->text_size) == 0));
}

static inline size_t grace_home(const struct graces *graces, int kind, struct bits128 hash) {
    return (size_t)((hash.high ^ hash.low) * 0x9E3779B97F4A7C15ULL >> 32 ^ (uint64_t)kind) & (graces->places - 1);
}

static inline struct request *grace_find(const struct graces *graces, int kind, const struct key *key) {
    if (graces->count == 0) {
        return NULL;
    }
    size_t at = grace_home(graces, kind, key->hash);
    while (graces->requests[at].used) {
        if (request_is_of(&graces->requests[at], kind, key)) {
            return &graces->requests[at];
        }
        at = (at + 1) & (graces->places - 1);
    }
    return NULL;
}

static inline void heap_sift_down(struct ending *heap, size_t count, size_t at) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < count && heap[child + 1].ends < heap[child].ends) {
            child++;
        }
        if (child >= count || heap[at].ends <= heap[child].ends) {
            return;
        }
        const struct ending swapped = heap[at];
        heap[at] = heap[child];
        heap[child] = swapped;
        at = child;
    }
}

static inline void heap_push(struct graces *graces, struct ending ending) {
    size_t at = graces->heap_count++;
    while (at > 0 && graces->heap[(at - 1) / 2].ends > ending.ends) {
        graces->heap[at] = graces->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    graces->heap[at] = ending;
}

static inline void heap_pop(struct graces *graces) {
    graces->heap[0] = graces->heap[--graces->heap_count];
    heap_sift_down(graces->heap, graces->heap_count, 0);
}

static inline void grace_clear(struct graces *graces) {
    for (size_t i = 0; i < graces->places; i++) {
        free(graces->requests[i].text);
    }
    free(graces->requests);
    free(graces->heap);
    *graces = (struct graces){0};
}

/* Drops a request; whoever stands behind it moves up. */
static inline void grace_drop(struct graces *graces, struct request *request) {
    size_t hole = (size_t)(request - graces->requests), at = hole;
    const size_t mask = graces->places - 1;
    free(request->text);
    *request = (struct request){0};
    if (--graces->count == 0) {
        grace_clear(graces);
        return;
    }
    while (graces->requests[at = (at + 1) & mask].used) {
        const size_t home = grace_home(graces, graces->requests[at].kind, graces->requests[at].hash);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            graces->requests[hole] = graces->requests[at];
            graces->requests[at] = (struct request){0};
            hole = at;
        }
    }
}

static inline bool grace_grow(struct graces *graces) {
    struct graces grown = {.places = graces->places == 0 ? 16 : 2 * graces->places};
    grown.requests = (struct request *)calloc(grown.places, sizeof *grown.requests);
    if (grown.requests == NULL) {
        return false;
    }
    for (size_t i = 0; i < graces->places; i++) {
        if (graces->requests[i].used) {
            size_t at = grace_home(&grown, graces->requests[i].kind, graces->requests[i].hash);
            while (grown.requests[at].used) {
                at = (at + 1) & (grown.places - 1);
            }
            grown.requests[at] = graces->requests[i];
        }
    }
    free(graces->requests);
    graces->requests = grown.requests;
    graces->places = grown.places;
    return true;
}

/* Room for one more entry in the heap: of stale ones, or new. */
static inline bool grace_heap_room(struct graces *graces) {
    if (graces->heap_count > 2 * graces->count + GRACE_STALE_MAX) {
        graces->heap_count = 0;
        for (size_t i = 0; i < graces->places; i++) {
            const struct request *request = &graces->requests[i];
            if (request->used) {
                heap_push(graces, (struct ending){request->ends, request->hash, request->kind});
            }
        }
    }
    if (graces->heap_count < graces->heap_capacity) {
        return true;
    }
    const size_t capacity = 2 * graces->heap_capacity + 16;
    struct ending *heap = (struct ending *)realloc(graces->heap, capacity * sizeof *heap);
    if (heap == NULL) {
        return false;
    }
    graces->heap = heap;
    graces->heap_capacity = capacity;
    return true;
}

/* Notes a request. One that waits already keeps the earlier end, and gets the later tick of request. */
static inline bool grace_note(struct graces *graces, int kind, const struct key *key, uint32_t register_value,
                              int64_t ends) {
    struct request *request = grace_find(graces, kind, key);
    if (!grace_heap_room(graces)) {
        return false;
    }
    if (request == NULL) {
        if (4 * (graces->count + 1) > 3 * graces->places && !grace_grow(graces)) {
            return false;
        }
        char *text = NULL;
        if (kind == KIND_TEXT) {
            text = (char *)malloc(key->text_size);
            if (text == NULL) {
                return false;
            }
            memcpy(text, key->text, key->text_size);
        }
        size_t at = grace_home(graces, kind, key->hash);
        while (graces->requests[at].used) {
            at = (at + 1) & (graces->places - 1);
        }
        graces->requests[at] =
            (struct request){key->hash, text, ends, register_value, (uint8_t)kind, (uint8_t)key->text_size, 1};
        graces->count++;
        heap_push(graces, (struct ending){ends, key->hash, (uint8_t)kind});
        return true;
    }
    if (request->register_value < register_value) {
        request->register_value = register_value;
    }
    if (request->ends > ends) {
        request->ends = ends;
        heap_push(graces, (struct ending){ends, key->hash, (uint8_t)kind});
    }
    return true;
}

/* The request whose grace ended first, at or before `tick`; NULL if there is none. */
static inline struct request *grace_ended(struct graces *graces, int64_t tick) {
    while (graces->heap_count > 0 && graces->heap[0].ends <= tick) {
        const struct ending ending = graces->heap[0];
        size_t at = grace_home(graces, ending.kind, ending.hash);
        while (graces->requests[at].used) {
            struct request *request = &graces->requests[at];
            if (request->kind == ending.kind && request->hash.high == ending.hash.high &&
                request->hash.low == ending.hash.low && request->ends == ending.ends) {
                return request;
            }
            at = (at + 1) & (graces->places - 1);
        }
        heap_pop(graces);
    }
    return NULL;
}

#endif

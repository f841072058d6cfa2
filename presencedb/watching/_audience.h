/* The watchers of one id, sorted: in the record itself while they are few, else in a block, whose size their count says.
 *
 * Who comes or goes moves those behind it: of 10,000 watchers that is 40 kB at most, about a microsecond.
 */
#ifndef PRESENCEDB_WATCHING_AUDIENCE_H
#define PRESENCEDB_WATCHING_AUDIENCE_H

#include "presencedb/watching/_store.h"

enum audience_result { AUDIENCE_NO_MEMORY = -1, AUDIENCE_HAD = 0, AUDIENCE_ADDED = 1 };

/* Of the block for so many; 0 where they are in the record. */
static inline size_t audience_bytes(uint32_t count) {
    return count <= AUDIENCE_FEW ? 0 : list_room(count) * sizeof(uint32_t);
}

static inline uint32_t *audience_numbers(struct record *record) {
    return record->audience_count <= AUDIENCE_FEW ? record->audience.few : record->audience.many;
}

/* How many of them are below this one, which is where it is or belongs. */
static inline uint32_t numbers_below(const uint32_t *numbers, uint32_t count, uint32_t number) {
    uint32_t low = 0;
    while (count > 0) {
        const uint32_t half = count / 2;
        const bool upper = numbers[low + half] < number;
        low = upper ? low + half + 1 : low;
        count = upper ? count - half - 1 : half;
    }
    return low;
}

static inline bool audience_has(struct record *record, uint32_t watcher) {
    const uint32_t *numbers = audience_numbers(record);
    const uint32_t at = numbers_below(numbers, record->audience_count, watcher);
    return at < record->audience_count && numbers[at] == watcher;
}

/* Where one more than there are can stand; NULL where there is no memory. */
static inline uint32_t *audience_reserve(struct memory *memory, struct record *record) {
    const size_t from = audience_bytes(record->audience_count), to = audience_bytes(record->audience_count + 1);
    if (from == to) {
        return audience_numbers(record);
    }
    uint32_t *many = (uint32_t *)memory_resize(memory, from == 0 ? NULL : record->audience.many, from, to);
    if (many == NULL) {
        return NULL;
    }
    if (from == 0) {
        memcpy(many, record->audience.few, sizeof record->audience.few);
    }
    record->audience.many = many;
    return many;
}

static inline enum audience_result audience_add(struct memory *memory, struct record *record, uint32_t watcher) {
    const uint32_t at = numbers_below(audience_numbers(record), record->audience_count, watcher);
    if (at < record->audience_count && audience_numbers(record)[at] == watcher) {
        return AUDIENCE_HAD;
    }
    uint32_t *numbers = audience_reserve(memory, record);
    if (numbers == NULL) {
        return AUDIENCE_NO_MEMORY;
    }
    memmove(&numbers[at + 1], &numbers[at], (record->audience_count - at) * sizeof *numbers);
    numbers[at] = watcher;
    record->audience_count++;
    return AUDIENCE_ADDED;
}

/* False if it was not there. */
static inline bool audience_remove(struct memory *memory, struct record *record, uint32_t watcher) {
    uint32_t *numbers = audience_numbers(record);
    const uint32_t at = numbers_below(numbers, record->audience_count, watcher);
    if (at == record->audience_count || numbers[at] != watcher) {
        return false;
    }
    const size_t from = audience_bytes(record->audience_count);
    memmove(&numbers[at], &numbers[at + 1], (record->audience_count - at - 1) * sizeof *numbers);
    const size_t to = audience_bytes(--record->audience_count);
    if (from != to && to > 0) {
        record->audience.many = (uint32_t *)memory_shrink(memory, numbers, from, to);
    } else if (from != to) {
        memcpy(record->audience.few, numbers, sizeof record->audience.few);
        memory_free(memory, numbers, from);
    }
    return true;
}

#endif

/* Answers of parts back into one, at the positions where they were asked. `merge.py` says what is right.
 */
#ifndef PRESENCEDB_MERGE_H
#define PRESENCEDB_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STATUS_UNKNOWN = 2 };

static inline bool positions_are_below(const uint32_t *positions, size_t count, size_t bound) {
    uint32_t greatest = 0;
    for (size_t i = 0; i < count; i++) {
        greatest = positions[i] > greatest ? positions[i] : greatest;
    }
    return count == 0 || greatest < bound;
}

static inline bool statuses_are_valid(const uint8_t *statuses, size_t count) {
    uint8_t greatest = 0;
    for (size_t i = 0; i < count; i++) {
        greatest = statuses[i] > greatest ? statuses[i] : greatest;
    }
    return greatest <= STATUS_UNKNOWN;
}

/* The first that is known wins. */
static inline void merge_known(uint8_t *into, const uint32_t *positions, const uint8_t *part, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *status = into + positions[i];
        *status = *status == STATUS_UNKNOWN ? part[i] : *status;
    }
}

/* Writes the positions that are still unknown to `unknown`, where it is given, and returns how many there are. */
static inline size_t find_unknown(uint32_t *unknown, const uint8_t *into, const uint32_t *positions, size_t count) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (into[positions[i]] == STATUS_UNKNOWN) {
            if (unknown != NULL) {
                unknown[found] = positions[i];
            }
            found++;
        }
    }
    return found;
}

/* The later wins; -1, of somebody never seen, is before all. */
static inline void merge_later(int64_t *into, const uint32_t *positions, const int64_t *part, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int64_t *time = into + positions[i];
        *time = part[i] > *time ? part[i] : *time;
    }
}

#endif

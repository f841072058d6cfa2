/* What must be true of a store between two calls, for the tests to ask after every step.
 */
#ifndef PRESENCEDB_CHECK_H
#define PRESENCEDB_CHECK_H

#include "presencedb/engine/kernel/exchange.h"

struct tally {
    size_t users, online, pages;
};

static inline const char *check_entry(const struct store *store, const struct page *page, unsigned char *line,
                                      unsigned index) {
    const struct key key = store_entry_key(store, page, line, index);
    const uint32_t time = line_time(line, page->kind, index);
    const bool online = time_is_online(time, store_offline_at(store, page));
    if (store_page(store, page->kind, key.slot, key.fraction) != page) {
        return "an entry is on a page where it is not looked for";
    }
    const struct entry entry = page_find(page, page->kind, &key);
    if (entry.line != line || entry.index != index) {
        return "an entry is not found, or another is before it";
    }
    if (online && store_deadline(store, time) < page->armed) {
        return "a page is looked at too late for a timeout";
    }
    if (!online && (time & 1) == 0 && time > 0 && store_deadline(store, time) > store_agreed_through(store, page->slot)) {
        return "somebody is offline whose timeout is not agreed to";
    }
    if (!online && store_forgets_at(store, time) < ARMED_NEVER && store_forgets_at(store, time) < page->armed) {
        return "a page is looked at too late to forget";
    }
    return NULL;
}

static inline const char *check_page(const struct store *store, const struct page *page, struct tally *tally) {
    size_t used = 0, online = 0;
    for (unsigned at = 0; at < page->line_count; at++) {
        unsigned char *line = page_line(page, page->kind, at);
        for (unsigned index = 0; index < line_entries(page->kind); index++) {
            const uint32_t time = line_time(line, page->kind, index);
            if (time == TIME_EMPTY) {
                continue;
            }
            const char *broken = check_entry(store, page, line, index);
            if (broken != NULL) {
                return broken;
            }
            used++;
            online += time_is_online(time, store_offline_at(store, page));
        }
    }
    if (wheel_is_aside(page) && (page->armed > store->expired_through || page->armed <= store_emits_through(store, page->slot))) {
        return "a page stands aside with nothing to wait for";
    }
    tally->users += used;
    tally->online += online;
    tally->pages++;
    if (used == 0 || used != page->used || used > page_room(page->kind, page->line_count)) {
        return "a page miscounts its users";
    }
    return online == page->online ? NULL : "a page miscounts who is online";
}

static inline const char *check_wheel(const struct store *store, size_t *armed) {
    for (int level = 0; level <= WHEEL_ASIDE; level++) {
        for (unsigned bucket = 0; bucket < WHEEL_BUCKETS; bucket++) {
            const struct page *page = store->wheel.buckets[level][bucket];
            if ((page != NULL) != (store->wheel.occupied[level] >> bucket & 1)) {
                return "the wheel misstates which buckets hold anything";
            }
            for (const struct page *previous = NULL; page != NULL; previous = page, page = page->wheel_next) {
                if (page->wheel_previous != previous || page->wheel_level != level || page->wheel_bucket != bucket) {
                    return "a page is not where the wheel has it";
                }
                ++*armed;
            }
        }
    }
    return NULL;
}

static inline const char *check_log(const struct log *log) {
    if (log->start > log->count || log->count > log->capacity || log->texts_size > log->texts_capacity) {
        return "the log holds more than it has room for";
    }
    if (log->texts_start > log->texts_size || log->texts_size - log->texts_start != log_text_bytes(log, log_waiting(log))) {
        return "the log miscounts its texts";
    }
    return NULL;
}

/* What is broken, or NULL. */
static inline const char *store_check(const struct store *store) {
    struct tally tally = {0};
    size_t blocks = 0, texts = 0, text_users = 0, armed = 0, unarmed = 0;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        const size_t users = tally.users;
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            const struct page *page;
            size_t at = 0;
            while ((page = store_walk(store, kind, slot, &at)) != NULL) {
                const bool placed = page->kind == kind && page->slot == slot;
                const char *broken = placed ? check_page(store, page, &tally) : "a page is misplaced";
                if (broken != NULL) {
                    return broken;
                }
                unarmed += page->armed == ARMED_NEVER;
            }
        }
        text_users = tally.users - users;
    }
    for (unsigned units = 0; units <= PAGE_UNITS_MAX; units++) {
        blocks += store->pages[units].block_count;
    }
    for (unsigned grains = 0; grains < TEXT_POOLS; grains++) {
        texts += store->texts[grains].block_count;
    }
    if (tally.users != store->users || tally.online != store->online) {
        return "the totals are wrong";
    }
    if (tally.pages != blocks || text_users != texts) {
        return "pages or texts are kept that nobody uses";
    }
    const char *broken = check_log(&store->log);
    broken = broken != NULL ? broken : check_wheel(store, &armed);
    return broken != NULL ? broken : armed + unarmed == tally.pages ? NULL : "the wheel holds pages that are gone";
}

#endif

/* Writes: one register a user, where the later write wins, and what follows from it.
 *
 * A register is a time word, `tick << 1 | signed_off`: the later write is the larger number, and at the same tick the
 * sign-off. Results are a sum of `WROTE_...`, or `WRITE_NO_MEMORY` with nothing changed.
 */
#ifndef PRESENCEDB_WRITE_H
#define PRESENCEDB_WRITE_H

#include "presencedb/engine/kernel/expiry.h"

enum { WRITE_NO_MEMORY = -1, WROTE_NOTHING = 0, WROTE_REGISTER = 1, WROTE_ONLINE = 2, WROTE_OFFLINE = 4 };

/* A user as a search found them. */
struct user {
    struct page *page; /* of the register, or where it would be; NULL: there is none yet */
    struct entry entry;
    uint32_t time; /* TIME_EMPTY: no register that counts */
    bool online;
};

ALWAYS_INLINE struct user store_find(const struct store *store, int kind, const struct key *key) {
    struct user user = {store_page(store, kind, key->slot, key->fraction), {NULL, 0}, TIME_EMPTY, false};
    if (user.page != NULL) {
        user.entry = page_find(user.page, kind, key);
        if (user.entry.line != NULL) {
            const uint32_t time = line_time(user.entry.line, kind, user.entry.index);
            user.online = time_is_online(time, store_offline_at(store, user.page));
            if (user.online || store_keeps(store, time)) {
                user.time = time;
            }
        }
    }
    return user;
}

/* The last time word of all would read as empty; the one before says the same, a tick less. */
static inline uint32_t time_storable(uint32_t time) { return time == TIME_EMPTY ? time - 2 : time; }

/* Stores the register of a user, in the entry that there is or a new one. Returns its page, or NULL without memory. */
static inline struct page *store_set(struct store *store, int kind, const struct key *key, struct user *user,
                                     uint32_t time) {
    if (user->entry.line != NULL) {
        line_set_time(user->entry.line, kind, user->entry.index, time_storable(time));
        return user->page;
    }
    struct page *page = store_make_room(store, kind, key);
    if (page == NULL) {
        return NULL;
    }
    const char *text = NULL;
    if (kind == KIND_TEXT) {
        text = store_keep_text(store, key->text, key->text_size);
        if (text == NULL) {
            return NULL;
        }
    }
    const struct entry entry = page_put(page, kind, key, time_storable(time));
    if (kind == KIND_TEXT) {
        memcpy(line_text_place(entry.line, entry.index), &text, sizeof text);
    }
    store->users++;
    return page;
}

static inline void store_tell(struct store *store, int kind, const struct key *key, bool online, int64_t at,
                              enum reason reason) {
    if (store_is_synced(store, key->slot)) {
        log_change(&store->log, kind, key->hash, key->text, key->text_size, online, (uint32_t)at, reason);
    }
}

static inline int store_come_online(struct store *store, int kind, const struct key *key, struct user *user, uint32_t time,
                                    int64_t at) {
    if (!log_reserve(&store->log, kind, 1)) {
        return WRITE_NO_MEMORY;
    }
    struct page *page = store_set(store, kind, key, user, time);
    if (page == NULL) {
        return WRITE_NO_MEMORY;
    }
    page->online++;
    store->online++;
    store_arm(store, page, store_deadline(store, time));
    store_tell(store, kind, key, true, at, REASON_HEARTBEAT);
    return WROTE_REGISTER | WROTE_ONLINE;
}

/* A heartbeat of somebody who is not online by it, stamped no later than what counts as offline when timeouts are emitted
 * through that tick. */
static inline uint32_t store_settled(const struct store *store, uint32_t time, int64_t through) {
    const uint32_t latest = time_offline_at(store->ttl, through) - 1;
    return time < latest ? time : latest;
}

/* Stores the register of somebody who is not online by it and was not before, if it is later than the one there is and is kept.
 * By the measure of its page a heartbeat must not look online, and that may lag behind. */
static inline int store_note(struct store *store, int kind, const struct key *key, uint32_t time) {
    const int64_t agreed = store_agreed_through(store, key->slot);
    struct user user = store_find(store, kind, key);
    if ((time & 1) == 0) {
        time = store_settled(store, time, agreed);
        if (user.page != NULL && user.page->armed <= agreed && store_deadline(store, time) >= user.page->armed) {
            /* The page is due and was not looked at yet. */
            if (store->hold > agreed) {
                time = store_settled(store, time, (int64_t)user.page->armed - 1);
            } else if (store_look_at(store, user.page) < 0) {
                return WRITE_NO_MEMORY;
            }
            user = store_find(store, kind, key);
        }
    }
    if ((user.time != TIME_EMPTY && time <= user.time) || !store_keeps(store, time)) {
        return WROTE_NOTHING;
    }
    struct page *page = store_set(store, kind, key, &user, time);
    if (page == NULL) {
        return WRITE_NO_MEMORY;
    }
    store_arm(store, page, store_forgets_at(store, time));
    return WROTE_REGISTER;
}

/* Writes a register if it is later than the one there is. `at` is the tick of the transition; -1: that of the register, but
 * no earlier than the last advance. */
static inline int store_put(struct store *store, int kind, const struct key *key, uint32_t time, int64_t at) {
    struct user user = store_find(store, kind, key);
    int result;
    if (user.time != TIME_EMPTY && time <= user.time) {
        return WROTE_NOTHING;
    }
    if (at < 0) {
        at = time_stamp(time) > store->advanced_to ? time_stamp(time) : store->advanced_to;
    }
    if (user.online && (time & 1) == 0) {
        line_set_time(user.entry.line, kind, user.entry.index, time);
        return WROTE_REGISTER;
    }
    if (user.online) {
        if (!log_reserve(&store->log, kind, 1)) {
            return WRITE_NO_MEMORY;
        }
        line_set_time(user.entry.line, kind, user.entry.index, time_storable(time));
        user.page->online--;
        store->online--;
        store_arm(store, user.page, store_forgets_at(store, time));
        store_tell(store, kind, key, false, at, REASON_SIGN_OFF);
        result = WROTE_REGISTER | WROTE_OFFLINE;
    } else if (time_is_online(time, store->fresh_above)) {
        result = store_come_online(store, kind, key, &user, time, at);
    } else {
        result = store_keeps(store, time) ? store_note(store, kind, key, time) : WROTE_NOTHING;
    }
    if ((time & 1) != 0 && result > 0) {
        store_drop_request(store, kind, key);
    }
    return result;
}

/* A heartbeat of anybody. With age 0 arrival decides: it overcomes a sign-off of the same tick or later. */
static NOINLINE int store_heartbeat(struct store *store, int kind, const struct key *key, uint32_t time,
                                    bool arrives) {
    if (arrives) {
        struct user user = store_find(store, kind, key);
        uint32_t stamp = time >> 1;
        if (user.time != TIME_EMPTY && (user.time & 1) != 0 && user.time >> 1 >= stamp) {
            stamp++;
        }
        if (!user.online && time_is_online(stamp << 1, store->fresh_above)) {
            return store_come_online(store, kind, key, &user, stamp << 1, stamp);
        }
        time = stamp << 1;
    }
    return store_put(store, kind, key, time, -1);
}

static NOINLINE void store_heartbeat_drops_request(struct store *store, int kind, const struct key *key, uint32_t time,
                                                   bool arrives) {
    struct request *request = grace_find(&store->graces, kind, key);
    if (request != NULL && (arrives || time >> 1 > request->register_value >> 1)) {
        grace_drop(&store->graces, request);
    }
}

/* A heartbeat of somebody who is online: the way that nearly all take. False: they are not, and nothing was written; the
 * lines where a new user may find a place are then on their way. */
ALWAYS_INLINE bool store_heartbeat_of_online(struct store *store, int kind, const struct key *key, uint32_t time,
                                             bool arrives) {
    if (__builtin_expect(store->graces.count > 0, 0)) {
        store_heartbeat_drops_request(store, kind, key, time, arrives);
    }
    const struct page *page = store_page(store, kind, key->slot, key->fraction);
    if (page == NULL) {
        return false;
    }
    const struct entry entry = page_find(page, kind, key);
    if (entry.line == NULL) {
        const unsigned char *home = page_line(page, kind, page_home(page, (uint32_t)(key->fraction >> 32)));
        for (unsigned further = 2; further < 6; further++) {
            __builtin_prefetch(home + further * LINE_UNIT_BYTES);
        }
        return false;
    }
    const uint32_t known = line_time(entry.line, kind, entry.index);
    if (!time_is_online(known, store_offline_at(store, page))) {
        return false;
    }
    if (known < time) {
        line_set_time(entry.line, kind, entry.index, time);
    }
    return true;
}

/* A sign-off, `arrives` where its age is 0; with an end of grace above 0 it is kept aside until then. */
static inline int store_sign_off(struct store *store, int kind, const struct key *key, uint32_t time, bool arrives,
                                 int64_t ends) {
    const struct user user = store_find(store, kind, key);
    if (user.time == TIME_EMPTY && store_is_synced(store, key->slot)) {
        return WROTE_NOTHING;
    }
    if (user.time != TIME_EMPTY && arrives && (user.time | 1) > time) {
        time = user.time | 1;
    }
    if (ends == 0) {
        return store_put(store, kind, key, time, -1);
    }
    if (user.time == TIME_EMPTY || time > user.time) {
        return grace_note(&store->graces, kind, key, time, ends) ? WROTE_NOTHING : WRITE_NO_MEMORY;
    }
    return WROTE_NOTHING;
}

/* A copy from elsewhere. */
static inline int store_merge(struct store *store, int kind, const struct key *key, uint32_t time) {
    const int result = store_put(store, kind, key, time, -1);
    if ((time & 1) == 0 && store->graces.count > 0) {
        store_heartbeat_drops_request(store, kind, key, time, false);
    }
    return result;
}

#endif

/* What the generator sends: its options, and the pool of requests encoded before the clock starts. */
#pragma once
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum protocol { PRESENCE, RESP };
enum operation { HEARTBEAT, NOTIFY, STATUS };
enum id_kind { INT32, INT64, UUID };

struct options {
    enum protocol protocol;
    enum operation operation;
    enum id_kind kind;
    const char *host;
    uint16_t port;
    uint32_t ids_per_frame, pipeline, connections, ttl_s;
    uint64_t keys, key_offset, frames, duration_ms, seed;
    bool sequential; /* every key once, in order, instead of keys drawn at random */
    bool once;       /* stop at the end of the pool */
};

struct pool {
    uint8_t *bytes;
    uint64_t size, capacity;
    uint64_t *offsets; /* frame_count + 1 of them */
    uint64_t frame_count;
};

static const char USAGE[] =
    "usage: loadgen --protocol presence|resp --port N --op heartbeat|notify|status [options]\n"
    "  --host A            IPv4 address (127.0.0.1)       --kind int32|int64|uuid (int32)\n"
    "  --ids-per-frame N   (1)                            --pipeline N    frames in flight a connection (1)\n"
    "  --connections N     (1)                            --keys N        users (1000000)\n"
    "  --key-offset N      first user (0)                 --frames N      frames in the pool (200000)\n"
    "  --duration-ms N     how long (2000)                --seed N        of the keys drawn (1)\n"
    "  --ttl N             seconds, for SET EX (30)       --sequential    every key once, then stop\n";

static void usage(void) {
    fputs(USAGE, stderr);
    exit(2);
}

static int choice(const char *value, const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(value, names[i]) == 0) return i;
    usage();
    return 0;
}

static void parse_options(struct options *options, int argc, char **argv) {
    static const char *const protocols[] = {"presence", "resp"};
    static const char *const operations[] = {"heartbeat", "notify", "status"};
    static const char *const kinds[] = {"int32", "int64", "uuid"};
    static const struct option names[] = {
        {"protocol", 1, 0, 'p'}, {"op", 1, 0, 'o'}, {"kind", 1, 0, 'k'}, {"host", 1, 0, 'h'}, {"port", 1, 0, 'P'},
        {"ids-per-frame", 1, 0, 'b'}, {"pipeline", 1, 0, 'l'}, {"connections", 1, 0, 'c'}, {"keys", 1, 0, 'n'},
        {"key-offset", 1, 0, 'O'}, {"frames", 1, 0, 'f'}, {"duration-ms", 1, 0, 'd'}, {"seed", 1, 0, 's'},
        {"ttl", 1, 0, 't'}, {"sequential", 0, 0, 'S'}, {0, 0, 0, 0}};
    *options = (struct options){.host = "127.0.0.1", .ids_per_frame = 1, .pipeline = 1, .connections = 1, .keys = 1000000,
                                .frames = 200000, .duration_ms = 2000, .seed = 1, .ttl_s = 30};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'p': options->protocol = (enum protocol)choice(optarg, protocols, 2); break;
        case 'o': options->operation = (enum operation)choice(optarg, operations, 3); break;
        case 'k': options->kind = (enum id_kind)choice(optarg, kinds, 3); break;
        case 'h': options->host = optarg; break;
        case 'P': options->port = (uint16_t)atoi(optarg); break;
        case 'b': options->ids_per_frame = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'l': options->pipeline = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'c': options->connections = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'n': options->keys = strtoull(optarg, NULL, 10); break;
        case 'O': options->key_offset = strtoull(optarg, NULL, 10); break;
        case 'f': options->frames = strtoull(optarg, NULL, 10); break;
        case 'd': options->duration_ms = strtoull(optarg, NULL, 10); break;
        case 's': options->seed = strtoull(optarg, NULL, 10); break;
        case 't': options->ttl_s = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'S': options->sequential = true; break;
        default: usage();
        }
    }
    if (optind != argc || !options->port || !options->ids_per_frame || !options->pipeline || !options->connections ||
        !options->keys)
        usage();
    if (options->sequential) {
        options->once = true;
        options->duration_ms = 0;
        options->frames = (options->keys + options->ids_per_frame - 1) / options->ids_per_frame;
    }
    /* Groups never straddle the end of the pool: each then has the one answer that ends a group of notifications. */
    options->frames = (options->frames + options->pipeline - 1) / options->pipeline * options->pipeline;
}

/* splitmix64 (S. Vigna): the stream of keys, and the digits of UUIDs. */
static uint64_t splitmix64(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static void put(struct pool *pool, const void *data, size_t size) {
    if (pool->size + size > pool->capacity) {
        pool->capacity = (pool->size + size) * 2;
        pool->bytes = realloc(pool->bytes, pool->capacity);
        if (!pool->bytes) {
            fputs("loadgen: out of memory\n", stderr);
            exit(1);
        }
    }
    memcpy(pool->bytes + pool->size, data, size);
    pool->size += size;
}

static void put_text(struct pool *pool, const char *text) { put(pool, text, strlen(text)); }

static void put_big_endian(struct pool *pool, uint8_t mark, uint64_t value, int size) {
    uint8_t bytes[9] = {mark};
    for (int i = 0; i < size; i++) bytes[1 + i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    put(pool, bytes, (size_t)size + 1);
}

static int id_text(char *text, size_t size, enum id_kind kind, uint64_t key) {
    if (kind == INT32) return snprintf(text, size, "%llu", (unsigned long long)key);
    if (kind == INT64) return snprintf(text, size, "%llu", (unsigned long long)(key * 0x9E3779B97F4A7C15u));
    uint64_t high = splitmix64(key), low = splitmix64(high ^ key);
    return snprintf(text, size, "%08llx-%04llx-4%03llx-a%03llx-%012llx", (unsigned long long)(high >> 32),
                    (unsigned long long)(high >> 16 & 0xFFFF), (unsigned long long)(high & 0xFFF),
                    (unsigned long long)(low >> 52), (unsigned long long)(low & 0xFFFFFFFFFFFFu));
}

static void put_msgpack_id(struct pool *pool, enum id_kind kind, uint64_t key) {
    if (kind == UUID) {
        char text[48];
        int size = id_text(text, sizeof text, kind, key);
        uint8_t head[2] = {0xD9, (uint8_t)size};
        put(pool, head, 2);
        put(pool, text, (size_t)size);
        return;
    }
    uint64_t value = kind == INT64 ? key * 0x9E3779B97F4A7C15u : key;
    if (value < 128) put(pool, &(uint8_t){(uint8_t)value}, 1);
    else if (value <= 0xFF) put_big_endian(pool, 0xCC, value, 1);
    else if (value <= 0xFFFF) put_big_endian(pool, 0xCD, value, 2);
    else if (value <= 0xFFFFFFFFu) put_big_endian(pool, 0xCE, value, 4);
    else put_big_endian(pool, 0xCF, value, 8);
}

static void put_presence_head(struct pool *pool, const struct options *options, uint64_t frame) {
    const char *method = options->operation == STATUS ? "status" : "heartbeat";
    /* In a group of notifications the last one is a request, whose answer says that all of the group is done. */
    bool wants_reply = options->operation != NOTIFY || (frame + 1) % options->pipeline == 0;
    uint8_t with_reply[] = {0x94, 0x00, (uint8_t)(frame & 0x7F)}, without_reply[] = {0x93, 0x02};
    if (wants_reply) put(pool, with_reply, sizeof with_reply);
    else put(pool, without_reply, sizeof without_reply);
    put(pool, &(uint8_t){(uint8_t)(0xA0 | strlen(method))}, 1);
    put_text(pool, method);
    put(pool, &(uint8_t){0x91}, 1);
    if (options->ids_per_frame > 1) put_big_endian(pool, 0xDD, options->ids_per_frame, 4);
}

static void put_resp_key(struct pool *pool, const struct options *options, uint64_t key) {
    char text[48], head[16];
    int size = id_text(text, sizeof text, options->kind, key);
    snprintf(head, sizeof head, "$%d\r\n", size);
    put_text(pool, head);
    put_text(pool, text);
    put_text(pool, "\r\n");
}

static void put_resp_id(struct pool *pool, const struct options *options, uint64_t key) {
    if (options->operation == STATUS) {
        put_resp_key(pool, options, key);
        return;
    }
    char tail[64], ttl[16];
    int ttl_size = snprintf(ttl, sizeof ttl, "%u", options->ttl_s);
    put_text(pool, "*5\r\n$3\r\nSET\r\n");
    put_resp_key(pool, options, key);
    snprintf(tail, sizeof tail, "$1\r\n1\r\n$2\r\nEX\r\n$%d\r\n%s\r\n", ttl_size, ttl);
    put_text(pool, tail);
}

static const char REPLY_OFF[] = "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n";
static const char REPLY_ON[] = "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n";

static void build_pool(struct pool *pool, const struct options *options) {
    pool->frame_count = options->frames;
    pool->offsets = malloc((options->frames + 1) * sizeof *pool->offsets);
    uint64_t drawn = 0;
    for (uint64_t frame = 0; frame < options->frames; frame++) {
        pool->offsets[frame] = pool->size;
        bool first_of_group = frame % options->pipeline == 0, last_of_group = (frame + 1) % options->pipeline == 0;
        if (options->protocol == PRESENCE) put_presence_head(pool, options, frame);
        else if (options->operation == STATUS) {
            char head[32];
            snprintf(head, sizeof head, "*%u\r\n$4\r\nMGET\r\n", options->ids_per_frame + 1);
            put_text(pool, head);
        } else if (options->operation == NOTIFY && first_of_group)
            put_text(pool, REPLY_OFF);
        for (uint32_t i = 0; i < options->ids_per_frame; i++, drawn++) {
            uint64_t key = options->sequential ? drawn % options->keys : splitmix64(options->seed * 0x51ED27u + drawn) % options->keys;
            key += options->key_offset;
            if (options->protocol == PRESENCE) put_msgpack_id(pool, options->kind, key);
            else put_resp_id(pool, options, key);
        }
        if (options->protocol == RESP && options->operation == NOTIFY && last_of_group) put_text(pool, REPLY_ON);
    }
    pool->offsets[options->frames] = pool->size;
}

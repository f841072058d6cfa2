/* What the generator expects: parsers that take answers in pieces of any size and count what they say. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "frames.h"

struct reply_counts {
    uint32_t frames;
    uint64_t ids_true, ids_false;
};

struct reply_parser {
    const struct options *options;
    uint32_t frames_per_reply; /* a group of notifications has one answer in all */
    uint32_t lines_per_frame;  /* RESP: +OK lines that make one frame */
    /* presence */
    uint8_t held[16];
    uint32_t held_size;
    uint64_t elements_left;
    /* RESP */
    char line[32];
    uint32_t line_size, lines_seen;
    int64_t values_left;
    bool value_follows;
};

static void reply_parser_init(struct reply_parser *parser, const struct options *options) {
    memset(parser, 0, sizeof *parser);
    parser->options = options;
    parser->frames_per_reply = options->operation == NOTIFY ? options->pipeline : 1;
    parser->lines_per_frame = options->operation == HEARTBEAT ? options->ids_per_frame : 1;
}

static uint64_t big_endian(const uint8_t *bytes, uint32_t size) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++) value = value << 8 | bytes[i];
    return value;
}

static uint32_t bytes_after(uint8_t mark) {
    switch (mark) {
    case 0xCC: return 1;
    case 0xCD: case 0xDC: return 2;
    case 0xCE: case 0xDD: return 4;
    default: return 0;
    }
}

static const char *parse_presence(struct reply_parser *parser, const uint8_t *data, size_t size, struct reply_counts *counts) {
    size_t at = 0;
    while (at < size) {
        if (parser->elements_left) {
            size_t take = size - at < parser->elements_left ? size - at : parser->elements_left;
            uint64_t trues = 0, unknown = 0;
            for (size_t i = 0; i < take; i++) {
                trues += data[at + i] == 0xC3;
                unknown += (data[at + i] & 0xFE) != 0xC2;
            }
            if (unknown) return "a status is neither true nor false";
            counts->ids_true += trues;
            counts->ids_false += take - trues;
            parser->elements_left -= take;
            at += take;
            if (!parser->elements_left) counts->frames += parser->frames_per_reply;
            continue;
        }
        parser->held[parser->held_size++] = data[at++];
        /* 94 01 msgid c0, then a count or the head of an array */
        if (parser->held_size < 5) continue;
        if (parser->held[0] != 0x94 || parser->held[1] != 0x01 || parser->held[3] != 0xC0) return "an error, or no response";
        uint8_t mark = parser->held[4];
        uint32_t extra = bytes_after(mark);
        if (parser->held_size < 5 + extra) continue;
        parser->held_size = 0;
        if (parser->options->operation == STATUS) {
            parser->elements_left = extra ? big_endian(parser->held + 5, extra) : (mark & 0x0Fu);
            if (parser->elements_left != parser->options->ids_per_frame) return "not as many statuses as ids";
        } else {
            if (!extra && mark >= 128) return "not a count";
            counts->frames += parser->frames_per_reply;
        }
    }
    return NULL;
}

static const char *parse_line(struct reply_parser *parser, const char *line, size_t size, struct reply_counts *counts) {
    if (parser->options->operation != STATUS) {
        if (size < 3 || memcmp(line, "+OK", 3) != 0) return "not +OK";
        if (++parser->lines_seen == parser->lines_per_frame) {
            parser->lines_seen = 0;
            counts->frames += parser->frames_per_reply;
        }
        return NULL;
    }
    if (parser->value_follows) {
        parser->value_follows = false;
    } else if (line[0] == '*') {
        parser->values_left = strtoll(line + 1, NULL, 10);
        return parser->values_left == parser->options->ids_per_frame ? NULL : "not as many values as keys";
    } else if (line[0] == '$') {
        bool known = line[1] != '-';
        counts->ids_true += known;
        counts->ids_false += !known;
        if (known) {
            parser->value_follows = true;
            return NULL;
        }
    } else {
        return "not an array of values";
    }
    if (--parser->values_left == 0) counts->frames++;
    return NULL;
}

static const char *parse_resp(struct reply_parser *parser, const uint8_t *data, size_t size, struct reply_counts *counts) {
    for (size_t at = 0; at < size;) {
        const uint8_t *newline = memchr(data + at, '\n', size - at);
        size_t piece = newline ? (size_t)(newline - (data + at)) + 1 : size - at;
        const char *wrong = NULL;
        if (newline && !parser->line_size) {
            wrong = parse_line(parser, (const char *)data + at, piece, counts);
        } else {
            if (parser->line_size + piece >= sizeof parser->line) return "a line longer than any expected";
            memcpy(parser->line + parser->line_size, data + at, piece);
            parser->line_size += (uint32_t)piece;
            if (newline) {
                parser->line[parser->line_size] = 0;
                wrong = parse_line(parser, parser->line, parser->line_size, counts);
                parser->line_size = 0;
            }
        }
        if (wrong) return wrong;
        at += piece;
    }
    return NULL;
}

static const char *parse_replies(struct reply_parser *parser, const uint8_t *data, size_t size, struct reply_counts *counts) {
    return parser->options->protocol == PRESENCE ? parse_presence(parser, data, size, counts)
                                                 : parse_resp(parser, data, size, counts);
}

/* loadgen: one load generator for presencedb (MessagePack-RPC) and for Redis and Valkey (RESP).
 *
 * Every request is encoded before the clock starts, into one pool of frames; the loop only writes slices of the pool and
 * checks what comes back, so that the generator is not what is measured. It prints its own share of its core: below about
 * 0.95 it was waiting for the server. One thread, epoll, closed loop: each connection sends `pipeline` frames, waits for all
 * their answers, then sends the next.
 *
 * A frame carries `ids_per_frame` ids: for presencedb one request, for RESP that many SETs (heartbeat) or one MGET (status).
 * Answers are held against what they must be; a wrong one ends the run with exit status 1. The result is one JSON line.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"
#include "replies.h"

enum { CONNECTIONS_MAX = 4096, READ_BYTES = 256 * 1024, SAMPLES_MAX = 1 << 22 };

struct connection {
    int fd;
    uint64_t first_frame;  /* of the group in flight */
    uint32_t group;        /* frames in it */
    uint32_t answered;     /* of those */
    uint64_t sent, end;    /* bytes of the pool still to write */
    uint64_t started_ns;
    struct reply_parser parser;
    bool done;
};

struct run {
    struct options options;
    struct pool pool;
    struct connection connections[CONNECTIONS_MAX];
    uint64_t next_frame, frames_max, deadline_ns;
    uint64_t frames_done, ids_true, ids_false;
    float *samples_us;
    uint64_t sample_count;
    uint32_t active;
};

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "loadgen: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int connect_to(const struct options *options) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1) die("not an IPv4 address: %s", options->host);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("cannot connect to %s:%u: %s", options->host, options->port, strerror(errno));
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* The next group of frames, cut at the end of the pool so that it is one slice of memory. False when the run is over. */
static bool begin_group(struct run *run, struct connection *connection) {
    uint64_t left = run->frames_max - run->next_frame;
    if (left == 0 || (run->deadline_ns && now_ns() >= run->deadline_ns)) return false;
    uint64_t first = run->next_frame % run->pool.frame_count;
    uint64_t group = run->options.pipeline;
    if (group > left) group = left;
    if (group > run->pool.frame_count - first) group = run->pool.frame_count - first;
    run->next_frame += group;
    connection->first_frame = first;
    connection->group = (uint32_t)group;
    connection->answered = 0;
    connection->sent = run->pool.offsets[first];
    connection->end = run->pool.offsets[first + group];
    connection->started_ns = now_ns();
    return true;
}

static void write_some(struct run *run, struct connection *connection) {
    while (connection->sent < connection->end) {
        ssize_t count = send(connection->fd, run->pool.bytes + connection->sent, connection->end - connection->sent,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) connection->sent += (uint64_t)count;
        else if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        else if (errno != EINTR) die("send: %s", strerror(errno));
    }
}

static void finish(struct run *run, struct connection *connection) {
    connection->done = true;
    run->active--;
}

static void end_group(struct run *run, struct connection *connection) {
    if (run->sample_count < SAMPLES_MAX)
        run->samples_us[run->sample_count++] = (float)((double)(now_ns() - connection->started_ns) / 1000.0);
    run->frames_done += connection->group;
    if (!begin_group(run, connection)) finish(run, connection);
}

/* Takes one piece of what came; false when there is nothing (more) to read. */
static bool read_some(struct run *run, struct connection *connection) {
    static uint8_t buffer[READ_BYTES];
    ssize_t count = recv(connection->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count == 0) die("the server closed the connection");
    if (count < 0) {
        if (errno == EAGAIN || errno == EINTR) return false;
        die("recv: %s", strerror(errno));
    }
    struct reply_counts counts = {0};
    const char *wrong = parse_replies(&connection->parser, buffer, (size_t)count, &counts);
    if (wrong) die("frame %llu: %s", (unsigned long long)(connection->first_frame + connection->answered), wrong);
    run->ids_true += counts.ids_true;
    run->ids_false += counts.ids_false;
    connection->answered += counts.frames;
    if (connection->answered > connection->group) die("more answers than requests");
    if (connection->answered == connection->group) end_group(run, connection);
    return true;
}

static void drive(struct run *run) {
    int epoll_fd = epoll_create1(0);
    for (uint32_t i = 0; i < run->options.connections; i++) {
        struct connection *connection = &run->connections[i];
        connection->fd = connect_to(&run->options);
        reply_parser_init(&connection->parser, &run->options);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0) die("epoll_ctl: %s", strerror(errno));
        run->active++;
    }
    if (run->options.duration_ms) run->deadline_ns = now_ns() + run->options.duration_ms * 1000000u;
    for (uint32_t i = 0; i < run->options.connections; i++) {
        if (begin_group(run, &run->connections[i])) write_some(run, &run->connections[i]);
        else finish(run, &run->connections[i]);
    }
    while (run->active) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll_fd, events, 256, 10000);
        if (ready == 0) die("no answer for 10 s");
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            do {
                if (connection->done) break;
                write_some(run, connection);
            } while (read_some(run, connection));
        }
    }
    for (uint32_t i = 0; i < run->options.connections; i++) close(run->connections[i].fd);
    close(epoll_fd);
}

static int by_value(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static float percentile_us(const struct run *run, double share) {
    if (run->sample_count == 0) return 0;
    return run->samples_us[(uint64_t)((double)(run->sample_count - 1) * share)];
}

int main(int argc, char **argv) {
    static struct run run;
    parse_options(&run.options, argc, argv);
    if (run.options.connections > CONNECTIONS_MAX) die("at most %d connections", CONNECTIONS_MAX);
    signal(SIGPIPE, SIG_IGN);
    build_pool(&run.pool, &run.options);
    run.frames_max = run.options.once ? run.pool.frame_count : UINT64_MAX;
    run.samples_us = malloc(SAMPLES_MAX * sizeof *run.samples_us);
    double cpu_before = cpu_seconds();
    uint64_t begin_ns = now_ns();
    drive(&run);
    double seconds = (double)(now_ns() - begin_ns) * 1e-9;
    double cpu_share = (cpu_seconds() - cpu_before) / seconds;
    qsort(run.samples_us, run.sample_count, sizeof *run.samples_us, by_value);
    printf("{\"frames\": %llu, \"ids\": %llu, \"seconds\": %.6f, \"frames_per_s\": %.1f, \"ids_per_s\": %.1f, "
           "\"ids_true\": %llu, \"ids_false\": %llu, \"group_p50_us\": %.1f, \"group_p99_us\": %.1f, "
           "\"generator_cpu_share\": %.3f}\n",
           (unsigned long long)run.frames_done, (unsigned long long)(run.frames_done * run.options.ids_per_frame), seconds,
           (double)run.frames_done / seconds, (double)(run.frames_done * run.options.ids_per_frame) / seconds,
           (unsigned long long)run.ids_true, (unsigned long long)run.ids_false, (double)percentile_us(&run, 0.50),
           (double)percentile_us(&run, 0.99), cpu_share);
    return 0;
}

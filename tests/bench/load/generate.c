// The generators: many clients in one epoll thread. A client keeps the cookie that it was given last
// and sends it with every further request, also on its next connection.
#include "lg.h"
#include <sys/timerfd.h>

enum { HEAD_MAX = 2048, COOKIE_MAX = 512, WAITING_MAX = 1 << 16 };
enum state { IDLE, BUSY, CONNECTING, CUT };
#define TICK 0xffffffffu

struct client {
    int fd, head_len, request_len;
    enum state state;
    uint64_t began;
    size_t got, want;
    char cookie[COOKIE_MAX], head[HEAD_MAX], request[REQUEST_MAX];
};

static struct client *clients;
static const char *path;
static int ep, port, close_after;
static long done, errors, connections, cookies;

static uint64_t *times;
static size_t times_n, times_room;

static void note_time(uint64_t t) {
    if (times_n == times_room) {
        times_room = times_room ? times_room * 2 : 1 << 16;
        times = realloc(times, times_room * sizeof *times);
    }
    times[times_n++] = t;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double time_us(double share) {
    return times_n ? times[(size_t)(times_n * share)] / 1e3 : 0;
}

static void renew_request(struct client *c) {
    c->request_len = make_request(c->request, path, c->cookie[0] ? c->cookie : 0, close_after);
}

static void reconnect(uint32_t i) {
    struct client *c = &clients[i];
    c->fd = dial(port, 1);
    if (c->fd < 0) die("dial");
    c->state = CONNECTING;
    connections++;
    watch(ep, c->fd, EPOLLIN | EPOLLOUT | EPOLLET, i);
}

static void fire(struct client *c, uint64_t since) {
    c->began = since;
    c->head_len = 0;
    c->got = c->want = 0;
    c->state = send(c->fd, c->request, c->request_len, MSG_NOSIGNAL) == c->request_len ? BUSY : CUT;
}

static void keep_cookie(struct client *c) {
    char *set = strcasestr(c->head, "\r\nset-cookie:");
    if (!set) return;
    set += strlen("\r\nset-cookie:");
    set += strspn(set, " ");
    size_t n = strcspn(set, ";\r");
    if (n >= sizeof c->cookie) return;
    memcpy(c->cookie, set, n);
    c->cookie[n] = 0;
    cookies++;
    renew_request(c);
}

// Takes in bytes; says whether the answer is complete.
static int take(struct client *c, const char *bytes, size_t n) {
    if (c->want) {
        c->got += n;
        return c->got >= c->want;
    }
    size_t room = sizeof c->head - 1 - c->head_len, copy = n < room ? n : room;
    memcpy(c->head + c->head_len, bytes, copy);
    c->head_len += copy;
    c->head[c->head_len] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        if (copy < n) errors++, c->want = 1;
        return 0;
    }
    end[2] = 0;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->want = (end + 4 - c->head) + (length ? atol(length + 17) : 0);
    c->got = c->head_len - copy + n;
    if (memcmp(c->head + 9, "200", 3)) errors++;
    keep_cookie(c);
    return c->got >= c->want;
}

static uint32_t *free_clients;
static int free_n;
static uint64_t waiting[WAITING_MAX]; // planned times without a free client
static size_t waiting_head, waiting_tail;

static void receive(uint32_t i, int paced) {
    static char bytes[131072];
    struct client *c = &clients[i];
    for (;;) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            if (c->state == BUSY || c->state == CUT) errors++;
            close(c->fd);
            reconnect(i);
            return;
        }
        if (!take(c, bytes, n)) continue;
        uint64_t now = now_ns();
        note_time(now - c->began);
        done++;
        c->state = IDLE;
        if (close_after) {
            close(c->fd);
            reconnect(i);
            return;
        }
        if (!paced) fire(c, now);
        else if (waiting_head < waiting_tail) fire(c, waiting[waiting_head++ % WAITING_MAX]);
        else free_clients[free_n++] = i;
        if (n < (ssize_t)sizeof bytes) return;
    }
}

static int ticker(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec half_ms = {{0, 500000}, {0, 500000}};
    timerfd_settime(fd, 0, &half_ms, 0);
    watch(ep, fd, EPOLLIN, TICK);
    return fd;
}

int generate(int argc, char **argv) {
    int n = atoi(argv[1]);
    double secs = atof(argv[2]), rate = argc > 5 ? atof(argv[5]) : 0;
    port = atoi(argv[0]);
    path = argv[3];
    close_after = !strcmp(argv[4], "close");
    ep = epoll_create1(0);
    clients = calloc(n, sizeof *clients);
    free_clients = malloc(n * sizeof *free_clients);
    uint64_t start = now_ns(), end = start + secs * 1e9, next = start, step = rate ? 1e9 / rate : 0;
    int tick = rate ? ticker() : -1;
    for (int i = 0; i < n; i++) {
        renew_request(&clients[i]);
        reconnect(i);
    }
    struct epoll_event ready[512];
    while (now_ns() < end) {
        for (uint64_t now = now_ns(); rate && next <= now; next += step) {
            if (free_n) fire(&clients[free_clients[--free_n]], next);
            else if (waiting_tail - waiting_head < WAITING_MAX) waiting[waiting_tail++ % WAITING_MAX] = next;
        }
        int k = epoll_wait(ep, ready, 512, 100);
        for (int j = 0; j < k; j++) {
            uint32_t i = ready[j].data.u64;
            if (i == TICK) {
                uint64_t ticks;
                if (read(tick, &ticks, sizeof ticks) < 0) continue;
                continue;
            }
            struct client *c = &clients[i];
            if (c->state == CONNECTING && (ready[j].events & EPOLLOUT)) {
                if (!rate) fire(c, now_ns());
                else if (waiting_head < waiting_tail) fire(c, waiting[waiting_head++ % WAITING_MAX]);
                else c->state = IDLE, free_clients[free_n++] = i;
            }
            if (ready[j].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(i, rate > 0);
        }
    }
    double took = (now_ns() - start) / 1e9;
    qsort(times, times_n, sizeof *times, by_size);
    printf("{\"done\":%ld,\"err\":%ld,\"conns\":%ld,\"cookies\":%ld,\"secs\":%.3f,\"rps\":%.1f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           done, errors, connections, cookies, took, done / took, time_us(.5), time_us(.99));
    return 0;
}

int idle(char **argv) {
    int to = atoi(argv[0]), n = atoi(argv[1]);
    double secs = atof(argv[2]);
    char request[REQUEST_MAX], answer[4096];
    int len = make_request(request, "/0", 0, 0);
    long open = 0;
    for (int i = 0; i < n; i++) {
        int fd = dial(to, 0); // stays open until the program ends
        if (fd < 0) die("dial");
        if (send(fd, request, len, MSG_NOSIGNAL) > 0 && recv(fd, answer, sizeof answer, 0) > 0) open++;
    }
    printf("{\"open\":%ld}\n", open);
    fflush(stdout);
    usleep(secs * 1e6);
    return 0;
}

int bulk(char **argv) {
    static char bytes[262144];
    int to = atoi(argv[0]), n = atoi(argv[1]);
    uint64_t total = 0, start = now_ns(), end = start + atof(argv[2]) * 1e9;
    ep = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        int fd = dial(to, 0);
        if (fd < 0) die("dial");
        fcntl(fd, F_SETFL, O_NONBLOCK);
        watch(ep, fd, EPOLLIN, fd);
    }
    struct epoll_event ready[64];
    while (now_ns() < end) {
        int k = epoll_wait(ep, ready, 64, 100);
        for (int i = 0; i < k; i++) {
            ssize_t r = recv(ready[i].data.u64, bytes, sizeof bytes, MSG_TRUNC);
            if (r > 0) total += r;
            if (r == 0) {
                printf("{\"error\":\"eof\"}\n");
                return 1;
            }
        }
    }
    double took = (now_ns() - start) / 1e9;
    printf("{\"bytes\":%lu,\"secs\":%.3f,\"gbit\":%.2f,\"done\":%.1f}\n",
           total, took, total * 8 / took / 1e9, total / 1048576.0);
    return 0;
}

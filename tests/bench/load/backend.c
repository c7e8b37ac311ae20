// The servers behind the proxies: as cheap as can be, so that they are never the limit.
#include "lg.h"

enum { LISTENERS_MAX = 16, HEADS_MAX = 8192 };

struct page { char *bytes; size_t len; };
static struct page pages[3]; // 0, 1 KiB and 64 KiB of body

struct client {
    int fd, have, page, sending, closing, last;
    size_t sent, skip; // skip: what is still to come of a request's content
    char in[HEADS_MAX];
};

static void make_page(int i, size_t body) {
    char head[512];
    int n = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nServer: static\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        "Content-Type: text/html; charset=utf-8\r\nCache-Control: private, max-age=0\r\n"
        "Vary: Accept-Encoding\r\nETag: \"5f3c-9a1\"\r\nContent-Length: %zu\r\n\r\n", body);
    pages[i].len = n + body;
    pages[i].bytes = malloc(pages[i].len);
    memcpy(pages[i].bytes, head, n);
    memset(pages[i].bytes + n, 'x', body);
}

static void send_page(int ep, struct client *c) {
    struct page *p = &pages[c->page];
    while (c->sending) {
        ssize_t w = send(c->fd, p->bytes + c->sent, p->len - c->sent, MSG_NOSIGNAL);
        if (w < 0) {
            if (errno == EAGAIN) watch(ep, c->fd, EPOLLIN | EPOLLOUT, (uint64_t)c);
            else c->closing = 1, c->sending = 0;
            return;
        }
        c->sent += w;
        if (c->sent == p->len) c->sending = 0, c->sent = 0;
    }
}

static void answer(int ep, struct client *c) {
    c->sending = 1;
    send_page(ep, c);
    if (c->last) c->closing = 1;
}

static void accept_all(int ep, int listener) {
    static int on = 1;
    for (;;) {
        int s = accept4(listener, 0, 0, SOCK_NONBLOCK);
        if (s < 0) return;
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct client *c = calloc(1, sizeof *c);
        c->fd = s;
        watch(ep, s, EPOLLIN, (uint64_t)c);
    }
}

static void answer_heads(int ep, struct client *c) {
    char *end;
    while (!c->sending && !c->closing && !c->skip && (end = memmem(c->in, c->have, "\r\n\r\n", 4))) {
        char *path = memchr(c->in, '/', c->have);
        c->page = path && path[1] == '0' ? 0 : path && path[1] == '6' ? 2 : 1;
        *end = 0;
        int last = strcasestr(c->in, "\nconnection: close") != 0;
        char *length = strcasestr(c->in, "\ncontent-length:");
        size_t content = length ? strtoul(length + 16, 0, 10) : 0;
        size_t used = end + 4 - c->in, there = c->have - used < content ? c->have - used : content;
        c->skip = content - there;
        used += there;
        memmove(c->in, c->in + used, c->have - used);
        c->have -= used;
        c->last = last;
        if (!c->skip) answer(ep, c);
    }
}

static void drop_content(int ep, struct client *c, ssize_t n) {
    if (n > 0) c->skip -= n;
    if (n > 0 && !c->skip) answer(ep, c);
}

static void serve(int ep, struct client *c) {
    if (c->sending) {
        send_page(ep, c);
        if (c->sending) return;
        watch(ep, c->fd, EPOLLIN, (uint64_t)c);
    }
    static char content[65536];
    int in_content = c->skip > 0;
    ssize_t r = in_content ? recv(c->fd, content, c->skip < sizeof content ? c->skip : sizeof content, 0)
                           : recv(c->fd, c->in + c->have, sizeof c->in - 1 - c->have, 0);
    int gone = r == 0 || (r < 0 && errno != EAGAIN);
    if (in_content) {
        drop_content(ep, c, r);
    } else if (r > 0) {
        c->have += r;
        c->in[c->have] = 0;
        answer_heads(ep, c);
    }
    if (gone || (c->closing && !c->sending)) {
        close(c->fd);
        free(c);
    }
}

int backend(int ports, char **port) {
    make_page(0, 0);
    make_page(1, 1024);
    make_page(2, 65536);
    int ep = epoll_create1(0), listener[LISTENERS_MAX];
    for (int i = 0; i < ports && i < LISTENERS_MAX; i++) {
        listener[i] = listen_on(atoi(port[i]));
        watch(ep, listener[i], EPOLLIN, i); // below any pointer
    }
    struct epoll_event ready[256];
    for (;;) {
        int n = epoll_wait(ep, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            uint64_t tag = ready[i].data.u64;
            if (tag < LISTENERS_MAX) accept_all(ep, listener[tag]);
            else serve(ep, (struct client *)tag);
        }
    }
}

int sink(int port) {
    static char zeroes[262144];
    int listener = listen_on(port), ep = epoll_create1(0);
    struct epoll_event ready[64];
    watch(ep, listener, EPOLLIN, listener);
    for (;;) {
        int n = epoll_wait(ep, ready, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.u64;
            if (fd == listener) {
                int s = accept4(listener, 0, 0, SOCK_NONBLOCK);
                if (s >= 0) watch(ep, s, EPOLLOUT, s);
            } else if (send(fd, zeroes, sizeof zeroes, MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
                close(fd);
            }
        }
    }
}

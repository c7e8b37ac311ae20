// Datagrams: a server that sends each one back, and clients that ask it through a proxy.
#include "lg.h"

enum { BYTES = 100, AT_ONCE = 64, LOST_MS = 200, MANY = 1000, FLOW_S = 5 };

int echo(int port) {
    int s = socket(AF_INET, SOCK_DGRAM, 0), room = 1 << 22;
    struct sockaddr_in a = loopback(port);
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (s < 0 || bind(s, (void *)&a, sizeof a)) die("bind");
    char bytes[2048];
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        ssize_t got = recvfrom(s, bytes, sizeof bytes, 0, (void *)&from, &len);
        if (got >= 0) sendto(s, bytes, got, 0, (void *)&from, len);
    }
}

struct clients {
    int ep, flows, next, *s;
    uint64_t done, lost;
};

// The flows take turns, AT_ONCE datagrams are on their way at a time: until `end`, or so many were answered or lost.
static void ask(struct clients *c, uint64_t end, uint64_t most) {
    struct epoll_event ready[AT_ONCE];
    char bytes[BYTES] = {0};
    int waiting = 0;
    while (now_ns() < end && c->done + c->lost < most) {
        for (; waiting < AT_ONCE && waiting < c->flows; waiting++, c->next = (c->next + 1) % c->flows)
            if (send(c->s[c->next], bytes, BYTES, 0) < 0) c->lost++;
        int n = epoll_wait(c->ep, ready, AT_ONCE, LOST_MS);
        if (n == 0) c->lost += waiting, waiting = 0;
        for (int i = 0; i < n; i++)
            while (recv(ready[i].data.u64, bytes, BYTES, 0) > 0) {
                c->done++;
                if (waiting > 0) waiting--;
            }
    }
}

int datagrams(char **argv) {
    struct sockaddr_in a = loopback(atoi(argv[0]));
    struct clients c = {.ep = epoll_create1(0), .flows = atoi(argv[1])};
    int flows = c.flows, ep = c.ep, *s = c.s = malloc(flows * sizeof *s);
    if (flows > MANY) sleep(FLOW_S + 1); // those of an earlier run have ended then
    for (int i = 0; i < flows; i++) {
        s[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (s[i] < 0 || connect(s[i], (void *)&a, sizeof a)) die("connect");
        watch(ep, s[i], EPOLLIN, s[i]);
    }
    // What it costs to begin a flow is not measured; the line says that from here on it is.
    ask(&c, now_ns() + 20 * (uint64_t)1e9, 2 * flows);
    if (c.lost) fprintf(stderr, "%lu lost while the flows began\n", c.lost);
    puts("ready");
    fflush(stdout);
    usleep(50000);
    c.done = c.lost = 0;
    uint64_t began = now_ns();
    ask(&c, began + (uint64_t)(atof(argv[2]) * 1e9), UINT64_MAX);
    double secs = (now_ns() - began) / 1e9;
    printf("{\"done\": %lu, \"err\": %lu, \"rps\": %.0f}\n", c.done, c.lost, c.done / secs);
    return 0;
}

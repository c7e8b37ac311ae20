// lg: backend and load generators of the cost measurements, in one small program.
//   lg backend PORT...                               static HTTP/1.1 backend, one epoll thread
//   lg sink PORT                                     endless byte source for bulk TCP
//   lg gen  PORT CONNS SECS PATH close|keep [RATE]   closed loop, or open loop at RATE requests/s
//   lg idle PORT CONNS SECS                          one request per connection, then idle
//   lg idle-tls PORT CONNS SECS h1|h2                the same over TLS, as the version of HTTP that is named
//   lg bulk PORT CONNS SECS                          drain bytes through a TCP proxy
//   lg tls  PORT SECS full|resume                    TLS handshake and one request, one after the other
// Every generator prints one JSON line. Everything stays on 127.0.0.1.
#include "lg.h"
#include <signal.h>

static int on = 1;

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void die(const char *what) {
    perror(what);
    exit(1);
}

struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

int listen_on(int port) {
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in a = loopback(port);
    if (bind(s, (void *)&a, sizeof a) || listen(s, 4096)) die("listen");
    return s;
}

int dial(int port, int nonblock) {
    int s = socket(AF_INET, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0), 0);
    if (s < 0) die("socket");
    struct sockaddr_in a = loopback(port);
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(s, (void *)&a, sizeof a) && errno != EINPROGRESS) {
        close(s);
        return -1;
    }
    return s;
}

void watch(int ep, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event e = {.events = events, .data.u64 = tag};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) && errno == EEXIST) epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}

int make_request(char *out, const char *path, const char *cookie, int close_after) {
    return snprintf(out, REQUEST_MAX,
        "GET %s HTTP/1.1\r\n"
        "Host: www.example.test\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: en-GB,en;q=0.7\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n"
        "Referer: http://www.example.test/index.html\r\n"
        "Cookie: sid=0123456789abcdef0123456789abcdef; theme=dark%s%s\r\n"
        "Cache-Control: max-age=0\r\n%s\r\n",
        path, cookie ? "; " : "", cookie ? cookie : "", close_after ? "Connection: close\r\n" : "");
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc < 3) return 2;
    const char *what = argv[1];
    char **rest = argv + 2;
    int n = argc - 2;
    if (!strcmp(what, "backend")) return backend(n, rest);
    if (!strcmp(what, "sink")) return sink(atoi(rest[0]));
    if (!strcmp(what, "gen") && n >= 5) return generate(n, rest);
    if (!strcmp(what, "idle") && n >= 3) return idle(rest);
    if (!strcmp(what, "idle-tls") && n >= 4) return idle_tls(rest);
    if (!strcmp(what, "bulk") && n >= 3) return bulk(rest);
    if (!strcmp(what, "echo")) return echo(atoi(rest[0]));
    if (!strcmp(what, "udp") && n >= 3) return datagrams(rest);
    if (!strcmp(what, "tls") && n >= 3) return tls(rest);
    return 2;
}

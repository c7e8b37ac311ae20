// Clients that speak TLS: handshakes one after the other, and connections that have nothing to say.
#include "lg.h"
#include <openssl/ssl.h>

static SSL_SESSION *session;

static int keep_session(SSL *ssl, SSL_SESSION *fresh) {
    (void)ssl;
    if (session) SSL_SESSION_free(session);
    session = fresh;
    return 1;
}

int tls(char **argv) {
    int port = atoi(argv[0]), resume = !strcmp(argv[2], "resume");
    char request[REQUEST_MAX], bytes[8192];
    int len = make_request(request, "/0", 0, 1);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, 0);
    SSL_CTX_set1_groups_list(ctx, "X25519:P-256");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (resume) SSL_CTX_sess_set_new_cb(ctx, keep_session);
    long done = 0, resumed = 0, errors = 0;
    const char *version = "";
    uint64_t start = now_ns(), end = start + atof(argv[1]) * 1e9;
    while (now_ns() < end) {
        int fd = dial(port, 0);
        if (fd < 0) {
            errors++;
            continue;
        }
        SSL *ssl = SSL_new(ctx);
        SSL_set_fd(ssl, fd);
        if (resume && session) SSL_set_session(ssl, session);
        if (SSL_connect(ssl) == 1) {
            version = SSL_get_version(ssl);
            done++;
            if (SSL_session_reused(ssl)) resumed++;
            SSL_write(ssl, request, len);
            while (SSL_read(ssl, bytes, sizeof bytes) > 0) {}
            SSL_shutdown(ssl);
        } else {
            errors++;
        }
        SSL_free(ssl);
        close(fd);
    }
    double took = (now_ns() - start) / 1e9;
    printf("{\"done\":%ld,\"resumed\":%ld,\"err\":%ld,\"secs\":%.3f,\"rps\":%.1f,\"ver\":\"%s\"}\n",
           done, resumed, errors, took, done / took, version);
    return 0;
}

// One request over HTTP/2: the preface, empty SETTINGS, and HEADERS with fields of the static table
// and two literals, never entered into a table (RFC 7541, sections 6.1 and 6.2.2).
static const unsigned char HTTP2_REQUEST[] =
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    "\0\0\0\4\0\0\0\0\0"
    "\0\0\30\1\5\0\0\0\1"
    "\202\207\4\2/0\1\20www.example.test";

// Reads frames until one ends stream 1. Returns whether it came.
static int ends_stream(SSL *ssl) {
    unsigned char held[65536];
    size_t n = 0;
    for (;;) {
        int got = SSL_read(ssl, held + n, sizeof held - n);
        if (got <= 0) return 0;
        n += got;
        size_t at = 0;
        while (n - at >= 9) {
            size_t len = (size_t)held[at] << 16 | held[at + 1] << 8 | held[at + 2];
            if (9 + len > n - at) break;
            int carries = held[at + 3] == 0 || held[at + 3] == 1;
            if (carries && held[at + 8] == 1 && held[at + 4] & 1) return 1;
            at += 9 + len;
        }
        memmove(held, held + at, n - at);
        n -= at;
        if (n == sizeof held) return 0;
    }
}

int idle_tls(char **argv) {
    int to = atoi(argv[0]), n = atoi(argv[1]), two = !strcmp(argv[3], "h2");
    char request[REQUEST_MAX], answer[8192];
    int len = make_request(request, "/0", 0, 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, 0);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_protos(ctx, two ? (void *)"\2h2" : (void *)"\10http/1.1", two ? 3 : 9);
    long open = 0;
    for (int i = 0; i < n; i++) {
        int fd = dial(to, 0); // stays open until the program ends
        if (fd < 0) die("dial");
        SSL *ssl = SSL_new(ctx);
        SSL_set_fd(ssl, fd);
        if (SSL_connect(ssl) != 1) continue;
        if (!two) open += SSL_write(ssl, request, len) > 0 && SSL_read(ssl, answer, sizeof answer) > 0;
        else open += SSL_write(ssl, HTTP2_REQUEST, sizeof HTTP2_REQUEST - 1) > 0 && ends_stream(ssl);
    }
    printf("{\"open\":%ld}\n", open);
    fflush(stdout);
    usleep(atof(argv[2]) * 1e6);
    return 0;
}

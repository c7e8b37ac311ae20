// TLS handshakes, one after the other, each with one request.
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

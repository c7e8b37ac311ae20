// What the parts of the load generator share.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096 };

uint64_t now_ns(void);
void die(const char *what);
struct sockaddr_in loopback(int port);
int listen_on(int port);          // non-blocking, on 127.0.0.1
int dial(int port, int nonblock); // -1 if the connection is refused
void watch(int ep, int fd, uint32_t events, uint64_t tag);

// Writes the request that every scene sends, as a browser would; with `cookie` ("name=value", may be
// NULL) among its cookies. Returns its length.
int make_request(char *out, const char *path, const char *cookie, int close_after);

int backend(int ports, char **port);
int sink(int port);
int generate(int argc, char **argv);
int idle(char **argv);
int bulk(char **argv);
int tls(char **argv);
int idle_tls(char **argv);
int echo(int port);
int datagrams(char **argv);

#ifndef HELLO_HTTP_H
#define HELLO_HTTP_H

#include <stddef.h>

/* Listens on every IPv4 address; returns the socket, or -1 with errno set. */
int http_listen(unsigned short port);

/*
 * Accepts and answers one connection after the other: GET and HEAD of "/" get `body` as JSON, "/healthz" gets "ok",
 * everything else 404 or 405. Returns only when the socket fails.
 */
void http_serve(int listener, const char *body);

#endif

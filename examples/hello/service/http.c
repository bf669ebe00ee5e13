#define _POSIX_C_SOURCE 200809L

#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096, CLIENT_SECONDS = 5 };

int http_listen(unsigned short port)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0)
        return -1;
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_ANY)}};
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, SOMAXCONN) < 0) {
        int reason = errno;
        close(listener);
        errno = reason;
        return -1;
    }
    return listener;
}

/* Reads up to the empty line that ends the headers; false when the client sent too much, or nothing in time. */
static bool read_request(int client, char *request, size_t size)
{
    size_t length = 0;
    while (length + 1 < size) {
        ssize_t got = recv(client, request + length, size - length - 1, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        length += (size_t)got;
        request[length] = '\0';
        if (strstr(request, "\r\n\r\n"))
            return true;
    }
    return false;
}

static void send_all(int client, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(client, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return;
        data += sent;
        length -= (size_t)sent;
    }
}

static void respond(int client, const char *status, const char *type, const char *body, bool with_body)
{
    char head[256];
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
                          type, strlen(body));
    if (length < 0 || (size_t)length >= sizeof head)
        return;
    send_all(client, head, (size_t)length);
    if (with_body)
        send_all(client, body, strlen(body));
}

static void answer(int client, const char *body)
{
    char request[REQUEST_MAX];
    char method[8];
    char path[256];
    if (!read_request(client, request, sizeof request) || sscanf(request, "%7s %255s", method, path) != 2) {
        respond(client, "400 Bad Request", "text/plain", "bad request\n", true);
        return;
    }
    bool head = strcmp(method, "HEAD") == 0;
    if (!head && strcmp(method, "GET") != 0)
        respond(client, "405 Method Not Allowed", "text/plain", "only GET and HEAD\n", true);
    else if (strcmp(path, "/") == 0)
        respond(client, "200 OK", "application/json", body, !head);
    else if (strcmp(path, "/healthz") == 0)
        respond(client, "200 OK", "text/plain", "ok\n", !head);
    else
        respond(client, "404 Not Found", "text/plain", "not found\n", !head);
}

void http_serve(int listener, const char *body)
{
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            return;
        }
        /* A silent client may not hold up the next one. */
        struct timeval limit = {.tv_sec = CLIENT_SECONDS};
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        answer(client, body);
        close(client);
    }
}

#define _POSIX_C_SOURCE 200809L

#include "http.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "0.0.0"
#endif

enum { DEFAULT_PORT = 8080 };

/* Process 1 of a container has no default action for signals: without a handler `docker stop` would have to kill it. */
static void stop(int signal)
{
    (void)signal;
    _exit(0);
}

static int usage(FILE *out, int code)
{
    fputs("usage: hello [--version | --port PORT]\n", out);
    return code;
}

int main(int argc, char **argv)
{
    struct utsname machine;
    if (uname(&machine) < 0) {
        perror("hello: uname");
        return 1;
    }
    long port = DEFAULT_PORT;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("hello %s %s\n", VERSION, machine.machine);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    if (argc == 3 && strcmp(argv[1], "--port") == 0) {
        char *end;
        port = strtol(argv[2], &end, 10);
        if (*argv[2] == '\0' || *end != '\0' || port < 1 || port > 65535) {
            fprintf(stderr, "hello: \"%s\" is not a port; use 1 to 65535\n", argv[2]);
            return 2;
        }
    } else if (argc != 1) {
        return usage(stderr, 2);
    }

    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    int listener = http_listen((unsigned short)port);
    if (listener < 0) {
        fprintf(stderr, "hello: port %ld: %s\n", port, strerror(errno));
        return 1;
    }
    char body[512];
    snprintf(body, sizeof body, "{\"service\":\"hello\",\"version\":\"%s\",\"architecture\":\"%s\"}\n", VERSION,
             machine.machine);
    fprintf(stderr, "hello %s on %s listens on port %ld\n", VERSION, machine.machine, port);
    http_serve(listener, body);
    perror("hello: accept");
    return 1;
}

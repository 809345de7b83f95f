/* SPDX-License-Identifier: MIT */
/*
 * web.h - a client of the broker's HTTP port that takes nothing for granted.
 *
 * Owner: nobody.  Thread: the main thread.
 */
#ifndef TESTS_WEB_H
#define TESTS_WEB_H

#include <stddef.h>

#define WEB_PAGE_MAX (1u << 20)

/* A port of 127.0.0.1 that nobody listens on right now. */
unsigned int web_port(void);

/*
 * Send @request as it is and read until the peer closes.  Returns the status code, 0 for no
 * HTTP answer, with the body in @body.
 */
unsigned int web_send(unsigned int port, const char *request, char *body, size_t len);

/* GET @path. */
unsigned int web_get(unsigned int port, const char *path, char *body, size_t len);

#endif /* TESTS_WEB_H */

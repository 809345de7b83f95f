/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http.h - GET /metrics, /healthz and a page that links both, by libmicrohttpd on the control
 * thread's loop: no thread of its own, no timer while nobody is connected.
 *
 * Owner: the caller of http_start().  Thread: that of the loop.
 */
#ifndef BROKER_HTTP_H
#define BROKER_HTTP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define HTTP_CLIENTS   16 /* connections at a time; more wait in the backlog or are closed */
#define HTTP_TIMEOUT_S 10 /* a connection that sends nothing is closed */

struct broker;
struct http;

/*
 * Listen on the numeric @address ("127.0.0.1:9437").  0 and *@out, to be given to
 * http_stop(), or -errno and one line in @err that names the address.
 */
int http_start(struct http **out, uv_loop_t *loop, struct broker *b, const char *address,
	       char *err, size_t errlen);

/* Close everything.  @h (may be NULL) is freed by the loop, which must run until its
 * handles are closed. */
void http_stop(struct http *h);

/* The port in use, also when port 0 was asked for. */
uint16_t http_port(const struct http *h);

#endif /* BROKER_HTTP_H */

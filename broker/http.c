// SPDX-License-Identifier: GPL-2.0-only
/*
 * http.c - libmicrohttpd without threads: its epoll fd is watched by libuv, and a timer runs
 * only while it has time-outs to see to.
 */
#include "http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "metrics.h"

struct http {
	struct MHD_Daemon *daemon;
	struct broker *broker;
	struct metrics *metrics;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned int handles; /* not closed yet; the last one frees */
	uint16_t port;
};

static const char page[] =
	"<!DOCTYPE html>\n"
	"<html lang=\"en\"><head><meta charset=\"utf-8\"><title>accelmux</title></head>\n"
	"<body><h1>accelmux</h1><ul>\n"
	"<li><a href=\"/metrics\">/metrics</a> - Prometheus text</li>\n"
	"<li><a href=\"/healthz\">/healthz</a> - ok while the broker runs</li>\n"
	"</ul></body></html>\n";

static const char ok[] = "ok\n";
static const char not_found[] = "not found; there are /, /metrics and /healthz\n";
static const char not_allowed[] = "method not allowed; expected GET\n";
static const char no_memory[] = "out of memory\n";

/* ------------------------------------------------------------------- answers */

/* Queue @text; @mode says whose it is.  MHD_NO ends the connection. */
static enum MHD_Result answer(struct MHD_Connection *conn, unsigned int code, const char *type,
			      const char *text, size_t len, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r;
	enum MHD_Result rc = MHD_NO;

	r = MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, mode);
	if (!r) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free((void *)(uintptr_t)text);
		return MHD_NO;
	}
	if (MHD_add_response_header(r, "Content-Type", type) == MHD_YES &&
	    MHD_add_response_header(r, "Cache-Control", "no-store") == MHD_YES &&
	    (code != MHD_HTTP_METHOD_NOT_ALLOWED ||
	     MHD_add_response_header(r, "Allow", "GET, HEAD") == MHD_YES))
		rc = MHD_queue_response(conn, code, r);
	MHD_destroy_response(r); /* the connection holds its own reference */
	return rc;
}

#define FIXED(conn, code, type, text) \
	answer(conn, code, type, text, sizeof(text) - 1, MHD_RESPMEM_PERSISTENT)

static enum MHD_Result answer_metrics(struct http *h, struct MHD_Connection *conn)
{
	size_t len;
	char *text = metrics_text(h->metrics, h->broker, &len);

	if (!text)
		return FIXED(conn, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain", no_memory);
	return answer(conn, MHD_HTTP_OK, METRICS_CONTENT_TYPE, text, len,
		      MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url,
				  const char *method, const char *version, const char *body,
				  size_t *body_len, void **state)
{
	struct http *h = arg;
	bool get =
		!strcmp(method, MHD_HTTP_METHOD_GET) || !strcmp(method, MHD_HTTP_METHOD_HEAD);

	(void)version;
	(void)body;
	if (!*state) {
		*state = h; /* the headers alone; what there is of a body comes next */
		return MHD_YES;
	}
	if (*body_len) {
		*body_len = 0; /* thrown away */
		return MHD_YES;
	}
	if (!get)
		return FIXED(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", not_allowed);
	if (!strcmp(url, "/metrics"))
		return answer_metrics(h, conn);
	if (!strcmp(url, "/healthz"))
		return FIXED(conn, MHD_HTTP_OK, "text/plain", ok);
	if (!strcmp(url, "/"))
		return FIXED(conn, MHD_HTTP_OK, "text/html; charset=utf-8", page);
	return FIXED(conn, MHD_HTTP_NOT_FOUND, "text/plain", not_found);
}

/* ---------------------------------------------------------------------- loop */

static void on_timer(uv_timer_t *timer);

static unsigned int connections(const struct http *h)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info ? info->num_connections : 0;
}

static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;
	unsigned int before;

	/* At its limit the library stops watching the listening socket, and looks whether to
	 * watch it again only at the beginning of a run: one more when connections ended. */
	do {
		before = connections(h);
		MHD_run(h->daemon);
	} while (connections(h) < before);
	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
		uv_timer_start(&h->timer, on_timer, ms, 0);
	else
		uv_timer_stop(&h->timer);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

/* The library's own chatter (a client that hung up) is nobody's business. */
static void on_log(void *arg, const char *fmt, va_list ap)
{
	(void)arg;
	(void)fmt;
	(void)ap;
}

/* --------------------------------------------------------------------- start */

/* A listening socket on @address, or -errno. */
static int listen_on(const char *address, uint16_t *port)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, rc, one = 1;

	rc = config_address(address, &ss, &len);
	if (rc)
		return rc;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (ss.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, (struct sockaddr *)&ss, len) || listen(fd, HTTP_CLIENTS) ||
	    getsockname(fd, (struct sockaddr *)&ss, &len)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
					       : ((struct sockaddr_in *)&ss)->sin_port);
	return fd;
}

static void on_closed(uv_handle_t *handle)
{
	struct http *h = handle->data;

	if (--h->handles)
		return;
	if (h->daemon)
		MHD_stop_daemon(h->daemon); /* closes its sockets, the listening one included */
	metrics_close(h->metrics);
	free(h); /* http_start() */
}

static struct MHD_Daemon *start_daemon(struct http *h, int fd)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)HTTP_CLIENTS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HTTP_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
}

int http_start(struct http **out, uv_loop_t *loop, struct broker *b, const char *address,
	       char *err, size_t errlen)
{
	const union MHD_DaemonInfo *info;
	struct http *h;
	int fd, rc;

	h = calloc(1, sizeof(*h));
	if (!h) {
		rc = -ENOMEM;
		goto report;
	}
	h->broker = b;
	rc = metrics_open(&h->metrics);
	if (rc)
		goto free_http;
	fd = listen_on(address, &h->port);
	if (fd < 0) {
		rc = fd;
		goto close_metrics;
	}
	h->daemon = start_daemon(h, fd);
	if (!h->daemon) {
		close(fd);
		rc = -ENOMEM;
		goto close_metrics;
	}
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	rc = info ? uv_poll_init(loop, &h->poll, info->epoll_fd) : -ENOSYS;
	if (rc)
		goto stop_daemon;
	h->poll.data = h;
	h->timer.data = h;
	uv_timer_init(loop, &h->timer);
	h->handles = 2;
	rc = uv_poll_start(&h->poll, UV_READABLE, on_poll);
	if (rc) {
		http_stop(h); /* frees it, from the loop */
		goto report;
	}
	*out = h;
	return 0;

stop_daemon:
	MHD_stop_daemon(h->daemon);
close_metrics:
	metrics_close(h->metrics);
free_http:
	free(h);
report:
	snprintf(err, errlen, "%s: cannot listen for metrics: %s", address, strerror(-rc));
	return rc;
}

void http_stop(struct http *h)
{
	if (!h)
		return;
	uv_close((uv_handle_t *)&h->poll, on_closed);
	uv_close((uv_handle_t *)&h->timer, on_closed);
}

uint16_t http_port(const struct http *h)
{
	return h->port;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * control.c - all memory is taken at the start: slots that nobody uses are untouched pages.
 *
 *	FREE --accept--> OPEN --close_client()--> CLOSING --on_closed()--> FREE
 *
 * When no slot is free libuv holds the new connection (it stops accepting by itself) until
 * the evicted one's slot is.
 */
#include "control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "list.h"
#include "rpc.h"

enum slot_state { SLOT_FREE = 0, SLOT_OPEN, SLOT_CLOSING };

struct client {
	uv_pipe_t pipe;
	uv_write_t write;
	struct control *control;
	enum slot_state state;
	uint64_t active;	/* control->activity when it last sent or took something */
	char *answer;		/* being written, or NULL */
	bool last;		/* close once the answer is out */
	struct rpc_later later; /* an answer that is being waited for */
	size_t used;
	char in[RPC_REQUEST_MAX + 1];
};

struct control {
	uv_pipe_t listener;
	struct broker *broker;
	uint64_t activity;
	unsigned int handles; /* not closed yet; the last one frees */
	bool pending;	      /* libuv holds a connection for the next free slot */
	bool stopping;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct client clients[CONTROL_CLIENTS];
};

static void accept_client(struct control *c, struct client *cl);

static void put_control(struct control *c)
{
	if (!--c->handles)
		free(c); /* control_start() */
}

static void on_closed(uv_handle_t *handle)
{
	struct client *cl = handle->data;
	struct control *c = cl->control;

	free(cl->answer); /* send_answer() */
	cl->answer = NULL;
	cl->state = SLOT_FREE;
	if (c->pending && !c->stopping) {
		c->pending = false;
		accept_client(c, cl);
	}
	put_control(c);
}

static void close_client(struct client *cl)
{
	if (cl->state != SLOT_OPEN)
		return;
	cl->state = SLOT_CLOSING;
	rpc_forget(&cl->later);
	uv_close((uv_handle_t *)&cl->pipe, on_closed);
}

/* ------------------------------------------------------------------- answers */

static void on_written(uv_write_t *req, int status);

/* Write @answer, which is the client's now; returns whether it is on its way. */
static bool send_answer(struct client *cl, char *answer)
{
	uv_buf_t buf = uv_buf_init(answer, (unsigned int)strlen(answer));

	cl->answer = answer;
	uv_read_stop((uv_stream_t *)&cl->pipe);
	if (!uv_write(&cl->write, (uv_stream_t *)&cl->pipe, &buf, 1, on_written))
		return true;
	close_client(cl);
	return false;
}

/*
 * Answer what has been read, one line at a time, until an answer has to be waited for.
 * @eof: what is left over is a line, too.  Returns whether more may be read.
 */
static bool answer_lines(struct client *cl, bool eof)
{
	while (cl->used) {
		char *end = memchr(cl->in, '\n', cl->used), *answer;
		size_t len = end ? (size_t)(end - cl->in) : cl->used, eaten;

		if (!end && cl->used > RPC_REQUEST_MAX) {
			cl->used = 0;
			cl->last = true;
			answer = rpc_too_long();
			if (!answer || !send_answer(cl, answer))
				close_client(cl);
			return false;
		}
		if (!end && !eof)
			return true;
		answer = len ? rpc_answer(cl->control->broker, cl->in, len, &cl->later) : NULL;
		eaten = end ? len + 1 : len;
		cl->used -= eaten;
		memmove(cl->in, cl->in + eaten, cl->used);
		cl->last = eof && !cl->used;
		if (cl->later.pending) {
			uv_read_stop((uv_stream_t *)&cl->pipe);
			return false;
		}
		if (answer) {
			send_answer(cl, answer);
			return false;
		}
	}
	return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct client *cl = handle->data;

	(void)suggested;
	*buf = uv_buf_init(cl->in + cl->used, (unsigned int)(sizeof(cl->in) - cl->used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct client *cl = stream->data;
	bool eof = n == UV_EOF;

	(void)buf;
	if (!n)
		return;
	if (n < 0 && !eof) {
		close_client(cl);
		return;
	}
	cl->active = ++cl->control->activity;
	if (n > 0)
		cl->used += (size_t)n;
	if (answer_lines(cl, eof) && eof)
		close_client(cl);
}

/* Go on with what was read meanwhile, and read more. */
static void client_resume(struct client *cl)
{
	if (answer_lines(cl, false) &&
	    uv_read_start((uv_stream_t *)&cl->pipe, on_alloc, on_read))
		close_client(cl);
}

static void on_later(struct rpc_later *later, char *line)
{
	struct client *cl = container_of(later, struct client, later);

	cl->active = ++cl->control->activity;
	if (line)
		send_answer(cl, line);
	else if (cl->last)
		close_client(cl);
	else
		client_resume(cl);
}

static void on_written(uv_write_t *req, int status)
{
	struct client *cl = container_of(req, struct client, write);

	free(cl->answer); /* send_answer() */
	cl->answer = NULL;
	if (cl->state != SLOT_OPEN)
		return;
	cl->active = ++cl->control->activity;
	if (status || cl->last) {
		close_client(cl);
		return;
	}
	client_resume(cl);
}

/* --------------------------------------------------------------- connections */

static void accept_client(struct control *c, struct client *cl)
{
	if (uv_pipe_init(c->listener.loop, &cl->pipe, 0))
		return;
	c->handles++;
	cl->pipe.data = cl;
	cl->control = c;
	cl->state = SLOT_OPEN;
	cl->active = ++c->activity;
	cl->used = 0;
	cl->last = false;
	cl->later.done = on_later;
	if (uv_accept((uv_stream_t *)&c->listener, (uv_stream_t *)&cl->pipe) ||
	    uv_read_start((uv_stream_t *)&cl->pipe, on_alloc, on_read))
		close_client(cl);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct control *c = listener->data;
	struct client *oldest = NULL;

	if (status)
		return; /* out of descriptors, say: libuv tries again */
	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *cl = &c->clients[i];

		if (cl->state == SLOT_FREE) {
			accept_client(c, cl);
			return;
		}
		if (cl->state == SLOT_OPEN && (!oldest || cl->active < oldest->active))
			oldest = cl;
	}
	c->pending = true;
	if (oldest)
		close_client(oldest);
}

static void on_listener_closed(uv_handle_t *handle)
{
	put_control(handle->data);
}

/* A bound socket of mode 0660, or -errno.  (uv_pipe_bind() takes a missing directory for a
 * forbidden one.)  Nobody can connect before listen(), so the mode is there in time. */
static int bind_path(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		rc = -errno;
		goto close_fd;
	}
	if (!chmod(path, 0660))
		return fd;
	rc = -errno;
	unlink(path);
close_fd:
	close(fd);
	return rc;
}

int control_start(struct control **out, uv_loop_t *loop, struct broker *b, const char *path,
		  char *err, size_t errlen)
{
	struct control *c;
	int fd, rc;

	c = calloc(1, sizeof(*c));
	if (!c) {
		rc = -ENOMEM;
		goto report;
	}
	c->broker = b;
	fd = bind_path(path);
	if (fd < 0) {
		rc = fd;
		goto free_control;
	}
	strcpy(c->path, path); /* bind_path() judged its length */
	rc = uv_pipe_init(loop, &c->listener, 0);
	if (rc)
		goto close_fd;
	c->handles = 1;
	c->listener.data = c;
	rc = uv_pipe_open(&c->listener, fd);
	if (rc)
		close(fd);
	else
		rc = uv_listen((uv_stream_t *)&c->listener, 16, on_connection);
	if (rc) {
		control_stop(c); /* frees it, from the loop */
		goto report;
	}
	*out = c;
	return 0;

close_fd:
	close(fd);
	unlink(path);
free_control:
	free(c);
report:
	snprintf(err, errlen, "%s: cannot listen: %s", path, strerror(-rc));
	return rc;
}

void control_stop(struct control *c)
{
	if (!c)
		return;
	c->stopping = true;
	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++)
		close_client(&c->clients[i]);
	unlink(c->path); /* bind_path() */
	uv_close((uv_handle_t *)&c->listener, on_listener_closed);
}

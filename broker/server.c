// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "server.h"

#define LOCK_NAP_NS   5000000
#define ACCEPT_BUDGET 16 /* connections taken in one turn of the loop */
#define PAUSE_MS      100

/* The socket's directory must be ours: in /tmp anybody could have made it first. */
static int directory_make(const char *socket_path, char *err, size_t errlen)
{
	char copy[108], *dir;
	struct stat st;

	snprintf(copy, sizeof(copy), "%s", socket_path);
	dir = dirname(copy);
	if (mkdir(dir, geteuid() ? 0700 : 0755) < 0 && errno != EEXIST) {
		int ret = -errno;

		snprintf(err, errlen, "%s: cannot make the socket's directory: %s", dir,
			 strerror(-ret));
		return ret;
	}
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode)) {
		snprintf(err, errlen, "%s: expected a directory", dir);
		return -ENOTDIR;
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		snprintf(err, errlen, "%s: owned by uid %u: expected uid %u or root", dir,
			 (unsigned int)st.st_uid, (unsigned int)geteuid());
		return -EPERM;
	}
	return 0;
}

/* The lock, waiting for it up to @wait_s.  The broker that holds it gives it up last of all,
 * when its devices are closed. */
static int lock_wait(struct server *s, unsigned int wait_s)
{
	const struct timespec nap = { 0, LOCK_NAP_NS };
	uint64_t end = clock_ns() + wait_s * NSEC_PER_SEC;

	while (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || clock_ns() >= end)
			return -errno;
		nanosleep(&nap, NULL);
	}
	return 0;
}

static int lock_take(struct server *s, unsigned int wait_s, char *err, size_t errlen)
{
	char path[128], pid[16] = "?";
	ssize_t n;

	snprintf(path, sizeof(path), "%s.lock", s->path);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0) {
		int ret = -errno;

		snprintf(err, errlen, "%s: cannot open the lock file: %s", path,
			 strerror(-ret));
		return ret;
	}
	if (lock_wait(s, wait_s)) {
		n = read(s->lock_fd, pid, sizeof(pid) - 1);
		pid[n > 0 ? n : 0] = '\0';
		pid[strcspn(pid, "\n")] = '\0';
		snprintf(err, errlen, "%s: another accelmuxd (pid %s) serves this socket",
			 s->path, pid);
		return -EADDRINUSE;
	}
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(s->lock_fd, 0) < 0 || write(s->lock_fd, pid, strlen(pid)) < 0)
		return -errno; /* only the pid in the refusal would be missing, but say so */
	return 0;
}

static void server_accept(uv_poll_t *poll, int status, int events);

static void pause_over(uv_timer_t *timer)
{
	struct server *s = timer->data;

	if (s->listening)
		uv_poll_start(&s->poll, UV_READABLE, server_accept);
}

static void server_accept(uv_poll_t *poll, int status, int events)
{
	struct server *s = poll->data;

	(void)events;
	for (int i = 0; status == 0 && i < ACCEPT_BUDGET; i++) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			       errno == ENOBUFS)) {
			/* Whoever waits there stays: without a pause we would do nothing else. */
			host_refused(s->host, NULL, REFUSED_RESOURCES);
			uv_poll_stop(poll);
			uv_timer_start(&s->pause, pause_over, PAUSE_MS, 0);
		}
		if (fd < 0)
			break;
		conn_open(s->host, poll->loop, fd);
	}
}

int server_open(struct server *s, uv_loop_t *loop, struct conn_host *host, const char *path,
		char *err, size_t errlen)
{
	static const mode_t modes[] = {
		[CONFIG_OWNER] = 0600, [CONFIG_GROUP] = 0660, [CONFIG_ALL] = 0666
	};
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int ret;

	memset(s, 0, sizeof(*s));
	s->host = host;
	s->fd = s->lock_fd = -1;
	snprintf(s->path, sizeof(s->path), "%s", path);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	snprintf(err, errlen, "%s: cannot listen", path);
	ret = directory_make(path, err, errlen);
	if (ret)
		return ret;
	ret = lock_take(s, host->cfg->wait_s, err, errlen);
	if (ret)
		goto err_lock;
	unlink(path); /* a dead broker's: we hold the lock */
	s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		goto err_sock;
	}
	if (chmod(path, modes[host->cfg->clients]) < 0 || listen(s->fd, 128) < 0) {
		ret = -errno;
		goto err_path;
	}
	ret = uv_poll_init(loop, &s->poll, s->fd);
	if (ret)
		goto err_path;
	uv_timer_init(loop, &s->pause);
	s->poll.data = s->pause.data = s;
	uv_poll_start(&s->poll, UV_READABLE, server_accept);
	s->listening = true;
	return 0;

err_path:
	unlink(path);
err_sock:
	snprintf(err, errlen, "%s: cannot listen: %s", path, strerror(-ret));
	if (s->fd >= 0)
		close(s->fd);
err_lock:
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = s->fd = -1;
	return ret;
}

void server_stop(struct server *s)
{
	if (!s->listening)
		return;
	s->listening = false;
	unlink(s->path);
	uv_close((uv_handle_t *)&s->poll, NULL);
	uv_close((uv_handle_t *)&s->pause, NULL);
}

void server_close(struct server *s)
{
	if (s->fd >= 0)
		close(s->fd);
	/* The lock file stays: removing it would let two newcomers lock two files. */
	if (s->lock_fd >= 0)
		close(s->lock_fd);
}

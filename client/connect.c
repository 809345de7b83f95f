// SPDX-License-Identifier: MIT
/*
 * connect.c - find the broker, say HELLO, close.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "handle.h"
#include "queue.h"

#define CONNECT_TIMEOUT_MS 5000

static int path_put(char *buf, size_t len, const char *dir, const char *name)
{
	int n = snprintf(buf, len, "%s%s", dir, name);

	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

int amux_socket_path(const char *wanted, char *buf, size_t len)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	char dir[64];
	struct stat st;

	if (!wanted)
		wanted = secure_getenv("ACCELMUX_SOCKET");
	if (wanted && *wanted)
		return path_put(buf, len, wanted, "");
	if (runtime && *runtime && !path_put(buf, len, runtime, "/accelmux/accelmux.sock") &&
	    !stat(buf, &st))
		return 0;
	/* Anyone may make a directory in /tmp: only one of our own is believed. */
	snprintf(dir, sizeof(dir), "/tmp/accelmux-%u", (unsigned int)geteuid());
	if (!lstat(dir, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	    !path_put(buf, len, dir, "/accelmux.sock") && !stat(buf, &st))
		return 0;
	return path_put(buf, len, "/run/accelmux", "/accelmux.sock");
}

bool amux_probe_dead(struct amux *a)
{
	struct pollfd p[2] = {
		{ .fd = a->pidfd, .events = POLLIN },
		{ .fd = a->sock, .events = POLLRDHUP },
	};

	if (!amux_is_dead(a) && poll(p, 2, 0) > 0)
		amux_set_dead(a);
	return amux_is_dead(a);
}

static int connect_socket(const char *path)
{
	const struct timeval limit = { .tv_sec = CONNECT_TIMEOUT_MS / 1000 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, err;

	strcpy(un.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Bounds connect() too, where the listener's backlog is full. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		goto fail;
	while (connect(fd, (const struct sockaddr *)&un, sizeof(un)))
		if (errno != EINTR)
			goto fail;
	return fd;

fail:
	err = errno == EAGAIN ? ETIMEDOUT : errno == EPROTOTYPE ? EPROTO : errno;
	close(fd);
	return -err;
}

/* The name in HELLO: the caller's, checked, or the program's, made to fit. */
static int connect_name(char out[AMUX_NAME_LEN], const char *name)
{
	size_t n, good = 0;

	if (!name) {
		snprintf(out, AMUX_NAME_LEN, "%s", program_invocation_short_name);
		for (char *c = out; *c; c++)
			if (!isprint((unsigned char)*c))
				*c = '?';
		if (!*out)
			strcpy(out, "unnamed");
		return 0;
	}
	n = strlen(name);
	while (isprint((unsigned char)name[good]))
		good++;
	if (!n || n >= AMUX_NAME_LEN || good != n) {
		amux_fail("amux_options.name: expected 1 to %d printable bytes",
			  AMUX_NAME_LEN - 1);
		return -EINVAL;
	}
	strcpy(out, name);
	return 0;
}

/* Whoever does not say where he belongs is served where he runs now. */
static uint32_t connect_node(uint32_t wanted)
{
	unsigned int node;

	if (wanted != AMUX_NODE_ANY || getcpu(NULL, &node))
		return wanted;
	return node;
}

static int connect_hello(struct amux *a, const struct amux_options *opt)
{
	struct amux_msg_hello hello = {
		.hdr = { .type = AMUX_MSG_HELLO, .len = sizeof(hello) },
		.magic = AMUX_HELLO_MAGIC,
		.version_min = AMUX_ABI_VERSION,
		.version_max = AMUX_ABI_VERSION,
		.node = connect_node(opt->node),
	};
	struct amux_msg_welcome *w;
	struct amux_answer ans;
	int err;

	err = connect_name(hello.name, opt->name);
	if (err)
		return err;
	err = amux_talk(a, &hello.hdr, -1, AMUX_MSG_WELCOME, CONNECT_TIMEOUT_MS, &ans);
	if (err)
		return err == -ECONNRESET ? -EPROTO : err;
	w = &ans.welcome;
	a->pidfd = ans.fds[0];
	if (w->version != AMUX_ABI_VERSION || w->features || w->max_entries < 2) {
		amux_fail("the broker speaks version %u, features %#llx, %u entries; expected "
			  "version %u, none, 2 or more",
			  w->version, (unsigned long long)w->features, w->max_entries,
			  AMUX_ABI_VERSION);
		return -EPROTO;
	}
	a->cpu_bps = w->cpu_bps;
	a->max_entries = w->max_entries < AMUX_ENTRIES_MAX ? w->max_entries : AMUX_ENTRIES_MAX;
	memcpy(a->tenant, w->tenant, sizeof(a->tenant));
	a->tenant[AMUX_NAME_LEN - 1] = '\0';
	return 0;
}

static int guard_make(struct amux *a)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	if (madvise(p, page, MADV_WIPEONFORK)) {
		int err = errno;

		munmap(p, page);
		return -err;
	}
	a->guard = p;
	*a->guard = AMUX_GUARD_MAGIC;
	return 0;
}

static bool connect_may_spin(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) > 1;
}

/* Everything but the queues. */
static void connect_free(struct amux *a, bool mine)
{
	amux_regions_fini(&a->regions, mine);
	if (a->pidfd >= 0)
		close(a->pidfd);
	if (a->sock >= 0)
		close(a->sock);
	munmap(a->guard, (size_t)sysconf(_SC_PAGESIZE));
	pthread_mutex_destroy(&a->talk_lock);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->sync_lock);
	free(a);
}

int amux_connect(struct amux **out, const struct amux_options *opt)
{
	static const struct amux_options none = AMUX_OPTIONS_INIT;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct amux *a;
	int err;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!opt)
		opt = &none;
	err = amux_socket_path(opt->socket, path, sizeof(path));
	if (err) {
		amux_fail("socket path: expected at most %zu bytes", sizeof(path) - 1);
		return -EINVAL;
	}
	a = aligned_alloc(_Alignof(struct amux), sizeof(*a));
	if (!a)
		return -ENOMEM;
	memset(a, 0, sizeof(*a));
	a->sock = -1;
	a->pidfd = -1;
	a->may_spin = connect_may_spin();
	pthread_mutex_init(&a->talk_lock, NULL);
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->sync_lock, NULL);
	amux_regions_init(&a->regions);
	err = guard_make(a);
	if (err)
		goto free_handle;
	a->sock = connect_socket(path);
	if (a->sock < 0) {
		err = a->sock;
		amux_fail("no broker at %s: %s", path, strerror(-err));
		goto free_all;
	}
	err = connect_hello(a, opt);
	if (err)
		goto free_all;
	*out = a;
	return 0;

free_all:
	connect_free(a, true);
	return err;
free_handle:
	amux_regions_fini(&a->regions, false);
	free(a);
	return err;
}

void amux_close(struct amux *a)
{
	bool mine;

	if (!a)
		return;
	/* In a child rings and regions are not mapped, locks may be held for ever, and the
	 * parent goes on: only memory and descriptors are given back. */
	mine = !amux_check(a);
	while (a->queues)
		amux_queue_close(a->queues, mine);
	connect_free(a, mine);
}

int amux_alive(struct amux *a)
{
	int err = amux_check(a);

	return err ? err : !amux_probe_dead(a);
}

const char *amux_tenant(struct amux *a)
{
	return a ? a->tenant : "";
}

// SPDX-License-Identifier: MIT
/*
 * connect.c - find the broker, say HELLO, close.
 */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "queue.h"
#include "talk.h"

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

/* Say HELLO on the first link and take what the broker answers. */
static int connect_hello(struct amux *a, const struct amux_options *opt)
{
	struct amux_msg_hello *hello = &a->life.hello;
	struct amux_link *l = a->link;
	struct amux_answer ans;
	int err;

	*hello = (struct amux_msg_hello){
		.hdr = { .type = AMUX_MSG_HELLO, .len = sizeof(*hello) },
		.magic = AMUX_HELLO_MAGIC,
		.version_min = AMUX_ABI_VERSION,
		.version_max = AMUX_ABI_VERSION,
		.node = connect_node(opt->node),
	};
	err = connect_name(hello->name, opt->name);
	if (err)
		return err;
	err = amux_talk(a, l, &hello->hdr, -1, AMUX_MSG_WELCOME, CONNECT_TIMEOUT_MS, &ans);
	if (err)
		return err == -ECONNRESET ? -EPROTO : err;
	err = amux_life_welcome(l, &ans);
	if (err)
		return err;
	a->link = NULL; /* publishing drops the old one */
	ans.welcome.tenant[AMUX_NAME_LEN - 1] = '\0';
	err = amux_life_publish(a, l, &ans.welcome);
	if (err)
		a->link = l;
	return err;
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
	amux_life_fini(a);
	amux_regions_fini(&a->regions, mine);
	amux_link_put(a->link);
	munmap(a->guard, (size_t)sysconf(_SC_PAGESIZE));
	pthread_mutex_destroy(&a->talk_lock);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->sync_lock);
	free(a);
}

int amux_connect(struct amux **out, const struct amux_options *opt)
{
	static const struct amux_options none = AMUX_OPTIONS_INIT;
	char path[sizeof(((struct amux_life *)0)->path)];
	struct amux *a;
	int err, sock;

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
	a->may_spin = connect_may_spin();
	a->life.backoff_ns = AMUX_LIFE_BACKOFF_NS;
	a->life.rng = amux_now() ^ (uint64_t)getpid() << 32;
	strcpy(a->life.path, path);
	pthread_mutex_init(&a->life.lock, NULL);
	pthread_mutex_init(&a->talk_lock, NULL);
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->sync_lock, NULL);
	amux_regions_init(&a->regions);
	err = guard_make(a);
	if (err)
		goto free_handle;
	sock = amux_link_connect(path, true);
	if (sock < 0) {
		err = sock;
		amux_fail("no broker at %s: %s", path, strerror(-err));
		goto free_all;
	}
	a->link = amux_link_new(sock, ++a->life.serial);
	if (!a->link) {
		close(sock);
		err = -ENOMEM;
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
	struct amux_link *l;
	int err = amux_check(a);

	if (err)
		return err;
	amux_reconnect(a);
	l = amux_link_get(a);
	amux_link_probe(a, l);
	err = amux_link_up(l);
	amux_link_put(l);
	return err;
}

const char *amux_tenant(struct amux *a)
{
	/* The acquire pairs with the release in life.c: the name is whole. */
	return a ? amux_load_acquire(&a->life.tenant)->text : "";
}

// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"
#include "broker_state.h"
#include "clock.h"
#include "control.h"
#include "dsa_watch.h"
#include "fault_fixup.h"
#include "http.h"
#include "replay.h"

#define BUSY_NAP_NS 5000000

/* ------------------------------------------------------------------- shutdown */

/* Last step, once no client is left: everything that keeps the loop alive goes. */
static void broker_unwind(struct conn_host *host)
{
	struct broker *b = container_of(host, struct broker, host);

	if (!host->stopping || b->draining || host->n_conns ||
	    uv_is_closing((uv_handle_t *)&b->mail))
		return;
	control_stop(b->control);
	http_stop(b->http);
	b->control = NULL;
	b->http = NULL;
	uv_close((uv_handle_t *)&b->mail, NULL);
	uv_close((uv_handle_t *)&b->stop, NULL);
}

static void drain_done(struct mail *mail)
{
	struct broker *b = mail->arg;
	struct list *pos, *tmp;

	for (unsigned int i = 0; i < b->n_nodes; i++) {
		if (!b->mux[i].hung)
			continue;
		/* Regions and records must stay mapped until no device can write to them. */
		fprintf(stderr,
			"accelmuxd: node %d: a lost engine did not end what it has: leaving it "
			"unanswered\n",
			b->mux[i].node);
		_exit(EXIT_FAILURE);
	}
	if (--b->draining)
		return;
	/* The mux threads still drive the devices: the replay's last batch can finish. */
	if (b->replay)
		replay_stop(b->replay);
	list_for_each_safe(pos, tmp, &b->host.conns)
		conn_close(container_of(pos, struct conn, link), NULL);
	broker_unwind(&b->host);
}

static void stop_event(uv_async_t *async)
{
	struct broker *b = async->data;

	if (b->host.stopping)
		return;
	b->host.stopping = true;
	notify_stopping();
	server_stop(&b->server);
	b->draining = b->n_nodes;
	for (unsigned int i = 0; i < b->n_nodes; i++) {
		b->drain[i].type = MAIL_DRAIN;
		b->drain[i].arg = b;
		b->drain[i].done = drain_done;
		mux_post(&b->mux[i], &b->drain[i]);
	}
}

static void mail_event(uv_async_t *async)
{
	struct broker *b = async->data;
	struct mail *mail;

	while ((mail = mailbox_take(&b->outbox)))
		mail->done(mail);
}

static void mail_notify(void *arg)
{
	uv_async_send(&((struct broker *)arg)->mail);
}

void broker_stop(struct broker *b)
{
	uv_async_send(&b->stop);
}

/* -------------------------------------------------------------------- bring-up */

/*
 * Of a broker that was killed the kernel may still be closing the devices when its lock is free:
 * with --wait that is waited for as well.  True: try once more.
 */
static bool open_again(struct broker *b, int ret)
{
	if (ret != -EBUSY || clock_ns() >= b->start_ns + b->cfg.wait_s * NSEC_PER_SEC)
		return false;
	clock_sleep_until(clock_ns() + BUSY_NAP_NS);
	return true;
}

/* The module's end: the grant stands there before the kernel is told to read it. */
static int kmod_open(struct broker *b, char *err, size_t errlen)
{
	const char *path = b->cfg.kernel + 7;
	struct device *dev[AMUX_GRANT_DEVS];
	unsigned int n = nodes_devices(b->nodes, b->n_nodes, dev, AMUX_GRANT_DEVS);
	int ret;

	do
		ret = kmod_link_open(&b->kmod, path, dev, n, err, errlen);
	while (open_again(b, ret));
	if (ret)
		return ret;
	b->grant_map = b->kmod.map;
	grant_init(&b->grant, b->grant_map);
	if (!b->kmod.n_channels)
		fprintf(stderr,
			"accelmuxd: %s: no DMA channel is free: the kernel copies with its "
			"CPU\n",
			path);
	return kmod_link_attach(&b->kmod, path, err, errlen);
}

static int kernel_open(struct broker *b, char *err, size_t errlen)
{
	struct replay_config rc = {
		.loop = b->cfg.replay_loop,
		.verify = b->cfg.replay_verify,
		.time_scale = config_time_scale(&b->cfg),
	};
	struct replay_notify notify = { mux_ring, &b->mux[0] };
	struct device *dev[AMUX_POLICY_DEVS];
	unsigned int n;

	if (!strncmp(b->cfg.kernel, "device:", 7))
		return kmod_open(b, err, errlen);
	if (strncmp(b->cfg.kernel, "replay:", 7))
		return 0;
	rc.path = b->cfg.kernel + 7;
	rc.cpu_bps = config_modelled(&b->cfg) ? b->cfg.cpu_bps / rc.time_scale : 0;
	b->grant_map = mmap(NULL, AMUX_GRANT_MAP_BYTES, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->grant_map == MAP_FAILED) {
		b->grant_map = NULL;
		snprintf(err, errlen, "grant page: %s", strerror(errno));
		return -ENOMEM;
	}
	grant_init(&b->grant, b->grant_map);
	/* A replay is of one node. */
	n = nodes_devices(b->nodes, 1, dev, AMUX_POLICY_DEVS);
	return replay_open(&b->replay, &rc, b->grant_map, dev, n, &notify, err, errlen);
}

/* Node @i's part of the grant page, with @first devices of other nodes before it; NULL: none. */
static struct grant_link *kernel_part(struct broker *b, unsigned int i, unsigned int first)
{
	struct grant_link *part = &b->grant_part[i];

	if (!b->grant_map || (b->replay && i))
		return NULL;
	grant_part(part, &b->grant, first, b->nodes[i].n_devices);
	return part->n ? part : NULL;
}

static int muxes_open(struct broker *b, char *err, size_t errlen)
{
	unsigned int first = 0;

	for (unsigned int i = 0; i < b->n_nodes; i++) {
		struct node *node = &b->nodes[i];
		struct device *dev[AMUX_POLICY_DEVS];
		unsigned int n = nodes_devices(node, 1, dev, AMUX_POLICY_DEVS);
		int ret = mux_open(&b->mux[i], node->id, dev, n, &b->cfg,
				   kernel_part(b, i, first), &b->outbox);

		first += n;
		if (ret) {
			snprintf(err, errlen, "mux thread %u: cannot set up: %s", i,
				 strerror(-ret));
			return ret;
		}
		b->host.n_mux++;
	}
	return 0;
}

/* Real engines can be lost and found. */
static int watch_open(struct broker *b, char *err, size_t errlen)
{
	struct device *dev[IDXD_DEVICES];
	unsigned int n = nodes_devices(b->nodes, b->n_nodes, dev, IDXD_DEVICES);
	int ret;

	if (b->cfg.engine != CONFIG_DSA)
		return 0;
	ret = dsa_watch_start(&b->watch, &b->loop, dev, n, b->kmod.map ? &b->kmod : NULL,
			      n < AMUX_GRANT_DEVS ? n : AMUX_GRANT_DEVS);
	if (ret)
		snprintf(err, errlen, "out of memory");
	return ret;
}

/* Does somebody answer there?  A dead broker's socket refuses. */
static bool control_served(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	served = fd >= 0 &&
		 (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)) || errno == EAGAIN);
	if (fd >= 0)
		close(fd);
	return served;
}

/* A connection needs two, a queue two: as many as we may have. */
static void descriptors_raise(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) || rl.rlim_cur >= rl.rlim_max)
		return;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
}

int broker_open(struct broker **out, const struct config *cfg, const char *path, char *err,
		size_t errlen)
{
	struct broker *b = calloc(1, sizeof(*b));
	int policy = config_policy_index(cfg->policy), ret;

	snprintf(err, errlen, "out of memory");
	if (!b)
		return -ENOMEM;
	b->cfg = *cfg;
	b->start_ns = clock_ns();
	if (policy < 0)
		policy = config_policy_index("partitioned"); /* until the plug-in is loaded */
	b->policy = amux_policies[policy];
	memcpy(b->values, cfg->policy_values[policy], sizeof(b->values));
	snprintf(b->path, sizeof(b->path), "%s", path ? path : "");
	list_init(&b->host.tenants);
	list_init(&b->host.conns);
	list_init(&b->plugins);
	b->host.cfg = &b->cfg;
	b->host.closed = broker_unwind;
	b->host.pidfd = -1;
	b->server.fd = b->server.lock_fd = -1;

	mailbox_init(&b->outbox, mail_notify, b);
	ret = uv_loop_init(&b->loop);
	if (ret) {
		snprintf(err, errlen, "event loop: %s", strerror(-ret));
		mailbox_fini(&b->outbox);
		free(b);
		return ret;
	}
	ret = uv_async_init(&b->loop, &b->mail, mail_event);
	if (!ret)
		ret = uv_async_init(&b->loop, &b->stop, stop_event);
	if (ret) {
		snprintf(err, errlen, "event loop: %s", strerror(-ret));
		goto err;
	}
	b->mail.data = b->stop.data = b;

	ret = fixup_init();
	if (ret)
		goto err;
	descriptors_raise();
	ret = -ENOMEM;
	b->host.closer = closer_start();
	if (!b->host.closer)
		goto err;
	/* Clients hold this to learn of our death; a hang-up alone would not prove it. */
	b->host.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (b->host.pidfd < 0) {
		ret = -errno;
		snprintf(err, errlen, "pidfd_open: %s: expected Linux 5.3 or later",
			 strerror(-ret));
		goto err;
	}
	/* The lock first: a second instance must not get as far as opening devices. */
	ret = server_open(&b->server, &b->loop, &b->host, cfg->socket, err, errlen);
	if (ret)
		goto err;
	while (open_again(b, ret = nodes_open(b->nodes, &b->n_nodes, &b->cfg, err, errlen))) {
		nodes_close(b->nodes, b->n_nodes);
		memset(b->nodes, 0, sizeof(b->nodes));
		b->n_nodes = 0;
	}
	if (ret)
		goto err;
	ret = -ENOMEM;
	b->mux = calloc(b->n_nodes, sizeof(*b->mux));
	if (!b->mux)
		goto err;
	b->host.mux = b->mux;
	ret = kernel_open(b, err, errlen);
	if (ret)
		goto err;
	ret = muxes_open(b, err, errlen);
	if (ret)
		goto err;
	switch_init(b);
	ret = watch_open(b, err, errlen);
	if (ret)
		goto err;
	/* server_open() holds the lock of this session socket; the control socket may still be
	 * that of a broker with another one. */
	if (control_served(cfg->control)) {
		snprintf(err, errlen, "%s: another program serves this control socket",
			 cfg->control);
		ret = -EADDRINUSE;
		goto err;
	}
	unlink(cfg->control); /* a dead broker's */
	ret = control_start(&b->control, &b->loop, b, cfg->control, err, errlen);
	if (ret)
		goto err;
	if (cfg->metrics_addr[0]) {
		ret = http_start(&b->http, &b->loop, b, cfg->metrics_addr, err, errlen);
		if (ret)
			goto err;
	}
	for (unsigned int i = 0; i < b->n_nodes && !ret; i++)
		ret = mux_start(&b->mux[i]);
	if (!ret)
		notify_watch(&b->notify, &b->loop, b->mux, b->n_nodes);
	if (!ret && b->replay)
		ret = replay_start(b->replay);
	if (ret) {
		snprintf(err, errlen, "cannot start a thread: %s", strerror(-ret));
		goto err;
	}
	ret = switch_start(b, err, errlen);
	if (ret)
		goto err;
	*out = b;
	return 0;

err:
	broker_close(b);
	return ret;
}

void broker_run(struct broker *b)
{
	notify_ready();
	uv_run(&b->loop, UV_RUN_DEFAULT);
}

static void signal_event(uv_signal_t *handle, int signum)
{
	struct broker *b = handle->data;
	char err[512];

	if (signum != SIGHUP) {
		broker_stop(b);
		return;
	}
	notify_reloading();
	if (broker_reload(b, err, sizeof(err)))
		fprintf(stderr, "accelmuxd: nothing reloaded: %s\n", err);
	else
		fprintf(stderr, "accelmuxd: reloaded %s\n", b->path);
	notify_ready();
}

void broker_watch_signals(struct broker *b)
{
	static const int signums[BROKER_SIGNALS] = { SIGTERM, SIGINT, SIGHUP };

	for (unsigned int i = 0; i < BROKER_SIGNALS; i++) {
		uv_signal_init(&b->loop, &b->signals[i]);
		b->signals[i].data = b;
		uv_signal_start(&b->signals[i], signal_event, signums[i]);
		uv_unref((uv_handle_t *)&b
				 ->signals[i]); /* waiting for one is no reason to stay */
	}
}

static void handle_close(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Also the way back from a bring-up that failed half-way: everything may be unset. */
void broker_close(struct broker *b)
{
	struct mail *mail;

	if (!b)
		return;
	if (b->replay)
		replay_stop(b->replay);
	server_stop(&b->server);
	control_stop(b->control);
	http_stop(b->http);
	for (unsigned int i = 0; i < b->host.n_mux; i++)
		mux_close(&b->mux[i]);
	while ((mail = mailbox_take(&b->outbox)))
		mail->done(mail); /* changes that were asked for in the last moment */
	switch_stop(b);
	if (b->replay)
		replay_close(b->replay);
	dsa_watch_stop(b->watch);
	if (b->kmod.map)
		kmod_link_close(&b->kmod);
	else if (b->grant_map)
		munmap(b->grant_map, AMUX_GRANT_MAP_BYTES);
	free(b->mux);
	nodes_close(b->nodes, b->n_nodes);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	uv_walk(&b->loop, handle_close, NULL);
	while (uv_loop_close(&b->loop) == UV_EBUSY)
		uv_run(&b->loop, UV_RUN_DEFAULT);
	server_close(&b->server);
	tenants_free(&b->host.tenants);
	closer_stop(b->host.closer);
	mailbox_fini(&b->outbox);
	if (b->host.pidfd >= 0)
		close(b->host.pidfd);
	free(b);
}

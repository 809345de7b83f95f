// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <numa.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker.h"
#include "clock.h"
#include "control.h"
#include "fault_fixup.h"
#include "http.h"
#include "replay.h"
#include "server.h"
#include "soft.h"
#include "status.h"

#define BROKER_SIGNALS 3

struct node {
	struct device devices[AMUX_POLICY_DEVS];
	unsigned int n_devices;
};

struct broker {
	struct config cfg;
	char path[512]; /* config file, "" if none */
	const char *const *set; /* assignments over it */
	unsigned int n_set;
	uint64_t start_ns;
	uv_loop_t loop;
	uv_async_t mail, stop;
	struct mailbox outbox; /* answers of the mux threads */
	uv_signal_t signals[BROKER_SIGNALS];
	struct conn_host host;
	struct server server;
	struct control *control;
	struct http *http;
	struct node nodes[TENANT_NODES];
	struct mux *mux;
	unsigned int n_nodes;
	struct mail drain[TENANT_NODES];
	unsigned int draining; /* muxes that have not drained yet */

	void *grant_map;
	struct grant_link grant;
	struct replay *replay;

	unsigned int policy; /* index in amux_policies[] */
	uint64_t values[AMUX_POLICY_PARAMS];
	struct flow_stats scratch; /* sum over nodes for broker_tenant() */
};

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

static int nodes_open(struct broker *b, char *err, size_t errlen)
{
	const struct config *cfg = &b->cfg;
	int max = numa_available() < 0 ? 0 : numa_max_node();

	for (int id = 0; id <= max && b->n_nodes < TENANT_NODES; id++) {
		struct node *node = &b->nodes[b->n_nodes];
		struct soft_config soft = cfg->soft;

		if (numa_available() >= 0 && !numa_bitmask_isbitset(numa_all_nodes_ptr,
								     (unsigned int)id))
			continue;
		b->n_nodes++;
		soft.node = id;
		for (unsigned int d = 0; d < cfg->devices; d++) {
			int ret = soft_open(&node->devices[d], d, &soft);

			if (ret) {
				snprintf(err, errlen, "soft%u on node %d: cannot open: %s", d, id,
					 strerror(-ret));
				return ret;
			}
			snprintf(node->devices[d].name, sizeof(node->devices[d].name), "soft%u",
				 (b->n_nodes - 1) * cfg->devices + d);
			node->n_devices++;
		}
	}
	return 0;
}

static int kernel_open(struct broker *b, char *err, size_t errlen)
{
	struct replay_config rc = {
		.loop = b->cfg.replay_loop,
		.verify = b->cfg.replay_verify,
		.time_scale = b->cfg.soft.model ? b->cfg.soft.time_scale : 1,
	};
	struct replay_notify notify = { mux_ring, &b->mux[0] };
	struct device *dev[AMUX_POLICY_DEVS];
	int ret;

	if (strncmp(b->cfg.kernel, "replay:", 7))
		return 0;
	rc.path = b->cfg.kernel + 7;
	rc.cpu_bps = b->cfg.soft.model ? b->cfg.cpu_bps / rc.time_scale : 0;
	b->grant_map = mmap(NULL, AMUX_GRANT_MAP_BYTES, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->grant_map == MAP_FAILED) {
		b->grant_map = NULL;
		snprintf(err, errlen, "grant page: %s", strerror(errno));
		return -ENOMEM;
	}
	grant_init(&b->grant, b->grant_map);
	for (unsigned int d = 0; d < b->nodes[0].n_devices; d++)
		dev[d] = &b->nodes[0].devices[d];
	ret = replay_open(&b->replay, &rc, b->grant_map, dev, b->nodes[0].n_devices, &notify, err,
			  errlen);
	return ret;
}

static int muxes_open(struct broker *b, char *err, size_t errlen)
{
	for (unsigned int i = 0; i < b->n_nodes; i++) {
		struct node *node = &b->nodes[i];
		struct device *dev[AMUX_POLICY_DEVS];
		int ret;

		for (unsigned int d = 0; d < node->n_devices; d++)
			dev[d] = &node->devices[d];
		ret = mux_open(&b->mux[i], node->n_devices ? dev[0]->node : 0, dev,
			       node->n_devices, &b->cfg, !i && b->grant_map ? &b->grant : NULL,
			       &b->outbox);
		if (ret) {
			snprintf(err, errlen, "mux thread %u: cannot set up: %s", i,
				 strerror(-ret));
			return ret;
		}
		b->host.n_mux++;
	}
	return 0;
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
	b->policy = policy < 0 ? 0 : (unsigned int)policy;
	memcpy(b->values, cfg->policy_values[b->policy], sizeof(b->values));
	snprintf(b->path, sizeof(b->path), "%s", path ? path : "");
	list_init(&b->host.tenants);
	list_init(&b->host.conns);
	b->host.cfg = &b->cfg;
	b->host.closed = broker_unwind;
	b->host.pidfd = -1;
	b->server.fd = b->server.lock_fd = -1;

	uv_loop_init(&b->loop);
	uv_async_init(&b->loop, &b->mail, mail_event);
	uv_async_init(&b->loop, &b->stop, stop_event);
	b->mail.data = b->stop.data = b;
	mailbox_init(&b->outbox, mail_notify, b);

	ret = fixup_init();
	if (ret)
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
	ret = nodes_open(b, err, errlen);
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
	unlink(cfg->control); /* a dead broker's: server_open() holds the lock */
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
	if (!ret && b->replay)
		ret = replay_start(b->replay);
	if (ret) {
		snprintf(err, errlen, "cannot start a thread: %s", strerror(-ret));
		goto err;
	}
	*out = b;
	return 0;

err:
	broker_close(b);
	return ret;
}

void broker_run(struct broker *b)
{
	uv_run(&b->loop, UV_RUN_DEFAULT);
}

static void signal_event(uv_signal_t *handle, int signum)
{
	struct broker *b = handle->data;
	char err[512];

	if (signum != SIGHUP)
		broker_stop(b);
	else if (broker_reload(b, err, sizeof(err)))
		fprintf(stderr, "accelmuxd: nothing reloaded: %s\n", err);
	else
		fprintf(stderr, "accelmuxd: reloaded %s\n", b->path);
}

void broker_watch_signals(struct broker *b)
{
	static const int signums[BROKER_SIGNALS] = { SIGTERM, SIGINT, SIGHUP };

	for (unsigned int i = 0; i < BROKER_SIGNALS; i++) {
		uv_signal_init(&b->loop, &b->signals[i]);
		b->signals[i].data = b;
		uv_signal_start(&b->signals[i], signal_event, signums[i]);
		uv_unref((uv_handle_t *)&b->signals[i]); /* waiting for one is no reason to stay */
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
	if (b->replay)
		replay_close(b->replay);
	if (b->grant_map)
		munmap(b->grant_map, AMUX_GRANT_MAP_BYTES);
	free(b->mux);
	for (unsigned int i = 0; i < b->n_nodes; i++)
		for (unsigned int d = 0; d < b->nodes[i].n_devices; d++)
			b->nodes[i].devices[d].ops->close(&b->nodes[i].devices[d]);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	uv_walk(&b->loop, handle_close, NULL);
	while (uv_loop_close(&b->loop) == UV_EBUSY)
		uv_run(&b->loop, UV_RUN_DEFAULT);
	server_close(&b->server);
	tenants_free(&b->host.tenants);
	mailbox_fini(&b->outbox);
	if (b->host.pidfd >= 0)
		close(b->host.pidfd);
	free(b);
}

/* ---------------------------------------------------------------------- changes */

static void change_done(struct mail *mail)
{
	free(mail->arg);
}

int broker_set_policy(struct broker *b, const struct amux_policy_ops *ops,
		      const uint64_t *values)
{
	struct policy_change *pc[TENANT_NODES] = { NULL };
	unsigned int i;

	/* All memory first: either every node switches or none does. */
	for (i = 0; i < b->n_nodes; i++) {
		pc[i] = calloc(1, sizeof(*pc[i]));
		if (!pc[i])
			goto err;
		pc[i]->state = ops->state_size ? calloc(1, ops->state_size) : NULL;
		if (ops->state_size && !pc[i]->state)
			goto err;
		pc[i]->ops = ops;
		memcpy(pc[i]->values, values, sizeof(pc[i]->values));
		pc[i]->mail.type = MAIL_POLICY;
		pc[i]->mail.arg = pc[i];
		pc[i]->mail.done = change_done;
	}
	for (i = 0; i < b->n_nodes; i++)
		mux_post(&b->mux[i], &pc[i]->mail);
	for (i = 0; amux_policies[i]; i++)
		if (amux_policies[i] == ops)
			b->policy = i;
	memcpy(b->values, values, sizeof(b->values));
	return 0;

err:
	for (i = 0; i < b->n_nodes; i++) {
		if (pc[i])
			free(pc[i]->state);
		free(pc[i]);
	}
	return -ENOMEM;
}

/* Best effort: without memory a tenant or mux keeps its old values until the next reload. */
static void broker_apply_tenants(struct broker *b)
{
	struct list *pos;

	list_for_each(pos, &b->host.tenants) {
		struct tenant *t = container_of(pos, struct tenant, link);

		tenant_limits(&b->cfg, t->name, &t->weight, &t->reserve_bps, &t->limit_bps);
		for (unsigned int i = 0; i < b->n_nodes; i++) {
			struct tenant_change *tc = calloc(1, sizeof(*tc));

			if (!tc)
				return;
			*tc = (struct tenant_change){
				.mail = { .type = MAIL_TENANT_SET, .arg = tc, .done = change_done },
				.tenant = &t->node[i],
				.weight = t->weight,
				.reserve_bps = t->reserve_bps,
				.limit_bps = t->limit_bps,
			};
			mux_post(&b->mux[i], &tc->mail);
		}
	}
}

static void broker_apply_tuning(struct broker *b)
{
	for (unsigned int i = 0; i < b->n_nodes; i++) {
		struct mux_tuning *mt = calloc(1, sizeof(*mt));

		if (!mt)
			return;
		mt->mail.type = MAIL_TUNE;
		mt->mail.arg = mt;
		mt->mail.done = change_done;
		mt->spin_ns = b->cfg.spin_ns;
		mt->epoch_ns = b->cfg.epoch_ns *
			       (b->cfg.soft.model ? b->cfg.soft.time_scale : 1);
		mux_post(&b->mux[i], &mt->mail);
	}
}

void broker_overrides(struct broker *b, const char *const *set, unsigned int n)
{
	b->set = set;
	b->n_set = n;
}

int broker_reload(struct broker *b, char *err, size_t errlen)
{
	struct config *cfg;
	int ret, policy;
	bool same;

	if (!b->path[0]) {
		snprintf(err, errlen, "reload: no config file was given (--config)");
		return -ENOENT;
	}
	cfg = malloc(sizeof(*cfg));
	if (!cfg)
		return -ENOMEM;
	config_default(cfg);
	ret = config_load(cfg, b->path, err, errlen);
	for (unsigned int i = 0; i < b->n_set && !ret; i++)
		ret = config_override(cfg, b->set[i], err, errlen);
	if (!ret)
		ret = config_check(cfg, err, errlen);
	if (!ret)
		ret = config_reloadable(&b->cfg, cfg, err, errlen);
	if (ret)
		goto out;
	/* What was switched by hand stands unless the file's own words on it changed. */
	policy = config_policy_index(cfg->policy);
	same = !strcmp(cfg->policy, b->cfg.policy) &&
	       !memcmp(cfg->policy_values[policy], b->cfg.policy_values[policy],
		       sizeof(cfg->policy_values[policy]));
	b->cfg = *cfg;
	broker_apply_tenants(b);
	broker_apply_tuning(b);
	if (!same)
		ret = broker_set_policy(b, amux_policies[policy], cfg->policy_values[policy]);
	if (ret)
		snprintf(err, errlen, "out of memory");
out:
	free(cfg);
	return ret;
}

/* ----------------------------------------------------------------------- status */

const struct config *broker_config(struct broker *b)
{
	return &b->cfg;
}

uint64_t broker_start_ns(struct broker *b)
{
	return b->start_ns;
}

unsigned int broker_connections(struct broker *b)
{
	return b->host.n_conns;
}

uint64_t broker_rejected(struct broker *b)
{
	return b->host.rejected;
}

unsigned int broker_node(struct broker *b, unsigned int i, struct status_node *out)
{
	struct mux *m;

	if (i >= b->n_nodes)
		return b->n_nodes;
	m = &b->mux[i];
	memset(out, 0, sizeof(*out));
	out->node = m->node;
	out->stats = &m->stats;
	out->users = &m->sched.users;
	plan_describe(&m->planner, out->policy, sizeof(out->policy), out->reverted,
		      sizeof(out->reverted));
	plan_read(&m->planner, &out->plan);
	out->n_devices = m->n_devices;
	for (unsigned int d = 0; d < m->n_devices; d++) {
		struct status_device *sd = &out->devices[d];
		struct device *dev = m->device[d];

		sd->dev = dev;
		sd->engine = dev->ops->name;
		for (unsigned int e = 0; e < dev->engines; e++)
			dev->ops->read_stats(dev, e, &sd->engines[e]);
		sd->inflight_bytes[AMUX_CLASS_USER] =
			stat_read(&m->sched.device[d].inflight_bytes);
		if (m->kernel) {
			struct grant_demand demand;

			grant_demand_read(m->kernel, &demand);
			sd->inflight_bytes[AMUX_CLASS_KERNEL] = demand.inflight_bytes[d];
		}
	}
	return b->n_nodes;
}

static void hist_sum(struct hist *to, const struct hist *from)
{
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		to->bucket[i] += stat_read(&from->bucket[i]);
	to->count += stat_read(&from->count);
	to->sum_ns += stat_read(&from->sum_ns);
}

/* struct flow_stats is u64 counters up to the two histograms at its end. */
static void flow_stats_sum(struct flow_stats *to, const struct flow_stats *from)
{
	uint64_t *t = (uint64_t *)to;
	const uint64_t *f = (const uint64_t *)from;

	for (size_t i = 0; i < offsetof(struct flow_stats, wait) / sizeof(*t); i++)
		t[i] += stat_read(&f[i]);
	hist_sum(&to->wait, &from->wait);
	hist_sum(&to->service, &from->service);
}

unsigned int broker_tenant(struct broker *b, unsigned int i, struct status_tenant *out)
{
	unsigned int n = 0;
	struct list *pos;

	list_for_each(pos, &b->host.tenants) {
		struct tenant *t = container_of(pos, struct tenant, link);

		if (n++ != i)
			continue;
		memset(&b->scratch, 0, sizeof(b->scratch));
		memset(out, 0, sizeof(*out));
		for (unsigned int node = 0; node < b->n_nodes; node++) {
			flow_stats_sum(&b->scratch, &t->node[node].stats);
			out->queued_bytes += stat_read(&t->node[node].queued_bytes);
		}
		out->id = t->id;
		out->name = t->name;
		out->weight = t->weight;
		out->reserve_bps = t->reserve_bps;
		out->limit_bps = t->limit_bps;
		out->connections = t->connections;
		out->queues = t->queues;
		out->regions = t->regions;
		out->region_bytes = t->region_bytes;
		out->stats = &b->scratch;
	}
	return n;
}

const struct grant_link *broker_kernel(struct broker *b, const char **source)
{
	*source = b->replay ? b->cfg.kernel : "none";
	return b->grant_map ? &b->grant : NULL;
}

uint64_t broker_kernel_mismatches(struct broker *b)
{
	return b->replay ? replay_mismatches(b->replay) : 0;
}

const struct amux_policy_ops *broker_policy(struct broker *b, const uint64_t **values)
{
	*values = b->values;
	return amux_policies[b->policy];
}

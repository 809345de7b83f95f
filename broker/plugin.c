// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin.c - see plugin.h.
 */
#include "plugin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "plugin_spawn.h"
#include "tenant.h"

#define NAME_CHARS  "abcdefghijklmnopqrstuvwxyz0123456789_-"
#define PARAM_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_"

enum plugin_state { STARTED, ASKED, LIVE, GONE };

struct plugin {
	struct list link; /* on order.plugins */
	struct plugin_order order;
	char path[PLUGIN_PATH_LEN];
	struct policy_setting settings[AMUX_POLICY_PARAMS];
	uv_poll_t child; /* until it is reaped */
	uv_poll_t talk;	 /* until it is live */
	uv_timer_t timer;
	unsigned int handles; /* not closed yet */
	unsigned int refs;
	enum plugin_state state;
	struct plugin_process process;
	struct plugin_link links[TENANT_NODES];

	/* What it says of itself: judged, and copied here. */
	struct plugin_hello hello;
	struct amux_policy_param params[AMUX_POLICY_PARAMS];
	struct amux_policy_ops ops;
	uint64_t values[AMUX_POLICY_PARAMS];
};

/* ------------------------------------------------------------------------- end */

static void plugin_free(struct plugin *p)
{
	if (p->refs || p->handles || p->state != GONE)
		return;
	plugin_process_free(&p->process);
	list_del(&p->link);
	free(p); /* plugin_load() */
}

static void on_closed(uv_handle_t *handle)
{
	struct plugin *p = handle->data;

	p->handles--;
	plugin_free(p);
}

/* @handle may never have been opened, and then it is zeroed. */
static void handle_close(void *handle)
{
	uv_handle_t *h = handle;

	if (h->loop && !uv_is_closing(h))
		uv_close(h, on_closed);
}

/* Nothing more is said and nothing waited for. */
static void talk_end(struct plugin *p)
{
	handle_close(&p->talk);
	handle_close(&p->timer);
	if (p->process.talk >= 0)
		close(p->process.talk);
	p->process.talk = -1;
}

/* It has been reaped. */
static void plugin_gone(struct plugin *p, const char *how)
{
	enum plugin_state was = p->state;

	talk_end(p);
	handle_close(&p->child);
	p->state = GONE;
	if (was == LIVE && p->order.died)
		p->order.died(p, how);
}

/* End it and wait for that; nobody hears of it. */
static void plugin_stop(struct plugin *p)
{
	char how[64];

	p->order.loaded = NULL;
	p->order.died = NULL;
	if (p->state == GONE)
		return;
	plugin_kill(&p->links[0]);
	plugin_reap(&p->process, 1, how, sizeof(how));
	plugin_gone(p, how);
}

/* It will never be live; it is said once. */
__attribute__((format(printf, 2, 3))) static void refuse(struct plugin *p, const char *fmt, ...)
{
	void (*loaded)(struct plugin * p, const char *err) = p->order.loaded;
	char err[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, sizeof(err), fmt, ap);
	va_end(ap);
	p->order.loaded = NULL;
	p->order.died = NULL;
	talk_end(p);
	plugin_kill(&p->links[0]);
	if (loaded)
		loaded(p, err);
}

/* ---------------------------------------------------------------------- judging */

/* Text of the host's: one line that ends. */
static void clean(char *text, size_t len)
{
	text[len - 1] = '\0';
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static bool is_name(const char *name, const char *chars)
{
	return name[0] && !name[strspn(name, chars)];
}

static int judge_param(struct plugin *p, unsigned int i, char *err, size_t errlen)
{
	struct plugin_param *q = &p->hello.params[i];

	clean(q->name, sizeof(q->name));
	clean(q->help, sizeof(q->help));
	if (!is_name(q->name, PARAM_CHARS)) {
		snprintf(err, errlen,
			 "parameter %u is called '%s', expected letters a to z, digits or '_'",
			 i, q->name);
		return -EINVAL;
	}
	for (unsigned int k = 0; k < i; k++) {
		if (strcmp(p->hello.params[k].name, q->name))
			continue;
		snprintf(err, errlen, "has two parameters called '%s'", q->name);
		return -EINVAL;
	}
	if (q->unit > AMUX_UNIT_PAGES || q->min > q->def || q->def > q->max) {
		snprintf(
			err, errlen,
			"parameter '%s': expected a known unit, and a default within its range",
			q->name);
		return -EINVAL;
	}
	p->params[i] = (struct amux_policy_param){
		.name = q->name,
		.help = q->help,
		.unit = (enum amux_unit)q->unit,
		.min = q->min,
		.max = q->max,
		.def = q->def,
	};
	return 0;
}

/* Make p->ops of what the host said, which may be anything. */
static int judge_hello(struct plugin *p, char *err, size_t errlen)
{
	struct plugin_hello *h = &p->hello;
	int ret;

	clean(h->name, sizeof(h->name));
	clean(h->summary, sizeof(h->summary));
	if (!is_name(h->name, NAME_CHARS)) {
		snprintf(err, errlen,
			 "calls itself '%s', expected letters a to z, digits, '_' or '-'",
			 h->name);
		return -EINVAL;
	}
	if (policy_find(h->name)) {
		snprintf(err, errlen,
			 "calls itself '%s', expected another name than a built-in policy's",
			 h->name);
		return -EINVAL;
	}
	if (h->n_params > AMUX_POLICY_PARAMS) {
		snprintf(err, errlen, "has %u parameters, expected at most %d", h->n_params,
			 AMUX_POLICY_PARAMS);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < h->n_params; i++) {
		ret = judge_param(p, i, err, errlen);
		if (ret)
			return ret;
	}
	p->ops = (struct amux_policy_ops){
		AMUX_POLICY_HEADER,    .n_params = h->n_params, .name = h->name,
		.summary = h->summary, .params = p->params,
	};
	return 0;
}

/* ---------------------------------------------------------------------- talking */

static void on_timer(uv_timer_t *timer)
{
	struct plugin *p = timer->data;
	char time[32];

	param_format(p->order.load_ns, AMUX_UNIT_NS, time, sizeof(time));
	refuse(p, "%s: %s took longer than %s", p->path,
	       p->state == STARTED ? "loading it" : "its check() and start()", time);
}

static void timer_start(struct plugin *p)
{
	uv_timer_start(&p->timer, on_timer, p->order.load_ns / 1000000 + 1, 0);
}

/* The host is loaded: tell it its parameters. */
static void on_hello(struct plugin *p)
{
	struct plugin_values msg = { { 0 } };
	char err[400];

	if (p->hello.err[0]) {
		clean(p->hello.err, sizeof(p->hello.err));
		refuse(p, "%s: %s", p->path, p->hello.err);
		return;
	}
	if (judge_hello(p, err, sizeof(err))) {
		refuse(p, "%s: %s", p->path, err);
		return;
	}
	policy_defaults(&p->ops, p->values);
	for (unsigned int i = 0; i < p->order.n_settings; i++) {
		const struct policy_setting *s = &p->settings[i];

		if (!policy_set_param(&p->ops, p->values, s->key, s->value, err, sizeof(err)))
			continue;
		refuse(p, "%s", err);
		return;
	}
	memcpy(msg.value, p->values, sizeof(msg.value));
	if (send(p->process.talk, &msg, sizeof(msg), MSG_NOSIGNAL) != (ssize_t)sizeof(msg)) {
		refuse(p, "%s: it does not listen: %s", p->path, strerror(errno));
		return;
	}
	p->state = ASKED;
	timer_start(p);
}

static void on_ready(struct plugin *p, struct plugin_ready *msg)
{
	void (*loaded)(struct plugin * p, const char *err) = p->order.loaded;

	clean(msg->err, sizeof(msg->err));
	if (msg->err[0]) {
		refuse(p, "policy %s: %s", p->ops.name, msg->err);
		return;
	}
	p->state = LIVE;
	p->order.loaded = NULL;
	talk_end(p);
	if (loaded)
		loaded(p, NULL);
}

/* Take one message, if there is one. */
static void talk_once(struct plugin *p)
{
	struct plugin_ready ready;
	void *to = p->state == STARTED ? (void *)&p->hello : (void *)&ready;
	size_t want = p->state == STARTED ? sizeof(p->hello) : sizeof(ready);
	ssize_t n = recv(p->process.talk, to, want, MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return;
	if (!n) { /* it is about to end, which says more */
		uv_poll_stop(&p->talk);
		return;
	}
	if ((size_t)n != want)
		refuse(p, "%s: it says what a policy's host would not", p->path);
	else if (p->state == STARTED)
		on_hello(p);
	else
		on_ready(p, &ready);
}

static void on_talk(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	talk_once(poll->data);
}

static void on_child(uv_poll_t *poll, int status, int events)
{
	struct plugin *p = poll->data;
	char how[64];

	(void)status;
	(void)events;
	/* Its last words come first. */
	for (int i = 0; i < 2 && p->process.talk >= 0; i++)
		talk_once(p);
	if (plugin_reap(&p->process, 0, how, sizeof(how)))
		return;
	if (p->order.loaded)
		refuse(p, "%s: it %s while %s", p->path, how,
		       p->state == STARTED ? "it was loaded" : "it initialised");
	plugin_gone(p, how);
	plugin_free(p);
}

/* ------------------------------------------------------------------------ begin */

/* The handles never keep the loop running: a broker that stops does not wait for them. */
static int watch(struct plugin *p, uv_loop_t *loop)
{
	int ret;

	p->child.data = p->talk.data = p->timer.data = p;
	uv_timer_init(loop, &p->timer);
	p->handles = 1;
	ret = uv_poll_init(loop, &p->child, p->process.pidfd);
	if (ret)
		return ret;
	p->handles++;
	ret = uv_poll_init(loop, &p->talk, p->process.talk);
	if (ret)
		return ret;
	p->handles++;
	ret = uv_poll_start(&p->child, UV_READABLE, on_child);
	if (!ret)
		ret = uv_poll_start(&p->talk, UV_READABLE, on_talk);
	timer_start(p);
	uv_unref((uv_handle_t *)&p->child);
	uv_unref((uv_handle_t *)&p->talk);
	uv_unref((uv_handle_t *)&p->timer);
	return ret;
}

int plugin_load(struct plugin **out, uv_loop_t *loop, const struct plugin_order *order,
		char *err, size_t errlen)
{
	struct plugin *p;
	char why[128];
	int file, ret;

	if (strlen(order->path) >= PLUGIN_PATH_LEN || order->n_settings > AMUX_POLICY_PARAMS) {
		snprintf(err, errlen,
			 "%.64s...: expected a path of at most %d characters, and at most %d "
			 "parameters",
			 order->path, PLUGIN_PATH_LEN - 1, AMUX_POLICY_PARAMS);
		return -EINVAL;
	}
	file = plugin_file_open(order->path, err, errlen);
	if (file < 0)
		return file;
	p = calloc(1, sizeof(*p));
	if (!p) {
		ret = -ENOMEM;
		snprintf(err, errlen, "out of memory");
		goto out;
	}
	p->order = *order;
	strcpy(p->path, order->path);
	for (unsigned int i = 0; i < order->n_settings; i++)
		p->settings[i] = order->settings[i];
	ret = plugin_spawn(&p->process, file, order->nodes, why, sizeof(why));
	if (ret) {
		snprintf(err, errlen, "%s: %s", order->path, why);
		free(p);
		goto out;
	}
	for (unsigned int i = 0; i < order->nodes; i++)
		p->links[i] = (struct plugin_link){
			.page = p->process.page,
			.slot = &p->process.page->slot[i],
			.pidfd = p->process.pidfd,
			.patience = order->patience,
		};
	list_add_tail(order->plugins, &p->link);
	ret = watch(p, loop);
	if (ret) {
		snprintf(err, errlen, "%s: cannot watch its process: %s", order->path,
			 uv_strerror(ret));
		plugin_stop(p); /* freed once its handles are closed */
		goto out;
	}
	p->refs = 1;
	*out = p;
out:
	close(file);
	return ret;
}

void plugin_get(struct plugin *p)
{
	p->refs++;
}

void plugin_put(struct plugin *p)
{
	if (--p->refs)
		return;
	p->order.loaded = NULL;
	p->order.died = NULL;
	if (p->state != GONE)
		plugin_kill(&p->links[0]); /* on_child() does the rest */
	plugin_free(p);
}

void plugins_stop(struct list *plugins)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, plugins) {
		struct plugin *p = container_of(pos, struct plugin, link);

		p->refs = 0;
		plugin_stop(p);
		plugin_free(p);
	}
}

const struct amux_policy_ops *plugin_ops(const struct plugin *p)
{
	return &p->ops;
}

const uint64_t *plugin_values(const struct plugin *p)
{
	return p->values;
}

struct plugin_link *plugin_link(struct plugin *p, unsigned int node)
{
	return &p->links[node];
}

void *plugin_arg(const struct plugin *p)
{
	return p->order.arg;
}

const char *plugin_path(const struct plugin *p)
{
	return p->path;
}

pid_t plugin_pid(const struct plugin *p)
{
	return p->state == GONE ? 0 : p->process.pid;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * dsa_watch.c - see dsa_watch.h.
 */
#include "dsa_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../client/barrier.h"
#include "dsa.h"
#include "kmod_link.h"
#include "uevent.h"

#define LOOK_MS 1000

/* One engine, as a look has it. */
struct watched {
	struct device *dev;
	unsigned int e;
	bool said;		  /* that it is lost */
	enum engine_health found; /* LOST or EMPTY: to be worked on */
	bool done;
	char err[256], last_err[256]; /* why it is not back */
};

struct dsa_watch {
	uv_loop_t *loop;
	uv_async_t alarm;
	uv_timer_t timer;
	uv_poll_t uevents;
	int uevent_fd;
	uv_work_t work;
	bool busy, again, timing, stopping;
	unsigned int handles; /* open */
	struct kmod_link *kmod;
	unsigned int kmod_devs;
	bool channels_missing;
	struct device *dev[IDXD_DEVICES];
	unsigned int n_devs;
	struct watched *engine;
	unsigned int n;
};

static const char *const whys[] = {
	[ENGINE_REFUSED] = "it takes no descriptors",
	[ENGINE_LATE] = "it did not answer in time",
	[ENGINE_GONE] = "its WQ is disabled",
};

static void look(struct dsa_watch *w);

/* Pairs with the acquire loads of the mux thread. */
static void health_set(struct device *dev, unsigned int e, enum engine_health health)
{
	amux_store_release(&dev->health[e], (uint32_t)health);
	if (dev->doorbell.ring)
		dev->doorbell.ring(dev->doorbell.arg);
}

/* On a thread of the pool: the engines that were found are nobody else's meanwhile. */
static void look_work(uv_work_t *work)
{
	struct dsa_watch *w = work->data;
	struct idxd_host *host = calloc(1, sizeof(*host));
	char err[256];

	if (w->kmod)
		w->channels_missing = kmod_link_renew(w->kmod, w->dev, w->kmod_devs);
	for (unsigned int i = 0; i < w->n; i++)
		if (w->engine[i].found == ENGINE_LOST)
			dsa_settle(w->engine[i].dev, w->engine[i].e);
	if (!host || idxd_scan(host, err, sizeof(err)))
		goto out; /* nothing is proved without it */
	for (unsigned int i = 0; i < w->n; i++) {
		struct watched *g = &w->engine[i];
		const struct idxd_device *now = idxd_find(host, g->dev->name);

		g->err[0] = 0;
		if (g->found == ENGINE_LOST)
			g->done = dsa_settled(g->dev, g->e, now);
		else if (g->found == ENGINE_EMPTY)
			g->done = !dsa_renew(g->dev, g->e, now, g->err, sizeof(g->err));
	}
out:
	free(host);
}

static void timer_event(uv_timer_t *timer)
{
	look(timer->data);
}

/* Every second while something is missing; a broker that misses nothing is not woken. */
static void look_again(struct dsa_watch *w, bool missing)
{
	if (missing && !w->timing)
		uv_timer_start(&w->timer, timer_event, LOOK_MS, LOOK_MS);
	else if (!missing && w->timing)
		uv_timer_stop(&w->timer);
	w->timing = missing;
}

static void look_done(uv_work_t *work, int status)
{
	struct dsa_watch *w = work->data;

	(void)status;
	w->busy = false;
	for (unsigned int i = 0; i < w->n; i++) {
		struct watched *g = &w->engine[i];
		enum engine_health found = g->found;

		g->found = ENGINE_UP;
		if (!g->done) {
			if (g->err[0] && strcmp(g->err, g->last_err))
				fprintf(stderr, "accelmuxd: %s engine %u: not back: %s\n",
					g->dev->name, g->e, g->err);
			memcpy(g->last_err, g->err, sizeof(g->last_err));
			continue;
		}
		g->done = false;
		if (found == ENGINE_LOST) {
			health_set(g->dev, g->e, ENGINE_QUIET);
			continue;
		}
		fprintf(stderr, "accelmuxd: %s engine %u (%s): up again\n", g->dev->name, g->e,
			dsa_wq_name(g->dev, g->e));
		g->said = false;
		g->last_err[0] = 0;
		health_set(g->dev, g->e, ENGINE_UP);
	}
	if (w->stopping)
		return;
	if (w->channels_missing)
		look_again(w, true);
	if (w->again)
		look(w);
}

/* What one engine needs; true: something is missing. */
static bool engine_look(struct watched *g)
{
	struct device *dev = g->dev;
	uint32_t health = amux_load_acquire(&dev->health[g->e]);

	g->found = ENGINE_UP;
	if (health == ENGINE_UP && dsa_is_gone(dev, g->e)) {
		__atomic_fetch_or(&dev->suspect, 1u << g->e, __ATOMIC_RELAXED);
		if (dev->doorbell.ring)
			dev->doorbell.ring(dev->doorbell.arg);
		return true;
	}
	if (health == ENGINE_UP)
		return false;
	if (!g->said)
		fprintf(stderr, "accelmuxd: %s engine %u (%s): lost: %s\n", dev->name, g->e,
			dsa_wq_name(dev, g->e), whys[amux_load_relaxed(&dev->why[g->e])]);
	g->said = true;
	if (health != ENGINE_QUIET)
		g->found = (enum engine_health)health;
	return true;
}

static void look(struct dsa_watch *w)
{
	bool missing = false, work = w->kmod != NULL;

	w->again = w->busy;
	if (w->busy || w->stopping)
		return;
	for (unsigned int i = 0; i < w->n; i++) {
		missing |= engine_look(&w->engine[i]);
		work |= w->engine[i].found != ENGINE_UP;
	}
	look_again(w, missing || w->channels_missing);
	if (work)
		w->busy = !uv_queue_work(w->loop, &w->work, look_work, look_done);
}

static void alarm_event(uv_async_t *async)
{
	look(async->data);
}

static void alarm_ring(void *arg)
{
	uv_async_send(&((struct dsa_watch *)arg)->alarm);
}

static void uevent_event(uv_poll_t *poll, int status, int events)
{
	struct dsa_watch *w = poll->data;

	(void)events;
	if (status < 0)
		uv_poll_stop(poll);
	else if (uevent_read(w->uevent_fd))
		look(w);
}

int dsa_watch_start(struct dsa_watch **out, uv_loop_t *loop, struct device *const *dev,
		    unsigned int n, struct kmod_link *kmod, unsigned int kmod_devs)
{
	struct dsa_watch *w = calloc(1, sizeof(*w));
	unsigned int engines = 0;

	for (unsigned int i = 0; i < n; i++)
		engines += dev[i]->engines;
	if (w)
		w->engine = calloc(engines, sizeof(*w->engine));
	if (!w || !w->engine) {
		free(w);
		return -ENOMEM;
	}
	w->loop = loop;
	w->kmod = kmod;
	w->kmod_devs = kmod_devs;
	w->n_devs = n;
	memcpy(w->dev, dev, n * sizeof(*dev));
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int e = 0; e < dev[i]->engines; e++) {
			w->engine[w->n].dev = dev[i];
			w->engine[w->n++].e = e;
		}
		dev[i]->alarm = (struct engine_doorbell){ alarm_ring, w };
	}
	w->work.data = w->alarm.data = w->timer.data = w->uevents.data = w;
	uv_async_init(loop, &w->alarm, alarm_event);
	uv_timer_init(loop, &w->timer);
	w->handles = 2;
	w->uevent_fd = uevent_open();
	if (w->uevent_fd >= 0 && !uv_poll_init(loop, &w->uevents, w->uevent_fd)) {
		uv_poll_start(&w->uevents, UV_READABLE, uevent_event);
		w->handles = 3;
	}
	/* They are no reason for the loop to go on. */
	uv_unref((uv_handle_t *)&w->alarm);
	uv_unref((uv_handle_t *)&w->timer);
	if (w->handles == 3)
		uv_unref((uv_handle_t *)&w->uevents);
	*out = w;
	return 0;
}

static void handle_closed(uv_handle_t *handle)
{
	((struct dsa_watch *)handle->data)->handles--;
}

void dsa_watch_stop(struct dsa_watch *w)
{
	if (!w)
		return;
	w->stopping = true;
	while (w->busy)
		uv_run(w->loop, UV_RUN_ONCE);
	for (unsigned int i = 0; i < w->n_devs; i++)
		w->dev[i]->alarm = (struct engine_doorbell){ NULL, NULL };
	if (w->handles == 3)
		uv_close((uv_handle_t *)&w->uevents, handle_closed);
	uv_close((uv_handle_t *)&w->alarm, handle_closed);
	uv_close((uv_handle_t *)&w->timer, handle_closed);
	while (w->handles)
		uv_run(w->loop, UV_RUN_NOWAIT);
	if (w->uevent_fd >= 0)
		close(w->uevent_fd);
	free(w->engine);
	free(w);
}

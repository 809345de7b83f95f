// SPDX-License-Identifier: GPL-2.0-only
/*
 * report_device.c - what is told of devices and their engines: see report.c.
 */
#include <stdio.h>

#include "report.h"
#include "report_json.h"

const char *const report_wqs[ENGINE_WQS] = {
	[ENGINE_WQ_KERNEL] = "kernel",
	[ENGINE_WQ_USER] = "user",
};

/* To operators an engine is up or down; why it is not up yet tells who has to act. */
const char *const report_health[ENGINE_EMPTY + 1] = {
	[ENGINE_UP] = "up",
	[ENGINE_LOST] = "down, not proved quiet",
	[ENGINE_QUIET] = "down, work being redone",
	[ENGINE_EMPTY] = "down",
};

/* ------------------------------------------------------------------- engines */

/* {"0x03": n, ...}: errors and page faults by the status of their records */
static json_t *statuses_json(const struct engine_stats *s)
{
	json_t *o = json_object();
	char name[8];

	for (unsigned int i = 0; o && i < ENGINE_STATUSES; i++) {
		if (!s->status[i])
			continue;
		snprintf(name, sizeof(name), "0x%02x", i);
		if (json_object_set_new(o, name, json_integer(num(s->status[i])))) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

/* The kernel's share in flight is known for the device as a whole alone. */
const char *report_engine(const struct status_device *d, unsigned int i)
{
	if (d->outages[i].health != ENGINE_UP || !d->use[i].drained)
		return report_health[d->outages[i].health];
	return d->use[i].inflight || d->inflight_bytes[AMUX_CLASS_KERNEL] ? "draining"
									  : "drained";
}

static json_t *engine_json(const struct status_device *d, unsigned int i, uint64_t uptime)
{
	const struct status_outage *so = &d->outages[i];
	const struct status_use *use = &d->use[i];
	const struct engine_stats *s = &d->engines[i];
	const struct device *dev = d->dev;
	json_t *wqs = json_array();

	for (unsigned int w = dev->caps & DEVICE_CAP_USER ? ENGINE_WQ_USER : 0; w < ENGINE_WQS;
	     w++)
		wqs = append(wqs, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "wq",
					    report_wqs[w], "entries", num(dev->wq_size[w]),
					    "priority", num(dev->wq_priority[w]), "descriptors",
					    num(s->descriptors[w]), "bytes", num(s->bytes[w]),
					    "full", num(s->full[w])));
	return json_pack(
		"{s:I, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I,"
		" s:o, s:I, s:o}",
		"engine", num(i), "state", report_engine(d, i), "drained", (int)use->drained,
		"kernel", (int)use->granted[AMUX_CLASS_KERNEL], "user",
		(int)use->granted[AMUX_CLASS_USER], "inflight_bytes", num(use->inflight_bytes),
		"inflight", num(use->inflight), "losses", num(so->losses), "redone",
		num(so->redone), "failed", num(so->failed), "busy_ns", num(s->busy_ns),
		"utilisation", ratio(s->busy_ns, uptime), "errors", num(s->errors), "partial",
		num(s->partial), "statuses", statuses_json(s), "cpu_ns", num(s->cpu_ns), "wqs",
		wqs);
}

static json_t *device_json(const struct status_device *d, uint64_t uptime)
{
	const struct device *dev = d->dev;
	json_t *engines = json_array();

	for (unsigned int i = 0; i < dev->engines; i++)
		engines = append(engines, engine_json(d, i, uptime));
	return json_pack("{s:s, s:s, s:i, s:b, s:b, s:I, s:I, s:I, s:I, s:{s:I, s:I}, s:o}",
			 "name", dev->name, "engine", d->engine, "node", dev->node, "modelled",
			 (int)!!(dev->caps & DEVICE_CAP_MODEL), "cpu",
			 (int)!!(dev->caps & DEVICE_CAP_CPU), "rate_bps", num(dev->rate_bps),
			 "engine_bps", num(dev->engine_bps), "desc_ns", num(dev->desc_ns),
			 "max_xfer_bytes", num(dev->max_xfer), "inflight_bytes", "kernel",
			 num(d->inflight_bytes[AMUX_CLASS_KERNEL]), "user",
			 num(d->inflight_bytes[AMUX_CLASS_USER]), "engines", engines);
}

json_t *report_device_list(struct broker *b, uint64_t uptime)
{
	struct status_node node;
	unsigned int n = broker_node(b, UINT32_MAX, &node);
	json_t *a = json_array();

	for (unsigned int i = 0; i < n; i++) {
		broker_node(b, i, &node);
		for (unsigned int d = 0; d < node.n_devices; d++)
			a = append(a, device_json(&node.devices[d], uptime));
	}
	return a;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * metrics.c - one snapshot per scrape, then family after family: the text format wants all
 * samples of a name together.
 */
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "metrics_snapshot.h"
#include "prom.h"

struct base {
	uint32_t id;
	uint64_t bytes;
};

struct metrics {
	/* What tenants had moved when the fairness window began; sorted by id. */
	struct base *base;
	unsigned int n_base;
	uint64_t base_ns;
	double jain; /* of the last whole window */
};

int metrics_open(struct metrics **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->jain = 1;
	return 0;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	free(m->base);
	free(m); /* metrics_open() */
}

/* ------------------------------------------------------------------ fairness */

static int base_cmp(const void *a, const void *b)
{
	const struct base *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Bytes of tenant @t within the window; one that is new moved everything in it. */
static uint64_t moved(const struct metrics *m, const struct status_tenant *t)
{
	struct base key = { .id = t->id };
	const struct base *base = NULL;

	if (m->n_base)
		base = bsearch(&key, m->base, m->n_base, sizeof(key), base_cmp);
	return stat_read(&t->stats->engine_bytes) - (base ? base->bytes : 0);
}

/*
 * Jain's index (sum x)^2 / (n sum x^2) of x = engine bytes / weight, over the tenants that
 * moved bytes in the window or have bytes waiting at its end.
 */
static double jain(const struct metrics *m, const struct snapshot *s)
{
	double sum = 0, squares = 0;
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n_tenants; i++) {
		const struct status_tenant *t = &s->tenants[i];
		double x = (double)moved(m, t) / (double)(t->weight ? t->weight : 1);

		if (x <= 0 && !t->queued_bytes)
			continue;
		n++;
		sum += x;
		squares += x * x;
	}
	return squares > 0 ? sum * sum / (n * squares) : 1;
}

/* Close the window if it is long enough, and begin the next.  -ENOMEM. */
static int fairness(struct metrics *m, const struct snapshot *s)
{
	struct base *base;

	/* The first window begins with the broker, and ends with the first scrape. */
	if (m->base_ns && s->now - m->base_ns < METRICS_WINDOW_NS)
		return 0;
	base = calloc(s->n_tenants + 1, sizeof(*base));
	if (!base)
		return -ENOMEM;
	m->jain = jain(m, s);
	for (unsigned int i = 0; i < s->n_tenants; i++) {
		base[i].id = s->tenants[i].id;
		base[i].bytes = stat_read(&s->tenants[i].stats->engine_bytes);
	}
	qsort(base, s->n_tenants, sizeof(*base), base_cmp);
	free(m->base);
	m->base = base;
	m->n_base = s->n_tenants;
	m->base_ns = s->now;
	return 0;
}

/* ---------------------------------------------------------------- everything */

static void write_broker(FILE *f, const struct metrics *m, const struct snapshot *s)
{
	prom_family(f, "", "build_info", "gauge", "The broker's version.");
	fprintf(f, "accelmux_build_info{version=\"%s\"} 1\n", AMUX_VERSION);
	prom_family(f, "", "uptime_seconds", "gauge", "Time since the broker started.");
	fputs("accelmux_uptime_seconds ", f);
	prom_seconds(f, s->now - broker_start_ns(s->b));
	prom_family(f, "", "time_scale_ratio", "gauge",
		    "How many times slower than real modelled devices run; 1: nothing is "
		    "modelled.");
	fputs("accelmux_time_scale_ratio ", f);
	prom_count(f, config_time_scale(s->cfg));
	prom_family(f, "", "connections", "gauge", "Client connections now.");
	fputs("accelmux_connections ", f);
	prom_count(f, broker_connections(s->b));
	prom_family(f, "", "closing", "gauge",
		    "Descriptors and mappings of clients that are being let go of.");
	fputs("accelmux_closing ", f);
	prom_count(f, broker_closing(s->b));
	prom_family(f, "", "rejected_total", "counter", "Connections and requests refused.");
	fputs("accelmux_rejected_total ", f);
	prom_count(f, broker_rejected(s->b));
	prom_family(
		f, "", "fairness_jain_ratio", "gauge",
		"Jain's index of engine bytes by weight over the active tenants of the last "
		"window; 1 is fair.");
	fprintf(f, "accelmux_fairness_jain_ratio %.6f\n", m->jain);
}

static int snapshot_take(struct snapshot *s, struct broker *b)
{
	struct status_node node;
	struct status_tenant tenant;

	memset(s, 0, sizeof(*s));
	s->b = b;
	s->cfg = broker_config(b);
	s->now = clock_ns();
	s->n_nodes = broker_node(b, UINT32_MAX, &node);
	s->n_tenants = broker_tenant(b, UINT32_MAX, &tenant);
	s->nodes = calloc(s->n_nodes + 1, sizeof(*s->nodes));
	s->tenants = calloc(s->n_tenants + 1, sizeof(*s->tenants));
	s->flows = calloc(s->n_tenants + 1, sizeof(*s->flows));
	if (!s->nodes || !s->tenants || !s->flows)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n_nodes; i++)
		broker_node(b, i, &s->nodes[i]);
	for (unsigned int i = 0; i < s->n_tenants; i++) {
		broker_tenant(b, i, &s->tenants[i]);
		s->flows[i] = *s->tenants[i].stats; /* the next call reuses it */
		s->tenants[i].stats = &s->flows[i];
	}
	report_users(b, &s->users);
	report_kernel(b, &s->kernel);
	return 0;
}

static void snapshot_drop(struct snapshot *s)
{
	free(s->nodes);
	free(s->tenants);
	free(s->flows);
}

char *metrics_text(struct metrics *m, struct broker *b, size_t *len)
{
	char *text = NULL;
	struct snapshot s;
	FILE *f;
	int bad;

	f = open_memstream(&text, len);
	if (!f)
		return NULL;
	bad = snapshot_take(&s, b) || fairness(m, &s);
	if (!bad) {
		write_broker(f, m, &s);
		metrics_write_classes(f, &s);
		metrics_write_kernel(f, &s);
		metrics_write_tenants(f, &s);
		metrics_write_refusals(f, &s);
		metrics_write_devices(f, &s);
		metrics_write_nodes(f, &s);
		metrics_write_cpu(f, &s);
		bad = ferror(f);
	}
	snapshot_drop(&s);
	if (fclose(f) || bad) {
		free(text);
		return NULL;
	}
	return text;
}

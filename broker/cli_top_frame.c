// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_top_frame.c - the text of a frame: what changed between two samples, a second.
 */
#include "cli_top.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* What is subtracted from what, for one object of the report. */
struct pair {
	const json_t *now, *before; /* @before: NULL if it is new */
	double seconds;
};

static uint64_t since(const struct pair *p, const char *key)
{
	uint64_t now = cli_int(p->now, key), before = cli_int(p->before, key);

	return now > before ? now - before : 0;
}

static double per_second(const struct pair *p, uint64_t n)
{
	return p->seconds > 0 ? (double)n / p->seconds : 0;
}

/* ----------------------------------------------------------------------- cells */

static void rate_cell(struct cli_table *t, const struct pair *p, uint64_t bytes)
{
	char buf[CLI_CELL];

	cli_cell(t, "%s", cli_rate(buf, (uint64_t)per_second(p, bytes)));
}

static void count_cell(struct cli_table *t, const struct pair *p, uint64_t n)
{
	double v = per_second(p, n);

	cli_cell(t, "%.*f", v > 0 && v < 10 ? 1 : 0, v);
}

/* How many were in the bucket that ends at @edge. */
static json_int_t bucket_before(const json_t *buckets, json_int_t edge)
{
	const json_t *b;
	size_t i;

	json_array_foreach(buckets, i,
			   b) if (json_integer_value(json_array_get(b, 0)) ==
				  edge) return json_integer_value(json_array_get(b, 1));
	return 0;
}

/* The @permille quantile of what came between the samples, ns; 0: nothing did. */
static uint64_t quantile(const struct pair *p, unsigned int permille)
{
	const json_t *now = json_object_get(json_object_get(p->now, "wait"), "buckets");
	const json_t *before = json_object_get(json_object_get(p->before, "wait"), "buckets");
	json_int_t total = 0, seen = 0, want, edge = 0;
	const json_t *b;
	size_t i;

	for (unsigned int pass = 0; pass < 2; pass++) {
		want = (total * permille + 999) / 1000;
		json_array_foreach(now, i, b)
		{
			edge = json_integer_value(json_array_get(b, 0));
			seen += json_integer_value(json_array_get(b, 1)) -
				bucket_before(before, edge);
			if (pass && seen >= want)
				return (uint64_t)edge;
		}
		total = seen;
		seen = 0;
		if (total <= 0)
			return 0;
	}
	return (uint64_t)edge;
}

static void wait_cells(struct cli_table *t, const struct pair *p)
{
	static const unsigned int permille[] = { 500, 990 };
	char buf[CLI_CELL];

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t ns = quantile(p, permille[i]);

		cli_cell(t, "%s", ns ? cli_time(buf, ns) : "-");
	}
}

static void heads(struct cli_table *t, const char *const *head, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cli_cell(t, "%s", head[i]);
}

/* ----------------------------------------------------------------------- parts */

/* The member of array @list whose @key is that of @like. */
static const json_t *same(const json_t *list, const char *key, const json_t *like)
{
	const char *want = cli_string(like, key);
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v) if (!strcmp(cli_string(v, key), want)) return v;
	return NULL;
}

static uint64_t object_sum(json_t *object)
{
	const char *key;
	json_t *value;
	uint64_t sum = 0;

	json_object_foreach(object, key, value) sum += (uint64_t)json_integer_value(value);
	return sum;
}

static uint64_t declines_since(const struct pair *p)
{
	uint64_t now, before;

	/* Requests of users, pages of the kernel. */
	if (json_is_integer(json_object_get(p->now, "declined")))
		return since(p, "declined");
	now = object_sum(json_object_get(p->now, "declined_pages"));
	before = object_sum(json_object_get(p->before, "declined_pages"));
	return now > before ? now - before : 0;
}

static void frame_classes(const json_t *now, const json_t *before, double seconds, FILE *f)
{
	static const char *const head[] = { "CLASS",	"ENGINE",   "CPU",    "DESC/s",
					    "WAIT p50", "WAIT p99", "DECL/s", "LENT",
					    "BORROWED", "vs ALONE", "vs CPU" };
	struct cli_table *t = cli_table("lrrrrrrrrrr");
	const json_t *c, *user = json_array_get(now, 1);
	struct pair users = { user, same(before, "class", user), seconds };
	size_t i;

	heads(t, head, sizeof(head) / sizeof(head[0]));
	json_array_foreach(now, i, c)
	{
		struct pair p = { c, same(before, "class", c), seconds };
		bool kernel = c != user;

		if (!json_is_true(json_object_get(c, "present")))
			continue;
		cli_cell(t, "%s", cli_string(c, "class"));
		rate_cell(t, &p, since(&p, "engine_bytes"));
		rate_cell(t, &p, since(&p, "cpu_bytes"));
		count_cell(t, &p, since(&p, "descriptors"));
		wait_cells(t, &p);
		count_cell(t, &p, declines_since(&p));
		/* What users borrow the kernel class lends; the other way is not counted. */
		if (kernel) {
			rate_cell(t, &users, since(&users, "borrowed_bytes"));
			cli_cell(t, "-");
		} else {
			cli_cell(t, "-");
			rate_cell(t, &p, since(&p, "borrowed_bytes"));
		}
		cli_cell_ratio(t, cli_real(c, "slowdown_alone"));
		cli_cell_ratio(t, cli_real(c, "slowdown_cpu"));
	}
	cli_table_print_to(t, f);
}

static void frame_devices(const json_t *now, const json_t *before, double seconds, FILE *f)
{
	static const char *const head[] = { "DEVICE",	 "KERNEL", "USER",     "DESC/s", "BUSY",
					    "IN FLIGHT", "FULL/s", "ERRORS/s", "ENGINES" };
	struct cli_table *t = cli_table("lrrrrrrrl");
	char buf[CLI_CELL];
	const json_t *d, *e, *wq, *inflight;
	size_t i, j, w;

	heads(t, head, sizeof(head) / sizeof(head[0]));
	json_array_foreach(now, i, d)
	{
		const json_t *engines = json_object_get(d, "engines");
		const json_t *old = json_object_get(same(before, "name", d), "engines");
		size_t n = json_array_size(engines), up = 0, drained = 0;
		uint64_t bytes[2] = { 0, 0 }, desc = 0, full = 0, errors = 0, busy = 0;
		struct pair all = { NULL, NULL, seconds };

		json_array_foreach(engines, j, e)
		{
			struct pair p = { e, json_array_get(old, j), seconds };
			const json_t *old_wqs = json_object_get(p.before, "wqs");

			busy += since(&p, "busy_ns");
			errors += since(&p, "errors");
			up += !strcmp(cli_string(e, "state"), "up");
			drained += json_is_true(json_object_get(e, "drained"));
			json_array_foreach(json_object_get(e, "wqs"), w, wq)
			{
				struct pair q = { wq, same(old_wqs, "wq", wq), seconds };

				bytes[!strcmp(cli_string(wq, "wq"), "user")] +=
					since(&q, "bytes");
				desc += since(&q, "descriptors");
				full += since(&q, "full");
			}
		}
		cli_cell(t, "%s", cli_string(d, "name"));
		rate_cell(t, &all, bytes[0]);
		rate_cell(t, &all, bytes[1]);
		count_cell(t, &all, desc);
		cli_cell(t, "%.0f%%",
			 n ? per_second(&all, busy) / (double)n / NSEC_PER_SEC * 100 : 0.0);
		inflight = json_object_get(d, "inflight_bytes");
		cli_cell(t, "%s",
			 cli_bytes(buf,
				   cli_int(inflight, "kernel") + cli_int(inflight, "user")));
		count_cell(t, &all, full);
		count_cell(t, &all, errors);
		cli_cell(t, "%zu of %zu up%s", up, n, drained ? ", some drained" : "");
	}
	cli_table_print_to(t, f);
}

/* --------------------------------------------------------------------- tenants */

struct row {
	struct pair p;
	uint64_t key; /* larger ones first */
};

static int row_cmp(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return strcmp(cli_string(x->p.now, "name"), cli_string(y->p.now, "name"));
}

static uint64_t row_key(const struct pair *p, enum top_sort sort)
{
	switch (sort) {
	case TOP_BYTES:
		return since(p, "engine_bytes") + since(p, "declined_bytes");
	case TOP_WAIT:
		return quantile(p, 990);
	case TOP_DECLINED:
		return since(p, "declined");
	case TOP_QUEUED:
		return cli_int(p->now, "queued_bytes");
	default:
		return 0;
	}
}

static void frame_tenants(const struct top *top, double seconds, FILE *f)
{
	static const char *const head[] = { "TENANT",	"WEIGHT",   "CONNS",  "QUEUED",
					    "ENGINE",	"CPU",	    "DESC/s", "WAIT p50",
					    "WAIT p99", "BORROWED", "DECL/s", "FAIL/s" };
	const json_t *now = json_object_get(top->now.tenants, "tenants");
	const json_t *before = json_object_get(top->before.tenants, "tenants"), *x;
	size_t n = json_array_size(now), i;
	struct row *rows = calloc(n + 1, sizeof(*rows));
	struct cli_table *t = cli_table("lrrrrrrrrrrr");
	char buf[CLI_CELL];

	heads(t, head, sizeof(head) / sizeof(head[0]));
	json_array_foreach(now, i, x)
	{
		if (!rows)
			break;
		rows[i].p = (struct pair){ x, same(before, "name", x), seconds };
		rows[i].key = row_key(&rows[i].p, top->sort);
	}
	if (rows)
		qsort(rows, n, sizeof(*rows), row_cmp);
	for (i = 0; rows && i < n; i++) {
		const struct pair *p = &rows[i].p;

		cli_cell(t, "%s", cli_string(p->now, "name"));
		cli_cell(t, "%llu", (unsigned long long)cli_int(p->now, "weight"));
		cli_cell(t, "%llu", (unsigned long long)cli_int(p->now, "connections"));
		cli_cell(t, "%s", cli_bytes(buf, cli_int(p->now, "queued_bytes")));
		rate_cell(t, p, since(p, "engine_bytes"));
		rate_cell(t, p, since(p, "declined_bytes"));
		count_cell(t, p, since(p, "descriptors"));
		wait_cells(t, p);
		rate_cell(t, p, since(p, "borrowed_bytes"));
		count_cell(t, p, since(p, "declined"));
		count_cell(t, p, since(p, "failed"));
	}
	free(rows);
	cli_table_print_to(t, f);
}

static void frame_policy(const json_t *policy, FILE *f)
{
	static const char *const head[] = { "PARAMETER", "VALUE", "DEFAULT", "MEANING" };
	struct cli_table *t = cli_table("lrrl");
	const json_t *p;
	size_t i;

	heads(t, head, sizeof(head) / sizeof(head[0]));
	json_array_foreach(json_object_get(policy, "params"), i, p)
	{
		cli_cell(t, "%s", cli_string(p, "name"));
		cli_cell(t, "%s", cli_string(p, "text"));
		cli_cell(t, "%s", cli_string(p, "default"));
		cli_cell(t, "%s", cli_string(p, "help"));
	}
	cli_table_print_to(t, f);
}

void top_frame(const struct top *t, FILE *f)
{
	const json_t *s = t->now.status, *old = t->before.status, *node;
	char up[CLI_CELL], every[CLI_CELL];
	double seconds = 0;
	size_t i;

	if (!s) {
		fprintf(f, "%s; trying again\n", t->error);
		return;
	}
	if (old)
		seconds = (double)(cli_int(s, "uptime_ns") - cli_int(old, "uptime_ns")) /
			  (double)NSEC_PER_SEC;
	fprintf(f,
		"accelmux %s, pid %llu, up %s; policy %s; %llu connections, %llu tenants by "
		"%s; every %s\n",
		cli_string(s, "version"), (unsigned long long)cli_int(s, "pid"),
		cli_uptime(up, cli_int(s, "uptime_ns")), cli_string(s, "policy"),
		(unsigned long long)cli_int(s, "connections"),
		(unsigned long long)cli_int(s, "tenants"), top_sorts[t->sort],
		cli_time(every, t->interval_ns));
	json_array_foreach(json_object_get(s, "nodes"), i,
			   node) if (*cli_string(node, "reverted"))
		fprintf(f, "node %llu runs %s instead: %s\n",
			(unsigned long long)cli_int(node, "node"), cli_string(node, "policy"),
			cli_string(node, "reverted"));
	if (!old)
		fputs("rates come with the next sample\n", f);
	fputc('\n', f);
	frame_classes(json_object_get(s, "classes"), json_object_get(old, "classes"), seconds,
		      f);
	fputc('\n', f);
	frame_devices(json_object_get(s, "devices"), json_object_get(old, "devices"), seconds,
		      f);
	fputc('\n', f);
	if (t->params && t->policy)
		frame_policy(t->policy, f);
	else
		frame_tenants(t, seconds, f);
}

// SPDX-License-Identifier: MIT
/*
 * report.c - see report.h.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct spread {
	double median, min, max;
};

static int by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static struct spread spread_of(double *v, unsigned int n)
{
	struct spread s = { 0, 0, 0 };

	if (!n)
		return s;
	qsort(v, n, sizeof(*v), by_value);
	s.median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	s.min = v[0];
	s.max = v[n - 1];
	return s;
}

typedef double figure_fn(const struct sample *s);

static double figure_value(const struct sample *s)
{
	return s->value;
}

static double figure_p99(const struct sample *s)
{
	return s->p99_ns;
}

/* CPU seconds per GB, or per million operations where no data is moved. */
static double per_work(const struct sample *s, uint64_t cpu_ns)
{
	if (s->bytes)
		return (double)cpu_ns / (double)s->bytes;
	return s->ops ? (double)cpu_ns / 1e3 / (double)s->ops : 0;
}

static double figure_client(const struct sample *s)
{
	return per_work(s, s->client_ns);
}

static double figure_peer(const struct sample *s)
{
	return per_work(s, s->peer_ns);
}

static struct spread probe_spread(const struct result *r, unsigned int probe, figure_fn *figure)
{
	double v[ROUNDS_MAX];

	for (unsigned int i = 0; i < r->rounds; i++)
		v[i] = figure(&r->sample[probe][i]);
	return spread_of(v, r->rounds);
}

static const char *unit_name(enum unit unit)
{
	static const char *const names[] = {
		[UNIT_MOPS] = "M/s",	[UNIT_NS] = "ns",   [UNIT_GBPS] = "GB/s",
		[UNIT_COUNT] = "times", [UNIT_MIB] = "MiB",
	};

	return names[unit];
}

/* Round trips to whole nanoseconds, the rest to three digits or so. */
static int digits(double value)
{
	return value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
}

static json_t *spread_json(struct spread s)
{
	return json_pack("{s:f, s:f, s:f}", "median", s.median, "min", s.min, "max", s.max);
}

/* ---------------------------------------------------------------------------- probes */

static json_t *report_probe(const struct result *r, unsigned int i)
{
	const struct probe *p = &r->row->probes[i];
	struct spread value, p99, client, peer;
	const char *work;
	json_t *j;

	if (*r->absent[i]) {
		printf("  %-22s not measured: %s\n", p->name, r->absent[i]);
		return json_pack("{s:s, s:s}", "name", p->name, "absent", r->absent[i]);
	}
	value = probe_spread(r, i, figure_value);
	p99 = probe_spread(r, i, figure_p99);
	client = probe_spread(r, i, figure_client);
	peer = probe_spread(r, i, figure_peer);
	work = r->sample[i][0].bytes ? "GB" : "Mop";
	printf("  %-22s %7.*f %-5s (%.*f..%.*f)", p->name, digits(value.median), value.median,
	       unit_name(p->unit), digits(value.median), value.min, digits(value.median),
	       value.max);
	if (p99.median > 0)
		printf("  p99 %.*f ns", digits(p99.median), p99.median);
	if (r->sample[i][0].ops)
		printf("  CPU s/%s %.*f + %.*f", work, 3, client.median, 3, peer.median);
	putchar('\n');
	j = json_pack("{s:s, s:s, s:o, s:s, s:o, s:o}", "name", p->name, "unit",
		      unit_name(p->unit), "value", spread_json(value), "cpu_s_per", work,
		      "client_cpu", spread_json(client), "peer_cpu", spread_json(peer));
	if (p99.median > 0)
		json_object_set_new(j, "p99_ns", spread_json(p99));
	return j;
}

/* --------------------------------------------------------------------------- targets */

static double judge(const struct target *t, double a, double b)
{
	switch (t->judge) {
	case JUDGE_RATIO:
		return b > 0 ? a / b : 0;
	case JUDGE_DIFFERENCE:
		return a - b;
	default:
		return a;
	}
}

static struct spread target_spread(const struct result *r, const struct target *t)
{
	double v[ROUNDS_MAX];

	for (unsigned int i = 0; i < r->rounds; i++)
		v[i] = judge(t, r->sample[t->a][i].value, r->sample[t->b][i].value);
	return spread_of(v, r->rounds);
}

static bool reached(const struct target *t, double value, double limit)
{
	return t->relation == AT_LEAST ? value >= limit : value <= limit;
}

/* "accelmux / memcpy", "accelmux - memcpy (ns)", "accelmux (times)" */
static void target_name(const struct row *row, const struct target *t, char *out, size_t len)
{
	const struct probe *a = &row->probes[t->a], *b = &row->probes[t->b];

	if (t->judge == JUDGE_RATIO)
		snprintf(out, len, "%s / %s", a->name, b->name);
	else if (t->judge == JUDGE_DIFFERENCE)
		snprintf(out, len, "%s - %s (%s)", a->name, b->name, unit_name(a->unit));
	else
		snprintf(out, len, "%s (%s)", a->name, unit_name(a->unit));
}

static json_t *report_target(const struct result *r, const struct target *t,
			     unsigned int *missed)
{
	const char *sign = t->relation == AT_LEAST ? ">=" : "<=", *verdict;
	char name[96], aim[32] = "";
	struct spread s;
	bool met;

	target_name(r->row, t, name, sizeof(name));
	if (t->aim > 0)
		snprintf(aim, sizeof(aim), ", aim %.4g", t->aim);
	if (!r->rounds || *r->absent[t->a] || (t->judge != JUDGE_VALUE && *r->absent[t->b])) {
		printf("  target %s %s %.4g%s: not measured\n", name, sign, t->limit, aim);
		return json_pack("{s:s, s:s, s:f, s:n}", "target", name, "relation", sign,
				 "limit", t->limit, "met");
	}
	s = target_spread(r, t);
	met = reached(t, s.median, t->limit);
	if (!met)
		verdict = "MISSED";
	else if (t->aim > 0 && reached(t, s.median, t->aim))
		verdict = "met, the aim too";
	else
		verdict = "met";
	printf("  target %s %s %.4g%s: %.*f (%.*f..%.*f) %s\n", name, sign, t->limit, aim, 3,
	       s.median, 3, s.min, 3, s.max, verdict);
	*missed += !met;
	return json_pack("{s:s, s:s, s:f, s:f, s:o, s:b}", "target", name, "relation", sign,
			 "limit", t->limit, "aim", t->aim, "value", spread_json(s), "met", met);
}

/* Peers without a target are compared, too. */
static json_t *report_ratios(const struct result *r)
{
	json_t *all = json_object();

	for (unsigned int i = 1; i < r->row->n_probes; i++) {
		struct target t = { .judge = JUDGE_RATIO, .a = 0, .b = i };
		bool judged = false;

		for (unsigned int k = 0; k < r->row->n_targets; k++)
			judged |= r->row->targets[k].judge != JUDGE_VALUE &&
				  r->row->targets[k].b == i;
		if (!r->rounds || *r->absent[0] || *r->absent[i] ||
		    r->row->probes[i].unit != r->row->probes[0].unit)
			continue;
		json_object_set_new(all, r->row->probes[i].name,
				    spread_json(target_spread(r, &t)));
		if (!judged) {
			struct spread s = target_spread(r, &t);

			printf("  ratio  %s / %s: %.3f (%.3f..%.3f)\n", r->row->probes[0].name,
			       r->row->probes[i].name, s.median, s.min, s.max);
		}
	}
	return all;
}

json_t *report_row(const struct result *r, unsigned int *missed)
{
	json_t *probes = json_array(), *targets = json_array();

	printf("%s: %s", r->row->name, r->row->what);
	if (r->noisy)
		printf(" [%u noisy rounds repeated, the last: %s]", r->noisy, r->noise);
	putchar('\n');
	for (unsigned int i = 0; i < r->row->n_probes && r->rounds; i++)
		json_array_append_new(probes, report_probe(r, i));
	for (unsigned int i = 0; i < r->row->n_targets; i++)
		json_array_append_new(targets, report_target(r, &r->row->targets[i], missed));
	return json_pack("{s:s, s:s, s:i, s:i, s:b, s:o, s:o, s:o}", "name", r->row->name,
			 "what", r->row->what, "rounds", (int)r->rounds, "noisy_rounds",
			 (int)r->noisy, "gave_up", r->gave_up, "probes", probes, "targets",
			 targets, "ratios", report_ratios(r));
}

// SPDX-License-Identifier: MIT
/*
 * figures.c - see figures.h.
 */
#include "figures.h"

#include <errno.h>
#include <string.h>

#define PAGE_BYTES 4096

uint64_t figures_int(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

const json_t *figures_class(const json_t *status, const char *class)
{
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(status, "classes"), i, c)
	{
		const char *name = json_string_value(json_object_get(c, "class"));

		if (name && !strcmp(name, class))
			return c;
	}
	return NULL;
}

/* [[upper edge, count], ...] into dense buckets. */
static int read_buckets(uint64_t *bucket, const json_t *pairs)
{
	const json_t *pair;
	size_t i;

	if (!json_is_array(pairs))
		return -EPROTO;
	memset(bucket, 0, HIST_BUCKETS * sizeof(*bucket));
	json_array_foreach(pairs, i, pair)
	{
		uint64_t edge = (uint64_t)json_integer_value(json_array_get(pair, 0));

		if (!edge)
			return -EPROTO;
		bucket[hist_index(edge - 1)] =
			(uint64_t)json_integer_value(json_array_get(pair, 1));
	}
	return 0;
}

int sample_tenant(struct sample *s, const json_t *report)
{
	s->t_ns = figures_int(report, "t_ns");
	s->bytes = figures_int(report, "bytes");
	s->engine_bytes = figures_int(report, "engine_bytes");
	s->cpu_bytes = figures_int(report, "cpu_bytes");
	s->units = figures_int(report, "copies");
	s->declined = figures_int(report, "declined");
	return s->t_ns ? read_buckets(s->latency, json_object_get(report, "buckets")) : -EPROTO;
}

int sample_kernel(struct sample *s, const json_t *status)
{
	const json_t *k = figures_class(status, "kernel");

	if (!json_is_true(json_object_get(k, "present")))
		return -EPROTO;
	s->t_ns = figures_int(status, "uptime_ns");
	s->bytes = figures_int(k, "finished_bytes");
	s->engine_bytes = figures_int(k, "engine_bytes");
	s->cpu_bytes = figures_int(k, "cpu_bytes");
	s->units = s->bytes / PAGE_BYTES;
	s->declined = figures_int(k, "declined_bytes") / PAGE_BYTES;
	return read_buckets(s->latency,
			    json_object_get(json_object_get(k, "batch"), "buckets"));
}

void figures_between(const struct sample *from, const struct sample *to, struct figures *out)
{
	double seconds = (double)(to->t_ns - from->t_ns) / 1e9;
	double engine = (double)(to->engine_bytes - from->engine_bytes);
	double both = engine + (double)(to->cpu_bytes - from->cpu_bytes);

	out->bps = (double)(to->bytes - from->bytes) / seconds;
	out->engine_bps = both > 0 ? out->bps * engine / both : 0;
	out->p50_ms = (double)hist_quantile(to->latency, from->latency, 500) / 1e6;
	out->p99_ms = (double)hist_quantile(to->latency, from->latency, 990) / 1e6;
	out->units = to->units - from->units;
	out->units_declined = to->declined - from->declined;
	out->declined = out->units ? (double)out->units_declined / (double)out->units : 0;
	if (out->declined > 1) /* declined before the window's end, finished after it */
		out->declined = 1;
}

double figures_jain(const struct figures f[CLASSES], const unsigned int weight[CLASSES])
{
	double sum = 0, squares = 0;
	unsigned int n = 0;

	for (unsigned int i = 0; i < CLASSES; i++) {
		double x;

		if (!weight[i])
			continue;
		x = f[i].engine_bps / weight[i];
		sum += x;
		squares += x * x;
		n++;
	}
	return squares > 0 ? sum * sum / (n * squares) : -1;
}

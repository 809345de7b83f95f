// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft_sched.c - which descriptor of which WQ an engine serves next, and when.
 */
#include <sys/resource.h>

#include "clock.h"
#include "soft_dev.h"

/* Between two looks at the clock. */
#define RUN_DESCS 64u
#define RUN_BYTES (256u << 10)
/* A descriptor weighs as much as so many bytes when a run's time is divided. */
#define DESC_WEIGHT 256u

/* Faults are looked at this often, are many from so many on, and descriptors are timed as long. */
#define WATCH_NS     1000000u
#define WATCH_FAULTS 16
#define TIMED_NS     (20 * WATCH_NS)

#define BIT(wq) (1u << (wq))

/*
 * Weighted round-robin per descriptor: while both WQs are backlogged each gets its priority
 * in turns.  @ready: those that have a descriptor, at least one.
 */
static enum engine_wq arbitrate(const struct soft *s, struct soft_engine *e, unsigned int ready)
{
	enum engine_wq wq;

	if (ready != (BIT(ENGINE_WQ_KERNEL) | BIT(ENGINE_WQ_USER)) ||
	    !(e->credit[ENGINE_WQ_KERNEL] + e->credit[ENGINE_WQ_USER])) {
		e->credit[ENGINE_WQ_KERNEL] = s->priority[ENGINE_WQ_KERNEL];
		e->credit[ENGINE_WQ_USER] = s->priority[ENGINE_WQ_USER];
	}
	if (!(ready & BIT(ENGINE_WQ_KERNEL)))
		return ENGINE_WQ_USER;
	if (!(ready & BIT(ENGINE_WQ_USER)))
		return ENGINE_WQ_KERNEL;
	wq = e->credit[ENGINE_WQ_KERNEL] ? ENGINE_WQ_KERNEL : ENGINE_WQ_USER;
	e->credit[wq]--;
	return wq;
}

static unsigned int ready_wqs(const struct soft_engine *e)
{
	return (wq_empty(&e->wq[ENGINE_WQ_KERNEL]) ? 0 : BIT(ENGINE_WQ_KERNEL)) |
	       (wq_empty(&e->wq[ENGINE_WQ_USER]) ? 0 : BIT(ENGINE_WQ_USER));
}

static bool take_next(const struct soft *s, struct soft_engine *e, struct soft_item *out)
{
	unsigned int ready = ready_wqs(e);

	if (!ready)
		return false;
	out->wq = arbitrate(s, e, ready);
	wq_pop(&e->wq[out->wq], &out->desc);
	return true;
}

uint64_t soft_complete(struct soft *s, unsigned int engine, const struct soft_item *item,
		       struct soft_done *done)
{
	struct soft_counters *c = &s->engine[engine].count;
	uint64_t bytes;
	uint8_t status = soft_exec(&item->desc, &s->limits, &bytes);

	soft_count(&c->descriptors[item->wq], 1);
	soft_count(&c->bytes[item->wq], bytes);
	if (status != DSA_COMP_SUCCESS && status != DSA_COMP_SUCCESS_PRED)
		soft_count(&c->errors, 1);
	done->n[item->wq]++;
	return bytes;
}

void soft_announce(struct soft *s, struct soft_done *done)
{
	const struct engine_doorbell *bell = &s->dev->doorbell;

	if (done->n[ENGINE_WQ_KERNEL])
		device_kernel_completed(s->dev);
	if (done->n[ENGINE_WQ_USER] && s->threads && bell->ring)
		bell->ring(bell->arg);
	*done = (struct soft_done){ 0 };
}

/* ------------------------------------------------------------ without a model */

/* A stretch of execution between two looks at the clock. */
struct run {
	uint64_t since;
	unsigned int descs;
	uint64_t bytes;
	uint64_t weight[ENGINE_MAX];
	struct soft_done done;
};

/* Divide the time since the last look among the engines by what they did. */
static void run_account(struct soft *s, struct run *r)
{
	uint64_t now = clock_ns(), spent = now - r->since;
	uint64_t total = r->bytes + (uint64_t)r->descs * DESC_WEIGHT;

	for (unsigned int i = 0; i < s->engines && total; i++) {
		struct soft_counters *c = &s->engine[i].count;
		uint64_t ns = r->weight[i] * spent / total;

		if (!r->weight[i])
			continue;
		soft_count(&c->busy_ns, ns);
		soft_count(&c->cpu_ns, ns);
		r->weight[i] = 0;
	}
	r->since = now;
	r->descs = 0;
	r->bytes = 0;
	soft_announce(s, &r->done);
}

static void watch_faults(struct soft *s, struct soft_watch *w, uint64_t now)
{
	struct rusage ru;

	if (now - w->looked_ns < WATCH_NS)
		return;
	w->looked_ns = now;
	if (getrusage(RUSAGE_THREAD, &ru))
		return;
	if (ru.ru_minflt - w->faults >= WATCH_FAULTS)
		w->until_ns = now + TIMED_NS;
	w->faults = ru.ru_minflt;
	amux_store_relaxed(&s->limits.timed, (uint32_t)(now < w->until_ns));
}

unsigned int soft_run(struct soft *s, unsigned int from, unsigned int step, uint64_t budget_ns)
{
	unsigned int total = 0, before;
	uint64_t deadline = 0;
	struct soft_item item;
	struct run r = { 0 };
	struct soft_watch *w = &s->watch[step == 1 ? 0 : from];

	do {
		before = total;
		for (unsigned int k = step == 1 ? 0 : from, e = from; k < s->engines;
		     k += step, e += step) {
			uint64_t bytes;

			if (e >= s->engines)
				e -= s->engines; /* with @step 1 alone, see the bound of k */
			if (!take_next(s, &s->engine[e], &item))
				continue;
			if (!total++) {
				r.since = clock_ns();
				deadline = r.since + budget_ns;
			}
			bytes = soft_complete(s, e, &item, &r.done);
			r.descs++;
			r.bytes += bytes;
			r.weight[e] += bytes + DESC_WEIGHT;
			if (r.descs < RUN_DESCS && r.bytes < RUN_BYTES)
				continue;
			run_account(s, &r);
			watch_faults(s, w, r.since);
			if (r.since >= deadline)
				return total;
		}
	} while (total != before);
	if (r.descs) {
		run_account(s, &r);
		watch_faults(s, w, r.since);
	}
	return total;
}

/* --------------------------------------------------------------- with a model */

/* The idle engine that could start first, and when; -1: none. */
static int next_start(const struct soft *s, uint64_t *when)
{
	int best = -1;

	*when = UINT64_MAX;
	for (unsigned int i = 0; i < s->engines; i++) {
		const struct soft_engine *e = &s->engine[i];

		if (model_engine_busy(&s->model, i) ||
		    e->finished_tail - e->finished_head == SOFT_FINISHED)
			continue;
		for (unsigned int wq = 0; wq < ENGINE_WQS; wq++) {
			if (wq_empty(&e->wq[wq]) || wq_stamp(&e->wq[wq]) >= *when)
				continue;
			*when = wq_stamp(&e->wq[wq]);
			best = (int)i;
		}
	}
	return best;
}

/* @engine takes its next descriptor at @when, or as soon after as the model allows. */
static void start(struct soft *s, unsigned int engine, uint64_t when)
{
	struct soft_engine *e = &s->engine[engine];
	unsigned int ready = ready_wqs(e);
	uint64_t bytes, descs;

	/* what was submitted later is not a competitor yet, however late this is called */
	if (when < model_now(&s->model))
		when = model_now(&s->model);
	for (unsigned int wq = 0; wq < ENGINE_WQS; wq++)
		if ((ready & BIT(wq)) && wq_stamp(&e->wq[wq]) > when)
			ready &= ~BIT(wq);
	e->serving.wq = arbitrate(s, e, ready);
	wq_pop(&e->wq[e->serving.wq], &e->serving.desc);
	descs = soft_exec_cost(&e->serving.desc, &s->limits, &bytes);
	model_start(&s->model, engine, bytes, descs, when);
}

int soft_step(struct soft *s, uint64_t now)
{
	uint64_t finish = model_next(&s->model), when;
	int i = next_start(s, &when);
	struct soft_engine *e;

	/* An idle engine takes its descriptor at once, so a start needs no "now": its stamp
	 * is of the past, give or take the age of the caller's clock reading. */
	if (i >= 0 && when < finish) {
		start(s, (unsigned int)i, when);
		return SOFT_STEP_STARTED;
	}
	if (finish > now)
		return SOFT_STEP_NONE;
	i = model_advance(&s->model, now);
	if (i < 0)
		return SOFT_STEP_NONE;
	e = &s->engine[i];
	e->finished[e->finished_tail++ & (SOFT_FINISHED - 1)] = e->serving;
	amux_store_relaxed(&e->count.busy_ns, model_busy_ns(&s->model, (unsigned int)i));
	return i;
}

uint64_t soft_step_next(struct soft *s, uint64_t now)
{
	uint64_t finish = model_next(&s->model), when;

	return next_start(s, &when) >= 0 && when < finish ? now : finish;
}

bool soft_take_finished(struct soft *s, unsigned int engine, struct soft_item *out)
{
	struct soft_engine *e = &s->engine[engine];

	if (e->finished_head == e->finished_tail)
		return false;
	*out = e->finished[e->finished_head++ & (SOFT_FINISHED - 1)];
	return true;
}

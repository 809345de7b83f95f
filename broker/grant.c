// SPDX-License-Identifier: GPL-2.0-only
/*
 * grant.c - see grant.h.
 *
 * The sequence counter orders by release stores and acquire loads of the fields themselves
 * instead of by fences (on x86 both are plain moves): a release store of a field cannot pass
 * the odd sequence before it, and the reader's second look at the sequence cannot pass the
 * acquire load of a field.  ThreadSanitizer understands that; it does not know fences.
 */
#include "grant.h"

#include <errno.h>
#include <string.h>

#include "../client/barrier.h"
#include "clock.h"

#define CHUNK_MIN    4096u
#define CHUNK_MAX    (2u << 20)
#define WAIT_MAX_NS  (1ull << 60)
#define INFLIGHT_MAX (64ull << 30) /* more in flight than any device holds is a lie */

/* Everything behind seq and flags is copied as words of 64 bits. */
#define BODY_START offsetof(struct amux_grant, n_devs)
#define BODY_WORDS ((sizeof(struct amux_grant) - BODY_START) / 8)

_Static_assert(sizeof(struct amux_grant_dev) == 64, "ABI");
_Static_assert(sizeof(struct amux_grant) == 64 + 64 * AMUX_GRANT_DEVS, "ABI");
_Static_assert(BODY_START % 8 == 0 && sizeof(struct amux_grant) <= 4096, "ABI");
_Static_assert(sizeof(struct amux_demand) <= AMUX_GRANT_MAP_BYTES - 4096, "ABI");

/* Write @next; its magic, version and seq do not matter.  Under the lock, or before there are
 * others.  Pairs with grant_read(). */
static void page_publish(struct grant_page *p, const struct amux_grant *next)
{
	struct amux_grant *page = p->grant;
	const uint64_t *src = (const uint64_t *)&next->n_devs;
	uint64_t *dst = (uint64_t *)&page->n_devs;
	uint32_t seq = p->last.seq;

	amux_store_relaxed(&page->seq, seq + 1);
	amux_store_release(&page->flags, next->flags); /* none of these passes the odd seq */
	for (size_t i = 0; i < BODY_WORDS; i++)
		amux_store_release(&dst[i], src[i]);
	amux_store_release(&page->seq, seq + 2);
	p->last = *next;
	p->last.seq = seq + 2;
}

/* Put the part @next into the page; a part that grants nothing has no engine in it. */
static void grant_publish(struct grant_link *g, const struct amux_grant *next)
{
	struct grant_page *p = g->page;
	struct amux_grant page = *next;
	uint32_t mine = ((1u << g->n) - 1) << g->first;

	pthread_mutex_lock(&p->lock);
	p->enabled &= ~mine;
	if (next->flags & AMUX_GRANT_ENABLED)
		p->enabled |= mine;
	else if (p->enabled)
		page.flags = p->last.flags;
	memcpy(page.dev, p->last.dev, sizeof(page.dev));
	memcpy(&page.dev[g->first], next->dev, g->n * sizeof(page.dev[0]));
	for (unsigned int i = g->first; i < g->first + g->n; i++)
		if (!(p->enabled & (1u << i)))
			page.dev[i].engine_mask = 0;
	page.n_devs = p->last.n_devs;
	if (page.n_devs < g->first + g->n)
		page.n_devs = g->first + g->n;
	page.epoch = amux_load_relaxed(&p->epoch);
	page_publish(p, &page);
	pthread_mutex_unlock(&p->lock);
	g->last = *next;
}

void grant_init(struct grant_page *p, void *map)
{
	struct amux_grant off = { 0 };

	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
	p->grant = map;
	p->demand = (const struct amux_demand *)((const char *)map + 4096);
	/* Even, and different from any that a reader may have begun with. */
	p->last.seq = (amux_load_relaxed(&p->grant->seq) + 1) & ~1u;
	page_publish(p, &off);
	amux_store_relaxed(&p->grant->version, AMUX_GRANT_VERSION);
	amux_store_release(&p->grant->magic, AMUX_GRANT_MAGIC); /* pairs with grant_read() */
}

void grant_part(struct grant_link *g, struct grant_page *p, unsigned int first, unsigned int n)
{
	memset(g, 0, sizeof(*g));
	g->page = p;
	g->first = first < AMUX_GRANT_DEVS ? first : AMUX_GRANT_DEVS;
	g->n = n < AMUX_GRANT_DEVS - g->first ? n : AMUX_GRANT_DEVS - g->first;
}

static uint64_t sat_sub(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* Nobody is guaranteed anything on device @d and the kernel class is not limited. */
static bool free_for_all(const struct amux_plan *plan, unsigned int d)
{
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		if (plan->share[d][c].reserve_bps)
			return false;
	return plan->share[d][AMUX_CLASS_KERNEL].limit_bps == AMUX_BPS_MAX;
}

static uint32_t cap_of_device(const struct amux_plan_share *s)
{
	unsigned int engines = (unsigned int)__builtin_popcountll(s->engine_mask);
	unsigned __int128 cap = (unsigned __int128)s->cap_bytes * engines;

	return cap > UINT32_MAX ? UINT32_MAX : (uint32_t)cap;
}

/* Fill @out from the plan; loans and waits are the callers'. */
static void grant_from_plan(struct amux_grant *out, const struct amux_plan *plan,
			    struct device *const *dev, unsigned int n, uint64_t cpu_bps,
			    uint64_t now)
{
	memset(out, 0, sizeof(*out));
	out->n_devs = n;
	out->min_pages = plan->kernel_min_pages;
	out->chunk_bytes = plan->chunk_bytes;
	out->reason_mask = plan->reason_mask;
	out->cpu_bps = cpu_bps;
	out->written_ns = now;
	for (unsigned int i = 0; i < out->n_devs; i++) {
		const struct amux_plan_share *s = &plan->share[i][AMUX_CLASS_KERNEL];
		struct amux_grant_dev *d = &out->dev[i];

		d->device_bps = dev[i]->rate_bps;
		d->pci_id = dev[i]->pci_id;
		if (!s->engine_mask || (!s->reserve_bps && !s->limit_bps))
			continue;
		d->engine_mask = (uint32_t)s->engine_mask;
		d->cap_bytes = cap_of_device(s);
		d->reserve_bps = free_for_all(plan, i) ? d->device_bps : s->reserve_bps;
		out->flags |= AMUX_GRANT_ENABLED;
	}
	if (plan->decline[AMUX_CLASS_KERNEL] == AMUX_DECLINE_ALWAYS)
		out->flags = 0;
	else if (plan->decline[AMUX_CLASS_KERNEL] == AMUX_DECLINE_PREDICT)
		out->flags |= AMUX_GRANT_PREDICT;
}

/* @a and @b differ by more than an eighth and a microsecond: worth telling the kernel side. */
static bool wait_differs(uint64_t a, uint64_t b)
{
	uint64_t more = a > b ? a : b, less = a > b ? b : a;

	return more - less > more / 8 + 1000;
}

/* True if the published grant may stand for @next. */
static bool grant_still_good(const struct grant_link *g, const struct amux_grant *next,
			     uint64_t loan_ns, uint64_t now)
{
	struct amux_grant a = g->last, b = *next;

	for (unsigned int i = 0; i < b.n_devs; i++) {
		if (wait_differs(a.dev[i].est_wait_ns, b.dev[i].est_wait_ns))
			return false;
		if (b.dev[i].loan_bps && sat_sub(a.dev[i].loan_expiry_ns, now) < loan_ns / 2)
			return false;
		a.dev[i].est_wait_ns = b.dev[i].est_wait_ns;
		a.dev[i].loan_expiry_ns = b.dev[i].loan_expiry_ns;
	}
	a.written_ns = b.written_ns;
	return !memcmp(&a, &b, sizeof(a));
}

void grant_write(struct grant_link *g, const struct amux_plan *plan, struct device *const *dev,
		 const uint64_t *loan_bps, const uint64_t *est_wait_ns, uint64_t cpu_bps,
		 uint64_t now)
{
	struct amux_grant next;

	grant_from_plan(&next, plan, dev, g->n, cpu_bps, now);
	__atomic_fetch_add(&g->page->epoch, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < next.n_devs; i++) {
		uint64_t limit = plan->share[i][AMUX_CLASS_KERNEL].limit_bps;
		struct amux_grant_dev *d = &next.dev[i];
		uint64_t room = sat_sub(limit, d->reserve_bps);

		if (!d->engine_mask)
			continue;
		d->est_wait_ns = est_wait_ns[i];
		d->loan_bps = loan_bps[i] < room ? loan_bps[i] : room;
		d->loan_expiry_ns = d->loan_bps ? now + plan->loan_ns : 0;
	}
	if (!g->idle && grant_still_good(g, &next, plan->loan_ns, now))
		return;
	g->idle = false;
	grant_publish(g, &next);
}

void grant_idle(struct grant_link *g, const struct amux_plan *plan, struct device *const *dev,
		uint64_t cpu_bps, uint64_t now)
{
	struct amux_grant next;

	grant_from_plan(&next, plan, dev, g->n, cpu_bps, now);
	for (unsigned int i = 0; i < next.n_devs; i++) {
		uint64_t top = plan->share[i][AMUX_CLASS_KERNEL].limit_bps;
		struct amux_grant_dev *d = &next.dev[i];
		uint64_t lent = d->device_bps;

		if (!d->engine_mask)
			continue;
		/* What another class does not lend stays with it, busy or not. */
		for (unsigned int c = 0; c < AMUX_CLASSES; c++)
			if (c != AMUX_CLASS_KERNEL && !plan->share[i][c].lend)
				lent = sat_sub(lent, plan->share[i][c].reserve_bps);
		d->loan_bps = sat_sub(lent < top ? lent : top, d->reserve_bps);
		d->loan_expiry_ns = d->loan_bps ? AMUX_LOAN_UNTIL_WITHDRAWN : 0;
	}
	if (g->idle && grant_still_good(g, &next, 0, now))
		return;
	g->idle = true;
	grant_publish(g, &next);
}

void grant_disable(struct grant_link *g, uint64_t now)
{
	struct amux_grant next = g->last;

	next.flags = 0;
	next.written_ns = now;
	for (unsigned int i = 0; i < AMUX_GRANT_DEVS; i++) {
		next.dev[i].loan_bps = 0;
		next.dev[i].loan_expiry_ns = 0;
	}
	g->idle = false;
	grant_publish(g, &next);
}

static uint64_t clamp_inflight(uint64_t later, uint64_t earlier)
{
	uint64_t diff = sat_sub(later, earlier);

	return diff < INFLIGHT_MAX ? diff : INFLIGHT_MAX;
}

void grant_demand_read(const struct grant_link *g, struct grant_demand *out)
{
	const struct amux_demand *d = g->page->demand;
	uint64_t done, now;

	/* The lesser counter first, with acquire (pairs with the kernel side's release):
	 * an honest writer never seems to have finished more than arrived. */
	done = amux_load_acquire(&d->finished_bytes);
	out->waiting_bytes = clamp_inflight(amux_load_relaxed(&d->arrived_bytes), done);
	out->active = out->waiting_bytes > 0;
	memset(out->inflight_bytes, 0, sizeof(out->inflight_bytes));
	for (unsigned int i = 0; i < g->n; i++) {
		const struct amux_demand_dev *dev = &d->dev[g->first + i];

		done = amux_load_acquire(&dev->completed_bytes);
		out->inflight_bytes[i] =
			clamp_inflight(amux_load_relaxed(&dev->submitted_bytes), done);
		out->active |= out->inflight_bytes[i] > 0;
	}
	out->last_batch_ns = amux_load_relaxed(&d->last_batch_ns);
	now = clock_ns();
	if (out->last_batch_ns > now) /* the future would make every age overflow */
		out->last_batch_ns = now;
}

/* One try; false if a writer was at work.  Pairs with grant_publish(). */
static bool grant_copy(const struct amux_grant *page, struct amux_grant *out)
{
	const uint64_t *src = (const uint64_t *)&page->n_devs;
	uint64_t *dst = (uint64_t *)&out->n_devs;
	uint32_t seq = amux_load_acquire(&page->seq);

	if (seq & 1)
		return false;
	out->seq = seq;
	out->flags = amux_load_acquire(&page->flags);
	for (size_t i = 0; i < BODY_WORDS; i++)
		dst[i] = amux_load_acquire(&src[i]);
	return amux_load_relaxed(&page->seq) == seq;
}

int grant_read(const struct amux_grant *g, struct amux_grant *out)
{
	unsigned int tries = 0;

	out->magic = amux_load_acquire(&g->magic); /* pairs with grant_init() */
	out->version = amux_load_relaxed(&g->version);
	if (out->magic != AMUX_GRANT_MAGIC || out->version != AMUX_GRANT_VERSION)
		return -EPROTO;
	while (!grant_copy(g, out))
		if (++tries == AMUX_GRANT_TRIES)
			return -EAGAIN;

	if (out->n_devs > AMUX_GRANT_DEVS)
		out->n_devs = AMUX_GRANT_DEVS;
	if (!out->min_pages)
		out->min_pages = 1;
	out->chunk_bytes &= ~(CHUNK_MIN - 1);
	if (out->chunk_bytes < CHUNK_MIN)
		out->chunk_bytes = CHUNK_MIN;
	if (out->chunk_bytes > CHUNK_MAX)
		out->chunk_bytes = CHUNK_MAX;
	for (unsigned int i = 0; i < AMUX_GRANT_DEVS; i++) {
		struct amux_grant_dev *d = &out->dev[i];

		if (i >= out->n_devs)
			memset(d, 0, sizeof(*d));
		if (d->est_wait_ns > WAIT_MAX_NS)
			d->est_wait_ns = WAIT_MAX_NS;
		if (d->cap_bytes < out->chunk_bytes)
			d->cap_bytes = out->chunk_bytes;
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * mover.c - see mover.h.
 */
#include "mover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../client/barrier.h"
#include "grant.h"
#include "hist.h"
#include "offer.h"

#define CHUNK_DEFAULT (256u << 10)  /* of CPU copies without a grant */
#define BLOCK_PIECES  64	    /* descriptors of one submit() */
#define CPU_SLACK_NS  200000	    /* oversleeping that the CPU model makes up for */
#define CPU_SLEEP_NS  50000	    /* shorter waits are carried over to the next block */
#define WAIT_MAX_NS   1000000	    /* look at time-outs and at other devices this often */
#define STOP_WAIT_NS  2000000000ull /* after a stop no answer is waited for longer */
#define MEASURE_BYTES (4u << 20)

/* Monotonic counters that readers subtract from each other: pairs with grant_demand_read(). */
static void stat_add_release(__u64 *p, uint64_t v)
{
	amux_store_release(p, amux_load_relaxed(p) + v);
}

static void demand_add(__u64 *p, uint64_t v)
{
	amux_store_relaxed(p, amux_load_relaxed(p) + v);
}

/* ------------------------------------------------------------------ life */

static struct arena *arena_take(struct mover *m)
{
	for (unsigned int i = 0; i < MOVER_ARENAS; i++) {
		struct arena *a = m->arenas[i];

		if (!a)
			m->arenas[i] = a = arena_new(m->cur->pages);
		if (!a)
			return NULL;
		if (a != m->cur && !a->late)
			return a;
	}
	return NULL;
}

int mover_init(struct mover *m, struct device *const *dev, unsigned int n_devs,
	       uint32_t max_pages)
{
	size_t slots = 1;

	m->n_devs = n_devs < AMUX_GRANT_DEVS ? n_devs : AMUX_GRANT_DEVS;
	for (unsigned int i = 0; i < m->n_devs; i++) {
		m->devs[i].dev = dev[i];
		slots += (size_t)dev[i]->engines * dev[i]->wq_size[ENGINE_WQ_KERNEL];
	}
	m->flying = calloc(slots, sizeof(*m->flying));
	m->late = calloc(slots, sizeof(*m->late));
	m->redirected = calloc(max_pages, 1);
	m->cur = m->arenas[0] = arena_new(max_pages);
	if (m->flying && m->late && m->redirected && m->cur)
		return 0;
	mover_fini(m);
	return -ENOMEM;
}

void mover_fini(struct mover *m)
{
	for (unsigned int i = 0; i < MOVER_ARENAS; i++) {
		arena_free(m->arenas[i]);
		m->arenas[i] = NULL;
	}
	free(m->redirected);
	free(m->late);
	free(m->flying);
	m->redirected = NULL;
	m->late = m->flying = NULL;
}

void mover_measure(struct mover *m)
{
	size_t len = (size_t)m->cur->pages * ARENA_PAGE;
	uint64_t t = 0;

	if (m->cpu_bps)
		return;
	if (len > MEASURE_BYTES)
		len = MEASURE_BYTES;
	for (unsigned int i = 0; i < 2; i++) { /* the first one takes the page faults */
		t = clock_ns();
		memcpy(m->cur->dst, m->cur->src, len);
		t = clock_ns() - t;
	}
	m->measured_bps = len * NSEC_PER_SEC / (t ? t : 1);
}

/* -------------------------------------------------------------------- CPU */

static void note_start(struct mover *m)
{
	if (!m->start_ns)
		m->start_ns = clock_ns();
}

/* Charge @bytes to the modelled CPU, busy since @start, and sleep while it would copy. */
static void cpu_pace(struct mover *m, uint64_t start, uint64_t bytes)
{
	if (start < m->cpu_until + CPU_SLACK_NS)
		start = m->cpu_until;
	m->cpu_until = start + bytes_to_ns(bytes, m->cpu_bps);
	if (m->cpu_until > clock_ns() + CPU_SLEEP_NS)
		sleeper_until(m->sleeper, m->cpu_until);
}

/* @pages were copied since @start in @cpu_ns of CPU time: they count when the model says so. */
static void cpu_done(struct mover *m, uint32_t pages, uint64_t start, uint64_t cpu_ns,
		     enum amux_decline why)
{
	uint64_t bytes = (uint64_t)pages * ARENA_PAGE;
	struct amux_demand *d = m->demand;

	cpu_pace(m, start, bytes);
	demand_add(&d->declined_pages[why], pages);
	demand_add(&d->cpu_time_ns, cpu_ns);
	demand_add(&d->cpu_bytes, bytes);
	stat_add_release(&d->finished_bytes, bytes);
}

/* Copy @pages pages that an engine failed to, into @to. */
static void cpu_redo(struct mover *m, struct arena *to, const struct mover_piece *p,
		     uint32_t skip, enum amux_decline why)
{
	uint64_t start = clock_ns(), cpu = clock_thread_cpu_ns();
	uint32_t pages = p->pages - skip;

	memcpy(arena_dst(to, p->dst + skip), arena_src(p->arena, p->page + skip),
	       (size_t)pages * ARENA_PAGE);
	cpu_done(m, pages, start, clock_thread_cpu_ns() - cpu, why);
}

/* Copy the next block of the batch, at most @max bytes. */
static void cpu_block(struct mover *m, uint32_t max, enum amux_decline why)
{
	uint64_t start, cpu = clock_thread_cpu_ns();
	uint32_t left = max / ARENA_PAGE, done = 0;

	note_start(m);
	start = clock_ns();
	while (left && m->at.page < m->batch->pages) {
		uint32_t page, dst, n = trace_cursor_take(&m->at, m->batch, left, &page, &dst);

		memcpy(arena_dst(m->cur, dst), arena_src(m->cur, page), (size_t)n * ARENA_PAGE);
		left -= n;
		done += n;
	}
	cpu_done(m, done, start, clock_thread_cpu_ns() - cpu, why);
}

/* ---------------------------------------------------------------- answers */

static void device_release(struct mover *m, const struct mover_piece *p)
{
	struct mover_device *d = &m->devs[p->dev];
	uint64_t bytes = (uint64_t)p->pages * ARENA_PAGE;

	d->count[p->engine]--;
	d->bytes[p->engine] -= bytes;
	d->total -= bytes;
	demand_add(&m->demand->dev[p->dev].descriptors, 1);
	stat_add_release(&m->demand->dev[p->dev].completed_bytes, bytes);
}

/* @p was answered in time. */
static void piece_done(struct mover *m, const struct mover_piece *p, uint8_t status)
{
	const struct dsa_completion_record *rec = &p->arena->rec[p->page];
	uint32_t done = p->pages;

	device_release(m, p);
	status &= DSA_COMP_STATUS_MASK;
	if (status != DSA_COMP_SUCCESS) {
		demand_add(&m->demand->dev[p->dev].errors, 1);
		/* Only a page fault says how far it came; result: it started at the end. */
		done = status == DSA_COMP_PAGE_FAULT_NOBOF && !rec->result
			       ? rec->bytes_completed / ARENA_PAGE
			       : 0;
		if (done > p->pages)
			done = p->pages;
	}
	if (done) {
		uint64_t bytes = (uint64_t)done * ARENA_PAGE;

		m->by_engine = true;
		demand_add(&m->demand->engine_bytes, bytes);
		stat_add_release(&m->demand->finished_bytes, bytes);
	}
	if (done < p->pages)
		cpu_redo(m, p->arena, p, done, AMUX_DECLINE_ERROR);
}

/* @p timed out: its destination is lost to this batch, and its device until it answers. */
static void piece_late(struct mover *m, const struct mover_piece *p)
{
	m->devs[p->dev].late++;
	p->arena->late++;
	m->late[m->n_late++] = *p;
	m->spare_used = true;
	memset(m->redirected + p->page, 1, p->pages);
	cpu_redo(m, m->spare, p, 0, AMUX_DECLINE_TIMEOUT);
}

static void reap_late(struct mover *m)
{
	for (uint32_t i = 0; i < m->n_late;) {
		struct mover_piece p = m->late[i];

		if (!record_status(&p.arena->rec[p.page])) {
			i++;
			continue;
		}
		m->late[i] = m->late[--m->n_late];
		m->devs[p.dev].late--;
		p.arena->late--;
		device_release(m, &p);
	}
}

/* Collect what was answered or timed out; returns how many pieces. */
static unsigned int reap(struct mover *m)
{
	uint64_t now = clock_ns(), limit = m->timeout_ns;
	unsigned int n = 0;

	reap_late(m);
	if (sleeper_stopped(m->sleeper) && limit > STOP_WAIT_NS)
		limit = STOP_WAIT_NS;
	for (uint32_t i = 0; i < m->n_flying;) {
		struct mover_piece p = m->flying[i];
		uint8_t status = record_status(&p.arena->rec[p.page]);
		bool late = !status && now - p.submit_ns > limit;

		if (!status && !late) {
			i++;
			continue;
		}
		m->flying[i] = m->flying[--m->n_flying];
		n++;
		if (late)
			piece_late(m, &p);
		else
			piece_done(m, &p, status);
	}
	return n;
}

/* Sleep until something flying is answered or times out. */
static void wait_answer(struct mover *m)
{
	struct device *dev = m->devs[m->flying[0].dev].dev;
	uint32_t seq = device_kernel_seq(dev);

	if (reap(m))
		return;
	device_wait_kernel(dev, seq, WAIT_MAX_NS);
	if (m->cpu_until < clock_ns())
		m->cpu_until = 0; /* the CPU was idle: its model makes nothing up */
}

/* ------------------------------------------------------------------ moving */

/* Submit the next block as @o says; what the engine does not take stays to be decided. */
static void submit_block(struct mover *m, const struct offer *o)
{
	struct mover_device *md = &m->devs[o->dev];
	struct dsa_hw_desc desc[BLOCK_PIECES];
	struct mover_piece piece[BLOCK_PIECES];
	struct trace_cursor at = m->at, after[BLOCK_PIECES];
	uint32_t left = o->bytes / ARENA_PAGE, slots, n = 0;
	uint32_t xfer = (uint32_t)(md->dev->max_xfer / ARENA_PAGE);
	uint64_t now, bytes = 0;
	int taken;

	slots = md->dev->wq_size[ENGINE_WQ_KERNEL] - md->count[o->engine];
	if (slots > BLOCK_PIECES)
		slots = BLOCK_PIECES;
	if (!xfer)
		xfer = 1; /* the device will say that it is too much */
	note_start(m);
	now = clock_ns();
	memset(desc, 0, sizeof(desc));
	for (; left && n < slots && at.page < m->batch->pages; n++) {
		struct mover_piece *p = &piece[n];
		struct dsa_completion_record *rec;

		if (n && at.run_end - at.page > left)
			break; /* the next block takes that run in one piece */
		*p = (struct mover_piece){ .arena = m->cur,
					   .dev = (uint16_t)o->dev,
					   .engine = (uint16_t)o->engine,
					   .submit_ns = now };
		p->pages = trace_cursor_take(&at, m->batch, left < xfer ? left : xfer, &p->page,
					     &p->dst);
		after[n] = at;
		left -= p->pages;
		rec = &m->cur->rec[p->page];
		memset(rec, 0, sizeof(*rec));
		desc[n].opcode = DSA_OPCODE_MEMMOVE;
		desc[n].flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR;
		desc[n].completion_addr = (uintptr_t)rec;
		desc[n].src_addr = (uintptr_t)arena_src(m->cur, p->page);
		desc[n].dst_addr = (uintptr_t)arena_dst(m->cur, p->dst);
		desc[n].xfer_size = p->pages * ARENA_PAGE;
	}
	taken = md->dev->ops->submit(md->dev, o->engine, ENGINE_WQ_KERNEL, desc, n);
	if (taken < 0 || (!taken && !md->count[o->engine]))
		md->down |= 1u << o->engine; /* refused with nothing of ours in its way */
	for (int i = 0; i < taken; i++) {
		uint32_t len = piece[i].pages * ARENA_PAGE;

		m->flying[m->n_flying++] = piece[i];
		md->count[o->engine]++;
		md->bytes[o->engine] += len;
		md->total += len;
		bytes += len;
		m->at = after[i];
	}
	md->tokens -= bytes < md->tokens ? bytes : md->tokens;
	demand_add(&m->demand->dev[o->dev].submitted_bytes, bytes);
	if (!taken && m->n_flying)
		wait_answer(m);
}

/* Decide about the next block and set it going. */
static void move_block(struct mover *m, int *sticky)
{
	uint32_t chunk = CHUNK_DEFAULT;
	struct amux_grant g;
	struct offer o = { 0 };
	int what, verdict = -1;

	if (*sticky >= 0) {
		what = *sticky;
		cpu_block(m, chunk, (enum amux_decline)what);
		return;
	}
	what = grant_read(m->grant, &g);
	if (what == -EAGAIN) {
		cpu_block(m, chunk, AMUX_DECLINE_SEQ_BUSY);
		return;
	}
	if (what || !(g.flags & AMUX_GRANT_ENABLED) || sleeper_stopped(m->sleeper)) {
		*sticky = AMUX_DECLINE_NO_GRANT;
		return;
	}
	chunk = g.chunk_bytes;
	what = offer_best(m, &g, &o);
	if (!m->judged && what != AMUX_DECLINE_NO_GRANT) {
		verdict = offer_judge(m, &g, what == MOVE_ENGINE ? &o : NULL);
		m->judged = true;
	}
	if (verdict >= 0) {
		*sticky = verdict;
	} else if (what == MOVE_ENGINE) {
		submit_block(m, &o);
	} else if (what == MOVE_WAIT && m->n_flying) {
		wait_answer(m);
	} else if (what == AMUX_DECLINE_PACED) {
		cpu_block(m, chunk, AMUX_DECLINE_PACED);
	} else {
		*sticky = what == MOVE_WAIT ? AMUX_DECLINE_ERROR : what;
	}
}

void mover_prepare(struct mover *m, const struct trace_batch *b)
{
	reap_late(m);
	if (m->spare_used) {
		m->cur = m->spare;
		m->spare = NULL;
		m->spare_used = false;
		memset(m->redirected, 0, m->cur->pages);
	}
	if (!m->spare)
		m->spare = arena_take(m);
	m->seed++;
	if (m->verify)
		arena_stamp(m->cur, b->pages, m->seed);
}

void mover_verify(struct mover *m, const struct trace_batch *b)
{
	struct trace_cursor at;

	trace_cursor_start(&at, b);
	while (m->verify && at.page < b->pages) {
		uint32_t page, dst;
		struct arena *a;

		trace_cursor_take(&at, b, 1, &page, &dst);
		a = m->redirected[page] ? m->spare : m->cur;
		if (!arena_page_ok(arena_dst(a, dst), page, m->seed))
			demand_add(&m->mismatches, 1);
	}
}

void mover_quiesce(struct mover *m, uint64_t ns)
{
	uint64_t until = clock_ns() + ns;

	while (m->n_late && clock_ns() < until) {
		struct device *dev = m->devs[m->late[0].dev].dev;
		uint32_t seq = device_kernel_seq(dev);

		reap_late(m);
		if (m->n_late)
			device_wait_kernel(dev, seq, WAIT_MAX_NS);
	}
}

static void batch_begin(struct mover *m, const struct trace_batch *b)
{
	struct amux_demand *d = m->demand;

	m->batch = b;
	trace_cursor_start(&m->at, b);
	m->start_ns = m->cpu_until = 0;
	m->by_engine = m->judged = false;
	for (unsigned int i = 0; i < m->n_devs; i++)
		m->devs[i].down = 0;
	m->arrival_ns = clock_ns();
	demand_add(&d->reason_batches[b->reason], 1);
	demand_add(&d->batches, 1);
	amux_store_relaxed(&d->last_batch_ns, m->arrival_ns);
	stat_add_release(&d->arrived_bytes, (uint64_t)b->pages * ARENA_PAGE);
	if (m->arrived)
		m->arrived(m->arg);
}

static void batch_end(struct mover *m)
{
	uint64_t wait = m->start_ns - m->arrival_ns, took = clock_ns() - m->arrival_ns;
	uint64_t bytes = (uint64_t)m->batch->pages * ARENA_PAGE;
	struct amux_demand *d = m->demand;
	struct amux_grant g;
	bool granted = !grant_read(m->grant, &g);
	uint64_t cpu_ns = bytes_to_ns(bytes, offer_cpu_bps(m, granted ? &g : NULL));

	if (m->by_engine)
		demand_add(&d->engine_batches, 1);
	demand_add(&d->batch_ns, took);
	demand_add(&d->wait_ns, wait);
	demand_add(&d->cpu_ns, cpu_ns);
	demand_add(&d->alone_ns,
		   m->n_devs ? offer_alone_ns(m, granted ? g.chunk_bytes : CHUNK_DEFAULT)
			     : cpu_ns);
	demand_add(&d->wait_hist[hist_index(wait)], 1);
	demand_add(&d->batch_hist[hist_index(took)], 1);
}

void mover_move(struct mover *m, const struct trace_batch *b)
{
	int sticky = -1;

	batch_begin(m, b);
	while (m->at.page < b->pages) {
		reap(m);
		move_block(m, &sticky);
	}
	while (m->n_flying)
		wait_answer(m);
	if (m->cpu_until)
		sleeper_until(m->sleeper, m->cpu_until);
	batch_end(m);
}

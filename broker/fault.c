// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault.c - see fault.h.
 */
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../client/barrier.h"
#include "stats.h"

#define NAP_NS	    100000u /* while something is outstanding it is looked at this often */
#define PARTIAL_MIN 128u    /* bytes of a descriptor that can be done in part */

/*
 *	FREE ──> PENDING ──(the wrapped device wrote rec)──┬──> DUE ──(its time came)──> FREE
 *	  │                                                └──> GONE ──┐
 *	  ├── an error, not done ──> DUE                               ├─(engine quiet)─> FREE
 *	  └── lost, not done ──────────────────────────────────> GONE ─┘
 */
enum slot_state { SLOT_FREE = 0, SLOT_PENDING, SLOT_DUE, SLOT_GONE };

/* One descriptor that was accepted. */
struct fault_slot {
	struct dsa_completion_record rec
		__attribute__((aligned(32))); /* the wrapped device's */
	struct dsa_completion_record *to;     /* the submitter's */
	enum slot_state state;
	enum fault_kind kind;
	uint64_t fault_addr; /* PARTIAL: where it stopped, */
	uint32_t part;	     /* after so many bytes */
	uint64_t delay_ns, due_ns;
};

struct fault_engine {
	struct fault_slot *slot;
	unsigned int used; /* slots not free */
	bool stuck;
	uint64_t off_until_ns; /* its WQ is disabled until then; 0: it is not */
	uint64_t back_at_ns;   /* 0: not known yet */
	uint64_t errors, partial, status[ENGINE_STATUSES];
};

struct fault {
	struct device inner;
	struct device *outer;
	struct fault_config cfg; /* times scaled */
	unsigned int slots;	 /* of each engine */
	uint64_t rng;
	uint64_t next_disable_ns;
	unsigned int turn;
	struct fault_engine engine[ENGINE_MAX];
};

/* splitmix64 */
static uint32_t draw(struct fault *f)
{
	uint64_t x = f->rng += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((x ^ (x >> 31)) >> 32);
}

/* ---------------------------------------------------------------------- submit */

static const struct fault_rule *luck(struct fault *f)
{
	const struct fault_rule *hit = NULL;

	/* one draw a rule, whatever the earlier ones said: a rule added at the end changes none */
	for (unsigned int i = 0; i < f->cfg.n_rules; i++) {
		const struct fault_rule *r = &f->cfg.rule[i];
		uint32_t d = draw(f);

		if (!hit && (d < r->chance || r->chance == FAULT_ALWAYS))
			hit = r;
	}
	return hit;
}

/* Cut @d to its first half, the rest of which a page fault will be said to have kept it from. */
static bool cut(struct dsa_hw_desc *d, struct fault_slot *s)
{
	uint32_t half = d->xfer_size / 2 & ~63u;
	uint64_t apart;

	if (d->xfer_size < PARTIAL_MIN)
		return false;
	switch (d->opcode) {
	case DSA_OPCODE_MEMMOVE:
		/* one that overlaps may have to begin at its end */
		apart = d->src_addr > d->dst_addr ? d->src_addr - d->dst_addr
						  : d->dst_addr - d->src_addr;
		if (apart < d->xfer_size)
			return false;
		s->fault_addr = d->src_addr + half;
		break;
	case DSA_OPCODE_MEMFILL:
		s->fault_addr = d->dst_addr + half;
		break;
	case DSA_OPCODE_CRCGEN:
	case DSA_OPCODE_COPY_CRC:
	case DSA_OPCODE_DUALCAST:
		s->fault_addr = d->src_addr + half;
		break;
	default:
		return false;
	}
	d->xfer_size = s->part = half;
	return true;
}

/* 1: taken, 0: full, -EIO: the WQ is down. */
static int submit_one(struct fault *f, unsigned int e, const struct dsa_hw_desc *desc)
{
	struct fault_engine *fe = &f->engine[e];
	uint64_t rng = f->rng;
	const struct fault_rule *r = luck(f);
	struct dsa_hw_desc d = *desc;
	struct fault_slot *s = fe->slot;
	int n;

	if (r && r->kind == FAULT_REFUSE)
		return -EIO;
	while (s < fe->slot + f->slots && s->state != SLOT_FREE)
		s++;
	if (s == fe->slot + f->slots)
		goto full;
	memset(&s->rec, 0, sizeof(s->rec));
	s->to = (struct dsa_completion_record *)(uintptr_t)desc->completion_addr;
	s->kind = r ? (enum fault_kind)r->kind : FAULT_NONE;
	s->delay_ns = r ? r->time_ns : 0;
	s->due_ns = 0;
	if (s->kind == FAULT_PARTIAL && !cut(&d, s))
		s->kind = FAULT_NONE;
	if (s->kind == FAULT_ERROR) {
		s->rec.status = (uint8_t)r->status;
		s->rec.fault_addr = desc->src_addr;
		s->state = SLOT_DUE;
	} else if ((s->kind == FAULT_LOSE || s->kind == FAULT_STUCK) && draw(f) & 1) {
		s->state = SLOT_GONE;
	} else {
		d.completion_addr = (uintptr_t)&s->rec;
		n = f->inner.ops->submit(&f->inner, e, ENGINE_WQ_USER, &d, 1);
		if (n < 0)
			return n;
		if (!n)
			goto full;
		s->state = SLOT_PENDING;
	}
	fe->stuck |= s->kind == FAULT_STUCK;
	fe->used++;
	return 1;

full:
	f->rng = rng; /* it will come again */
	return 0;
}

static int fault_submit(struct device *dev, unsigned int engine, enum engine_wq wq,
			const struct dsa_hw_desc *desc, unsigned int n)
{
	struct fault *f = dev->priv;
	unsigned int taken = 0;
	int ret = 0;

	if (engine >= dev->engines || wq != ENGINE_WQ_USER)
		return -EINVAL;
	if (f->engine[engine].off_until_ns)
		return -EIO;
	while (taken < n) {
		ret = submit_one(f, engine, &desc[taken]);
		if (ret <= 0)
			break;
		taken++;
	}
	return taken ? (int)taken : ret;
}

/* -------------------------------------------------------------------- progress */

static void slot_answer(struct fault_engine *fe, struct fault_slot *s)
{
	uint8_t status = s->rec.status;

	if (s->kind == FAULT_PARTIAL && (status & DSA_COMP_STATUS_MASK) == DSA_COMP_SUCCESS) {
		status = DSA_COMP_PAGE_FAULT_NOBOF;
		s->rec.bytes_completed = s->part;
		s->rec.fault_addr = s->fault_addr;
		stat_add(&fe->partial, 1);
	}
	if (s->kind == FAULT_ERROR) {
		stat_add(&fe->errors, 1);
		stat_add(&fe->status[status & DSA_COMP_STATUS_MASK], 1);
	}
	s->to->result = s->rec.result;
	s->to->rsvd = s->rec.rsvd;
	s->to->bytes_completed = s->rec.bytes_completed;
	s->to->fault_addr = s->rec.fault_addr;
	s->to->crc_val = s->rec.crc_val;
	/* release: pairs with record_status() */
	__atomic_store_n(&s->to->status, status, __ATOMIC_RELEASE);
	s->state = SLOT_FREE;
	fe->used--;
}

/* Follow what was accepted.  Returns how many were answered; *@open: how many may still be. */
static unsigned int slots_step(struct fault *f, struct fault_engine *fe, uint64_t now,
			       unsigned int *open)
{
	unsigned int n = 0;

	*open = 0;
	for (struct fault_slot *s = fe->slot; s < fe->slot + f->slots && fe->used; s++) {
		if (s->state == SLOT_PENDING && record_status(&s->rec)) {
			bool lost = s->kind == FAULT_LOSE || s->kind == FAULT_STUCK;

			s->state = lost ? SLOT_GONE : SLOT_DUE;
			s->due_ns = now + s->delay_ns;
		}
		if (s->state == SLOT_DUE && s->due_ns <= now) {
			slot_answer(fe, s);
			n++;
		}
		*open += s->state == SLOT_PENDING || s->state == SLOT_DUE;
	}
	return n;
}

/* Control's steps of enum engine_health, for a device that needs no control. */
static void health_step(struct fault *f, unsigned int e, unsigned int open, uint64_t now)
{
	struct fault_engine *fe = &f->engine[e];
	struct device *dev = f->outer;

	switch (amux_load_acquire(&dev->health[e])) {
	case ENGINE_LOST:
		/* What may still be done is waited for; the rest is known to be over. */
		if (open || fe->stuck)
			return;
		for (unsigned int i = 0; i < f->slots; i++)
			fe->slot[i].state = SLOT_FREE;
		fe->used = 0;
		fe->back_at_ns = 0;
		amux_store_release(&dev->health[e], (uint32_t)ENGINE_QUIET);
		return;
	case ENGINE_EMPTY:
		if (!fe->back_at_ns)
			fe->back_at_ns = now + f->cfg.back_ns;
		if (now >= fe->back_at_ns && !fe->off_until_ns)
			amux_store_release(&dev->health[e], (uint32_t)ENGINE_UP);
		return;
	default:
		return;
	}
}

/* WQs are disabled, one engine after the other, and enabled again. */
static void disable_step(struct fault *f, uint64_t now)
{
	struct device *dev = f->outer;

	if (!f->cfg.disable_every_ns)
		return;
	for (unsigned int e = 0; e < dev->engines; e++)
		if (f->engine[e].off_until_ns && f->engine[e].off_until_ns <= now)
			f->engine[e].off_until_ns = 0;
	if (!f->next_disable_ns)
		f->next_disable_ns = now + f->cfg.disable_every_ns;
	if (now < f->next_disable_ns)
		return;
	f->next_disable_ns = now + f->cfg.disable_every_ns;
	f->engine[f->turn].off_until_ns = now + f->cfg.disable_ns;
	if (device_engine_up(dev, f->turn))
		__atomic_fetch_or(&dev->suspect, 1u << f->turn, __ATOMIC_RELAXED);
	f->turn = (f->turn + 1) % dev->engines;
}

static unsigned int fault_progress(struct device *dev, uint64_t now, uint64_t budget_ns)
{
	struct fault *f = dev->priv;
	unsigned int n = f->inner.ops->progress(&f->inner, now, budget_ns);

	disable_step(f, now);
	for (unsigned int e = 0; e < dev->engines; e++) {
		unsigned int open;

		n += slots_step(f, &f->engine[e], now, &open);
		health_step(f, e, open, now);
	}
	return n;
}

static uint64_t fault_next_event(struct device *dev, uint64_t now)
{
	struct fault *f = dev->priv;
	uint64_t next = f->inner.ops->next_event(&f->inner, now);
	bool busy = false;

	for (unsigned int e = 0; e < dev->engines; e++)
		busy |= f->engine[e].used || !device_engine_up(dev, e);
	return busy && next > now + NAP_NS ? now + NAP_NS : next;
}

/* ------------------------------------------------------------------------ life */

static void fault_read_stats(struct device *dev, unsigned int engine, struct engine_stats *out)
{
	struct fault *f = dev->priv;

	f->inner.ops->read_stats(&f->inner, engine, out);
	out->errors += stat_read(&f->engine[engine].errors);
	out->partial += stat_read(&f->engine[engine].partial);
	for (unsigned int i = 0; i < ENGINE_STATUSES; i++)
		out->status[i] += stat_read(&f->engine[engine].status[i]);
}

static void fault_free(struct fault *f)
{
	for (unsigned int e = 0; e < ENGINE_MAX; e++)
		free(f->engine[e].slot);
	free(f);
}

static void fault_close(struct device *dev)
{
	struct fault *f = dev->priv;

	f->inner.ops->close(&f->inner);
	fault_free(f);
	dev->priv = NULL;
}

static const struct engine_ops fault_ops = {
	.name = "fault",
	.submit = fault_submit,
	.progress = fault_progress,
	.next_event = fault_next_event,
	.redo = soft_execute,
	.read_stats = fault_read_stats,
	.close = fault_close,
};

/* Engine threads of the wrapped device have written a record. */
static void inner_ring(void *arg)
{
	const struct device *dev = arg;

	if (dev->doorbell.ring)
		dev->doorbell.ring(dev->doorbell.arg);
}

static void scale(struct fault_config *cfg, uint64_t by)
{
	cfg->timeout_ns *= by;
	cfg->back_ns *= by;
	cfg->disable_every_ns *= by;
	cfg->disable_ns *= by;
	for (unsigned int i = 0; i < cfg->n_rules; i++)
		cfg->rule[i].time_ns *= by;
}

int fault_open(struct device *dev, unsigned int index, const struct soft_config *soft,
	       const struct fault_config *cfg, uint64_t time_scale)
{
	struct fault *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	f->outer = dev;
	f->cfg = *cfg;
	scale(&f->cfg, time_scale);
	f->rng = cfg->seed + index;
	/* as many as the scheduler may have in flight: what is lost keeps its slot */
	f->slots = 2 * soft->wq_size[ENGINE_WQ_USER];
	ret = soft_open(&f->inner, index, soft);
	if (ret)
		goto err_free;
	for (unsigned int e = 0; e < soft->engines; e++) {
		size_t bytes = f->slots * sizeof(*f->engine[e].slot);

		f->engine[e].slot = aligned_alloc(32, bytes);
		if (!f->engine[e].slot) {
			ret = -ENOMEM;
			goto err_close;
		}
		memset(f->engine[e].slot, 0, bytes);
	}
	*dev = f->inner;
	dev->ops = &fault_ops;
	dev->priv = f;
	dev->timeout_ns = f->cfg.timeout_ns;
	/* Its kernel WQs are nobody's; and progress() has to be called, whoever copies. */
	dev->caps |= DEVICE_CAP_USER | DEVICE_CAP_BLOCKING;
	snprintf(dev->name, sizeof(dev->name), "fault%u", index);
	f->inner.doorbell = (struct engine_doorbell){ inner_ring, dev };
	return 0;

err_close:
	f->inner.ops->close(&f->inner);
err_free:
	fault_free(f);
	return ret;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * grant.c - see grant.h.
 *
 * The page belongs to an opener that may write anything at any time: it is read once, into
 * memory of our own, and every field is clamped there.
 */
#include <linux/bitops.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/clock.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>

#include "batch.h"
#include "channel.h"
#include "grant.h"
#include "hold.h"
#include "provider.h"
#include "stats.h"

#define CHUNK_MIN    PAGE_SIZE
#define CHUNK_MAX    (2u << 20)
#define BURST_MIN    (4ull << 20) /* bytes of a full token bucket, or the cap if larger */
#define SPREAD_PAGES 8		  /* smaller blocks are not worth spreading over engines */
#define RETRY_MS     1000	  /* default=share: look for new devices */
#define BPS_MAX	     (1ull << 40)

static char *def = "cpu";
static ulong share_bps;
static uint min_pages = 32;
static uint reason_mask = BIT(AMUX_REASON_COUNT) - 1;
static bool cocopy;

static int def_set(const char *val, const struct kernel_param *kp)
{
	if (sysfs_streq(val, "cpu"))
		def = "cpu";
	else if (sysfs_streq(val, "share"))
		def = "share";
	else {
		pr_err("default='%s': expected cpu or share\n", val);
		return -EINVAL;
	}
	return 0;
}

static int min_pages_set(const char *val, const struct kernel_param *kp)
{
	uint n;

	if (kstrtouint(val, 0, &n) || !n) {
		pr_err("min_pages='%s': expected a number of pages, 1 or more\n", val);
		return -EINVAL;
	}
	WRITE_ONCE(min_pages, n);
	return 0;
}

static const struct kernel_param_ops def_ops = { .set = def_set, .get = param_get_charp };
static const struct kernel_param_ops min_pages_ops = {
	.set = min_pages_set,
	.get = param_get_uint,
};

module_param_cb(default, &def_ops, &def, 0444);
MODULE_PARM_DESC(default, "without a broker: cpu (nothing goes by engine) or share");
module_param(share_bps, ulong, 0644);
MODULE_PARM_DESC(share_bps, "bytes/s that default=share may use, 0: no limit");
module_param_cb(min_pages, &min_pages_ops, &min_pages, 0644);
MODULE_PARM_DESC(min_pages, "smaller batches stay on the CPU (default=share)");
module_param(reason_mask, uint, 0644);
MODULE_PARM_DESC(reason_mask, "1 << migrate reason (default=share)");
module_param(cocopy, bool, 0644);
MODULE_PARM_DESC(cocopy, "copy from the tail with the CPU meanwhile (default=share)");

/* Tokens of one device index, in bytes. */
struct bucket {
	spinlock_t lock;
	u64 tokens, rate, refill_ns;
};

static struct bucket buckets[AMUX_GRANT_DEVS];
static struct page *pages[2]; /* grant, demand */
static bool attached;
static bool sharing; /* default=share and channels are held */

static void share_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(share_retry, share_work);

static const struct amux_grant *grant_map(void)
{
	return page_address(READ_ONCE(pages[0]));
}

struct page *grant_page(unsigned int i)
{
	return pages[i];
}

struct amux_demand *grant_demand(void)
{
	return page_address(READ_ONCE(pages[1]));
}

bool grant_attached(void)
{
	return READ_ONCE(attached);
}

bool grant_possible(void)
{
	return READ_ONCE(attached) || READ_ONCE(sharing);
}

u32 grant_min_pages(void)
{
	u32 n;

	if (READ_ONCE(attached)) {
		rcu_read_lock();
		n = READ_ONCE(grant_map()->min_pages);
		if (!(READ_ONCE(grant_map()->flags) & AMUX_GRANT_ENABLED))
			n = UINT_MAX;
		rcu_read_unlock();
		return max(n, 1u);
	}
	return READ_ONCE(sharing) ? READ_ONCE(min_pages) : UINT_MAX;
}

static void grant_clamp(struct amux_grant *g)
{
	u32 i;

	g->n_devs = min_t(u32, g->n_devs, AMUX_GRANT_DEVS);
	g->min_pages = max(g->min_pages, 1u);
	g->chunk_bytes = clamp_t(u32, g->chunk_bytes, CHUNK_MIN, CHUNK_MAX) & PAGE_MASK;
	for (i = 0; i < g->n_devs; i++)
		g->dev[i].cap_bytes = max(g->dev[i].cap_bytes, g->chunk_bytes);
}

/* What default=share grants: everything, or so many bytes/s. */
static void grant_share(struct amux_grant *g)
{
	struct amux_grant_dev *d = &g->dev[0];

	memset(g, 0, sizeof(*g));
	g->flags = AMUX_GRANT_ENABLED | (READ_ONCE(cocopy) ? AMUX_GRANT_COCOPY : 0);
	g->n_devs = 1;
	g->min_pages = READ_ONCE(min_pages);
	g->reason_mask = READ_ONCE(reason_mask);
	g->chunk_bytes = CHUNK_MAX;
	d->engine_mask = U32_MAX;
	d->cap_bytes = U32_MAX;
	d->device_bps = BPS_MAX; /* not known */
	d->reserve_bps = READ_ONCE(share_bps) ?: BPS_MAX;
}

static int grant_read(struct amux_grant *out)
{
	const struct amux_grant *g;
	int i, ret = -EAGAIN;
	u32 seq;

	rcu_read_lock();
	g = grant_map();
	for (i = 0; i < AMUX_GRANT_TRIES; i++) {
		/* Pairs with the broker's release of seq, before and after it writes. */
		seq = smp_load_acquire(&g->seq);
		if (seq & 1)
			continue;
		memcpy(out, (const void *)g, sizeof(*out));
		smp_rmb();
		if (READ_ONCE(g->seq) != seq)
			continue;
		ret = 0;
		if (out->magic != AMUX_GRANT_MAGIC || out->version != AMUX_GRANT_VERSION)
			ret = -EPROTO;
		grant_clamp(out);
		break;
	}
	rcu_read_unlock();
	return ret;
}

static u64 bytes_of(u64 ns, u64 bps)
{
	return mul_u64_u64_div_u64(ns, bps, NSEC_PER_SEC);
}

static u64 ns_of(u64 bytes, u64 bps)
{
	return bps ? mul_u64_u64_div_u64(bytes, NSEC_PER_SEC, bps) : U64_MAX / 4;
}

/* Bytes/s that @d grants at @now, saturating; no more than multiplies without overflow. */
static u64 grant_rate(const struct amux_grant_dev *d, u64 now)
{
	u64 rate = d->reserve_bps;

	if (d->loan_expiry_ns > now && check_add_overflow(rate, d->loan_bps, &rate))
		rate = U64_MAX;
	return rate;
}

static bool unlimited(const struct amux_grant_dev *d, u64 rate)
{
	return d->device_bps && rate >= d->device_bps;
}

/* Let tokens accrue at the rate so far, then note @rate.  Under the bucket's lock. */
static void bucket_refill(struct bucket *b, const struct amux_grant_dev *d, u64 rate, u64 now)
{
	u64 burst = max_t(u64, d->cap_bytes, BURST_MIN), earned;
	u64 pace = min(b->rate, BPS_MAX), ns;

	if (!b->refill_ns) {
		b->tokens = burst;
		b->refill_ns = now;
	}
	ns = now > b->refill_ns ? min(now - b->refill_ns, (u64)NSEC_PER_SEC) : 0;
	earned = bytes_of(ns, pace);
	b->tokens = min(burst, b->tokens + earned);
	if (earned || rate != b->rate)
		b->refill_ns = now;
	/* Tokens earned from a loan end with it. */
	if (rate < b->rate)
		b->tokens = mul_u64_u64_div_u64(b->tokens, rate, b->rate);
	b->rate = rate;
}

/* The next block on device @i: OFFER_ENGINE fills @out and takes the tokens. */
static int offer_of(const struct amux_grant *g, u32 i, const struct offer_ask *ask, u64 now,
		    struct offer *out, struct channel_load *load)
{
	const struct amux_grant_dev *d = &g->dev[i];
	struct bucket *b = &buckets[i];
	u64 rate = grant_rate(d, now), want, room, run;
	u32 mask, engines;
	unsigned long flags;
	int what = OFFER_ENGINE;

	channel_load(i, load);
	mask = load->usable & d->engine_mask;
	if (!rate || !d->engine_mask || !(load->usable | load->suspect))
		return AMUX_DECLINE_NO_GRANT;
	if (!mask)
		return load->suspect ? AMUX_DECLINE_TIMEOUT : AMUX_DECLINE_NO_GRANT;

	engines = hweight32(mask);
	want = max_t(u64, DIV_ROUND_UP(ask->left, engines), SPREAD_PAGES);
	want = min3(want, (u64)ask->left, (u64)(g->chunk_bytes >> PAGE_SHIFT)) << PAGE_SHIFT;

	/* Rather wait for room than cut a contiguous run; a chunk always fits into the cap. */
	room = d->cap_bytes > load->bytes ? d->cap_bytes - load->bytes : 0;
	run = (u64)ask->run << PAGE_SHIFT;
	if (!load->free || room < min(run, want))
		return OFFER_WAIT;
	want = min(min(want, run), room) & PAGE_MASK;

	spin_lock_irqsave(&b->lock, flags);
	bucket_refill(b, d, rate, now);
	if (!unlimited(d, rate)) {
		if (b->tokens < want)
			what = AMUX_DECLINE_PACED;
		else
			b->tokens -= want;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	if (what != OFFER_ENGINE)
		return what;
	out->dev = i;
	out->engine_mask = mask;
	out->bytes = (u32)want;
	out->chunk_bytes = g->chunk_bytes;
	out->cocopy = g->flags & AMUX_GRANT_COCOPY;
	return OFFER_ENGINE;
}

/* From the least to the most willing answer of a device. */
static unsigned int rank_of(int what)
{
	switch (what) {
	case OFFER_ENGINE:
		return 5;
	case OFFER_WAIT:
		return 4;
	case AMUX_DECLINE_PACED:
		return 3;
	case AMUX_DECLINE_ERROR:
		return 2;
	case AMUX_DECLINE_TIMEOUT:
		return 1;
	default:
		return 0;
	}
}

/* ns until the engine side would be done with the rest of the batch. */
static u64 predict_engine(const struct amux_grant *g, const struct offer_ask *ask,
			  const struct offer *o, const struct channel_load *load)
{
	const struct amux_grant_dev *d = &g->dev[o->dev];
	u64 bytes = (u64)ask->left << PAGE_SHIFT, tokens = READ_ONCE(buckets[o->dev].tokens);
	u64 rate = READ_ONCE(buckets[o->dev].rate), full = d->device_bps, burst = bytes;

	if (load->device_bps && (!full || load->device_bps < full))
		full = load->device_bps;
	if (!full)
		full = rate;
	if (!unlimited(d, rate) && tokens < bytes)
		burst = tokens;
	return min(d->est_wait_ns, (u64)NSEC_PER_SEC) + ns_of(burst, full) +
	       ns_of(bytes - burst, min(rate, full));
}

/* What the rest would take on the engines granted if they were idle, and on the CPU. */
static void offer_predict(const struct amux_grant *g, const struct offer_ask *ask,
			  struct offer *out)
{
	u64 bytes = (u64)ask->left << PAGE_SHIFT, bps = 0, rate;
	struct channel_load load;
	u32 i;

	out->cpu_ns = ns_of(bytes, g->cpu_bps ?: batch_cpu_bps());
	for (i = 0; i < g->n_devs; i++) {
		if (!g->dev[i].engine_mask || !grant_rate(&g->dev[i], ktime_get_ns()))
			continue;
		channel_load(i, &load);
		rate = load.device_bps ?: g->dev[i].device_bps;
		if (load.usable & g->dev[i].engine_mask && rate < BPS_MAX)
			bps += rate;
	}
	out->alone_ns = bps ? ns_of(bytes, bps) : out->cpu_ns;
}

/* A reason that is not known could be any: then the mask must leave out none. */
static bool reason_granted(u32 mask, u8 reason)
{
	if (reason < AMUX_REASON_COUNT)
		return mask & BIT(reason);
	return !(~mask & (BIT(AMUX_REASON_COUNT) - 1));
}

static void offer_undo(const struct offer *o)
{
	grant_refund(o->dev, o->bytes);
}

/*
 * Of two devices with room the one with less in flight; one on another node than the
 * destination counts as a chunk fuller.
 */
static u64 offer_weight(const struct amux_grant *g, const struct offer_ask *ask,
			const struct channel_load *load)
{
	bool far = load->node != NUMA_NO_NODE && ask->node != load->node;

	return load->bytes + (far ? g->chunk_bytes : 0);
}

/* The grant in force, and the reason why there is none. */
static int grant_now(struct amux_grant *g)
{
	int ret;

	if (READ_ONCE(attached)) {
		ret = grant_read(g);
		if (ret)
			return ret == -EAGAIN ? AMUX_DECLINE_SEQ_BUSY : AMUX_DECLINE_NO_GRANT;
	} else if (READ_ONCE(sharing)) {
		grant_share(g);
	} else {
		return AMUX_DECLINE_NO_GRANT;
	}
	return g->flags & AMUX_GRANT_ENABLED ? OFFER_ENGINE : AMUX_DECLINE_NO_GRANT;
}

/* The most willing device's answer for the next block. */
static int offer_best(const struct amux_grant *g, const struct offer_ask *ask,
		      struct offer *out, struct channel_load *chosen)
{
	int best = AMUX_DECLINE_NO_GRANT, what;
	struct channel_load load;
	struct offer o = *out;
	u64 now = ktime_get_ns();
	u32 i;

	memset(chosen, 0, sizeof(*chosen));
	for (i = 0; i < g->n_devs; i++) {
		what = offer_of(g, i, ask, now, &o, &load);
		if (rank_of(what) < rank_of(best) ||
		    (rank_of(what) == rank_of(best) &&
		     (what != OFFER_ENGINE ||
		      offer_weight(g, ask, &load) >= offer_weight(g, ask, chosen)))) {
			if (what == OFFER_ENGINE)
				offer_undo(&o);
			continue;
		}
		if (best == OFFER_ENGINE)
			offer_undo(out);
		best = what;
		*chosen = load;
		*out = o;
	}
	return best;
}

int grant_offer(const struct offer_ask *ask, bool first, struct offer *out)
{
	struct amux_grant g = {};
	struct channel_load load;
	int what = grant_now(&g);

	if (first)
		offer_predict(&g, ask, out);
	if (what != OFFER_ENGINE)
		return what;
	if (first && ask->pages < g.min_pages)
		return AMUX_DECLINE_BELOW_MIN;
	if (first && !reason_granted(g.reason_mask, ask->reason))
		return AMUX_DECLINE_REASON;
	what = offer_best(&g, ask, out, &load);
	if (what == OFFER_ENGINE && first && g.flags & AMUX_GRANT_PREDICT &&
	    predict_engine(&g, ask, out, &load) > out->cpu_ns) {
		offer_undo(out);
		return AMUX_DECLINE_PREDICTED;
	}
	return what;
}

void grant_refund(u32 dev, u32 bytes)
{
	struct bucket *b = &buckets[dev];
	unsigned long flags;

	spin_lock_irqsave(&b->lock, flags);
	/* A device without limit takes no tokens: what comes back is cut at the next refill. */
	b->tokens += bytes;
	spin_unlock_irqrestore(&b->lock, flags);
}

int grant_attach(void)
{
	struct amux_grant g;
	int ret = grant_read(&g);

	/* A broker that is writing just now has initialised it. */
	if (ret && ret != -EAGAIN)
		return ret;
	ret = provider_arm(ARM_GRANT, true);
	if (!ret)
		WRITE_ONCE(attached, true);
	return ret;
}

/* Pages of a former opener must not be those of the next one. */
static int pages_renew(void)
{
	struct page *p[2];
	bool put = false;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		p[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!p[i]) {
			if (i)
				__free_page(p[0]);
			return -ENOMEM;
		}
	}
	for (i = 0; i < 2; i++) {
		swap(pages[i], p[i]);
		if (p[i])
			put = true;
	}
	if (put)
		synchronize_rcu(); /* pairs with grant_read() and grant_demand()'s users */
	for (i = 0; i < 2; i++)
		if (p[i])
			put_page(p[i]);
	return 0;
}

static bool share_wanted(void)
{
	return !strcmp(def, "share");
}

static void share_work(struct work_struct *work)
{
	struct amux_acquire a = { .node = -1, .max_channels = 32 };

	/* Devices come and go: keep looking, with what there is in use. */
	if (!hold_acquire(&a) && !READ_ONCE(sharing) && !provider_arm(ARM_GRANT, true))
		WRITE_ONCE(sharing, true);
	schedule_delayed_work(&share_retry, msecs_to_jiffies(RETRY_MS));
}

void grant_share_start(void)
{
	if (share_wanted())
		schedule_delayed_work(&share_retry, 0);
}

void grant_share_stop(void)
{
	cancel_delayed_work_sync(&share_retry);
	WRITE_ONCE(sharing, false);
	hold_release(AMUX_DEV_ALL);
}

int grant_open(void)
{
	int ret = pages_renew();

	if (!ret)
		grant_share_stop();
	return ret;
}

void grant_detach(void)
{
	WRITE_ONCE(attached, false);
	hold_release(AMUX_DEV_ALL);
	provider_arm(ARM_GRANT, false);
	grant_share_start();
}

int grant_init(void)
{
	unsigned int i;

	for (i = 0; i < AMUX_GRANT_DEVS; i++)
		spin_lock_init(&buckets[i].lock);
	return pages_renew();
}

void grant_exit(void)
{
	put_page(pages[0]);
	put_page(pages[1]);
}

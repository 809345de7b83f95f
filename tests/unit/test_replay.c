// SPDX-License-Identifier: MIT
/*
 * test_replay.c - the kernel class by replay: every page copied exactly once whatever the
 * grant and the engines do, the accounting adds up, and a stop is prompt.
 *
 * A fake device answers from a thread of its own, wrongly where a test asks for it; the last
 * tests use the software DSA.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../broker/clock.h"
#include "../../broker/grant.h"
#include "../../broker/replay.h"
#include "../../broker/soft.h"

#define PAGE  4096ull
#define MS    1000000ull
#define CHUNK 65536u
#define GB    1000000000ull
#define HEAD  "accelmux-trace 1 synthetic\n"
#define STEP  100 /* us between looks at what another thread does */

/* -------------------------------------------------------------- fake device */

enum fake_mode {
	FAKE_OK,
	FAKE_FAIL,     /* an error, nothing copied */
	FAKE_PARTIAL,  /* a page fault after 5000 bytes */
	FAKE_LOSE,     /* no answer until the mode changes */
	FAKE_LOSE_ONE, /* none for the oldest, the others overtake it */
	FAKE_REFUSE,   /* submit() says -EIO */
	FAKE_FULL,     /* submit() takes nothing */
	FAKE_CORRUPT,  /* copies, but flips a bit */
};

#define FAKE_QUEUE 256

struct fake {
	struct device dev;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop;
	enum fake_mode mode;
	unsigned int delay_us; /* per descriptor */
	struct dsa_hw_desc queue[FAKE_QUEUE];
	unsigned int engine[FAKE_QUEUE];
	unsigned int n;		   /* queued */
	uint64_t bytes, max_bytes; /* in flight now, at most */
	unsigned int count[ENGINE_MAX], max_count;
	unsigned int total, largest; /* descriptors seen; bytes of the largest */
};

static void fake_execute(const struct dsa_hw_desc *d, enum fake_mode mode)
{
	struct dsa_completion_record *rec = (void *)(uintptr_t)d->completion_addr;
	uint8_t *dst = (uint8_t *)(uintptr_t)d->dst_addr;
	uint32_t len = d->xfer_size;
	uint8_t status = DSA_COMP_SUCCESS;

	if (mode == FAKE_FAIL) {
		rec->bytes_completed = len; /* means nothing with this status */
		len = 0;
		status = DSA_COMP_HW_ERR1;
	} else if (mode == FAKE_PARTIAL) {
		if (len > 5000)
			len = 5000;
		rec->bytes_completed = len;
		status = DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE;
	}
	memcpy(dst, (const uint8_t *)(uintptr_t)d->src_addr, len);
	if (mode == FAKE_CORRUPT)
		dst[len - 1] ^= 0x40;
	__atomic_store_n(&rec->status, status, __ATOMIC_RELEASE);
}

static void *fake_thread(void *arg)
{
	struct fake *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		struct dsa_hw_desc d;
		enum fake_mode mode = f->mode;
		unsigned int delay = f->delay_us, at = mode == FAKE_LOSE_ONE;

		if (f->n <= at || mode == FAKE_LOSE) {
			pthread_cond_wait(&f->cond, &f->lock);
			continue;
		}
		pthread_mutex_unlock(&f->lock);
		if (delay)
			usleep(delay);
		pthread_mutex_lock(&f->lock);
		d = f->queue[at];
		f->bytes -= d.xfer_size;
		f->count[f->engine[at]]--;
		f->n--;
		memmove(&f->queue[at], &f->queue[at + 1], (f->n - at) * sizeof(f->queue[0]));
		memmove(&f->engine[at], &f->engine[at + 1], (f->n - at) * sizeof(f->engine[0]));
		fake_execute(&d, mode);
		device_kernel_completed(&f->dev);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int fake_submit(struct device *dev, unsigned int engine, enum engine_wq wq,
		       const struct dsa_hw_desc *desc, unsigned int n)
{
	struct fake *f = dev->priv;
	unsigned int i;

	ck_assert_uint_lt(engine, dev->engines);
	ck_assert_int_eq(wq, ENGINE_WQ_KERNEL);
	pthread_mutex_lock(&f->lock);
	for (i = 0; i < n && f->mode != FAKE_REFUSE && f->mode != FAKE_FULL; i++) {
		ck_assert_uint_lt(f->n, FAKE_QUEUE);
		ck_assert_uint_gt(desc[i].xfer_size, 0);
		f->queue[f->n] = desc[i];
		f->engine[f->n++] = engine;
		f->bytes += desc[i].xfer_size;
		f->total++;
		if (desc[i].xfer_size > f->largest)
			f->largest = desc[i].xfer_size;
		if (++f->count[engine] > f->max_count)
			f->max_count = f->count[engine];
		if (f->bytes > f->max_bytes)
			f->max_bytes = f->bytes;
	}
	pthread_cond_signal(&f->cond);
	if (f->mode == FAKE_REFUSE)
		i = n + 1;
	pthread_mutex_unlock(&f->lock);
	return i > n ? -EIO : (int)i;
}

static const struct engine_ops fake_ops = { .name = "fake", .submit = fake_submit };

static void fake_set(struct fake *f, enum fake_mode mode)
{
	pthread_mutex_lock(&f->lock);
	f->mode = mode;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

static void fake_slow(struct fake *f, unsigned int delay_us)
{
	pthread_mutex_lock(&f->lock);
	f->delay_us = delay_us;
	pthread_mutex_unlock(&f->lock);
}

static unsigned int fake_total(struct fake *f)
{
	unsigned int n;

	pthread_mutex_lock(&f->lock);
	n = f->total;
	pthread_mutex_unlock(&f->lock);
	return n;
}

static void fake_open(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->dev = (struct device){ .ops = &fake_ops,
				  .engines = 2,
				  .wq_size = { 16, 16 },
				  .max_xfer = 2 << 20,
				  .rate_bps = 30 * GB,
				  .engine_bps = 30 * GB,
				  .desc_ns = 80,
				  .priv = f };
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
	ck_assert_int_eq(pthread_create(&f->thread, NULL, fake_thread, f), 0);
}

static void fake_close(struct fake *f)
{
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
}

/* ---------------------------------------------------------------------- rig */

static _Alignas(4096) uint8_t map[AMUX_GRANT_MAP_BYTES];
static struct amux_demand *const demand = (struct amux_demand *)(void *)(map + 4096);
static struct grant_page page;
static struct grant_link lk;
static struct fake fake[2];
static struct device *devs[2] = { &fake[0].dev, &fake[1].dev };
static unsigned int n_devs;
static struct amux_plan plan;
static uint64_t loan[2], est_wait[2], cpu_bps;
static struct replay_config cfg;
static struct replay *rp;
static unsigned int arrivals;
static char path[64];

static void count_arrival(void *arg)
{
	__atomic_fetch_add((unsigned int *)arg, 1, __ATOMIC_RELAXED);
}

static void regrant(void)
{
	grant_write(&lk, &plan, devs, loan, est_wait, cpu_bps, clock_ns());
}

/* The whole of one device for the kernel, small chunks, no prediction. */
static void setup(void)
{
	fake_open(&fake[0]);
	fake_open(&fake[1]);
	n_devs = 1;
	grant_init(&page, map);
	grant_part(&lk, &page, 0, n_devs);
	plan = (struct amux_plan){ .chunk_bytes = CHUNK,
				   .kernel_min_pages = 32,
				   .reason_mask = ~0u,
				   .loan_ns = 20 * MS };
	for (unsigned int i = 0; i < 2; i++)
		plan.share[i][AMUX_CLASS_KERNEL] =
			(struct amux_plan_share){ .engine_mask = 0x3,
						  .reserve_bps = 30 * GB,
						  .limit_bps = AMUX_BPS_MAX,
						  .cap_bytes = 2 * CHUNK };
	cfg = (struct replay_config){ .path = path, .verify = true, .time_scale = 1 };
}

static void teardown(void)
{
	fake_close(&fake[0]);
	fake_close(&fake[1]);
}

static int try_open(const char *text, char *err, size_t len)
{
	struct replay_notify notify = { count_arrival, &arrivals };
	int fd, ret;

	strcpy(path, "/tmp/amux-replay-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
	ret = replay_open(&rp, &cfg, map, devs, n_devs, &notify, err, len);
	unlink(path);
	return ret;
}

static void start(const char *text)
{
	char err[256] = "";
	int ret = try_open(text, err, sizeof(err));

	ck_assert_msg(!ret, "%s", err);
	ck_assert_int_eq(replay_start(rp), 0);
}

static uint64_t get(const __u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* Batches that are over: `batches` counts arrivals, a moment before their bytes are counted. */
static uint64_t ended(void)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < AMUX_GRANT_HIST; i++)
		n += get(&demand->batch_hist[i]);
	return n;
}

static void wait_batches(uint64_t n)
{
	for (unsigned int i = 0; i < 10000000 / STEP; i++) {
		if (ended() >= n && get(&demand->finished_bytes) == get(&demand->arrived_bytes))
			return;
		usleep(STEP);
	}
	ck_abort_msg("only %llu of %llu batches, %llu of %llu bytes",
		     (unsigned long long)demand->batches, (unsigned long long)n,
		     (unsigned long long)demand->finished_bytes,
		     (unsigned long long)demand->arrived_bytes);
}

static uint64_t declined(void)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < AMUX_DECLINE_COUNT; i++)
		n += demand->declined_pages[i];
	return n;
}

/* Stop, and check what must hold after any run. */
static void finish(void)
{
	uint64_t waits = 0, batches = 0, late = 0;

	replay_stop(rp);
	replay_stop(rp);
	ck_assert_uint_eq(replay_mismatches(rp), 0);
	ck_assert_uint_eq(demand->finished_bytes, demand->arrived_bytes);
	ck_assert_uint_eq(demand->engine_bytes + demand->cpu_bytes, demand->arrived_bytes);
	ck_assert_uint_eq(declined() * PAGE, demand->cpu_bytes);
	ck_assert_uint_eq(arrivals, demand->batches);
	for (unsigned int i = 0; i < AMUX_GRANT_HIST; i++) {
		waits += demand->wait_hist[i];
		batches += demand->batch_hist[i];
	}
	ck_assert_uint_eq(waits, demand->batches);
	ck_assert_uint_eq(batches, demand->batches);
	for (unsigned int i = 0; i < AMUX_GRANT_DEVS; i++)
		late += demand->dev[i].submitted_bytes - demand->dev[i].completed_bytes;
	ck_assert_uint_eq(late, 0);
	replay_close(rp);
}

static void run(const char *text, uint64_t batches)
{
	start(text);
	wait_batches(batches);
	finish();
}

#define FOUR                                              \
	HEAD "0 mbind 512 0 40\n0 compaction 200 0 200\n" \
	     "1000 damon 64 0 64\n3000 syscall 1024 9 1\n"
#define FOUR_PAGES 1800u

/* -------------------------------------------------------------------- tests */

START_TEST(engine_moves_all)
{
	regrant();
	run(FOUR, 4);
	ck_assert_uint_eq(demand->engine_bytes, FOUR_PAGES * PAGE);
	ck_assert_uint_eq(demand->engine_batches, 4);
	ck_assert_uint_eq(demand->dev[0].submitted_bytes, FOUR_PAGES * PAGE);
	ck_assert_uint_eq(demand->dev[0].descriptors, fake[0].total);
	ck_assert_uint_eq(demand->reason_batches[AMUX_REASON_DAMON], 1);
	ck_assert_uint_eq(demand->magic, AMUX_GRANT_MAGIC);
	ck_assert_uint_gt(demand->alone_ns, 0);
	ck_assert_uint_gt(demand->cpu_ns, 0);
	/* contiguous runs are merged, chunk, cap and WQ size are kept */
	ck_assert_uint_le(fake[0].total, 40 + 200 + 64 + 64 + 16);
	ck_assert_uint_eq(fake[0].largest, CHUNK);
	ck_assert_uint_le(fake[0].max_bytes, 4 * CHUNK);
	ck_assert_uint_le(fake[0].max_count, 16);
}
END_TEST

START_TEST(cap_binds)
{
	plan.chunk_bytes = 8192;
	plan.share[0][AMUX_CLASS_KERNEL].cap_bytes = 8192;
	fake_slow(&fake[0], 20);
	regrant();
	run(FOUR, 4);
	ck_assert_uint_eq(demand->engine_bytes, FOUR_PAGES * PAGE);
	ck_assert_uint_le(fake[0].max_bytes, 2 * 8192);
	ck_assert_uint_eq(fake[0].largest, 8192);
}
END_TEST

START_TEST(no_grant_no_engine)
{
	run(FOUR, 4); /* nobody ever wrote a grant */
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_NO_GRANT], FOUR_PAGES);
	ck_assert_uint_eq(demand->engine_batches, 0);
	ck_assert_uint_gt(demand->cpu_time_ns, 0);
	ck_assert_uint_eq(fake[0].total, 0);
}
END_TEST

START_TEST(page_of_noise)
{
	memset(map, 0x5a, 4096); /* not even a grant */
	run(FOUR, 4);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_NO_GRANT], FOUR_PAGES);
}
END_TEST

/* All bits set, or any: the replay may use whatever it has, and must survive. */
START_TEST(hostile_grant)
{
	memset(&page.grant->flags, _i ? 0xff : 0xa5,
	       sizeof(*page.grant) - offsetof(struct amux_grant, flags));
	page.grant->flags &= ~(__u32)AMUX_GRANT_PREDICT;
	page.grant->flags |= AMUX_GRANT_ENABLED;
	page.grant->min_pages = 0;
	n_devs = 2;
	grant_part(&lk, &page, 0, 2);
	run(FOUR, 4);
	ck_assert_uint_gt(demand->engine_bytes, 0);
}
END_TEST

START_TEST(writer_hangs)
{
	regrant();
	page.grant->seq++;
	run(FOUR, 4);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_SEQ_BUSY], FOUR_PAGES);
}
END_TEST

START_TEST(threshold_and_reason)
{
	plan.kernel_min_pages = 128;
	plan.reason_mask = ~(1u << AMUX_REASON_COMPACTION);
	regrant();
	run(FOUR, 4);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_BELOW_MIN], 64);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_REASON], 200);
	ck_assert_uint_eq(demand->engine_bytes, (512 + 1024) * PAGE);
}
END_TEST

START_TEST(only_loans_expire)
{
	plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = 0;
	plan.share[0][AMUX_CLASS_USER].reserve_bps = GB;
	loan[0] = 30 * GB;
	regrant();
	usleep(30000); /* loan_ns is 20 ms */
	run(FOUR, 4);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_NO_GRANT], FOUR_PAGES);
}
END_TEST

START_TEST(loan_counts_while_it_lasts)
{
	plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = 0;
	plan.share[0][AMUX_CLASS_USER].reserve_bps = GB;
	plan.loan_ns = 60000 * MS;
	loan[0] = 30 * GB;
	regrant();
	run(FOUR, 4);
	ck_assert_uint_eq(demand->engine_bytes, FOUR_PAGES * PAGE);
}
END_TEST

START_TEST(reserve_outlives_loan)
{
	loan[0] = GB;
	regrant();
	usleep(30000);
	run(FOUR, 4);
	ck_assert_uint_eq(demand->engine_bytes, FOUR_PAGES * PAGE);
}
END_TEST

/* 2 MiB take 70 us of engine and 210 us of CPU; waiting for others turns the scales. */
START_TEST(prediction)
{
	plan.decline[AMUX_CLASS_KERNEL] = AMUX_DECLINE_PREDICT;
	cpu_bps = 10 * GB;
	est_wait[0] = _i ? 200000 : 50000;
	regrant();
	run(HEAD "0 mbind 512 0 40\n", 1);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_PREDICTED], _i ? 512 : 0);
	ck_assert_uint_eq(demand->engine_bytes, _i ? 0 : 512 * PAGE);
	ck_assert_uint_eq(demand->cpu_ns, bytes_to_ns(512 * PAGE, 10 * GB));
}
END_TEST

/* Tokens for 4 MiB, then next to nothing: what is beyond them goes to the CPU, unasked. */
START_TEST(pacing)
{
	plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = 1000000;
	regrant();
	run(HEAD "0 syscall 2048 9 1\n", 1);
	ck_assert_uint_ge(demand->engine_bytes, 4u << 20);
	ck_assert_uint_le(demand->engine_bytes, 5u << 20);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_PACED] * PAGE, demand->cpu_bytes);
}
END_TEST

/* In the long run the bucket gives what was granted, and the burst once. */
START_TEST(pacing_rate)
{
	uint64_t begin, took;

	plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = 50000000;
	cfg.cpu_bps = 200000000;
	regrant();
	begin = clock_ns();
	start(HEAD "0 syscall 8192 9 1\n0 syscall 8192 9 1\n0 syscall 8192 9 1\n");
	wait_batches(3);
	took = clock_ns() - begin;
	finish();
	ck_assert_uint_gt(demand->engine_bytes, 6u << 20);
	ck_assert_uint_le(demand->engine_bytes,
			  (4u << 20) + ns_to_bytes(took, 50000000) + CHUNK);
}
END_TEST

START_TEST(modelled_cpu)
{
	uint64_t expect = bytes_to_ns(512 * PAGE, 100000000);

	cfg.cpu_bps = 100000000;
	run(HEAD "0 mbind 512 0 40\n", 1);
	ck_assert_uint_ge(demand->batch_ns, expect - MS / 10); /* the stop ends the last nap */
	ck_assert_uint_lt(demand->batch_ns, expect * 3);       /* a loaded host oversleeps */
	ck_assert_uint_lt(demand->cpu_time_ns, expect);	       /* it sleeps, it does not spin */
	ck_assert_uint_eq(demand->cpu_ns, expect);
}
END_TEST

START_TEST(time_scale_stretches)
{
	uint64_t begin = clock_ns();

	cfg.time_scale = 100;
	run(HEAD "0 mbind 32 0 1\n1000000 mbind 32 0 1\n", 2);
	ck_assert_uint_ge(clock_ns() - begin, 100 * MS);
	ck_assert_uint_ge(demand->last_batch_ns, begin + 100 * MS);
}
END_TEST

/* What an engine does not copy the CPU does, pages of the answer's first part excepted. */
START_TEST(engine_errors)
{
	fake_set(&fake[0], FAKE_FAIL);
	regrant();
	run(FOUR, 4);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_ERROR], FOUR_PAGES);
	ck_assert_uint_eq(demand->dev[0].errors, demand->dev[0].descriptors);
	ck_assert_uint_eq(demand->engine_batches, 0);
}
END_TEST

START_TEST(partial_completion)
{
	fake_set(&fake[0], FAKE_PARTIAL);
	plan.share[0][AMUX_CLASS_KERNEL].engine_mask = 1; /* of two the last chunk is shared */
	regrant();
	run(HEAD "0 mbind 512 0 32\n", 1); /* 32 runs of a chunk each */
	ck_assert_uint_eq(demand->engine_bytes, 32 * PAGE);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_ERROR], 480);
}
END_TEST

START_TEST(submission_refused)
{
	fake_set(&fake[0], _i ? FAKE_REFUSE : FAKE_FULL);
	regrant();
	run(FOUR, 4);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_ERROR], FOUR_PAGES);
}
END_TEST

/* A device that refuses does not keep work from another one. */
START_TEST(second_device_helps_out)
{
	n_devs = 2;
	grant_part(&lk, &page, 0, 2);
	fake_set(&fake[0], FAKE_REFUSE);
	regrant();
	run(FOUR, 4);
	ck_assert_uint_eq(demand->dev[1].submitted_bytes, FOUR_PAGES * PAGE);
	ck_assert_uint_eq(demand->cpu_bytes, 0);
}
END_TEST

START_TEST(devices_share)
{
	n_devs = 2;
	grant_part(&lk, &page, 0, 2);
	fake_slow(&fake[0], 50);
	fake_slow(&fake[1], 50);
	regrant();
	run(FOUR, 4);
	ck_assert_uint_gt(demand->dev[0].submitted_bytes, FOUR_PAGES * PAGE / 4);
	ck_assert_uint_gt(demand->dev[1].submitted_bytes, FOUR_PAGES * PAGE / 4);
}
END_TEST

/*
 * Lost answers: the batch ends by the CPU in other memory, the device is left alone; when the
 * late copies run at last they must meet no page in use (checked by contents, and by TSan).
 */
START_TEST(late_answers)
{
	unsigned int descriptors;
	uint64_t bytes;

	cfg.timeout_ns = 20 * MS;
	cfg.loop = true;
	fake_set(&fake[0], _i ? FAKE_LOSE_ONE : FAKE_LOSE);
	regrant();
	start(HEAD "0 mbind 512 0 40\n100000 damon 100 0 100\n");
	wait_batches(10);
	ck_assert_uint_gt(get(&demand->declined_pages[AMUX_DECLINE_TIMEOUT]), 0);
	bytes = get(&demand->engine_bytes);
	ck_assert_int_eq(bytes > 0, _i);
	descriptors = fake_total(&fake[0]);
	wait_batches(20);
	ck_assert_uint_eq(fake_total(&fake[0]), descriptors); /* nothing new while it is late */
	fake_set(&fake[0], FAKE_OK);
	for (unsigned int i = 0; i < 10000000 / STEP && get(&demand->engine_bytes) == bytes;
	     i++)
		usleep(STEP);
	ck_assert_uint_gt(get(&demand->engine_bytes), bytes); /* and then it is used again */
	finish();
}
END_TEST

/* Answers that never come: stop gives up in bounded time and leaves that memory alone. */
START_TEST(answers_never_come)
{
	uint64_t begin;

	cfg.timeout_ns = 20 * MS;
	fake_set(&fake[0], FAKE_LOSE);
	regrant();
	start(HEAD "0 mbind 512 0 40\n");
	wait_batches(1);
	begin = clock_ns();
	replay_stop(rp);
	ck_assert_uint_lt(clock_ns() - begin, 5000 * MS);
	ck_assert_uint_eq(replay_mismatches(rp), 0);
	ck_assert_uint_eq(demand->cpu_bytes, 512 * PAGE);
	ck_assert_uint_gt(demand->dev[0].submitted_bytes, demand->dev[0].completed_bytes);
	replay_close(rp);
	fake_set(&fake[0], FAKE_OK); /* writes to memory that must still be there */
	for (bool busy = true; busy;) {
		pthread_mutex_lock(&fake[0].lock);
		busy = fake[0].n;
		pthread_mutex_unlock(&fake[0].lock);
		usleep(STEP);
	}
}
END_TEST

START_TEST(withdrawn_in_the_middle)
{
	fake_slow(&fake[0], 500);
	regrant();
	start(HEAD "0 syscall 8192 9 1\n");
	while (fake_total(&fake[0]) < 20)
		usleep(STEP);
	grant_disable(&lk, clock_ns());
	wait_batches(1);
	finish();
	ck_assert_uint_gt(demand->engine_bytes, 0);
	ck_assert_uint_gt(demand->declined_pages[AMUX_DECLINE_NO_GRANT], 4096);
	ck_assert_uint_eq(demand->engine_batches, 1);
}
END_TEST

/* The verification itself: one flipped bit per descriptor is one page that differs. */
START_TEST(corruption_is_seen)
{
	fake_set(&fake[0], FAKE_CORRUPT);
	regrant();
	start(HEAD "0 mbind 512 0 512\n0 mbind 100 0 100\n");
	wait_batches(2);
	replay_stop(rp);
	ck_assert_uint_eq(replay_mismatches(rp), 612);
	replay_close(rp);
}
END_TEST

static const struct {
	const char *text;
	uint64_t cpu_bps;
	unsigned int delay_us;
} stops[] = {
	{ HEAD "3600000000000 mbind 512 0 40\n", 0, 0 }, /* before the first batch */
	{ HEAD "0 syscall 5120 9 1\n", 1000000, 0 },	 /* in 20 s of modelled CPU */
	{ HEAD "0 syscall 5120 9 1\n", 1000000, 1000 },	 /* the same with an engine */
	{ HEAD "0 damon 512 0 512\n", 0, 100 },		 /* in an endless loop */
};

START_TEST(stop_is_prompt)
{
	uint64_t begin;

	cfg.cpu_bps = stops[_i].cpu_bps;
	cfg.loop = true;
	fake_slow(&fake[0], stops[_i].delay_us);
	if (stops[_i].delay_us)
		regrant();
	start(stops[_i].text);
	usleep(50000);
	begin = clock_ns();
	replay_stop(rp);
	ck_assert_uint_lt(clock_ns() - begin, 2000 * MS);
	finish();
}
END_TEST

START_TEST(close_without_start)
{
	char err[256] = "";

	ck_assert_int_eq(try_open(FOUR, err, sizeof(err)), 0);
	replay_close(rp);
	replay_close(NULL);
	ck_assert_int_eq(try_open(HEAD "0 mbind 0 0 1\n", err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, ":2: pages '0'"));
	cfg.time_scale = 1000000;
	ck_assert_int_eq(try_open(FOUR, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "time_scale 1000000: expected"));
}
END_TEST

/* ----------------------------------------------------------------- soft DSA */

static struct device soft;
static uint32_t soft_stop;

/* What the mux thread does for an inline device. */
static void *soft_progress(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&soft_stop, __ATOMIC_ACQUIRE))
		if (!soft.ops->progress(&soft, clock_ns(), 200000))
			usleep(20);
	return NULL;
}

START_TEST(soft_device)
{
	struct soft_config sc;
	pthread_t mux;

	soft_config_default(&sc);
	sc.model = _i == 1;
	sc.time_scale = sc.model ? 100 : 1;
	sc.threads = _i == 2 ? 2 : 0;
	ck_assert_int_eq(soft_open(&soft, 0, &sc), 0);
	ck_assert_int_eq(pthread_create(&mux, NULL, soft_progress, NULL), 0);
	devs[0] = &soft;
	plan.share[0][AMUX_CLASS_KERNEL] = (struct amux_plan_share){ .engine_mask = 0xf,
								     .limit_bps = AMUX_BPS_MAX,
								     .cap_bytes = 4 * CHUNK };
	cfg.time_scale = sc.time_scale;
	cfg.cpu_bps = sc.model ? 100000000 : 0;
	regrant();
	run(HEAD "0 mbind 512 0 40\n0 compaction 200 0 200\n0 demotion 20 0 20\n"
		 "100000 damon 64 0 64\n300000 syscall 1024 9 1\n400000 compaction 50 0 50\n",
	    6);
	ck_assert_uint_eq(demand->declined_pages[AMUX_DECLINE_BELOW_MIN], 20);
	ck_assert_uint_eq(demand->engine_bytes, 1850 * PAGE);
	ck_assert_uint_eq(demand->engine_batches, 5);
	__atomic_store_n(&soft_stop, 1, __ATOMIC_RELEASE);
	pthread_join(mux, NULL);
	soft.ops->close(&soft);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("replay");
	TCase *tc = tcase_create("replay");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, engine_moves_all);
	tcase_add_test(tc, cap_binds);
	tcase_add_test(tc, no_grant_no_engine);
	tcase_add_test(tc, page_of_noise);
	tcase_add_loop_test(tc, hostile_grant, 0, 2);
	tcase_add_test(tc, writer_hangs);
	tcase_add_test(tc, threshold_and_reason);
	tcase_add_test(tc, only_loans_expire);
	tcase_add_test(tc, loan_counts_while_it_lasts);
	tcase_add_test(tc, reserve_outlives_loan);
	tcase_add_loop_test(tc, prediction, 0, 2);
	tcase_add_test(tc, pacing);
	tcase_add_test(tc, pacing_rate);
	tcase_add_test(tc, modelled_cpu);
	tcase_add_test(tc, time_scale_stretches);
	tcase_add_test(tc, engine_errors);
	tcase_add_test(tc, partial_completion);
	tcase_add_loop_test(tc, submission_refused, 0, 2);
	tcase_add_test(tc, second_device_helps_out);
	tcase_add_test(tc, devices_share);
	tcase_add_loop_test(tc, late_answers, 0, 2);
	tcase_add_test(tc, answers_never_come);
	tcase_add_test(tc, withdrawn_in_the_middle);
	tcase_add_test(tc, corruption_is_seen);
	tcase_add_loop_test(tc, stop_is_prompt, 0, (int)(sizeof(stops) / sizeof(stops[0])));
	tcase_add_test(tc, close_without_start);
	tcase_add_loop_test(tc, soft_device, 0, 3);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

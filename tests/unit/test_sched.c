// SPDX-License-Identifier: MIT
/*
 * test_sched.c - the scheduler over an engine of this file's own, in virtual time: shares,
 * reserves, limits, caps, revocation, and that whatever happens every request is completed
 * exactly once and no account is left open.
 */
#include <errno.h>
#include <string.h>

#include "../../broker/clock.h"
#include "../../broker/fault_fixup.h"
#include "../../broker/sched.h"
#include "core_util.h"

#define KIB   1024ull
#define MIB   (KIB * KIB)
#define MSEC  1000000ull
#define START NSEC_PER_SEC /* virtual time begins here */

#define ENGINES	   4
#define WQ_SIZE	   16
#define RATE	   30000000000ull
#define ENGINE_BPS 15000000000ull
#define DESC_NS	   80ull
#define CHUNK	   (64 * KIB)

#define TENANTS 8
#define FLOWS	40
#define JOBS	4096

/* ------------------------------------------------------------------ the engine */

struct entry {
	struct dsa_hw_desc desc;
	uint64_t finish;
};

struct mock {
	struct device dev;
	struct entry entry[ENGINES][WQ_SIZE];
	unsigned int n[ENGINES];
	uint64_t busy_until[ENGINES];
	uint64_t fabric_until;
	uint64_t submitted, bytes;
	bool down[ENGINES];
	unsigned int refuse; /* of 256: how often a WQ claims to be full */
	bool check_caps;
};

static struct mock mock;
static struct sched s;
static struct amux_plan plan;
static struct mux_stats mux;
static uint64_t now, seed;

static int mock_submit(struct device *dev, unsigned int engine, enum engine_wq wq,
		       const struct dsa_hw_desc *desc, unsigned int n)
{
	const struct sched_engine *se = &s.device[0].engine[engine];
	struct dsa_completion_record *rec = (void *)(uintptr_t)desc->completion_addr;
	struct entry *e;
	uint64_t begin, took;

	must(dev == &mock.dev);
	must(engine < dev->engines);
	must(wq == ENGINE_WQ_USER);
	must(n == 1);
	must(rec->status == 0);
	must((uintptr_t)rec % 32 == 0);
	if (mock.down[engine])
		return -EIO;
	must(mock.n[engine] < WQ_SIZE);
	if (mock.refuse && rnd_below(&seed, 256) < mock.refuse)
		return 0;
	if (mock.check_caps)
		must(se->inflight_chunks == 1 ||
		     se->inflight_bytes <= plan.share[0][AMUX_CLASS_USER].cap_bytes);

	/* engines in parallel behind one fabric, each in order */
	begin = mock.busy_until[engine] > now ? mock.busy_until[engine] : now;
	took = dev->desc_ns + bytes_to_ns(desc->xfer_size, dev->engine_bps);
	mock.fabric_until = (mock.fabric_until > begin ? mock.fabric_until : begin) +
			    bytes_to_ns(desc->xfer_size, dev->rate_bps);
	mock.busy_until[engine] =
		begin + took > mock.fabric_until ? begin + took : mock.fabric_until;
	e = &mock.entry[engine][mock.n[engine]++];
	e->desc = *desc;
	e->finish = mock.busy_until[engine];
	mock.submitted++;
	mock.bytes += desc->xfer_size;
	return 1;
}

/* Complete entry @i of @engine. */
static void mock_complete(unsigned int engine, unsigned int i, uint8_t status, uint32_t did)
{
	static uint8_t page; /* something a resume can touch */
	struct entry *e = &mock.entry[engine][i];
	struct dsa_completion_record *rec = (void *)(uintptr_t)e->desc.completion_addr;

	rec->bytes_completed = did;
	rec->fault_addr = (uintptr_t)&page;
	__atomic_store_n(&rec->status, status, __ATOMIC_RELEASE);
	memmove(e, e + 1, (mock.n[engine] - i - 1) * sizeof(*e));
	mock.n[engine]--;
}

static unsigned int mock_progress(struct device *dev, uint64_t at, uint64_t budget_ns)
{
	unsigned int done = 0;

	(void)budget_ns;
	for (unsigned int e = 0; e < dev->engines; e++) {
		for (; mock.n[e] && mock.entry[e][0].finish <= at; done++)
			mock_complete(e, 0, DSA_COMP_SUCCESS, mock.entry[e][0].desc.xfer_size);
	}
	return done;
}

static uint64_t mock_next(struct device *dev, uint64_t at)
{
	uint64_t next = UINT64_MAX;

	(void)at;
	for (unsigned int e = 0; e < dev->engines; e++)
		if (mock.n[e] && mock.entry[e][0].finish < next)
			next = mock.entry[e][0].finish;
	return next;
}

static void mock_stats(struct device *dev, unsigned int engine, struct engine_stats *out)
{
	(void)dev;
	memset(out, 0, sizeof(*out));
	if (!engine)
		out->bytes[ENGINE_WQ_USER] = mock.bytes;
}

static const struct engine_ops mock_ops = {
	.name = "mock",
	.submit = mock_submit,
	.progress = mock_progress,
	.next_event = mock_next,
	.read_stats = mock_stats,
};

/* ------------------------------------------------------------------- the world */

struct job {
	struct request r;
	unsigned int completions;
	int32_t status;
	bool used;
};

static struct job *jobs;
static unsigned int n_jobs; /* in use since the start, for the random tests */
static struct sched_tenant tenant[TENANTS];
static struct flow flow[FLOWS];
static uint64_t answered[FLOWS];
static struct region memory; /* never touched: the engine only keeps time */

static void job_complete(struct flow *f, struct request *r, uint64_t at)
{
	struct job *j = container_of(r, struct job, r);

	must(at == now);
	must(j->used);
	must(j->completions == 0);
	must(list_empty(&r->link));
	must(r->inflight == 0);
	j->completions++;
	j->status = r->status;
	answered[f - flow]++;
}

static void grant_all(void)
{
	memset(&plan, 0, sizeof(plan));
	plan.abi = AMUX_POLICY_ABI;
	plan.chunk_bytes = CHUNK;
	plan.share[0][AMUX_CLASS_USER] = (struct amux_plan_share){
		.engine_mask = (1u << ENGINES) - 1,
		.limit_bps = AMUX_BPS_MAX,
		.cap_bytes = 2 * CHUNK,
	};
}

static void setup(void)
{
	struct device *dev = &mock.dev;

	memset(&mock, 0, sizeof(mock));
	memset(&mux, 0, sizeof(mux));
	memset(answered, 0, sizeof(answered));
	now = START;
	seed = 1;
	n_jobs = 0;
	*dev = (struct device){ .ops = &mock_ops,
				.engines = ENGINES,
				.wq_size = { WQ_SIZE, WQ_SIZE },
				.max_xfer = 2 * MIB,
				.rate_bps = RATE,
				.engine_bps = ENGINE_BPS,
				.desc_ns = DESC_NS };
	mock.check_caps = true;
	memory = (struct region){ .addr = (uint8_t *)4096,
				  .mapped = 1ull << 40,
				  .size = 1ull << 40,
				  .dev = 1,
				  .ino = 1,
				  .id = 1 };
	jobs = calloc(JOBS, sizeof(*jobs));
	ck_assert_ptr_nonnull(jobs);
	grant_all();
	ck_assert_int_eq(fixup_init(), 0);
	ck_assert_int_eq(sched_init(&s, &dev, 1, &plan, &mux), 0);
	sched_cpu_set(&s, 10000000000ull);
	sched_replan(&s, now);
	for (unsigned int i = 0; i < TENANTS; i++)
		sched_tenant_init(&tenant[i], i + 1, 1, 0, AMUX_BPS_MAX);
}

static void teardown(void)
{
	sched_fini(&s);
	free(jobs);
}

static void job_init(struct job *j, const struct amux_sqe *sqe)
{
	struct region *found[3] = { NULL, NULL, NULL };
	uint16_t field;

	for (unsigned int i = 0; i < 3; i++)
		if (op_regions(sqe->op) & (1u << i))
			found[i] = &memory;
	memset(j, 0, sizeof(*j));
	j->used = true;
	must(request_init(&j->r, sqe, found, &field) == 0);
	j->r.arrived_ns = now;
}

/* A job that is free again, or has never been in use. */
static struct job *job_free(void)
{
	for (unsigned int i = 0; i < JOBS; i++) {
		struct job *j = &jobs[n_jobs++ % JOBS];

		if (!j->used || j->completions)
			return j;
	}
	ck_abort_msg("too many requests");
	return NULL;
}

static struct job *submit_copy(struct flow *f, uint64_t len, uint16_t flags)
{
	struct amux_sqe sqe = {
		.op = AMUX_OP_COPY, .flags = flags, .offset = { 0, 1ull << 39 }, .len = len
	};
	struct job *j = job_free();

	job_init(j, &sqe);
	sched_enqueue(&s, f, &j->r);
	return j;
}

/* Keep @depth requests of @len waiting in flow @i. */
static void refill(unsigned int i, unsigned int depth, uint64_t len)
{
	while (flow[i].unanswered < depth)
		submit_copy(&flow[i], len, 0);
}

/* One turn of a mux loop, and on to the next event. */
static void turn(void)
{
	uint64_t next = UINT64_MAX;

	sched_issue(&s, now);
	next = mock_next(&mock.dev, now);
	if (s.ready_ns && s.ready_ns < next)
		next = s.ready_ns;
	if (next == UINT64_MAX || next <= now)
		next = now + 100;
	now = next;
	mock_progress(&mock.dev, now, 0);
	sched_reap(&s, now);
}

static void run_dry(void)
{
	uint64_t end = now + 10 * NSEC_PER_SEC;

	while (sched_busy(&s)) {
		turn();
		if (now > end)
			ck_abort_msg("requests are stuck");
	}
}

static void expect_near(double is, double want, double percent, const char *what)
{
	ck_assert_msg(is > want * (1 - percent / 100) && is < want * (1 + percent / 100),
		      "%s: %.4g, expected %.4g within %.3g %%", what, is, want, percent);
}

/* No account is left open once nothing is under way. */
static void expect_settled(void)
{
	ck_assert(!sched_busy(&s));
	ck_assert(list_empty(&s.stalled));
	ck_assert_uint_eq(s.queued_bytes, 0);
	ck_assert_uint_eq(s.inflight_bytes, 0);
	ck_assert_uint_eq(s.inflight_chunks, 0);
	ck_assert_uint_eq(s.n_active, 0);
	ck_assert_uint_eq(s.n_reserved, 0);
	ck_assert_uint_eq(s.active_weight, 0);
	ck_assert_uint_eq(s.device[0].inflight_bytes, 0);
	ck_assert_uint_eq(s.device[0].borrowed_inflight, 0);
	for (unsigned int e = 0; e < ENGINES; e++) {
		ck_assert(list_empty(&s.device[0].engine[e].inflight));
		ck_assert_uint_eq(s.device[0].engine[e].inflight_bytes, 0);
		ck_assert_uint_eq(s.device[0].engine[e].inflight_chunks, 0);
	}
	for (unsigned int i = 0; i < TENANTS; i++) {
		ck_assert_uint_eq(tenant[i].queued_bytes, 0);
		ck_assert_uint_eq(tenant[i].inflight_bytes, 0);
		ck_assert(list_empty(&tenant[i].flows) && list_empty(&tenant[i].link));
	}
}

/* ---------------------------------------------------------------- exactly once */

/* The accounts against what can be seen by looking at every request and chunk. */
static void expect_consistent(void)
{
	uint64_t queued[TENANTS] = { 0 }, inflight[TENANTS] = { 0 }, all_q = 0, all_i = 0;
	uint64_t chunks = 0, borrowed = 0;
	struct list *pos;

	for (unsigned int i = 0; i < JOBS; i++) {
		const struct request *r = &jobs[i].r;

		if (!jobs[i].used || jobs[i].completions)
			continue;
		if (r->op != AMUX_OP_NOOP)
			queued[r->flow->tenant - tenant] += r->len - r->issued;
		must(!r->sequential || r->inflight <= 1);
	}
	for (unsigned int e = 0; e <= ENGINES; e++) {
		struct list *head = e < ENGINES ? &s.device[0].engine[e].inflight : &s.stalled;

		list_for_each(pos, head) {
			struct chunk *c = container_of(pos, struct chunk, link);

			inflight[c->req->flow->tenant - tenant] += c->cost;
			borrowed += c->borrowed ? c->cost : 0;
			chunks++;
		}
	}
	for (unsigned int i = 0; i < TENANTS; i++) {
		must(tenant[i].queued_bytes == queued[i]);
		must(tenant[i].inflight_bytes == inflight[i]);
		all_q += queued[i];
		all_i += inflight[i];
	}
	must(s.queued_bytes == all_q);
	must(s.inflight_bytes == all_i);
	must(s.device[0].inflight_bytes == all_i);
	must(s.inflight_chunks == chunks);
	must(s.device[0].borrowed_inflight == borrowed);
}

static struct amux_sqe random_sqe(void)
{
	struct amux_sqe sqe = { .op = (uint8_t)rnd_below(&seed, AMUX_OP_CANCEL),
				.flags = rnd(&seed) & 1 ? AMUX_SQE_ENGINE_ONLY : 0 };
	unsigned int uses = op_regions(sqe.op);

	if (sqe.op == AMUX_OP_NOOP)
		return sqe;
	sqe.len = 1 + rnd_below(&seed, rnd(&seed) & 1 ? 5000 : MIB);
	for (unsigned int i = 0; i < 3; i++)
		if (uses & (1u << i))
			sqe.offset[i] = i * (1ull << 36) + rnd_below(&seed, 8192);
	if (sqe.op == AMUX_OP_COPY && rnd(&seed) & 1)
		sqe.offset[1] = sqe.offset[0] + rnd_below(&seed, sqe.len); /* overlaps */
	return sqe;
}

static void random_plan(void)
{
	struct amux_plan_share *u = &plan.share[0][AMUX_CLASS_USER];
	struct amux_plan_share *k = &plan.share[0][AMUX_CLASS_KERNEL];

	grant_all();
	plan.chunk_bytes = (uint32_t)(4 * KIB << rnd_below(&seed, 10));
	u->cap_bytes = plan.chunk_bytes * (1 + rnd_below(&seed, 8));
	u->engine_mask = rnd(&seed) & ((1u << ENGINES) - 1);
	u->lend = rnd(&seed) & 1;
	k->reserve_bps = rnd_below(&seed, 5) * RATE / 4;
	k->lend = rnd(&seed) & 1;
	if (rnd(&seed) & 1)
		u->limit_bps = 1 + rnd_below(&seed, RATE);
	u->reserve_bps = rnd_below(&seed, RATE) & -(rnd(&seed) & 1);
	if (!u->engine_mask)
		memset(u, 0, sizeof(*u));
	if (rnd(&seed) & 1)
		sched_drain(&s, 0, rnd(&seed) & rnd(&seed) & ((1u << ENGINES) - 1), now);
	sched_replan(&s, now);
}

/* Complete a random one in flight: well, half, or with an error. */
static void random_completion(bool errors)
{
	unsigned int e = (unsigned int)rnd_below(&seed, ENGINES), i;
	uint32_t bytes;

	if (!mock.n[e])
		return;
	i = (unsigned int)rnd_below(&seed, mock.n[e]);
	bytes = mock.entry[e][i].desc.xfer_size;
	switch (rnd_below(&seed, 16)) {
	case 0:
		if (errors) {
			mock_complete(e, i, DSA_COMP_HW_ERR1, 0);
			break;
		}
		/* fall through */
	case 1:
	case 2:
		if (bytes > 8) {
			mock_complete(e, i, DSA_COMP_PAGE_FAULT_NOBOF,
				      (uint32_t)rnd_below(&seed, bytes) & ~7u);
			break;
		}
		/* fall through */
	default:
		mock_complete(e, i, DSA_COMP_SUCCESS, bytes);
	}
}

START_TEST(exactly_once)
{
	uint64_t submitted = 0, completed = 0;
	bool engines_fail = _i % 4 == 3;

	seed = (uint64_t)_i + 1;
	mock.check_caps = false; /* plans change while chunks are under way */
	mock.refuse = _i % 3 ? 20 : 0;
	for (unsigned int i = 0; i < FLOWS; i++)
		flow_init(&flow[i], &tenant[i % TENANTS], job_complete);
	for (unsigned int step = 0; step < 20000; step++) {
		unsigned int i = (unsigned int)rnd_below(&seed, FLOWS);
		uint64_t what = rnd_below(&seed, 1000);

		now += rnd_below(&seed, 20000);
		if (what < 400 && submitted - completed < JOBS / 2 && !flow[i].cancelled) {
			struct amux_sqe sqe = random_sqe();
			struct job *j = job_free();

			job_init(j, &sqe);
			sched_enqueue(&s, &flow[i], &j->r);
			submitted++;
		} else if (what < 600) {
			sched_issue(&s, now);
		} else if (what < 900) {
			for (unsigned int k = 0; k < 8; k++)
				random_completion(true);
			sched_reap(&s, now);
		} else if (what < 910) {
			sched_cancel(&s, &flow[i], now);
			ck_assert(list_empty(&flow[i].pending) && list_empty(&flow[i].link));
		} else if (what < 930) {
			random_plan();
		} else if (what < 950) {
			sched_kernel_active(&s, 0, rnd(&seed) & 1, now);
		} else if (what < 970) {
			sched_tenant_set(
				&s, &tenant[i % TENANTS], 1 + (uint32_t)rnd_below(&seed, 100),
				rnd_below(&seed, RATE) & -(rnd(&seed) & 1),
				rnd(&seed) & 1 ? AMUX_BPS_MAX : 1 + rnd_below(&seed, RATE));
		} else if (what < 972 && engines_fail) {
			mock.down[rnd_below(&seed, ENGINES)] = true;
		}
		if (flow[i].cancelled && !flow[i].unanswered)
			flow_init(&flow[i], &tenant[i % TENANTS], job_complete);
		for (completed = 0, i = 0; i < FLOWS; i++)
			completed += answered[i];
		if (!(step & 15))
			expect_consistent();
	}
	/* The end: whatever is left comes back once there is a plan, or no engine is left. */
	mock.refuse = 0;
	grant_all();
	sched_kernel_active(&s, 0, false, now);
	for (unsigned int i = 0; i < TENANTS; i++)
		sched_tenant_set(&s, &tenant[i], 1, 0, AMUX_BPS_MAX);
	for (unsigned int i = 0; i < 200000 && sched_busy(&s); i++) {
		now += 1000;
		sched_issue(&s, now);
		random_completion(false);
		sched_reap(&s, now);
		if (!(i & 63))
			sched_replan(&s, now);
	}
	expect_settled();
	for (completed = 0, _i = 0; _i < FLOWS; _i++)
		completed += answered[_i];
	ck_assert_uint_eq(completed, submitted);
	ck_assert_uint_gt(submitted, 1000);
}
END_TEST

/* ---------------------------------------------------------------------- shares */

START_TEST(shares_by_weight)
{
	uint64_t small, large;

	tenant[0].weight = 3;
	flow_init(&flow[0], &tenant[0], job_complete);
	flow_init(&flow[1], &tenant[1], job_complete);
	while (now < START + 20 * MSEC) {
		refill(0, 256, 4 * KIB);
		refill(1, 16, 2 * MIB);
		turn();
	}
	small = tenant[0].stats.engine_bytes;
	large = tenant[1].stats.engine_bytes;
	expect_near((double)small / (double)large, 3, 1, "share of 4K at weight 3 over 2M");
	run_dry();
	expect_settled();
}
END_TEST

START_TEST(flows_gain_nothing)
{
	for (unsigned int i = 0; i < 17; i++)
		flow_init(&flow[i], &tenant[i > 0], job_complete);
	while (now < START + 20 * MSEC) {
		for (unsigned int i = 0; i < 17; i++)
			refill(i, 16, 256 * KIB);
		turn();
	}
	expect_near((double)tenant[1].stats.engine_bytes / (double)tenant[0].stats.engine_bytes,
		    1, 1, "16 flows against one");
	/* and among themselves they share evenly */
	for (unsigned int i = 2; i < 17; i++)
		expect_near((double)answered[i], (double)answered[1], 5, "flow of one tenant");
	run_dry();
	expect_settled();
}
END_TEST

/* Tiny descriptors are charged for the time they take, not just for their bytes. */
START_TEST(tiny_ones_pay_their_time)
{
	uint64_t min_cost = ns_to_bytes(DESC_NS, ENGINE_BPS);

	flow_init(&flow[0], &tenant[0], job_complete);
	flow_init(&flow[1], &tenant[1], job_complete);
	plan.share[0][AMUX_CLASS_USER].cap_bytes = 8 * CHUNK;
	while (now < START + 10 * MSEC) {
		refill(0, 1024, 64);
		refill(1, 16, MIB);
		turn();
	}
	expect_near((double)tenant[0].stats.descriptors * (double)min_cost,
		    (double)tenant[1].stats.engine_bytes, 2, "charged for 64-byte copies");
	run_dry();
	expect_settled();
}
END_TEST

/* Bytes of tenants 0 to 3 during @ns, each with plenty to do. */
static void four_tenants(uint64_t ns, uint64_t *bytes)
{
	for (unsigned int i = 0; i < 4; i++)
		bytes[i] = tenant[i].stats.engine_bytes;
	for (uint64_t end = now + ns; now < end;) {
		for (unsigned int i = 0; i < 4; i++)
			refill(i, 16, 256 * KIB);
		turn();
	}
	for (unsigned int i = 0; i < 4; i++)
		bytes[i] = tenant[i].stats.engine_bytes - bytes[i];
}

/* A tenant gets what it has reserved or its part by weight, whichever is more; the others
 * share the rest; and nothing of that is held against it later. */
START_TEST(reserve_and_weights)
{
	static const unsigned int reserve[] = { 60, 10, 0 };
	static const double want[] = { 0.6, 0.25, 0.25 };
	uint64_t bytes[4], ns = 20 * MSEC;

	for (unsigned int i = 0; i < 4; i++)
		flow_init(&flow[i], &tenant[i], job_complete);
	for (unsigned int k = 0; k < 3; k++) {
		sched_tenant_set(&s, &tenant[0], 1, RATE / 100 * reserve[k], AMUX_BPS_MAX);
		four_tenants(ns, bytes);
		expect_near((double)bytes[0], (double)ns_to_bytes(ns, RATE) * want[k], 3,
			    "with a reserve");
		ck_assert_uint_ge(bytes[0] + 2 * CHUNK,
				  ns_to_bytes(ns, RATE / 100 * reserve[k]));
		for (unsigned int i = 1; i < 4; i++)
			expect_near((double)bytes[i],
				    (double)ns_to_bytes(ns, RATE) * (1 - want[k]) / 3, 5,
				    "rest");
	}
	run_dry();
	expect_settled();
}
END_TEST

/* A limit holds, alone or in company, and what it leaves is used. */
START_TEST(limit)
{
	bool company = _i;
	uint64_t begin = now, total;

	sched_tenant_set(&s, &tenant[0], 100, 0, RATE / 10);
	flow_init(&flow[0], &tenant[0], job_complete);
	flow_init(&flow[1], &tenant[1], job_complete);
	while (now < begin + 50 * MSEC) {
		refill(0, 16, 256 * KIB);
		if (company)
			refill(1, 16, 256 * KIB);
		turn();
	}
	total = ns_to_bytes(now - begin, RATE);
	expect_near((double)tenant[0].stats.engine_bytes, (double)total / 10, 3, "limited");
	if (company)
		expect_near((double)tenant[1].stats.engine_bytes, (double)total * 0.9, 3,
			    "rest");
	run_dry();
	expect_settled();
}
END_TEST

/* Who comes and goes gains nothing over who stays, and loses nothing beyond his idleness. */
START_TEST(comes_and_goes)
{
	uint64_t mid[2];

	flow_init(&flow[0], &tenant[0], job_complete);
	flow_init(&flow[1], &tenant[1], job_complete);
	/* one request at a time: idle as soon as its only chunk is issued */
	while (now < START + 10 * MSEC) {
		refill(0, 1, CHUNK);
		refill(1, 16, 256 * KIB);
		turn();
	}
	ck_assert_uint_le(tenant[0].stats.engine_bytes,
			  tenant[1].stats.engine_bytes * 101 / 100);
	ck_assert_uint_gt(tenant[0].stats.engine_bytes, 0);
	/* A debt is kept over idleness and paid, once: then both share evenly. */
	run_dry();
	plan.chunk_bytes = 2 * MIB;
	plan.share[0][AMUX_CLASS_USER].cap_bytes = 4 * MIB;
	sched_replan(&s, now);
	/* a small one first, so that the large one goes beyond what the turn allows */
	submit_copy(&flow[0], 8 * KIB, 0);
	submit_copy(&flow[0], 2 * MIB, 0);
	run_dry();
	ck_assert_int_eq(tenant[0].deficit, -8 * (int64_t)KIB);
	grant_all();
	sched_replan(&s, now);
	for (unsigned int i = 0; i < 2; i++)
		mid[i] = tenant[i].stats.engine_bytes;
	for (uint64_t begin = now; now < begin + 20 * MSEC;) {
		refill(0, 16, 256 * KIB);
		refill(1, 16, 256 * KIB);
		turn();
	}
	expect_near((double)(tenant[0].stats.engine_bytes - mid[0]),
		    (double)(tenant[1].stats.engine_bytes - mid[1]), 2, "after a debt");
	run_dry();
	expect_settled();
}
END_TEST

/* Engines do not idle while anything waits: the time taken is that of the bytes. */
START_TEST(conserves_work)
{
	uint64_t total = 0, begin = now;

	for (unsigned int i = 0; i < TENANTS; i++)
		sched_tenant_set(&s, &tenant[i], 1 + i * 7, i * RATE / 100, AMUX_BPS_MAX);
	for (unsigned int i = 0; i < FLOWS; i++)
		flow_init(&flow[i], &tenant[i % TENANTS], job_complete);
	for (unsigned int i = 0; i < 2000; i++) {
		uint64_t len = 16 * KIB + rnd_below(&seed, MIB);

		submit_copy(&flow[rnd_below(&seed, FLOWS)], len, 0);
		total += len;
	}
	run_dry();
	expect_near((double)(now - begin), (double)bytes_to_ns(total, RATE), 3, "time");
	expect_settled();
}
END_TEST

/* A scheduler for a device whose descriptors take @desc_ns. */
static void restart(uint64_t desc_ns)
{
	struct device *dev = &mock.dev;

	sched_fini(&s);
	dev->desc_ns = desc_ns;
	ck_assert_int_eq(sched_init(&s, &dev, 1, &plan, &mux), 0);
	sched_replan(&s, now);
}

/* Checked at every submission, see mock_submit(): also where a descriptor costs more than a
 * chunk has bytes. */
START_TEST(caps_hold)
{
	static const uint64_t sizes[] = { 4 * KIB, 64 * KIB, 256 * KIB, 2 * MIB };
	static const uint64_t dear[] = { 0, 80, 2000, 100000 };

	for (unsigned int k = 0; k < 32; k++) {
		plan.chunk_bytes = (uint32_t)sizes[k % 4];
		plan.share[0][AMUX_CLASS_USER].cap_bytes =
			(1 + k % 7) * plan.chunk_bytes + 1000;
		restart(dear[k / 8]);
		for (unsigned int i = 0; i < 8; i++)
			flow_init(&flow[i], &tenant[i % TENANTS], job_complete);
		for (unsigned int i = 0; i < 400; i++)
			submit_copy(&flow[i % 8], 1 + rnd_below(&seed, 16 * plan.chunk_bytes),
				    0);
		run_dry();
		expect_settled();
	}
}
END_TEST

/* -------------------------------------------------------------------- the class */

static void lend(void)
{
	struct amux_plan_share *u = &plan.share[0][AMUX_CLASS_USER];
	struct amux_plan_share *k = &plan.share[0][AMUX_CLASS_KERNEL];

	u->reserve_bps = k->reserve_bps = RATE / 2;
	u->lend = k->lend = 1;
	k->engine_mask = u->engine_mask;
	k->limit_bps = AMUX_BPS_MAX;
	sched_replan(&s, now);
}

/* Bytes that users get onto engines in @ns. */
static uint64_t bytes_during(uint64_t ns)
{
	uint64_t before = mock.bytes;

	for (uint64_t end = now + ns; now < end;) {
		refill(0, 16, MIB);
		turn();
	}
	return mock.bytes - before;
}

START_TEST(loan_is_revoked)
{
	const uint64_t cap = ENGINES * 2 * CHUNK;
	uint64_t bytes;

	lend();
	flow_init(&flow[0], &tenant[0], job_complete);
	expect_near((double)bytes_during(10 * MSEC), (double)ns_to_bytes(10 * MSEC, RATE), 3,
		    "borrowed");
	ck_assert_uint_gt(s.device[0].borrowed_inflight, 0);
	ck_assert_uint_gt(tenant[0].stats.borrowed_bytes, 0);
	expect_near((double)tenant[0].stats.borrowed_bytes,
		    (double)tenant[0].stats.engine_bytes / 2, 10, "counted as borrowed");

	sched_kernel_active(&s, 0, true, now);
	ck_assert_uint_eq(mux.revocations, 1);
	ck_assert_uint_eq(s.device[0].user_bps, RATE / 2);
	/* at once: no credit from before, in no window however short */
	bytes = bytes_during(20000);
	ck_assert_uint_le(bytes, ns_to_bytes(20000, RATE / 2) + CHUNK);
	bytes = bytes_during(200000);
	ck_assert_uint_le(bytes, ns_to_bytes(200000, RATE / 2) + CHUNK);
	expect_near((double)bytes_during(20 * MSEC), (double)ns_to_bytes(20 * MSEC, RATE / 2),
		    2, "while the kernel is active");
	ck_assert_uint_eq(mux.revoke.count, 1);
	ck_assert_uint_le(mux.revoke.sum_ns, bytes_to_ns(cap, RATE) * 2);
	/* told again: no other revocation */
	sched_kernel_active(&s, 0, true, now);
	ck_assert_uint_eq(mux.revocations, 1);

	sched_kernel_active(&s, 0, false, now);
	ck_assert_uint_eq(s.device[0].user_bps, AMUX_BPS_MAX);
	expect_near((double)bytes_during(10 * MSEC), (double)ns_to_bytes(10 * MSEC, RATE), 3,
		    "borrowed again");
	run_dry();
	expect_settled();
	/* nobody borrowed: nothing to revoke */
	sched_kernel_active(&s, 0, true, now);
	ck_assert_uint_eq(mux.revocations, 1);
}
END_TEST

/* The class's own reserve is not lent out by anything: without lend users never have it. */
START_TEST(wall_stands)
{
	lend();
	plan.share[0][AMUX_CLASS_KERNEL].lend = 0;
	sched_replan(&s, now);
	flow_init(&flow[0], &tenant[0], job_complete);
	expect_near((double)bytes_during(20 * MSEC), (double)ns_to_bytes(20 * MSEC, RATE / 2),
		    3, "behind a wall");
	sched_kernel_active(&s, 0, true, now);
	ck_assert_uint_eq(mux.revocations, 0);
	run_dry();
	expect_settled();
}
END_TEST

/* A late and irregular poll does not cost rate. */
START_TEST(paced_under_jitter)
{
	static const unsigned int percent[] = { 5, 30, 70 };
	uint64_t bps = RATE / 100 * percent[_i], begin;
	uint64_t before;

	plan.share[0][AMUX_CLASS_USER].limit_bps = bps;
	plan.share[0][AMUX_CLASS_USER].cap_bytes =
		64 * CHUNK; /* caps must not be what limits */
	sched_replan(&s, now);
	flow_init(&flow[0], &tenant[0], job_complete);
	for (begin = now, before = mock.bytes; now < begin + 200 * MSEC;) {
		refill(0, 32, MIB);
		sched_issue(&s, now);
		now += 500 + rnd_below(&seed, 60000);
		mock_progress(&mock.dev, now, 0);
		sched_reap(&s, now);
	}
	expect_near((double)(mock.bytes - before), (double)ns_to_bytes(now - begin, bps), 2,
		    "paced");
	run_dry();
	expect_settled();
}
END_TEST

/* -------------------------------------------------------------- without engines */

START_TEST(sent_back)
{
	struct job *begun, *waiting, *only, *engine_only;

	mock.check_caps = false; /* there is none to hold for what is only finished */
	flow_init(&flow[0], &tenant[0], job_complete);
	flow_init(&flow[1], &tenant[1], job_complete);
	begun = submit_copy(&flow[0], 16 * MIB, 0);
	waiting = submit_copy(&flow[0], MIB, 0);
	engine_only = submit_copy(&flow[0], MIB, AMUX_SQE_ENGINE_ONLY);
	plan.share[0][AMUX_CLASS_USER].engine_mask = 1;
	sched_replan(&s, now);
	sched_issue(&s, now);
	only = submit_copy(&flow[1], 4 * KIB, 0);
	ck_assert_uint_gt(begun->r.issued, 0);
	ck_assert_uint_eq(waiting->r.issued, 0);

	memset(plan.share, 0, sizeof(plan.share));
	sched_replan(&s, now);
	ck_assert(!sched_has_engine(&s));
	ck_assert_int_eq(waiting->status, AMUX_STATUS_DECLINED);
	ck_assert_int_eq(only->status, AMUX_STATUS_DECLINED);
	ck_assert_int_eq(engine_only->status, -ENODEV);
	ck_assert_uint_eq(waiting->completions + only->completions + engine_only->completions,
			  3);
	ck_assert_uint_eq(begun->completions, 0);
	run_dry();
	ck_assert_uint_eq(begun->completions, 1);
	ck_assert_int_eq(begun->status, 0);
	expect_settled();
}
END_TEST

/* An operator takes engines out of use: nothing new there, what has begun goes on elsewhere. */
START_TEST(drains)
{
	struct job *begun, *waiting;
	uint64_t all = s.device[0].user_bps, bps = sched_tenant_bps(&s, &tenant[0]);
	struct amux_view view;

	ck_assert_uint_eq(all, AMUX_BPS_MAX);
	flow_init(&flow[0], &tenant[0], job_complete);
	begun = submit_copy(&flow[0], 64 * MIB, 0);
	sched_issue(&s, now);
	ck_assert_uint_gt(mock.n[0], 0);
	sched_drain(&s, 0, 0x7, now);
	ck_assert(sched_has_engine(&s));
	ck_assert_uint_eq(bps, RATE);
	ck_assert_uint_eq(sched_tenant_bps(&s, &tenant[0]), ENGINE_BPS); /* of the one left */
	for (unsigned int i = 0; i < 50; i++)
		turn();
	ck_assert_uint_eq(mock.n[0] + mock.n[1] + mock.n[2], 0);
	ck_assert_uint_eq(s.device[0].engine[0].inflight_chunks, 0);
	ck_assert_uint_gt(s.device[0].engine[3].inflight_chunks, 0);
	ck_assert_uint_eq(begun->completions, 0);

	/* None is left: what has begun is finished on one of them, the others are declined. */
	waiting = submit_copy(&flow[0], MIB, 0);
	sched_drain(&s, 0, 0xf, now);
	ck_assert(!sched_has_engine(&s));
	ck_assert_int_eq(waiting->status, AMUX_STATUS_DECLINED);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), DECLINE_NO_ENGINE);
	mock.check_caps = false; /* as for any other that is only finished */
	run_dry();
	ck_assert_uint_eq(begun->completions, 1);
	ck_assert_int_eq(begun->status, 0);
	memset(&view, 0, sizeof(view));
	sched_view(&s, &view, now, MSEC);
	ck_assert_uint_eq(view.devices[0].flags & AMUX_DEVICE_DOWN, AMUX_DEVICE_DOWN);

	sched_drain(&s, 0, 0, now);
	ck_assert(sched_has_engine(&s));
	ck_assert_uint_eq(sched_tenant_bps(&s, &tenant[0]), bps);
	submit_copy(&flow[0], 64 * MIB, 0);
	sched_issue(&s, now);
	for (unsigned int e = 0; e < ENGINES; e++)
		ck_assert_uint_gt(mock.n[e], 0);
	run_dry();
	expect_settled();
}
END_TEST

/* With the last engine gone nothing can be finished any more: an error, not silence. */
START_TEST(all_engines_down)
{
	struct job *begun, *waiting, *overlapping, *noop;
	struct amux_sqe sqe = { .op = AMUX_OP_COPY, .offset = { 0, 100 }, .len = 10 * MIB };
	struct amux_view view;

	flow_init(&flow[0], &tenant[0], job_complete);
	flow_init(&flow[1], &tenant[1], job_complete);
	begun = submit_copy(&flow[0], 16 * MIB, 0);
	waiting = submit_copy(&flow[0], MIB, 0);
	overlapping = job_free();
	job_init(overlapping, &sqe);
	sched_enqueue(&s, &flow[1], &overlapping->r);
	sched_issue(&s, now);
	ck_assert_uint_eq(overlapping->r.inflight, 1);
	noop = job_free();
	sqe = (struct amux_sqe){ .op = AMUX_OP_NOOP };
	job_init(noop, &sqe);
	sched_enqueue(&s, &flow[1], &noop->r);
	for (unsigned int e = 0; e < ENGINES; e++)
		mock.down[e] = true;
	/* what is in flight completes, what is submitted next fails, until none is left */
	for (unsigned int i = 0; i < 100; i++) {
		turn();
		sched_replan(&s, now);
	}
	ck_assert_uint_eq(begun->completions, 1);
	ck_assert_int_eq(begun->status, -EIO);
	ck_assert_uint_eq(overlapping->completions, 1);
	ck_assert_int_eq(overlapping->status, -EIO);
	ck_assert_uint_eq(waiting->completions, 1);
	ck_assert_uint_eq(noop->completions, 1);
	expect_settled();
	memset(&view, 0, sizeof(view));
	sched_view(&s, &view, now, MSEC);
	ck_assert_uint_eq(view.devices[0].flags & AMUX_DEVICE_DOWN, AMUX_DEVICE_DOWN);
	ck_assert(!sched_has_engine(&s));
}
END_TEST

/* Requests that wait between two plans when the last engine goes. */
START_TEST(down_while_waiting)
{
	struct job *begun;

	plan.share[0][AMUX_CLASS_USER].cap_bytes = CHUNK;
	sched_replan(&s, now);
	flow_init(&flow[0], &tenant[0], job_complete);
	begun = submit_copy(&flow[0], 16 * MIB, 0);
	sched_issue(&s, now);
	ck_assert_uint_gt(begun->r.inflight, 0);
	for (unsigned int e = 0; e < ENGINES; e++)
		mock.dev.health[e] =
			ENGINE_LOST; /* as found by the submission of someone else */
	sched_replan(&s, now);
	ck_assert_uint_eq(begun->completions, 0); /* its chunks are still out there */
	expect_consistent();
	now += 10 * MSEC;
	mock_progress(&mock.dev, now, 0);
	sched_reap(&s, now);
	ck_assert_uint_eq(begun->completions, 1);
	ck_assert_int_eq(begun->status, -EIO);
	expect_settled();
}
END_TEST

/* The kernel class wants all it has reserved, which is everything: users are out, until it
 * rests; then they are back on the engines of the plan, and on no others. */
START_TEST(kernel_takes_all)
{
	struct job *waiting;

	lend();
	plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = RATE;
	plan.share[0][AMUX_CLASS_USER].reserve_bps = 0;
	plan.share[0][AMUX_CLASS_USER].engine_mask = 2;
	sched_replan(&s, now);
	flow_init(&flow[0], &tenant[0], job_complete);
	submit_copy(&flow[0], MIB, 0);
	waiting = submit_copy(&flow[0], MIB, 0);
	sched_issue(&s, now);
	ck_assert_uint_eq(mock.n[1], 2);
	sched_kernel_active(&s, 0, true, now);
	ck_assert(!sched_has_engine(&s));
	ck_assert_int_eq(waiting->status, AMUX_STATUS_DECLINED);
	sched_kernel_active(&s, 0, false, now);
	ck_assert(sched_has_engine(&s));
	submit_copy(&flow[0], MIB, 0);
	sched_issue(&s, now);
	ck_assert_uint_eq(mock.n[0] + mock.n[2] + mock.n[3], 0);
	run_dry();
	expect_settled();
}
END_TEST

START_TEST(cancels)
{
	struct job *begun, *waiting, *overlapping;
	struct amux_sqe sqe = { .op = AMUX_OP_COPY, .offset = { 0, 100 }, .len = 10 * MIB };

	flow_init(&flow[0], &tenant[0], job_complete);
	flow_init(&flow[1], &tenant[0], job_complete);
	overlapping = job_free();
	job_init(overlapping, &sqe);
	sched_enqueue(&s, &flow[0], &overlapping->r);
	begun = submit_copy(&flow[0], 16 * MIB, 0);
	waiting = submit_copy(&flow[0], MIB, 0);
	submit_copy(&flow[1], MIB, 0);
	sched_issue(&s, now);
	ck_assert(begun->r.issued && overlapping->r.issued && !waiting->r.issued);
	sched_cancel(&s, &flow[0], now);
	ck_assert_int_eq(waiting->status, -ECANCELED);
	ck_assert_uint_eq(begun->completions + overlapping->completions, 0);
	expect_consistent();
	run_dry();
	ck_assert_int_eq(begun->status, -ECANCELED);
	ck_assert_int_eq(overlapping->status, -ECANCELED);
	ck_assert_uint_lt(begun->r.issued, begun->r.len);
	ck_assert_uint_lt(overlapping->r.issued, overlapping->r.len);
	ck_assert_uint_eq(flow[0].unanswered, 0);
	ck_assert_uint_eq(answered[0], 3);
	ck_assert_uint_eq(answered[1], 1); /* the other queue goes on */
	expect_settled();
}
END_TEST

/* One that must go chunk by chunk keeps its place before what came later. */
START_TEST(keeps_its_place)
{
	struct amux_sqe sqe = { .op = AMUX_OP_COPY, .offset = { 0, 100 }, .len = MIB };
	struct job *overlapping = job_free();

	flow_init(&flow[0], &tenant[0], job_complete);
	job_init(overlapping, &sqe);
	sched_enqueue(&s, &flow[0], &overlapping->r);
	for (unsigned int i = 0; i < 64; i++)
		submit_copy(&flow[0], 4 * MIB, 0);
	while (!overlapping->completions)
		turn();
	/* two chunks on each engine before each of its own, and the time of its own */
	ck_assert_uint_le(now - START, bytes_to_ns(MIB * 2 * (2 * ENGINES + 1), RATE));
	run_dry();
	expect_settled();
}
END_TEST

/* ------------------------------------------------------------------- admission */

START_TEST(admits)
{
	flow_init(&flow[0], &tenant[0], job_complete);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), -1);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], AMUX_SQE_CPU_ONLY, MIB, 0), DECLINE_ASKED);
	plan.decline[AMUX_CLASS_USER] = AMUX_DECLINE_ALWAYS;
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), DECLINE_POLICY);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], AMUX_SQE_ENGINE_ONLY, MIB, 0), -1);

	plan.decline[AMUX_CLASS_USER] = AMUX_DECLINE_PREDICT;
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), -1);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, 64, 0), DECLINE_PREDICTED);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, 64, 64 * MIB), -1);
	/* a NOOP is waited for, not copied */
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, 0, 0), -1);
	refill(0, 64, MIB);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), DECLINE_PREDICTED);
	ck_assert_int_eq(sched_admit(&s, &tenant[1], 0, MIB, 0), -1); /* not its queue */
	plan.decline[AMUX_CLASS_USER] = AMUX_DECLINE_NEVER;
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), -1);
	run_dry();

	s.cpu_only = true;
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), DECLINE_NO_ENGINE);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], AMUX_SQE_ENGINE_ONLY, MIB, 0), -1);
	s.cpu_only = false;
	plan.share[0][AMUX_CLASS_USER].engine_mask = 0;
	sched_replan(&s, now);
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), DECLINE_NO_ENGINE);
	plan.decline[AMUX_CLASS_USER] = AMUX_DECLINE_PREDICT;
	ck_assert_int_eq(sched_admit(&s, &tenant[0], 0, MIB, 0), DECLINE_NO_ENGINE);
	ck_assert_uint_eq(sched_wait_ns(&s, &tenant[0]), UINT64_MAX);
}
END_TEST

/* What was predicted for a request against how long it took, in a mix of tenants. */
START_TEST(predicts)
{
	uint64_t predicted, begin;

	for (unsigned int i = 0; i < 4; i++) {
		flow_init(&flow[i], &tenant[i], job_complete);
		tenant[i].weight = i + 1;
		refill(i, 8 * (i + 1), MIB);
	}
	predicted = sched_wait_ns(&s, &tenant[0]);
	begin = now;
	while (flow[0].unanswered) {
		for (unsigned int i = 1; i < 4; i++)
			refill(i, 8 * (i + 1), MIB);
		turn();
	}
	expect_near((double)(now - begin), (double)predicted, 5, "wait");
	run_dry();
}
END_TEST

START_TEST(shows_itself)
{
	struct amux_view view;

	memset(&view, 0, sizeof(view));
	sched_tenant_set(&s, &tenant[0], 5, 1000, 1000000);
	flow_init(&flow[0], &tenant[0], job_complete);
	submit_copy(&flow[0], 16 * MIB, 0);
	sched_issue(&s, now);
	sched_view(&s, &view, now, MSEC);
	ck_assert_uint_eq(view.n_devices, 1);
	ck_assert_uint_eq(view.devices[0].engines, ENGINES);
	ck_assert_uint_eq(view.devices[0].rate_bps, RATE);
	ck_assert_uint_eq(view.devices[0].inflight_bytes[AMUX_CLASS_USER], s.inflight_bytes);
	ck_assert_uint_eq(view.devices[0].served_bps[AMUX_CLASS_USER], mock.bytes * 1000);
	ck_assert_uint_eq(view.classes[AMUX_CLASS_USER].arrival_bps, 16 * MIB * 1000);
	ck_assert_uint_eq(view.classes[AMUX_CLASS_USER].queued_bytes, s.queued_bytes);
	ck_assert_uint_eq(view.classes[AMUX_CLASS_USER].idle_ns, 0);
	ck_assert_uint_eq(view.n_tenants, 1);
	ck_assert_uint_eq(view.tenants[0].id, 1);
	ck_assert_uint_eq(view.tenants[0].weight, 5);
	ck_assert_uint_eq(view.tenants[0].queued_bytes, tenant[0].queued_bytes);
	sched_tenant_set(&s, &tenant[0], 5, 0, AMUX_BPS_MAX);
	run_dry();
	now += 7 * MSEC;
	memset(&view, 0, sizeof(view));
	sched_view(&s, &view, now, MSEC);
	ck_assert_uint_eq(view.classes[AMUX_CLASS_USER].arrival_bps, 0);
	ck_assert_uint_ge(view.classes[AMUX_CLASS_USER].idle_ns, 7 * MSEC);
	ck_assert_uint_eq(view.n_tenants, 0);
}
END_TEST

/* Bytes done before a fault are counted like any others. */
START_TEST(counts_resumed_bytes)
{
	struct job *j;

	flow_init(&flow[0], &tenant[0], job_complete);
	j = submit_copy(&flow[0], CHUNK, 0);
	sched_issue(&s, now);
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int e = 0; e < ENGINES; e++)
			if (mock.n[e])
				mock_complete(e, 0, DSA_COMP_PAGE_FAULT_NOBOF, 4096);
		sched_reap(&s, now);
	}
	run_dry();
	ck_assert_uint_eq(j->completions, 1);
	ck_assert_int_eq(j->status, 0);
	ck_assert_uint_eq(tenant[0].stats.faults, 3);
	ck_assert_uint_eq(tenant[0].stats.resumes, 3);
	ck_assert_uint_eq(tenant[0].stats.engine_bytes, CHUNK);
	ck_assert_uint_eq(s.users.engine_bytes, CHUNK);
	expect_settled();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("sched");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, exactly_once, 0, 12);
	tcase_add_test(t, shares_by_weight);
	tcase_add_test(t, flows_gain_nothing);
	tcase_add_test(t, tiny_ones_pay_their_time);
	tcase_add_test(t, reserve_and_weights);
	tcase_add_loop_test(t, limit, 0, 2);
	tcase_add_test(t, comes_and_goes);
	tcase_add_test(t, conserves_work);
	tcase_add_test(t, caps_hold);
	tcase_add_test(t, loan_is_revoked);
	tcase_add_test(t, wall_stands);
	tcase_add_loop_test(t, paced_under_jitter, 0, 3);
	tcase_add_test(t, sent_back);
	tcase_add_test(t, drains);
	tcase_add_test(t, all_engines_down);
	tcase_add_test(t, down_while_waiting);
	tcase_add_test(t, kernel_takes_all);
	tcase_add_test(t, cancels);
	tcase_add_test(t, keeps_its_place);
	tcase_add_test(t, admits);
	tcase_add_test(t, predicts);
	tcase_add_test(t, shows_itself);
	tcase_add_test(t, counts_resumed_bytes);
	return run_case(t, "sched", 60);
}

// SPDX-License-Identifier: MIT
/*
 * test_session.c - a queue from both ends in one thread: this file is the client, through a
 * mapping of its own, over the software engine run by hand.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../../broker/clock.h"
#include "../../broker/session.h"
#include "../../broker/soft.h"
#include "core_util.h"

#define SQ   8u
#define CQ   16u
#define SIZE (256u << 10)

static struct device dev;
static struct sched sched;
static struct amux_plan plan;
static struct mux_stats mux;
static struct sched_tenant tenant;
static struct queue_set set;
static struct session *session;
static struct region *region[2];
static struct queue *q;
static struct amux_ring ring; /* the client's end */
static void *client_map;
static uint64_t now, seed;

static void grant(bool engines, uint32_t decline)
{
	memset(&plan, 0, sizeof(plan));
	plan.abi = AMUX_POLICY_ABI;
	plan.chunk_bytes = 64 << 10;
	plan.decline[AMUX_CLASS_USER] = decline;
	if (engines)
		plan.share[0][AMUX_CLASS_USER] = (struct amux_plan_share){
			.engine_mask = 1, .limit_bps = AMUX_BPS_MAX, .cap_bytes = 256 << 10
		};
	sched_replan(&sched, now);
}

static void open_queue(uint32_t sq, uint32_t cq)
{
	int fd;

	ck_assert_int_eq(queue_create(&q, 1, sq, cq, &fd), 0);
	client_map = mmap(NULL, q->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(client_map, MAP_FAILED);
	/* its size is nobody's to change */
	ck_assert_int_eq(ftruncate(fd, 4096), -1);
	ck_assert_int_eq(ftruncate(fd, 1 << 20), -1);
	close(fd);
	ck_assert_int_eq(amux_ring_bind(&ring, client_map, q->map_bytes), 0);
	ck_assert_uint_eq(ring.sq_entries, sq);
	ck_assert_uint_eq(ring.cq_entries, cq);
	q->flow.tenant = &tenant;
	queue_attach(q, session, &set);
}

static void close_queue(void)
{
	queue_detach(q);
	ck_assert(list_empty(&set.all) && list_empty(&set.hot) && list_empty(&session->queues));
	munmap(client_map, q->map_bytes);
	queue_free(q);
	q = NULL;
}

static void setup(void)
{
	struct device *devs = &dev;
	struct soft_config cfg;
	char err[160];

	seed = 1;
	now = NSEC_PER_SEC;
	soft_config_default(&cfg);
	cfg.engines = 1;
	ck_assert_int_eq(soft_open(&dev, 0, &cfg), 0);
	memset(&mux, 0, sizeof(mux));
	memset(&plan, 0, sizeof(plan));
	ck_assert_int_eq(sched_init(&sched, &devs, 1, &plan, &mux), 0);
	sched_cpu_set(&sched, 10000000000ull);
	grant(true, AMUX_DECLINE_NEVER);
	sched_tenant_init(&tenant, 1, 1, 0, AMUX_BPS_MAX);
	set.sched = &sched;
	set.draining = false;
	memset(&set.spot, 0, sizeof(set.spot));
	list_init(&set.hot);
	list_init(&set.dirty);
	list_init(&set.all);
	session = calloc(1, sizeof(*session));
	ck_assert_ptr_nonnull(session);
	list_init(&session->queues);
	for (unsigned int i = 0; i < 2; i++) {
		int fd = sealed_memfd(SIZE, F_SEAL_SHRINK);

		ck_assert_int_eq(region_map(&region[i], fd, SIZE, false, err, sizeof(err)), 0);
		region[i]->id = SESSION_REGIONS_MAX + i;
		session->regions[i] = region[i];
		close(fd);
	}
	open_queue(SQ, CQ);
}

static void teardown(void)
{
	if (q)
		close_queue();
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_uint_eq(region[i]->refs, 0);
		region_unmap(region[i], NULL);
	}
	free(session);
	sched_fini(&sched);
	dev.ops->close(&dev);
}

/* ---------------------------------------------------------------- the two ends */

static void push(struct amux_sqe sqe)
{
	struct amux_sqe *slot = amux_sq_next(&ring);

	ck_assert_ptr_nonnull(slot);
	*slot = sqe;
	amux_sq_publish(&ring);
}

static struct amux_sqe noop(uint64_t id, uint16_t flags)
{
	return (struct amux_sqe){ .op = AMUX_OP_NOOP, .user_data = id, .flags = flags };
}

static struct amux_sqe copy(uint64_t id, uint16_t flags)
{
	return (struct amux_sqe){ .op = AMUX_OP_COPY,
				  .user_data = id,
				  .flags = flags,
				  .region = { SESSION_REGIONS_MAX, SESSION_REGIONS_MAX + 1 },
				  .len = 4096 };
}

/* Everything of a mux loop but the pull. */
static void serve(void)
{
	now += 1000;
	sched_issue(&sched, now);
	dev.ops->progress(&dev, now, 1000000);
	sched_reap(&sched, now);
	queues_flush(&set);
}

static int pull(void)
{
	return queue_pull(q, 64, now);
}

/* The next answer; fails if there is none. */
static struct amux_cqe answer(void)
{
	struct amux_cqe cqe;

	ck_assert_uint_gt(amux_cq_ready(&ring), 0);
	cqe = *amux_cq_take(&ring);
	amux_cq_release(&ring);
	return cqe;
}

static void expect_answer(uint64_t id, int32_t status)
{
	struct amux_cqe cqe = answer();

	ck_assert_uint_eq(cqe.user_data, id);
	ck_assert_int_eq(cqe.status, status);
}

static void expect_none(void)
{
	ck_assert_uint_eq(amux_cq_ready(&ring), 0);
}

static void finish_declined(uint32_t total)
{
	amux_store_release(&ring.hdr->declined_done, total);
}

static void expect_ledger(void)
{
	ck_assert_uint_eq(tenant.stats.ledger_in, tenant.stats.ledger_out);
	ck_assert_uint_eq(q->flow.unanswered, 0);
	ck_assert_uint_eq(q->flow.unanswered_bytes, 0);
	ck_assert_uint_eq(q->n_free, q->ring.cq_entries);
	ck_assert_uint_eq(region[0]->refs + region[1]->refs, 0);
}

/* ----------------------------------------------------------------- plain service */

START_TEST(serves)
{
	memset(region[0]->addr, 'a', 4096);
	push(copy(1, 0));
	ck_assert(queue_has_work(q));
	ck_assert_int_eq(pull(), 1);
	ck_assert(!queue_has_work(q));
	ck_assert(!queue_quiet(q));
	ck_assert_uint_eq(region[0]->refs, 1);
	ck_assert_uint_eq(region[1]->refs, 1);
	sched_issue(&sched, now);
	dev.ops->progress(&dev, now, 1000000);
	sched_reap(&sched, now);
	expect_none(); /* done, but not published: copies go before the answers */
	ck_assert(!queue_quiet(q));
	queues_flush(&set);
	ck_assert(queue_quiet(q));
	ck_assert_mem_eq(region[1]->addr, region[0]->addr, 4096);
	expect_answer(1, 0);
	expect_ledger();
	ck_assert_uint_eq(tenant.stats.requests, 1);
	ck_assert_uint_eq(tenant.stats.completed, 1);
	ck_assert_uint_eq(sched.users.completed, 1);
	ck_assert_uint_eq(tenant.stats.engine_bytes, 4096);
}
END_TEST

/* --------------------------------------------------------------- the shortest way */

/* A NOOP has its turn and no engine, unless it asks for one. */
START_TEST(passes_noops)
{
	push(noop(1, 0));
	push(noop(2, 0));
	ck_assert_uint_eq(queue_pull_noops(q, 8), 2);
	ck_assert(!sched_busy(&sched));
	queues_flush(&set);
	expect_answer(1, 0);
	expect_answer(2, 0);
	push(noop(3, AMUX_SQE_ENGINE_ONLY));
	ck_assert_uint_eq(queue_pull_noops(q, 8), 0);
	ck_assert_int_eq(pull(), 1);
	ck_assert(sched_busy(&sched));
	/* now somebody waits for a turn */
	push(noop(4, 0));
	ck_assert_uint_eq(queue_pull_noops(q, 8), 0);
	ck_assert_int_eq(pull(), 1);
	serve();
	expect_answer(3, 0);
	expect_answer(4, 0);
	expect_ledger();
	ck_assert_uint_eq(tenant.stats.completed, 4);
	ck_assert_uint_eq(tenant.stats.descriptors, 2);
	ck_assert_int_lt(tenant.deficit, 1);
}
END_TEST

static uint64_t user_bytes(void)
{
	struct engine_stats st;

	dev.ops->read_stats(&dev, 0, &st);
	return st.bytes[ENGINE_WQ_USER];
}

START_TEST(copies_on_the_spot)
{
	set.spot.allowed = true;
	for (uint64_t i = 0; i < 3; i++) {
		struct amux_sqe sqe = copy(i, 0);

		memset(region[0]->addr + i * 4096, (int)i + 1, 4096);
		sqe.offset[0] = sqe.offset[1] = i * 4096;
		push(sqe);
	}
	ck_assert_int_eq(pull(), 3);
	ck_assert(!sched_busy(&sched));
	ck_assert(set.spot.ran);
	expect_none();
	queues_flush(&set);
	for (uint64_t i = 0; i < 3; i++)
		expect_answer(i, 0);
	ck_assert_mem_eq(region[1]->addr, region[0]->addr, 3 * 4096);
	expect_ledger();
	ck_assert_uint_eq(tenant.stats.completed, 3);
	ck_assert_uint_eq(tenant.stats.descriptors, 3);
	ck_assert_uint_eq(tenant.stats.engine_bytes, 3 * 4096);
	ck_assert_uint_eq(sched.users.engine_bytes, 3 * 4096);
	ck_assert_uint_eq(user_bytes(), 3 * 4096);
	ck_assert_uint_eq(tenant.stats.service.count, 3);
}
END_TEST

/* A FENCE waits for what the end of the piece does; big ones and what follows go the long way. */
START_TEST(spot_steps_aside)
{
	struct amux_sqe big = copy(3, 0);

	set.spot.allowed = true;
	push(copy(1, 0));
	push(copy(2, AMUX_SQE_FENCE));
	ck_assert_int_eq(pull(), 1);
	queues_flush(&set);
	expect_answer(1, 0);
	expect_none();
	ck_assert_int_eq(pull(), 1);
	queues_flush(&set);
	expect_answer(2, 0);
	big.len = SIZE;
	push(big);
	push(copy(4, 0));
	ck_assert_int_eq(pull(), 2);
	ck_assert_uint_eq(sched.queued_bytes, SIZE + 4096);
	while (sched_busy(&sched))
		serve();
	ck_assert_uint_eq(answer().user_data + answer().user_data, 3 + 4);
	expect_ledger();
	ck_assert_uint_eq(user_bytes(), SIZE + 3 * 4096);
}
END_TEST

/* Nor is a copy onto itself for there, which has to be a memmove(), or one held to a rate. */
START_TEST(spot_leaves_alone)
{
	struct amux_sqe over = copy(1, 0);

	set.spot.allowed = true;
	for (unsigned int i = 0; i < 8192; i++)
		region[0]->addr[i] = (uint8_t)(i * 7);
	over.region[1] = over.region[0];
	over.offset[1] = 100;
	push(over);
	ck_assert_int_eq(pull(), 1);
	ck_assert(sched_busy(&sched) && !set.spot.ran);
	while (sched_busy(&sched))
		serve();
	expect_answer(1, 0);
	for (unsigned int i = 0; i < 4096; i++)
		must(region[0]->addr[100 + i] == (uint8_t)(i * 7));
	sched_tenant_set(&sched, &tenant, 1, 0, 1000000);
	push(copy(2, 0));
	push(noop(3, 0));
	ck_assert_uint_eq(queue_pull_noops(q, 8), 0);
	ck_assert_int_eq(pull(), 2);
	ck_assert(sched_busy(&sched) && !set.spot.ran);
	while (sched_busy(&sched)) {
		now += NSEC_PER_SEC;
		serve();
	}
	ck_assert_uint_eq(answer().user_data + answer().user_data, 2 + 3);
	expect_ledger();
}
END_TEST

/* What meets a page that is not there goes the long way, with all that comes after it. */
START_TEST(spot_meets_a_hole)
{
	int empty = sealed_memfd(0, 0);
	struct amux_sqe sqe;

	ck_assert_ptr_eq(mmap(region[0]->addr + 4096, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_FIXED, empty, 0),
			 region[0]->addr + 4096);
	close(empty);
	set.spot.allowed = true;
	for (uint64_t i = 0; i < 3; i++) {
		sqe = copy(i, 0);
		sqe.offset[0] = sqe.offset[1] = i * 4096;
		push(sqe);
	}
	memset(region[0]->addr + 8192, 'c', 4096);
	ck_assert_int_eq(pull(), 3);
	queues_flush(&set);
	expect_answer(0, 0);
	expect_none();
	while (sched_busy(&sched))
		serve();
	for (uint64_t i = 1; i < 3; i++) {
		struct amux_cqe cqe = answer();

		ck_assert_int_eq(cqe.status, cqe.user_data == 1 ? -EFAULT : 0);
	}
	ck_assert_mem_eq(region[1]->addr + 8192, region[0]->addr + 8192, 4096);
	expect_ledger();
}
END_TEST

/* The client's socket is written if, and only if, it sleeps. */
START_TEST(wakes)
{
	struct pollfd p = { .fd = q->cq_peer, .events = POLLIN };

	push(noop(1, 0));
	pull();
	serve();
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	ck_assert_int_eq(amux_cq_sleep(&ring), 1); /* there is something: no sleep */
	expect_answer(1, 0);
	ck_assert_int_eq(amux_cq_sleep(&ring), 0);
	push(noop(2, 0));
	pull();
	serve();
	ck_assert_int_eq(poll(&p, 1, 0), 1);
}
END_TEST

/* A client that stays in read(): a page of its buffer never comes.  -1 where this kernel lets
 * nobody hold up faults like that; the thread's end otherwise. */
struct stuck_reader {
	int fd, uffd;
	struct uffdio_range page;
	pthread_t thread;
};

static void *stuck_main(void *arg)
{
	struct stuck_reader *r = arg;

	must(read(r->fd, (void *)(uintptr_t)r->page.start, 8) > 0);
	return NULL;
}

static bool reader_start(struct stuck_reader *r, int fd)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffd_msg fault;
	struct pollfd p;
	void *page;

	r->fd = fd;
	r->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (r->uffd < 0)
		return false;
	must(!ioctl(r->uffd, UFFDIO_API, &api));
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(page != MAP_FAILED);
	r->page = reg.range = (struct uffdio_range){ (uintptr_t)page, 4096 };
	must(!ioctl(r->uffd, UFFDIO_REGISTER, &reg));
	must(!pthread_create(&r->thread, NULL, stuck_main, r));
	p = (struct pollfd){ .fd = r->uffd, .events = POLLIN };
	must(poll(&p, 1, 5000) == 1); /* it is in there */
	must(read(r->uffd, &fault, sizeof(fault)) == sizeof(fault));
	return true;
}

static void reader_end(struct stuck_reader *r)
{
	struct uffdio_zeropage zero = { .range = r->page };

	must(!ioctl(r->uffd, UFFDIO_ZEROPAGE, &zero));
	pthread_join(r->thread, NULL);
	munmap((void *)(uintptr_t)r->page.start, 4096);
	close(r->uffd);
}

/* Whatever the client does with the descriptors it shares, our wake-ups never wait for it. */
START_TEST(wakes_without_waiting)
{
	const uint64_t most = UINT64_MAX - 1;
	int mine = dup(q->cq_peer);
	struct stuck_reader reader;
	bool stuck;

	ck_assert_int_eq(fcntl(mine, F_SETFL, 0), 0);
	ck_assert_int_eq(fcntl(q->sq_efd, F_SETFL, 0), 0);
	must(write(q->sq_efd, &most, sizeof(most)) == sizeof(most));
	while (send(mine, &most, sizeof(most), MSG_DONTWAIT) > 0)
		;
	/* it sleeps for ever, and never takes a wake-up back */
	amux_store_relaxed(&ring.hdr->cq_flags, AMUX_RING_NEED_WAKEUP);
	push(noop(0, 0));
	pull();
	serve();
	expect_answer(0, 0);
	stuck = reader_start(&reader, mine);
	for (uint64_t id = 0; id < 20000; id++) {
		*amux_sq_next(&ring) = noop(id, 0);
		amux_sq_publish(&ring);
		must(pull() == 1);
		serve();
		must(amux_cq_ready(&ring) == 1);
		amux_cq_take(&ring);
		amux_cq_release(&ring);
	}
	if (stuck)
		reader_end(&reader);
	/* and then it is gone: no signal, no error */
	shutdown(mine, SHUT_RDWR);
	push(noop(1, 0));
	pull();
	serve();
	close(mine);
	close(q->cq_peer);
	q->cq_peer = -1;
	push(noop(2, 0));
	pull();
	serve();
	expect_answer(1, 0);
	expect_answer(2, 0);
	expect_ledger();
}
END_TEST

START_TEST(answers_wrong_ones)
{
	struct amux_sqe sqe;
	struct amux_cqe cqe;

	push((struct amux_sqe){ .op = 200, .user_data = 1 });
	sqe = copy(2, 0);
	sqe.region[1]++; /* a slot with nothing in it */
	push(sqe);
	sqe = copy(3, 0);
	sqe.region[0] += SESSION_REGIONS_MAX; /* the slot, but another serial */
	push(sqe);
	sqe = copy(4, 0);
	sqe.offset[1] = UINT64_MAX;
	push(sqe);
	push(noop(5, 0x8000));
	push(noop(6, 0));
	ck_assert_int_eq(pull(), 6);
	serve();
	cqe = answer();
	ck_assert(cqe.user_data == 1 && cqe.status == -EOPNOTSUPP &&
		  cqe.field == AMUX_FIELD_OP);
	cqe = answer();
	ck_assert(cqe.user_data == 2 && cqe.status == -EBADF &&
		  cqe.field == AMUX_FIELD_REGION1);
	cqe = answer();
	ck_assert(cqe.user_data == 3 && cqe.status == -EBADF &&
		  cqe.field == AMUX_FIELD_REGION0);
	cqe = answer();
	ck_assert(cqe.user_data == 4 && cqe.status == -ERANGE &&
		  cqe.field == AMUX_FIELD_OFFSET1);
	cqe = answer();
	ck_assert(cqe.user_data == 5 && cqe.status == -EINVAL && cqe.field == AMUX_FIELD_FLAGS);
	expect_answer(6, 0);
	expect_none();
	ck_assert_uint_eq(tenant.stats.failed, 5);
	ck_assert_uint_eq(tenant.stats.requests, 6);
	expect_ledger();
}
END_TEST

/* A region that is going away is found no more, but stays as long as a copy uses it. */
START_TEST(region_in_use)
{
	uint32_t id = region[0]->id;

	push(copy(1, 0));
	push(copy(2, AMUX_SQE_FENCE)); /* not looked at yet, so it holds nothing */
	pull();
	region[0]->id = 0;
	ck_assert_uint_eq(region[0]->refs, 1);
	serve();
	ck_assert_uint_eq(region[0]->refs, 0);
	pull();
	serve();
	expect_answer(1, 0);
	expect_answer(2, -EBADF);
	region[0]->id = id;
	expect_ledger();
}
END_TEST

/* ------------------------------------------------------------------ reservation */

/* What is answered has room: no more is taken than the CQ can hold. */
START_TEST(reserves_cq_slots)
{
	unsigned int taken = 0;

	for (uint64_t id = 0; id < CQ + SQ; id++) {
		push(noop(id, 0));
		taken += (unsigned int)pull();
	}
	ck_assert_uint_eq(taken, CQ);
	ck_assert(!queue_has_work(q)); /* though the SQ is full */
	ck_assert_ptr_null(amux_sq_next(&ring));
	serve();
	ck_assert_int_eq(pull(), 0);
	ck_assert_uint_eq(amux_cq_ready(&ring), CQ);
	for (uint64_t id = 0; id < 3; id++)
		expect_answer(id, 0);
	ck_assert(queue_has_work(q));
	ck_assert_int_eq(pull(), 3);
	ck_assert_int_eq(pull(), 0);
	/* a head that lies is no room */
	amux_store_release(&ring.hdr->cq_head, ring.cq_head + 1000);
	ck_assert_int_eq(pull(), 0);
	amux_store_release(&ring.hdr->cq_head, ring.cq_head - 1000);
	ck_assert_int_eq(pull(), 0);
	amux_store_release(&ring.hdr->cq_head, ring.cq_head);
	for (uint64_t id = 3; id < CQ + SQ; id++) {
		serve();
		expect_answer(id, 0);
		pull();
	}
	expect_none();
	expect_ledger();
}
END_TEST

START_TEST(budget)
{
	for (uint64_t id = 0; id < 5; id++)
		push(noop(id, 0));
	ck_assert_int_eq(queue_pull(q, 2, now), 2);
	ck_assert_int_eq(queue_pull(q, 0, now), 0);
	ck_assert_int_eq(queue_pull(q, 2, now), 2);
	ck_assert_int_eq(queue_pull(q, 2, now), 1);
	serve();
	for (uint64_t id = 0; id < 5; id++)
		expect_answer(id, 0);
}
END_TEST

/* Once a tail was impossible no call says otherwise, in whatever order they come. */
START_TEST(impossible_tail)
{
	static const uint32_t ahead[] = { SQ + 1, 1000, INT32_MAX, 0x80000000u, UINT32_MAX };

	push(noop(1, 0));
	pull();
	serve();
	expect_answer(1, 0);
	amux_store_release(&ring.hdr->sq_tail, ring.sq_tail + ahead[_i]);
	if (_i & 1) {
		ck_assert(queue_has_work(q));
		ck_assert_int_eq(pull(), -EPROTO);
	}
	ck_assert_int_eq(amux_sq_sleep(&q->ring), -EPROTO);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert(queue_has_work(q));
		ck_assert_int_eq(pull(), -EPROTO);
	}
	ck_assert_uint_eq(tenant.stats.requests, 1);
	queue_drain(q);
	ck_assert(queue_drained(q));
	queue_stop(q, now);
	ck_assert_int_eq(pull(), 0);
	ck_assert(queue_quiet(q));
}
END_TEST

/* ----------------------------------------------------------------------- fences */

START_TEST(fence_waits_for_answers)
{
	push(copy(1, 0));
	push((struct amux_sqe){ .op = 200, .user_data = 2 }); /* errors included */
	push(copy(3, AMUX_SQE_FENCE));
	push(copy(4, 0));
	push(copy(5, AMUX_SQE_FENCE));
	ck_assert_int_eq(pull(), 2);
	ck_assert_int_eq(pull(), 0);
	ck_assert(!queue_has_work(q));
	sched_issue(&sched, now);
	dev.ops->progress(&dev, now, 1000000);
	sched_reap(&sched, now);
	/* done is not enough: it must have been published */
	ck_assert_uint_eq(q->flow.unanswered, 0);
	ck_assert(!queue_has_work(q));
	ck_assert_int_eq(pull(), 0);
	queues_flush(&set);
	ck_assert(queue_has_work(q));
	ck_assert_int_eq(pull(), 2);
	ck_assert_int_eq(pull(), 0);
	serve();
	ck_assert_int_eq(pull(), 1);
	serve();
	expect_answer(2, -EOPNOTSUPP);
	expect_answer(1, 0);
	expect_answer(3, 0);
	expect_answer(4, 0);
	expect_answer(5, 0);
	expect_ledger();
}
END_TEST

/* A fence with nothing before it does not wait; a wrong one is answered in its turn. */
START_TEST(fence_alone)
{
	push(noop(1, AMUX_SQE_FENCE));
	ck_assert_int_eq(pull(), 1);
	push((struct amux_sqe){ .op = 200, .user_data = 2, .flags = AMUX_SQE_FENCE });
	ck_assert_int_eq(pull(), 0);
	serve();
	ck_assert_int_eq(pull(), 1);
	serve();
	expect_answer(1, 0);
	expect_answer(2, -EOPNOTSUPP);
	expect_ledger();
}
END_TEST

START_TEST(fence_waits_for_the_cpu)
{
	push(copy(1, AMUX_SQE_CPU_ONLY));
	push(copy(2, AMUX_SQE_CPU_ONLY));
	push(copy(3, AMUX_SQE_FENCE));
	ck_assert_int_eq(pull(), 2);
	serve();
	expect_answer(1, AMUX_STATUS_DECLINED);
	expect_answer(2, AMUX_STATUS_DECLINED);
	ck_assert_int_eq(pull(), 0);
	ck_assert(!queue_has_work(q));
	finish_declined(1);
	ck_assert(!queue_has_work(q));
	ck_assert_int_eq(pull(), 0);
	finish_declined(2);
	ck_assert(queue_has_work(q));
	ck_assert_int_eq(pull(), 1);
	serve();
	expect_answer(3, 0);
	expect_ledger();
}
END_TEST

/* --------------------------------------------------------------------- declining */

START_TEST(episode)
{
	push(copy(1, AMUX_SQE_CPU_ONLY));
	push(copy(2, 0));
	push(copy(3, AMUX_SQE_ENGINE_ONLY)); /* must not be sent back, so it is served */
	push(copy(4, 0));
	ck_assert_int_eq(pull(), 4);
	ck_assert_uint_eq(tenant.stats.declined[DECLINE_ASKED], 1);
	ck_assert_uint_eq(tenant.stats.declined[DECLINE_ORDER], 2);
	ck_assert_uint_eq(tenant.stats.declined_bytes, 3 * 4096);
	ck_assert_uint_eq(q->cpu_backlog, 3 * 4096);
	queues_flush(&set);
	/* not taken from the CQ yet: the episode goes on, also in a later pull */
	push(copy(5, 0));
	ck_assert_int_eq(pull(), 1);
	ck_assert_uint_eq(tenant.stats.declined[DECLINE_ORDER], 3);
	serve();
	expect_answer(1, AMUX_STATUS_DECLINED); /* taken: acknowledged */
	push(copy(6, 0));
	ck_assert_int_eq(pull(), 1);
	ck_assert_uint_eq(tenant.stats.declined[DECLINE_ORDER], 3);
	expect_answer(2, AMUX_STATUS_DECLINED);
	expect_answer(4, AMUX_STATUS_DECLINED);
	expect_answer(5, AMUX_STATUS_DECLINED);
	serve();
	expect_answer(3, 0);
	expect_answer(6, 0);
	finish_declined(3);
	pull();
	push(noop(7, 0));
	pull();
	ck_assert_uint_eq(q->cpu_backlog, 4096);
	finish_declined(4);
	push(noop(8, 0));
	pull();
	ck_assert_uint_eq(q->cpu_backlog, 0);
	serve();
	expect_ledger();
}
END_TEST

/* Whatever the client claims to have finished: no more than it was given, never less. */
START_TEST(hostile_declined_done)
{
	static const uint32_t claims[] = { 3, 100, 0x80000000u, UINT32_MAX };

	push(copy(1, AMUX_SQE_CPU_ONLY));
	push(copy(2, AMUX_SQE_CPU_ONLY));
	push(copy(3, AMUX_SQE_FENCE));
	pull();
	serve();
	expect_answer(1, AMUX_STATUS_DECLINED);
	expect_answer(2, AMUX_STATUS_DECLINED);
	finish_declined(1);
	ck_assert_int_eq(pull(), 0);
	ck_assert_uint_eq(q->cpu_backlog, 4096);
	finish_declined(claims[_i]);
	ck_assert(!queue_has_work(q));
	ck_assert_int_eq(pull(), 0);
	ck_assert_uint_eq(q->cpu_backlog, 4096);
	ck_assert_uint_eq(q->declined_seen, 1);
	finish_declined(0); /* backwards */
	ck_assert_int_eq(pull(), 0);
	ck_assert_uint_eq(q->cpu_backlog, 4096);
	finish_declined(2);
	ck_assert_int_eq(pull(), 1);
	ck_assert_uint_eq(q->cpu_backlog, 0);
	serve();
	expect_answer(3, 0);
}
END_TEST

/* A client that takes its answers but finishes nothing is not given more than there is room
 * to remember. */
START_TEST(declined_bound)
{
	unsigned int taken = 0;

	for (uint64_t id = 0; id < 10 * CQ; id++) {
		if (amux_sq_space(&ring))
			push(copy(id, AMUX_SQE_CPU_ONLY));
		taken += (unsigned int)pull();
		serve();
		while (amux_cq_ready(&ring))
			ck_assert_int_eq(answer().status, AMUX_STATUS_DECLINED);
	}
	ck_assert_uint_eq(taken, CQ);
	ck_assert(!queue_has_work(q));
	finish_declined(2);
	ck_assert(queue_has_work(q));
	ck_assert_int_eq(pull(), 2);
	ck_assert_int_eq(pull(), 0);
	ck_assert_uint_eq(q->cpu_backlog, CQ * 4096);
}
END_TEST

/* What waits for an engine when the plan takes the engines away goes back, in order. */
START_TEST(evicted)
{
	for (uint64_t id = 1; id < 5; id++)
		push(copy(id, id == 3 ? AMUX_SQE_ENGINE_ONLY : 0));
	ck_assert_int_eq(pull(), 4);
	grant(false, AMUX_DECLINE_ALWAYS);
	push(copy(5, 0));
	push(copy(6, AMUX_SQE_ENGINE_ONLY));
	pull();
	serve();
	expect_answer(1, AMUX_STATUS_DECLINED);
	expect_answer(2, AMUX_STATUS_DECLINED);
	expect_answer(3, -ENODEV);
	expect_answer(4, AMUX_STATUS_DECLINED);
	expect_answer(5, AMUX_STATUS_DECLINED);
	expect_answer(6, -ENODEV);
	ck_assert_uint_eq(q->cpu_backlog, 4 * 4096);
	ck_assert_uint_eq(tenant.stats.declined[DECLINE_ORDER], 1);
	expect_ledger();
}
END_TEST

/* --------------------------------------------------------------- stop and drain */

START_TEST(stops)
{
	push(copy(1, 0));
	push(copy(2, 0));
	pull();
	sched_issue(&sched, now);
	push(copy(3, AMUX_SQE_FENCE));
	push(copy(4, 0));
	ck_assert_int_eq(pull(), 0);
	queue_stop(q, now);
	ck_assert(queue_drained(q));
	ck_assert_int_eq(pull(), 0);
	ck_assert(!queue_has_work(q));
	ck_assert(!queue_quiet(q)); /* what is on the engine cannot be withdrawn */
	serve();
	ck_assert(queue_quiet(q));
	expect_answer(1, 0);
	expect_answer(2, 0);
	expect_none();
	expect_ledger();
}
END_TEST

START_TEST(stops_before_issue)
{
	for (uint64_t id = 1; id < 5; id++)
		push(copy(id, 0));
	pull();
	queue_stop(q, now);
	serve();
	for (uint64_t id = 1; id < 5; id++)
		expect_answer(id, -ECANCELED);
	ck_assert(queue_quiet(q));
	ck_assert(!sched_busy(&sched));
	expect_ledger();
}
END_TEST

/* A drain serves what was submitted before it, fences and all, and nothing after. */
START_TEST(drains)
{
	push(copy(1, AMUX_SQE_CPU_ONLY));
	push(copy(2, 0));
	push(copy(3, AMUX_SQE_FENCE));
	push(copy(4, AMUX_SQE_FENCE));
	ck_assert_int_eq(pull(), 2);
	queue_drain(q);
	push(copy(5, 0));
	push(copy(6, 0));
	ck_assert(!queue_drained(q));
	serve();
	expect_answer(1, AMUX_STATUS_DECLINED);
	expect_answer(2, AMUX_STATUS_DECLINED);
	ck_assert(!queue_drained(q)); /* a fence waits for the client */
	finish_declined(2);
	for (uint64_t id = 3; id < 5; id++) {
		ck_assert(!queue_drained(q));
		ck_assert(queue_has_work(q));
		ck_assert_int_eq(pull(), 1);
		serve();
		expect_answer(id, 0);
	}
	ck_assert(queue_drained(q));
	ck_assert(!queue_has_work(q));
	ck_assert_int_eq(pull(), 0);
	serve();
	expect_none();
	expect_ledger();
}
END_TEST

/* Also when the CQ is full at that moment. */
START_TEST(drains_a_full_queue)
{
	for (uint64_t id = 0; id < CQ; id++) {
		push(noop(id, 0));
		pull();
		serve();
	}
	for (uint64_t id = CQ; id < CQ + SQ; id++)
		push(noop(id, 0));
	queue_drain(q);
	for (uint64_t id = 0; id < CQ + SQ; id++) {
		ck_assert(!queue_drained(q) || id >= SQ);
		expect_answer(id, 0);
		pull();
		serve();
	}
	ck_assert(queue_drained(q));
	expect_none();
	expect_ledger();
}
END_TEST

/* ------------------------------------------------------------------------- state */

START_TEST(tells_its_state)
{
	struct amux_ring_hdr *h = ring.hdr;

	ck_assert_uint_eq(h->state, AMUX_BROKER_RUNNING);
	ck_assert_uint_eq(h->min_offload, AMUX_OFFLOAD_NEVER); /* before anything is known */
	queue_publish_state(q, 12345);
	ck_assert_uint_eq(h->heartbeat_ns, 12345);
	ck_assert_uint_eq(h->est_wait_ns, 0);
	ck_assert_uint_eq(h->engine_bps, dev.rate_bps);
	ck_assert_uint_lt(h->min_offload, 1 << 20);
	push(copy(1, 0));
	pull();
	queue_publish_state(q, now);
	ck_assert_uint_eq(h->est_wait_ns, sched_wait_ns(&sched, &tenant));
	ck_assert_uint_gt(h->est_wait_ns, 0);
	serve();
	grant(true, AMUX_DECLINE_ALWAYS);
	queue_publish_state(q, now);
	ck_assert_uint_eq(h->min_offload, AMUX_OFFLOAD_NEVER);
	grant(false, AMUX_DECLINE_PREDICT);
	queue_publish_state(q, now);
	ck_assert_uint_eq(h->min_offload, AMUX_OFFLOAD_NEVER);
	ck_assert_uint_eq(h->engine_bps, 0);
	grant(true, AMUX_DECLINE_PREDICT);
	sched.cpu_only = true;
	queue_publish_state(q, now);
	ck_assert_uint_eq(h->min_offload, AMUX_OFFLOAD_NEVER);
	sched.cpu_only = false;
	set.draining = true;
	queue_publish_state(q, now);
	ck_assert_uint_eq(h->state, AMUX_BROKER_DRAINING);
}
END_TEST

/* ------------------------------------------------------------------------ cancel */

static struct amux_sqe cancel(uint64_t id, uint64_t first, uint64_t last)
{
	return (struct amux_sqe){ .op = AMUX_OP_CANCEL,
				  .user_data = id,
				  .offset = { first, last } };
}

static void expect_cancel(uint64_t id, uint64_t withdrawn)
{
	struct amux_cqe cqe = answer();

	ck_assert_uint_eq(cqe.user_data, id);
	ck_assert_int_eq(cqe.status, 0);
	ck_assert_uint_eq(cqe.result, withdrawn);
}

/* What has not begun is taken back, of the engine's time nothing is charged for it. */
START_TEST(cancels)
{
	for (uint64_t id = 1; id <= 5; id++)
		push(copy(id, 0));
	push(cancel(6, 4, 4));
	push(cancel(7, 2, 2));
	push(cancel(8, 9, 9));
	ck_assert_int_ge(pull(), 8);
	queues_flush(&set);
	expect_answer(4, -ECANCELED);
	expect_cancel(6, 1);
	expect_answer(2, -ECANCELED);
	expect_cancel(7, 1);
	expect_cancel(8, 0); /* nobody's */
	ck_assert_uint_eq(q->flow.unanswered, 3);
	ck_assert_uint_eq(tenant.queued_bytes, 3 * copy(1, 0).len);
	serve();
	expect_answer(1, 0);
	expect_answer(3, 0);
	expect_answer(5, 0);
	expect_none();
	ck_assert_uint_eq(tenant.stats.withdrawn, 2);
	ck_assert_uint_eq(tenant.stats.failed, 0);
	ck_assert_uint_eq(tenant.stats.completed, 6);
	ck_assert_uint_eq(tenant.stats.engine_bytes, 3 * copy(1, 0).len);
	ck_assert_uint_eq(tenant.queued_bytes, 0);
	ck_assert_uint_eq(region[0]->refs, 0);
	expect_ledger();
}
END_TEST

/* A range of user_data, which may wrap. */
START_TEST(cancels_a_range)
{
	const uint64_t base = UINT64_MAX - 2;

	for (uint64_t i = 0; i < 6; i++)
		push(copy(base + i, 0));
	push(cancel(100, base + 2, base + 4));
	pull();
	queues_flush(&set);
	for (uint64_t i = 4; i >= 2; i--)
		expect_answer(base + i, -ECANCELED);
	expect_cancel(100, 3);
	serve();
	expect_answer(base, 0);
	expect_answer(base + 1, 0);
	expect_answer(base + 5, 0);
	expect_none();
	expect_ledger();
}
END_TEST

/* Of what has begun nothing is taken back, be it only a chunk of many. */
START_TEST(cancels_nothing_begun)
{
	struct amux_sqe big = copy(1, 0);

	big.len = SIZE; /* four chunks, the plan's cap lets in less */
	plan.share[0][AMUX_CLASS_USER].cap_bytes = 64 << 10;
	push(big);
	push(copy(2, 0));
	pull();
	sched_issue(&sched, now);
	ck_assert_uint_eq(sched.inflight_chunks, 1);
	push(cancel(3, 0, UINT64_MAX));
	pull();
	queues_flush(&set);
	expect_answer(2, -ECANCELED);
	expect_cancel(3, 1);
	while (sched_busy(&sched))
		serve();
	expect_answer(1, 0);
	expect_none();
	expect_ledger();
}
END_TEST

/* It is not held by a FENCE, and takes back what is; those behind the FENCE still wait. */
START_TEST(cancels_behind_a_fence)
{
	push(copy(1, 0));
	push(copy(2, AMUX_SQE_FENCE));
	push(copy(3, 0));
	push(copy(4, 0));
	pull();
	sched_issue(&sched, now);
	push(cancel(5, 2, 3));
	push(copy(6, 0));
	ck_assert_int_ge(pull(), 2);
	queues_flush(&set);
	expect_cancel(5, 2); /* their own answers come in their turn */
	expect_none();
	ck_assert_uint_eq(q->flow.unanswered, 1);
	serve();
	expect_answer(1, 0);
	expect_none();
	pull();
	serve();
	expect_answer(2, -ECANCELED);
	expect_answer(3, -ECANCELED);
	expect_answer(4, 0);
	expect_answer(6, 0);
	expect_none();
	ck_assert_uint_eq(tenant.stats.engine_bytes, 3 * copy(1, 0).len);
	expect_ledger();
}
END_TEST

/* A FENCE waits for a CANCEL before it as for everything. */
START_TEST(fence_waits_for_a_cancel)
{
	push(copy(1, 0));
	push(cancel(2, 1, 1));
	push(copy(3, AMUX_SQE_FENCE));
	pull();
	ck_assert_uint_eq(q->flow.unanswered, 0);
	ck_assert(queue_holds(q)); /* the answers are not published yet */
	queues_flush(&set);
	expect_answer(1, -ECANCELED);
	expect_cancel(2, 1);
	pull();
	serve();
	expect_answer(3, 0);
	expect_ledger();
}
END_TEST

START_TEST(cancels_badly)
{
	struct amux_sqe s[8];

	for (unsigned int i = 0; i < 8; i++)
		s[i] = cancel(i, 0, UINT64_MAX);
	s[0].flags = AMUX_SQE_FENCE;
	s[1].rsvd1 = 1;
	s[2].region[0] = SESSION_REGIONS_MAX;
	s[3].region[2] = 1;
	s[4].offset[2] = 1;
	s[5].len = 1;
	s[6].flags = 0x100;
	push(copy(100, 0));
	for (unsigned int i = 0; i < 7; i++)
		push(s[i]);
	pull();
	queues_flush(&set);
	for (unsigned int i = 0; i < 7; i++) {
		static const uint16_t field[] = { AMUX_FIELD_FLAGS,   AMUX_FIELD_RSVD,
						  AMUX_FIELD_REGION0, AMUX_FIELD_REGION2,
						  AMUX_FIELD_OFFSET2, AMUX_FIELD_LEN,
						  AMUX_FIELD_FLAGS };
		struct amux_cqe cqe = answer();

		ck_assert_uint_eq(cqe.user_data, i);
		ck_assert_int_eq(cqe.status, -EINVAL);
		ck_assert_uint_eq(cqe.field, field[i]);
	}
	serve();
	expect_answer(100, 0);
	expect_ledger();
}
END_TEST

/* A long walk is done in steps that count against what may be pulled. */
START_TEST(cancels_step_by_step)
{
	const uint32_t many = 1024;
	unsigned int pulls = 0;

	close_queue();
	open_queue(2 * many, 2 * many);
	for (uint64_t id = 0; id < many; id++)
		push(copy(id, 0));
	while (q->flow.unanswered < many)
		ck_assert_int_gt(queue_pull(q, 64, now), 0);
	push(cancel(many, 0, 0)); /* the oldest: found last */
	push(copy(many + 1, 0));
	while (q->ring.sq_head != q->ring.sq_tail || q->withdrawal.active || !pulls) {
		int n = queue_pull(q, 16, now);

		ck_assert_int_gt(n, 0);
		ck_assert_int_le(n, 18);
		ck_assert(queue_has_work(q) || !q->withdrawal.active);
		pulls++;
		if (pulls == 3) { /* meanwhile they begin, and end */
			sched_issue(&sched, now);
			ck_assert_uint_gt(sched.inflight_chunks, 0);
		}
	}
	ck_assert_uint_ge(pulls, many / WITHDRAW_STEPS / 17);
	queues_flush(&set);
	expect_cancel(many, 0); /* it had begun by then */
	while (q->flow.unanswered)
		serve();
	for (uint64_t id = 0; id < many; id++)
		expect_answer(id, 0);
	expect_answer(many + 1, 0);
	expect_ledger();
}
END_TEST

/* A queue that stops with a CANCEL under way answers neither it nor loses count. */
START_TEST(stops_in_a_cancel)
{
	close_queue();
	open_queue(256, 256);
	for (uint64_t id = 0; id < 200; id++)
		push(copy(id, 0));
	while (q->flow.unanswered < 200)
		pull();
	push(cancel(200, 0, 9));
	queue_pull(q, 4, now);
	ck_assert(q->withdrawal.active);
	queue_stop(q, now);
	serve();
	ck_assert(queue_quiet(q));
	ck_assert_uint_eq(tenant.stats.withdrawn, 200);
	expect_ledger();
}
END_TEST

/* ------------------------------------------------------------------------ random */

#define IDS 2000u

/* What the client knows of its requests. */
static struct {
	uint8_t *answered; /* by id */
	bool *fence, *cancel;
	uint64_t next;		       /* id to submit */
	uint32_t declined;	       /* taken from the CQ */
	uint32_t done;		       /* finished of them */
	uint64_t cancelled, withdrawn; /* -ECANCELED; by the word of the CANCELs */
} client;

static struct amux_sqe random_sqe(uint64_t id)
{
	struct amux_sqe sqe = rnd(&seed) & 1 ? copy(id, 0) : noop(id, 0);
	uint16_t flags = 0;

	if (!rnd_below(&seed, 10))
		return cancel(id, id - 1 - rnd_below(&seed, 6), id - rnd_below(&seed, 3));
	if (!rnd_below(&seed, 8))
		flags |= AMUX_SQE_FENCE;
	if (!rnd_below(&seed, 16))
		flags |= rnd(&seed) & 1 ? AMUX_SQE_ENGINE_ONLY : AMUX_SQE_CPU_ONLY;
	sqe.flags = flags;
	if (sqe.len) {
		sqe.len = 1 + rnd_below(&seed, SIZE / 2);
		if (rnd(&seed) & 1) { /* within one region: overlaps, a sequence of chunks */
			sqe.region[1] = sqe.region[0];
			sqe.offset[1] = rnd_below(&seed, SIZE / 2);
		}
	}
	if (!rnd_below(&seed, 16))
		sqe.rsvd1 = 1;
	return sqe;
}

static void client_take(void)
{
	struct amux_cqe cqe = answer();

	must(cqe.user_data < client.next);
	must(!client.answered[cqe.user_data]);
	/* a fence, and what comes after one, is answered after all that was before */
	if (client.fence[cqe.user_data])
		for (uint64_t id = 0; id < cqe.user_data; id++)
			must(client.answered[id]);
	client.answered[cqe.user_data] = 1;
	client.cancelled += cqe.status == -ECANCELED;
	if (client.cancel[cqe.user_data]) {
		must(!cqe.status);
		client.withdrawn += cqe.result;
	}
	if (cqe.status == AMUX_STATUS_DECLINED)
		client.declined++;
}

START_TEST(random_traffic)
{
	const uint64_t end = IDS;

	seed = (uint64_t)_i + 1;
	client.answered = calloc(IDS, 1);
	client.fence = calloc(IDS, sizeof(*client.fence));
	client.cancel = calloc(IDS, sizeof(*client.cancel));
	client.next = client.declined = client.done = 0;
	client.cancelled = client.withdrawn = 0;
	for (unsigned int step = 0; step < 200000; step++) {
		uint32_t in_cq = amux_load_acquire(&ring.hdr->cq_tail) - ring.cq_head;

		must(in_cq <= CQ);
		must(queue_has_work(q) || q->held_head == q->held_tail || q->flow.unanswered ||
		     !list_empty(&q->dirty) || client.done != q->declined_total ||
		     in_cq + q->flow.unanswered + q->held_tail - q->held_head == CQ);
		now += 1000;
		switch (rnd_below(&seed, 10)) {
		case 0:
		case 1:
		case 2:
			if (client.next < end && amux_sq_space(&ring)) {
				struct amux_sqe sqe = random_sqe(client.next);

				client.fence[client.next] = sqe.flags & AMUX_SQE_FENCE;
				client.cancel[client.next] = sqe.op == AMUX_OP_CANCEL;
				client.next++;
				*amux_sq_next(&ring) = sqe;
				amux_sq_publish(&ring);
			}
			break;
		case 3:
			must(queue_pull(q, (unsigned int)rnd_below(&seed, 9), now) >= 0);
			break;
		case 4:
			sched_issue(&sched, now);
			break;
		case 5:
			dev.ops->progress(&dev, now, rnd_below(&seed, 20000));
			sched_reap(&sched, now);
			break;
		case 6:
			queues_flush(&set);
			break;
		case 7:
			if (!rnd_below(&seed, 50))
				grant(rnd(&seed) & 1, (uint32_t)rnd_below(&seed, 3));
			break;
		case 8:
			if (amux_cq_ready(&ring))
				client_take();
			break;
		default:
			if (client.done != client.declined)
				finish_declined(++client.done);
		}
		if (client.next == end && step > 150000 && !sched_busy(&sched))
			break;
	}
	/* the rest */
	grant(true, AMUX_DECLINE_NEVER);
	for (unsigned int i = 0; i < 2000; i++) {
		must(pull() >= 0);
		serve();
		while (amux_cq_ready(&ring))
			client_take();
		client.done = client.declined;
		finish_declined(client.done);
	}
	for (uint64_t id = 0; id < client.next; id++)
		must(client.answered[id]);
	ck_assert_uint_eq(client.next, end);
	ck_assert_uint_eq(client.declined, q->declined_total);
	pull();
	ck_assert_uint_eq(tenant.stats.requests, end);
	ck_assert_uint_eq(sched.users.requests, end);
	ck_assert_uint_eq(client.cancelled, client.withdrawn);
	ck_assert_uint_eq(tenant.stats.withdrawn, client.withdrawn);
	ck_assert_uint_gt(client.withdrawn, 20);
	ck_assert_uint_gt(client.declined, 50);
	ck_assert_uint_gt(tenant.stats.completed, 200);
	expect_ledger();
	free(client.answered);
	free(client.fence);
	free(client.cancel);
}
END_TEST

/* Rings of every size, at the ends of the index space. */
START_TEST(indices_wrap)
{
	close_queue();
	open_queue(2, 2);
	/* as after 2^32 - 5 requests */
	q->ring.sq_head = q->ring.sq_tail = ring.sq_head = ring.sq_tail = UINT32_MAX - 4;
	q->claimed = q->ring.sq_head;
	q->ring.cq_head = q->ring.cq_tail = ring.cq_head = ring.cq_tail = UINT32_MAX - 4;
	q->declined_total = q->declined_seen = UINT32_MAX - 4;
	ring.hdr->sq_head = ring.hdr->sq_tail = UINT32_MAX - 4;
	ring.hdr->cq_head = ring.hdr->cq_tail = UINT32_MAX - 4;
	finish_declined(UINT32_MAX - 4);
	for (uint32_t id = 0; id < 20; id++) {
		push(copy(id, AMUX_SQE_CPU_ONLY));
		ck_assert_int_eq(pull(), 1);
		serve();
		expect_answer(id, AMUX_STATUS_DECLINED);
		finish_declined(UINT32_MAX - 3 + id);
	}
	push(copy(20, AMUX_SQE_FENCE));
	ck_assert_int_eq(pull(), 1);
	serve();
	expect_answer(20, 0);
	ck_assert_uint_eq(q->cpu_backlog, 0);
	expect_ledger();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("session");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, serves);
	tcase_add_test(t, wakes);
	tcase_add_test(t, passes_noops);
	tcase_add_test(t, copies_on_the_spot);
	tcase_add_test(t, spot_steps_aside);
	tcase_add_test(t, spot_leaves_alone);
	tcase_add_test(t, spot_meets_a_hole);
	tcase_add_test(t, wakes_without_waiting);
	tcase_add_test(t, answers_wrong_ones);
	tcase_add_test(t, region_in_use);
	tcase_add_test(t, reserves_cq_slots);
	tcase_add_test(t, budget);
	tcase_add_loop_test(t, impossible_tail, 0, 5);
	tcase_add_test(t, fence_waits_for_answers);
	tcase_add_test(t, fence_alone);
	tcase_add_test(t, fence_waits_for_the_cpu);
	tcase_add_test(t, episode);
	tcase_add_loop_test(t, hostile_declined_done, 0, 4);
	tcase_add_test(t, declined_bound);
	tcase_add_test(t, evicted);
	tcase_add_test(t, stops);
	tcase_add_test(t, stops_before_issue);
	tcase_add_test(t, drains);
	tcase_add_test(t, drains_a_full_queue);
	tcase_add_test(t, tells_its_state);
	tcase_add_test(t, cancels);
	tcase_add_test(t, cancels_a_range);
	tcase_add_test(t, cancels_nothing_begun);
	tcase_add_test(t, cancels_behind_a_fence);
	tcase_add_test(t, fence_waits_for_a_cancel);
	tcase_add_test(t, cancels_badly);
	tcase_add_test(t, cancels_step_by_step);
	tcase_add_test(t, stops_in_a_cancel);
	tcase_add_loop_test(t, random_traffic, 0, 6);
	tcase_add_test(t, indices_wrap);
	return run_case(t, "session", 60);
}

// SPDX-License-Identifier: MIT
/*
 * fuzz_ring.c - a queue whose client writes whatever it likes into the ring, at any moment
 * between the broker's turns: SQEs, indices, the broker's own lines.  Each request that the
 * broker takes is answered once, with a status that the ABI knows; nothing is written outside
 * what was registered for writing.
 *
 * One thread, the software engine by hand: the same input does the same every time.
 */
#include "../../broker/clock.h"
#include "../../broker/fault_fixup.h"
#include "../../broker/session.h"
#include "../../broker/soft.h"
#include "fuzz_util.h"
#include "input.h"

#define SQ	8u
#define CQ	16u
#define SIZE	(32u << 10)
#define REGIONS 5u
#define STEPS	256u
#define CANARY	0x5a

/* The last two are not registered, and registered for reading alone. */
enum { RW0, RW1, ALIAS, FOREIGN, READONLY };

static struct device device;
static struct sched sched;
static struct amux_plan plan;
static struct mux_stats mux;
static struct sched_tenant tenant;
static struct queue_set set;
static struct session session;
static struct region *region[REGIONS];
static struct queue *queue;
static uint8_t *ring_map, *view[REGIONS];
static int memory[REGIONS];
static uint64_t now;
static bool broken;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct device *devs = &device;
	struct soft_config cfg;
	char err[160];

	(void)argc;
	(void)argv;
	must(!fixup_init());
	soft_config_default(&cfg);
	cfg.engines = 2;
	cfg.wq_size[ENGINE_WQ_USER] = 4;
	must(!soft_open(&device, 0, &cfg));
	must(!sched_init(&sched, &devs, 1, &plan, &mux));
	sched.cpu_bps = 10000000000ull;
	set.sched = &sched;
	list_init(&set.hot);
	list_init(&set.dirty);
	list_init(&set.all);
	list_init(&session.queues);
	for (unsigned int i = 0; i < REGIONS; i++) {
		memory[i] = i == ALIAS ? dup(memory[RW0]) : sealed(SIZE, F_SEAL_SHRINK);
		must(!region_map(&region[i], memory[i], SIZE, i == READONLY, err, sizeof(err)));
		region[i]->id = SESSION_REGIONS_MAX + i;
		if (i != FOREIGN)
			session.regions[i] = region[i];
		view[i] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory[i], 0);
		must(view[i] != MAP_FAILED);
		memset(view[i], CANARY, SIZE);
	}
	return 0;
}

static void grant(uint8_t how)
{
	memset(&plan, 0, sizeof(plan));
	plan.abi = AMUX_POLICY_ABI;
	plan.chunk_bytes = 4096u << (how >> 4 & 3);
	plan.decline[AMUX_CLASS_USER] = (how & 3) % 3;
	if (how & 4)
		plan.share[0][AMUX_CLASS_USER] = (struct amux_plan_share){
			.engine_mask = 1 + (how >> 6 & 1) * 2,
			.limit_bps = how & 8 ? 100000000 : AMUX_BPS_MAX,
			.cap_bytes = 32 << 10,
		};
	sched_replan(&sched, now);
}

static void begin(void)
{
	int fd;

	now = NSEC_PER_SEC;
	broken = false;
	set.draining = false;
	sched_tenant_init(&tenant, 1, 1, 0, AMUX_BPS_MAX);
	grant(4);
	must(!queue_create(&queue, 1, SQ, CQ, &fd));
	ring_map = mmap(NULL, queue->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(ring_map != MAP_FAILED);
	close(fd);
	queue->flow.tenant = &tenant;
	queue_attach(queue, &session, &set);
}

/* One turn of the mux thread's loop, as far as this queue has a part in it. */
static void broker_turn(void)
{
	now += 10000;
	device.ops->progress(&device, now, UINT64_MAX);
	sched_reap(&sched, now);
	queues_flush(&set);
	if (!broken && queue_pull(queue, SQ, now) < 0) {
		broken = true;
		queue_stop(queue, now);
	}
	sched_issue(&sched, now);
	queues_flush(&set);
	queue_publish_state(queue, now);
}

static struct amux_ring_hdr *header(void)
{
	return (struct amux_ring_hdr *)(void *)ring_map;
}

static uint8_t *sqe_slot(uint32_t i)
{
	return ring_map + AMUX_RING_SQ_OFFSET + (i % SQ) * sizeof(struct amux_sqe);
}

/* Nearly right: numbers that are in range more often than not. */
static void sqe_likely(struct input *in, struct amux_sqe *sqe)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->op = input_u8(in) % AMUX_OP_COUNT;
	sqe->flags = input_u8(in) & AMUX_SQE_FLAGS;
	sqe->user_data = input_u8(in);
	for (unsigned int i = 0; i < 3; i++) {
		sqe->region[i] = SESSION_REGIONS_MAX + input_u8(in) % REGIONS;
		sqe->offset[i] = input_u16(in);
	}
	sqe->len = input_u16(in);
}

static void client_push(struct input *in, bool likely)
{
	struct amux_sqe sqe;
	uint32_t tail = header()->sq_tail;

	if (likely)
		sqe_likely(in, &sqe);
	else
		input_bytes(in, &sqe, sizeof(sqe));
	memcpy(sqe_slot(tail), &sqe, sizeof(sqe));
	__atomic_store_n(&header()->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

/* What a well-behaved client does with its answers. */
static void client_collect(void)
{
	struct amux_ring_hdr *h = header();
	uint32_t n = 0;

	while (h->cq_head != h->cq_tail && n++ < CQ) {
		const struct amux_cqe *cqe =
			(const struct amux_cqe *)(const void *)(sqe_slot(0) +
								SQ * sizeof(struct amux_sqe)) +
			h->cq_head % CQ;

		if (cqe->status == AMUX_STATUS_DECLINED)
			h->declined_done++;
		h->cq_head++;
	}
}

static void client_scribble(struct input *in)
{
	size_t at = input_u16(in) % queue->map_bytes, n = input_u8(in);

	/* One in two goes into the header, where it hurts. */
	if (n & 1)
		at %= sizeof(struct amux_ring_hdr);
	n %= 24;
	if (n > queue->map_bytes - at)
		n = queue->map_bytes - at;
	input_bytes(in, ring_map + at, n);
}

static void step(struct input *in)
{
	struct amux_ring_hdr *h = header();
	uint8_t what = input_u8(in);

	switch (what % 12) {
	case 0 ... 3:
		client_push(in, true);
		break;
	case 4:
		client_push(in, false);
		break;
	case 5:
		h->sq_tail += input_u8(in);
		break;
	case 6:
		h->cq_head = what & 16 ? input_u32(in) : h->cq_head + input_u8(in);
		break;
	case 7:
		h->declined_done = what & 16 ? input_u32(in) : h->declined_done + input_u8(in);
		h->cq_flags = input_u8(in);
		break;
	case 8:
		client_collect();
		break;
	case 9:
		grant(input_u8(in));
		break;
	case 10:
		client_scribble(in);
		break;
	default:
		/* Pages that come and go under the engine. */
		if (what & 16)
			punch(memory[RW1], input_u8(in) % 8 * 4096ull, 4096);
		else
			queue_drain(queue);
		break;
	}
	if (what & 64)
		broker_turn();
}

/* Everything answered, nothing held, and nobody else's memory touched. */
static void end(void)
{
	queue_stop(queue, now);
	for (unsigned int i = 0; sched_busy(&sched) || !queue_quiet(queue); i++) {
		must(i < 100000);
		now += 1000000;
		broker_turn();
	}
	must(tenant.stats.ledger_in == tenant.stats.ledger_out);
	for (unsigned int i = 0; i < REGIONS; i++)
		must(!region[i]->refs);
	for (unsigned int i = FOREIGN; i <= READONLY; i++)
		must(view[i][0] == CANARY && !memcmp(view[i], view[i] + 1, SIZE - 1));
	queue_detach(queue);
	must(list_empty(&set.all) && list_empty(&set.hot) && list_empty(&session.queues));
	munmap(ring_map, queue->map_bytes);
	queue_free(queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	begin();
	for (unsigned int i = 0; i < STEPS && in.left; i++)
		step(&in);
	end();
	return 0;
}

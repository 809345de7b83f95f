// SPDX-License-Identifier: MIT
/*
 * test_dsa.c - the dsa engine over WQs that are FIFOs with a thread behind each, which executes
 * what is written: how descriptors get there, how entries are counted, and what becomes of a
 * request whose engine is lost, up to its return.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "../../broker/clock.h"
#include "../../broker/dsa.h"
#include "../../broker/dsa_portal.h"
#include "../../broker/dsa_watch.h"
#include "../../broker/dsa_wq.h"
#include "../../broker/fault_fixup.h"
#include "../../broker/sched.h"
#include "../../broker/soft.h"
#include "core_util.h"

#define WQS	 2
#define ENTRIES	 4
#define KIB	 1024ull
#define SIZE	 (256 * KIB)
#define PATIENCE (5 * NSEC_PER_SEC)

/* ---------------------------------------------------------------------- a WQ */

enum mode { EXECUTE, HOLD, LOSE, FAIL };

struct mock {
	int fd;
	pthread_t thread;
	bool running;
	uint32_t mode; /* enum mode; atomic, like the rest */
	uint32_t stop, taken;
	struct dsa_hw_desc held[64];
	uint32_t n_held;
};

static struct mock mock[WQS];
static struct idxd_device host;
static struct dsa_config cfg;
static struct device dev;
static char dir[] = "/tmp/test_dsa.XXXXXX";
static char err[256];
static uint64_t seed;

static void answer(const struct dsa_hw_desc *desc, uint8_t status)
{
	struct dsa_completion_record *rec = (void *)(uintptr_t)desc->completion_addr;

	__atomic_store_n(&rec->status, status, __ATOMIC_RELEASE);
}

static void *mock_main(void *arg)
{
	struct mock *m = arg;
	struct dsa_hw_desc desc __attribute__((aligned(64)));

	while (!__atomic_load_n(&m->stop, __ATOMIC_ACQUIRE)) {
		uint32_t mode = __atomic_load_n(&m->mode, __ATOMIC_ACQUIRE);

		if (mode == EXECUTE && m->n_held) {
			soft_execute(&m->held[--m->n_held]);
			continue;
		}
		if (read(m->fd, &desc, sizeof(desc)) != (ssize_t)sizeof(desc)) {
			clock_sleep_until(clock_ns() + 50000);
			continue;
		}
		__atomic_fetch_add(&m->taken, 1, __ATOMIC_RELEASE);
		if (mode == EXECUTE)
			soft_execute(&desc);
		else if (mode == FAIL)
			answer(&desc, DSA_COMP_HW_ERR_DRB);
		else if (mode == HOLD && m->n_held < 64)
			m->held[m->n_held++] = desc;
	}
	return NULL;
}

static void mock_mode(unsigned int i, enum mode mode)
{
	__atomic_store_n(&mock[i].mode, (uint32_t)mode, __ATOMIC_RELEASE);
}

/* WQ @i is enabled. */
static void mock_enable(unsigned int i)
{
	struct mock *m = &mock[i];

	memset(m, 0, sizeof(*m));
	ck_assert_int_eq(mkfifo(host.wq[i].path, 0600), 0);
	m->fd = open(host.wq[i].path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_ge(m->fd, 0);
	ck_assert_int_eq(pthread_create(&m->thread, NULL, mock_main, m), 0);
	m->running = true;
	host.wq[i].enabled = true;
}

/* ... and disabled: its node goes first, what it has is dropped. */
static void mock_disable(unsigned int i)
{
	struct mock *m = &mock[i];

	if (!m->running)
		return;
	unlink(host.wq[i].path);
	__atomic_store_n(&m->stop, 1, __ATOMIC_RELEASE);
	pthread_join(m->thread, NULL);
	close(m->fd);
	m->running = false;
	host.wq[i].enabled = false;
}

/* What the broker has written is taken. */
static void mock_takes(unsigned int i, uint32_t n)
{
	uint64_t end = clock_ns() + PATIENCE;

	while (__atomic_load_n(&mock[i].taken, __ATOMIC_ACQUIRE) < n) {
		must(clock_ns() < end);
		clock_sleep_until(clock_ns() + 50000);
	}
}

static void setup(void)
{
	seed = 7;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	memset(&host, 0, sizeof(host));
	strcpy(host.name, "dsa0");
	strcpy(host.pci, "0000:6a:01.0");
	host.enabled = true;
	host.n_engines = host.n_wqs = WQS;
	host.max_xfer = 2u << 30;
	for (unsigned int i = 0; i < WQS; i++) {
		host.engine_group[i] = (int)i;
		host.wq[i] = (struct idxd_wq){
			.id = i,
			.group = (int)i,
			.size = ENTRIES,
			.priority = 5,
			.max_xfer = 2u << 20,
			.type = IDXD_TYPE_USER,
		};
		snprintf(host.wq[i].path, sizeof(host.wq[i].path), "%s/wq0.%u", dir, i);
		mock_enable(i);
	}
	dsa_config_default(&cfg);
	cfg.timeout_ns = PATIENCE;
}

static void open_device(void)
{
	ck_assert_msg(!dsa_open(&dev, 0, &host, &cfg, err, sizeof(err)), "%s", err);
}

static void teardown(void)
{
	if (dev.priv)
		dev.ops->close(&dev);
	for (unsigned int i = 0; i < WQS; i++)
		mock_disable(i);
	rmdir(dir);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
}

/* ------------------------------------------------------------------- opening */

START_TEST(describes_itself)
{
	host.wq[1].size = ENTRIES + 4;
	host.wq[1].max_xfer = 1u << 20;
	ck_assert_uint_eq(dsa_engines(&host), 2);
	open_device();
	ck_assert(device_is_dsa(&dev));
	ck_assert_str_eq(dev.name, "dsa0");
	ck_assert_str_eq(dsa_wq_name(&dev, 1), "wq0.1");
	ck_assert_uint_eq(dev.engines, 2);
	ck_assert_uint_eq(dev.pci_id, 0x6a08);
	ck_assert_uint_eq(dev.max_xfer, 1u << 20);
	ck_assert_uint_eq(dev.wq_size[ENGINE_WQ_USER], ENTRIES);
	ck_assert_uint_eq(dev.rate_bps, 30000000000ull);
	ck_assert_uint_eq(dev.caps & (DEVICE_CAP_CPU | DEVICE_CAP_MODEL), 0);
	ck_assert_uint_eq(dev.ops->next_event(&dev, clock_ns()), UINT64_MAX);
	ck_assert(device_engine_up(&dev, 0) && device_engine_up(&dev, 1));
}
END_TEST

/* Rates and times of a slower clock. */
START_TEST(scales)
{
	cfg.time_scale = 1000;
	cfg.engine_bps = 10000000000ull;
	open_device();
	ck_assert_uint_eq(dev.engine_bps, 10000000);
	ck_assert_uint_eq(dev.rate_bps, 20000000); /* two engines, below the fabric */
	ck_assert_uint_eq(dev.desc_ns, 80000);
	ck_assert_uint_eq(dev.timeout_ns, PATIENCE * 1000);
	ck_assert_uint_eq(dev.caps & DEVICE_CAP_MODEL, DEVICE_CAP_MODEL);
}
END_TEST

/* Engines that share a group share its WQ: one of them stands for it. */
START_TEST(one_engine_for_each_wq)
{
	host.engine_group[1] = 0;
	ck_assert_uint_eq(dsa_engines(&host), 1);
	host.engine_group[0] = host.engine_group[1] = -1;
	ck_assert_uint_eq(dsa_engines(&host), 0);
	ck_assert_int_eq(dsa_open(&dev, 0, &host, &cfg, err, sizeof(err)), -ENODEV);
	ck_assert_str_eq(err, "dsa0 has no enabled user WQ");
}
END_TEST

static void refused(int want, const char *text)
{
	err[0] = 0;
	ck_assert_int_eq(dsa_open(&dev, 0, &host, &cfg, err, sizeof(err)), want);
	ck_assert_msg(strstr(err, text) != NULL, "%s: lacks '%s'", err, text);
	ck_assert_ptr_null(dev.priv);
}

START_TEST(refusals)
{
	cfg.submit = DSA_ENQCMD;
	refused(-EINVAL, "wq0.0 is a dedicated WQ: [dsa] submit = enqcmd: expected auto, "
			 "movdir64b or write");
	host.wq[0].shared = true;
	cfg.submit = DSA_MOVDIR64B;
	refused(-EINVAL,
		"wq0.0 is a shared WQ: [dsa] submit = movdir64b: expected auto, enqcmd "
		"or write");
	/* insisted on, and a FIFO cannot be mapped */
	host.wq[0].shared = false;
	refused(-ENODEV, "its portal cannot be mapped");
	cfg.submit = DSA_WRITE;
	mock_mode(1, FAIL);
	refused(-EIO, "wq0.1: a NOOP by write was answered with status 0x");
	mock_mode(1, LOSE);
	refused(-EIO, "wq0.1: a NOOP by write was not answered");
	mock_disable(1);
	host.wq[1].enabled = true;
	refused(-ENOENT, "wq0.1: No such file or directory");
}
END_TEST

/* ---------------------------------------------------------------- the portal */

static uint8_t *slots[200];
static unsigned int n_slots;

static int store_note(void *slot, const struct dsa_hw_desc *desc)
{
	memcpy(slot, desc, sizeof(*desc));
	slots[n_slots++] = slot;
	return n_slots % 8 != 0; /* now and then: Retry */
}

START_TEST(portal)
{
	struct dsa_hw_desc desc __attribute__((aligned(64))) = { .opcode = DSA_OPCODE_NOOP };
	char path[64];
	struct dsa_portal p;
	unsigned int full = 0, far = 0;
	int fd, ret;

	ck_assert_int_eq(fixup_init(), 0);
	snprintf(path, sizeof(path), "%s/page", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	ck_assert_int_eq(dsa_portal_open(&p, path, DSA_MOVDIR64B, true, err, sizeof(err)), 0);
	if (!dsa_cpu_has(DSA_MOVDIR64B)) {
		struct dsa_portal other;

		/* an instruction that the CPU lacks is an answer, not the end */
		ck_assert_int_eq(dsa_portal_put(&p, &desc), -EOPNOTSUPP);
		ck_assert_int_eq(
			dsa_portal_open(&other, path, DSA_MOVDIR64B, false, err, sizeof(err)),
			-EOPNOTSUPP);
		ck_assert_str_eq(err, "the CPU does not have movdir64b");
	} else {
		ck_assert_int_eq(dsa_portal_put(&p, &desc), 1);
	}
	p.store = store_note;
	for (unsigned int i = 0; i < 128; i++) {
		ret = dsa_portal_put(&p, &desc);
		full += ret == 0;
		must(ret >= 0);
		must((uintptr_t)slots[i] % 64 == 0);
		far += i && slots[i] != slots[i - 1];
		must(i < 64 || slots[i] == slots[i - 64]);
	}
	ck_assert_uint_eq(full, 16);
	ck_assert_uint_eq(far, 127);
	/* a portal that is taken away */
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(dsa_portal_put(&p, &desc), -ENXIO);
	ck_assert(!dsa_portal_gone(&p));
	unlink(path);
	ck_assert(dsa_portal_gone(&p));
	dsa_portal_close(&p);
	dsa_portal_close(&p);
	close(fd);
}
END_TEST

/* ------------------------------------------------------------------- counting */

static struct dsa_completion_record recs[200] __attribute__((aligned(32)));

static void noops(struct dsa_hw_desc *desc, unsigned int n)
{
	memset(desc, 0, n * sizeof(*desc));
	memset(recs, 0, sizeof(recs));
	for (unsigned int i = 0; i < n; i++) {
		desc[i].opcode = DSA_OPCODE_NOOP;
		desc[i].flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR;
		desc[i].completion_addr = (uintptr_t)&recs[i];
	}
}

static void record_comes(unsigned int i)
{
	uint64_t end = clock_ns() + PATIENCE;

	while (!record_status(&recs[i]))
		must(clock_ns() < end);
}

START_TEST(counts_entries)
{
	struct dsa_hw_desc desc[6];
	struct engine_stats st;
	uint64_t now;

	open_device();
	noops(desc, 6);
	mock_mode(0, HOLD);
	now = clock_ns();
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_KERNEL, desc, 1), -EINVAL);
	ck_assert_int_eq(dev.ops->submit(&dev, 2, ENGINE_WQ_USER, desc, 1), -EINVAL);
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_USER, desc, 6), ENTRIES);
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_USER, desc + 4, 2), 0);
	/* polled at once, later less and less often, but never long */
	ck_assert_uint_eq(dev.ops->next_event(&dev, now), now);
	now = clock_ns() + NSEC_PER_SEC;
	ck_assert_uint_eq(dev.ops->next_event(&dev, now), now + 1000000);
	mock_mode(0, EXECUTE);
	for (unsigned int i = 0; i < ENTRIES; i++)
		record_comes(i);
	/* an entry is free when its record was seen, not before */
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_USER, desc + 4, 2), 0);
	dev.ops->completed(&dev, 0, &desc[0], &recs[0]);
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_USER, desc + 4, 2), 1);
	record_comes(4);
	for (unsigned int i = 1; i < 5; i++)
		dev.ops->completed(&dev, 0, &desc[i], &recs[i]);
	ck_assert_uint_eq(dev.ops->next_event(&dev, clock_ns()), UINT64_MAX);
	dev.ops->read_stats(&dev, 0, &st);
	ck_assert_uint_eq(st.descriptors[ENGINE_WQ_USER], 5);
	ck_assert_uint_eq(st.full[ENGINE_WQ_USER], 2 + 2 + 2 + 1);
	ck_assert_uint_gt(st.busy_ns, 0);
	dev.ops->read_stats(&dev, 1, &st);
	ck_assert_uint_eq(st.descriptors[ENGINE_WQ_USER], 0);
}
END_TEST

/* What a record says is counted as what it is. */
START_TEST(counts_statuses)
{
	struct dsa_hw_desc desc = { .opcode = DSA_OPCODE_MEMMOVE, .xfer_size = 1000 };
	struct dsa_completion_record rec = { .status = DSA_COMP_SUCCESS };
	struct engine_stats st;

	open_device();
	dev.ops->completed(&dev, 1, &desc, &rec);
	rec.status = DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE;
	rec.bytes_completed = 300;
	dev.ops->completed(&dev, 1, &desc, &rec);
	rec.bytes_completed = 5000; /* cannot be */
	dev.ops->completed(&dev, 1, &desc, &rec);
	rec.status = DSA_COMP_HW_ERR_DRB;
	dev.ops->completed(&dev, 1, &desc, &rec);
	dev.ops->read_stats(&dev, 1, &st);
	ck_assert_uint_eq(st.descriptors[ENGINE_WQ_USER], 4);
	ck_assert_uint_eq(st.bytes[ENGINE_WQ_USER], 1000 + 300 + 1000);
	ck_assert_uint_eq(st.partial, 2);
	ck_assert_uint_eq(st.errors, 1);
	ck_assert_uint_eq(st.status[DSA_COMP_PAGE_FAULT_NOBOF], 2);
	ck_assert_uint_eq(st.status[DSA_COMP_HW_ERR_DRB], 1);
}
END_TEST

/* A shared WQ that is full says so; one that says so for ever with nothing of ours is lost. */
START_TEST(refuses)
{
	struct dsa_hw_desc desc[64];
	uint64_t end;
	int ret;

	host.wq[0].shared = true;
	host.wq[0].size = 128;
	host.wq[0].threshold = 100;
	cfg.timeout_ns = 20000000;
	open_device();
	/* what others put there */
	__atomic_store_n(&mock[0].stop, 1, __ATOMIC_RELEASE);
	pthread_join(mock[0].thread, NULL);
	noops(desc, 64);
	while (write(mock[0].fd, desc, sizeof(desc)) > 0)
		;
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_USER, desc, 1), 0);
	ck_assert_uint_lt(dev.ops->next_event(&dev, clock_ns()), UINT64_MAX);
	end = clock_ns() + PATIENCE;
	while (!(ret = dev.ops->submit(&dev, 0, ENGINE_WQ_USER, desc, 1)))
		must(clock_ns() < end);
	ck_assert_int_eq(ret, -EIO);
	ck_assert_int_eq(pthread_create(&mock[0].thread, NULL, mock_main, &mock[0]), 0);
}
END_TEST

/* --------------------------------------------------------- lost, and back again */

static struct sched s;
static struct amux_plan plan;
static struct mux_stats mux;
static struct sched_tenant tenant;
static struct flow flow;
static struct region *region;
static struct request req[4];
static unsigned int completions[4];

static void completed(struct flow *f, struct request *r, uint64_t now)
{
	(void)f;
	(void)now;
	completions[r - req]++;
}

static void sched_up(void)
{
	struct device *d = &dev;
	int fd = sealed_memfd(SIZE, F_SEAL_SHRINK);

	open_device();
	memset(&plan, 0, sizeof(plan));
	memset(completions, 0, sizeof(completions));
	plan.chunk_bytes = 16 * KIB;
	plan.share[0][AMUX_CLASS_USER] = (struct amux_plan_share){
		.engine_mask = 3, .limit_bps = AMUX_BPS_MAX, .cap_bytes = 1u << 20, .lend = 1
	};
	plan.share[0][AMUX_CLASS_KERNEL] =
		(struct amux_plan_share){ .limit_bps = AMUX_BPS_MAX, .lend = 1 };
	ck_assert_int_eq(sched_init(&s, &d, 1, &plan, &mux), 0);
	sched_replan(&s, clock_ns());
	sched_tenant_init(&tenant, 1, 1, 0, AMUX_BPS_MAX);
	flow_init(&flow, &tenant, completed);
	ck_assert_int_eq(region_map(&region, fd, SIZE, false, err, sizeof(err)), 0);
	close(fd);
	for (unsigned int i = 0; i < SIZE; i++)
		region->addr[i] = (uint8_t)rnd(&seed);
}

static void sched_down(void)
{
	ck_assert_uint_eq(s.inflight_chunks, 0);
	sched_fini(&s);
	region_unmap(region, NULL);
}

/* Request @i: copy @len bytes. */
static void copy(unsigned int i, uint64_t from, uint64_t to, uint64_t len)
{
	struct amux_sqe sqe = {
		.op = AMUX_OP_COPY, .region = { 1, 1 }, .offset = { from, to }, .len = len
	};
	struct region *found[3] = { region, region, NULL };
	uint16_t field;

	ck_assert_int_eq(request_init(&req[i], &sqe, found, &field), 0);
	sched_enqueue(&s, &flow, &req[i]);
}

static void turn(void)
{
	uint64_t now = clock_ns();

	sched_reap(&s, now);
	sched_issue(&s, now);
}

static void turns_until(bool (*done)(void))
{
	uint64_t end = clock_ns() + PATIENCE;

	while (!done()) {
		must(clock_ns() < end);
		turn();
	}
}

static bool all_quiet(void)
{
	return !sched_busy(&s);
}

static bool first_lost(void)
{
	return dev.health[0] == ENGINE_LOST;
}

static bool first_empty(void)
{
	return dev.health[0] == ENGINE_EMPTY;
}

static bool second_idle(void)
{
	return req[0].issued == req[0].len && !s.device[0].engine[1].inflight_chunks;
}

static uint32_t alarms;

static void alarm_note(void *arg)
{
	(void)arg;
	alarms++;
}

/* A WQ is disabled with chunks in it, and enabled again. */
START_TEST(disabled_and_enabled)
{
	struct idxd_device now;
	struct engine_stats before, after;

	alarms = 0;
	sched_up();
	dev.alarm = (struct engine_doorbell){ alarm_note, NULL };
	mock_mode(0, HOLD);
	copy(0, 0, SIZE / 2, SIZE / 2); /* 8 chunks over two engines */
	turn();
	ck_assert_uint_gt(s.device[0].engine[0].inflight_chunks, 0);
	ck_assert(!dsa_is_gone(&dev, 0));
	mock_disable(0);
	ck_assert(dsa_is_gone(&dev, 0));
	dev.suspect = 1;
	turns_until(first_lost);
	ck_assert_uint_eq(dev.why[0], ENGINE_GONE);
	ck_assert_uint_eq(dev.suspect, 0);
	ck_assert_uint_eq(alarms, 1);
	/* the other engine goes on; what the lost one has waits */
	turns_until(second_idle);
	for (unsigned int i = 0; i < 100; i++)
		turn();
	ck_assert_uint_gt(s.device[0].engine[0].inflight_chunks, 0);
	ck_assert_uint_eq(completions[0], 0);

	/* proved only when the driver says so */
	dsa_settle(&dev, 0);
	now = host;
	now.wq[0].enabled = true;
	ck_assert(!dsa_settled(&dev, 0, &now));
	now.wq[0].enabled = false;
	now.halted = true;
	ck_assert(!dsa_settled(&dev, 0, &now));
	ck_assert(dsa_settled(&dev, 0, &host));
	ck_assert(dsa_settled(&dev, 0, NULL));
	__atomic_store_n(&dev.health[0], (uint32_t)ENGINE_QUIET, __ATOMIC_RELEASE);
	turns_until(first_empty);
	turns_until(all_quiet);
	ck_assert_uint_eq(completions[0], 1);
	ck_assert_int_eq(req[0].status, 0);
	ck_assert_mem_eq(region->addr, region->addr + SIZE / 2, SIZE / 2);
	ck_assert_uint_eq(s.device[0].engine[0].losses, 1);
	ck_assert_uint_gt(s.device[0].engine[0].redone, 0);
	ck_assert_uint_eq(s.device[0].engine[0].failed, 0);

	/* back when it is enabled */
	ck_assert_int_eq(dsa_renew(&dev, 0, &host, err, sizeof(err)), -ENODEV);
	ck_assert_int_eq(dsa_renew(&dev, 0, NULL, err, sizeof(err)), -ENODEV);
	mock_enable(0);
	ck_assert_msg(!dsa_renew(&dev, 0, &host, err, sizeof(err)), "%s", err);
	ck_assert(!dsa_is_gone(&dev, 0));
	__atomic_store_n(&dev.health[0], (uint32_t)ENGINE_UP, __ATOMIC_RELEASE);
	dev.ops->read_stats(&dev, 0, &before);
	memset(region->addr, 0x5a, SIZE / 2);
	copy(1, 0, SIZE / 2, SIZE / 2);
	turns_until(all_quiet);
	ck_assert_uint_eq(completions[1], 1);
	ck_assert_mem_eq(region->addr, region->addr + SIZE / 2, SIZE / 2);
	dev.ops->read_stats(&dev, 0, &after);
	ck_assert_uint_gt(after.bytes[ENGINE_WQ_USER], before.bytes[ENGINE_WQ_USER]);
	ck_assert_uint_eq(s.device[0].engine[0].inflight_chunks, 0);
	sched_down();
}
END_TEST

/* An engine that is late is lost; what it still answers is taken in, the rest is redone once
 * its WQ is closed.  An overlapping copy that may have begun fails. */
START_TEST(late)
{
	cfg.timeout_ns = 5000000;
	sched_up();
	plan.share[0][AMUX_CLASS_USER].engine_mask = 1;
	mock_mode(0, HOLD);
	copy(0, 0, SIZE / 2, 16 * KIB);
	copy(1, 64 * KIB, 64 * KIB + 100, 8 * KIB); /* overlaps */
	copy(2, 16 * KIB, SIZE / 2 + 16 * KIB, 32 * KIB);
	turn();
	mock_takes(0, 1 + 4); /* a NOOP, and one of each but two of the last */
	turns_until(first_lost);
	ck_assert_uint_eq(dev.why[0], ENGINE_LATE);
	/* the first one answers after all */
	soft_execute(&mock[0].held[0]);
	for (unsigned int i = 0; i < 100; i++)
		turn();
	ck_assert_uint_eq(completions[0], 1);
	ck_assert_int_eq(req[0].status, 0);
	ck_assert_uint_eq(completions[1] + completions[2], 0);
	dsa_settle(&dev, 0);
	ck_assert(dsa_settled(&dev, 0, &host)); /* closed: the driver has drained it */
	__atomic_store_n(&dev.health[0], (uint32_t)ENGINE_QUIET, __ATOMIC_RELEASE);
	turns_until(first_empty);
	turn();
	ck_assert_uint_eq(completions[1], 1);
	ck_assert_int_eq(req[1].status, -EIO);
	ck_assert_uint_eq(completions[2], 1);
	ck_assert_int_eq(req[2].status, 0);
	ck_assert_mem_eq(region->addr + 16 * KIB, region->addr + SIZE / 2 + 16 * KIB, 32 * KIB);
	ck_assert_uint_eq(s.device[0].engine[0].failed, 1);
	ck_assert_uint_eq(s.device[0].engine[0].redone, 2);
	sched_down();
}
END_TEST

/* A submission that fails never reached the engine: it is done at once, also if it overlaps. */
START_TEST(submission_fails)
{
	sched_up();
	plan.share[0][AMUX_CLASS_USER].engine_mask = 1;
	mock_disable(0);
	copy(0, 0, SIZE / 2, 8 * KIB);
	copy(1, 64 * KIB, 64 * KIB + 100, 8 * KIB);
	turn();
	ck_assert_uint_eq(dev.health[0], ENGINE_LOST);
	ck_assert_uint_eq(dev.why[0], ENGINE_REFUSED);
	turn();
	ck_assert_uint_eq(completions[0], 1);
	ck_assert_int_eq(req[0].status, 0);
	ck_assert_mem_eq(region->addr, region->addr + SIZE / 2, 8 * KIB);
	/* nothing is granted that is up: what has not begun is sent back */
	sched_replan(&s, clock_ns());
	ck_assert_uint_eq(completions[1], 1);
	ck_assert_int_eq(req[1].status, AMUX_STATUS_DECLINED);
	sched_down();
}
END_TEST

/* No engine is left: what has begun is finished by the broker, what has not is sent back. */
START_TEST(all_lost)
{
	sched_up();
	plan.share[0][AMUX_CLASS_USER].cap_bytes = 16 * KIB;
	mock_mode(0, HOLD);
	mock_mode(1, HOLD);
	copy(0, 0, SIZE / 2, SIZE / 2);
	copy(1, 0, SIZE / 2, 4 * KIB);
	turn();
	ck_assert_uint_gt(req[0].issued, 0);
	ck_assert_uint_lt(req[0].issued, req[0].len);
	for (unsigned int e = 0; e < WQS; e++) {
		mock_disable(e);
		__atomic_fetch_or(&dev.suspect, 1u << e, __ATOMIC_RELAXED);
	}
	turns_until(first_lost);
	sched_replan(&s, clock_ns());
	ck_assert_uint_eq(completions[1], 1);
	ck_assert_int_eq(req[1].status, AMUX_STATUS_DECLINED);
	for (unsigned int i = 0; i < 100; i++)
		turn();
	ck_assert_uint_eq(completions[0], 0); /* two chunks of it are still out there */
	ck_assert_uint_eq(req[0].inflight, 2);
	for (unsigned int e = 0; e < WQS; e++) {
		dsa_settle(&dev, e);
		ck_assert(dsa_settled(&dev, e, &host));
		__atomic_store_n(&dev.health[e], (uint32_t)ENGINE_QUIET, __ATOMIC_RELEASE);
	}
	turns_until(all_quiet);
	turns_until(first_empty);
	ck_assert_uint_eq(completions[0], 1);
	ck_assert_int_eq(req[0].status, 0);
	ck_assert_uint_eq(req[0].done, SIZE / 2);
	ck_assert_mem_eq(region->addr, region->addr + SIZE / 2, SIZE / 2);
	sched_down();
}
END_TEST

/* The control side alone: this host has no dsa0, so what was lost is gone for good. */
START_TEST(watched)
{
	struct device *d = &dev;
	struct dsa_watch *w;
	uint64_t end = clock_ns() + PATIENCE;
	uv_async_t alive;
	uv_loop_t loop;

	open_device();
	uv_loop_init(&loop);
	ck_assert_int_eq(dsa_watch_start(&w, &loop, &d, 1, NULL, 0), 0);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0); /* no reason for a loop to run */
	uv_async_init(&loop, &alive, NULL);
	mock_disable(1);
	dev.alarm.ring(dev.alarm.arg);
	while (!__atomic_load_n(&dev.suspect, __ATOMIC_RELAXED)) {
		must(clock_ns() < end);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	ck_assert_uint_eq(dev.suspect, 2);
	dev.why[1] = ENGINE_GONE;
	__atomic_store_n(&dev.health[1], (uint32_t)ENGINE_LOST, __ATOMIC_RELEASE);
	dev.alarm.ring(dev.alarm.arg);
	while (dev.health[1] != ENGINE_QUIET) {
		must(clock_ns() < end);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	dsa_watch_stop(w);
	uv_close((uv_handle_t *)&alive, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* -------------------------------------------------------------------- prefault */

static bool is_mapped(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	ck_assert_int_eq(pread(fd, &entry, 8, (off_t)((uintptr_t)addr / 4096 * 8)), 8);
	close(fd);
	return entry >> 63;
}

START_TEST(prefault)
{
	int fd = sealed_memfd(1 << 20, F_SEAL_SHRINK);
	struct stat before, after;
	struct region *r, *ro;
	char page[8192];

	memset(page, 1, sizeof(page));
	ck_assert_int_eq(pwrite(fd, page, sizeof(page), 64 << 10), sizeof(page));
	ck_assert_int_eq(pwrite(fd, page, sizeof(page), 512 << 10), sizeof(page));
	ck_assert_int_eq(region_map(&r, fd, 1 << 20, false, err, sizeof(err)), 0);
	ck_assert_int_eq(region_map(&ro, fd, 1 << 20, true, err, sizeof(err)), 0);
	fstat(fd, &before);
	ck_assert(!is_mapped(r->addr + (64 << 10)));
	region_prefault(r, fd);
	region_prefault(ro, fd);
	ck_assert(is_mapped(r->addr + (64 << 10)) && is_mapped(r->addr + (68 << 10)));
	ck_assert(is_mapped(r->addr + (512 << 10)) && is_mapped(ro->addr + (516 << 10)));
	ck_assert(!is_mapped(r->addr) && !is_mapped(r->addr + (256 << 10)));
	fstat(fd, &after);
	ck_assert_int_eq(before.st_blocks, after.st_blocks); /* holes stay */
	/* clipped to the region at both ends */
	region_populate(r, (uintptr_t)r->addr + (1 << 20) - 100, 1 << 20, true);
	ck_assert(is_mapped(r->addr + (1 << 20) - 1));
	region_populate(r, (uintptr_t)r->addr - 1, 2, true);
	ck_assert(!is_mapped(r->addr));
	fstat(fd, &after);
	ck_assert_int_eq(before.st_blocks + 8, after.st_blocks);
	region_unmap(r, NULL);
	region_unmap(ro, NULL);
	close(fd);
}
END_TEST

/* One fault brings in all that its chunk still needs, and no more. */
START_TEST(one_fault_a_chunk)
{
	int fd = sealed_memfd(1 << 20, F_SEAL_SHRINK);
	struct amux_sqe sqe = {
		.op = AMUX_OP_FILL, .region = { 0, 1 }, .offset = { 0, 4096 }, .len = 512 << 10
	};
	struct region *found[3] = { NULL, NULL, NULL };
	static struct chunk c;
	struct request r;
	uint16_t field;

	ck_assert_int_eq(fixup_init(), 0);
	ck_assert_int_eq(region_map(&found[1], fd, 1 << 20, false, err, sizeof(err)), 0);
	ck_assert_int_eq(request_init(&r, &sqe, found, &field), 0);
	request_next(&r, &c, 64 << 10);
	c.rec.fault_addr = (uintptr_t)found[1]->addr + 4096 + 8192;
	c.rec.bytes_completed = 8192;
	c.rec.status = DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE;
	ck_assert_int_eq(request_chunk_done(&r, &c), CHUNK_RESUME);
	ck_assert_uint_eq(c.desc.xfer_size, (64 << 10) - 8192);
	for (unsigned int at = 4096 + 8192; at < 4096 + (64 << 10); at += 4096)
		must(is_mapped(found[1]->addr + at));
	ck_assert(!is_mapped(found[1]->addr + 4096 + (64 << 10)));
	ck_assert(!is_mapped(found[1]->addr));
	region_unmap(found[1], NULL);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("dsa");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, describes_itself);
	tcase_add_test(t, scales);
	tcase_add_test(t, one_engine_for_each_wq);
	tcase_add_test(t, refusals);
	tcase_add_test(t, portal);
	tcase_add_test(t, counts_entries);
	tcase_add_test(t, counts_statuses);
	tcase_add_test(t, refuses);
	tcase_add_test(t, disabled_and_enabled);
	tcase_add_test(t, late);
	tcase_add_test(t, submission_fails);
	tcase_add_test(t, all_lost);
	tcase_add_test(t, watched);
	tcase_add_test(t, prefault);
	tcase_add_test(t, one_fault_a_chunk);
	return run_case(t, "dsa", 60);
}

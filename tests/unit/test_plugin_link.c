// SPDX-License-Identifier: MIT
/*
 * test_plugin_link.c - the page between a mux thread and the host of a plug-in, and the planner
 * over it: an honest host, a silent one, and ones that write whatever they like.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../broker/clock.h"
#include "../../broker/fault_fixup.h"
#include "../../broker/param.h"
#include "../../broker/plan.h"
#include "../../broker/plugin_host.h"
#include "../../client/barrier.h"

#define SLOTS	 2
#define PATIENCE 5
#define EPOCH	 1000000

static struct plugin_page *page;
static struct plugin_link tie;
static struct planner planner;
static struct mux_stats stats;
static struct amux_view view;
static size_t bytes;
static pid_t child;
static int memfd;

/* ------------------------------------------------------------------ a good one */

struct state {
	uint64_t calls;
};

static int good_plan(void *state, const struct amux_view *v, struct amux_plan *plan)
{
	struct state *s = state;

	s->calls++;
	for (uint32_t d = 0; d < v->n_devices; d++)
		plan->share[d][AMUX_CLASS_USER] = (struct amux_plan_share){
			.engine_mask = 0xff, /* more than there are */
			.limit_bps = AMUX_BPS_MAX,
			.cap_bytes = 1 << 20,
		};
	plan->chunk_bytes = (uint32_t)(4096 * s->calls);
	return v->n_tenants == 77 ? -EDOM : 0;
}

static const struct amux_policy_ops good = {
	AMUX_POLICY_HEADER,	.name = "good",
	.summary = "for tests", .state_size = sizeof(struct state),
	.plan = good_plan,
};

/* What the broker has in place of a plug-in's ops. */
static const struct amux_policy_ops described = {
	AMUX_POLICY_HEADER,
	.name = "good",
	.summary = "for tests",
};

static struct state states[SLOTS];
static void *const state[SLOTS] = { &states[0], &states[1] };

/* A process to be killed in the host's place; @run: what it does, or nothing. */
static void host_start(void (*run)(void))
{
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		if (run)
			run();
		for (;;)
			pause();
	}
	tie.pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	ck_assert_int_ge(tie.pidfd, 0);
}

static bool host_dead(int timeout_ms)
{
	struct pollfd p = { .fd = tie.pidfd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void setup(void)
{
	uint64_t values[AMUX_POLICY_PARAMS] = { 0 };

	ck_assert_int_eq(fixup_init(), 0);
	bytes = sizeof(*page) + SLOTS * sizeof(page->slot[0]);
	memfd = memfd_create("test", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(memfd, (off_t)bytes), 0);
	page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ck_assert_ptr_ne(page, MAP_FAILED);
	memset(states, 0, sizeof(states));
	memset(&stats, 0, sizeof(stats));
	memset(&view, 0, sizeof(view));
	tie = (struct plugin_link){
		.page = page, .slot = &page->slot[1], .pidfd = -1, .patience = PATIENCE
	};
	view.abi = AMUX_POLICY_ABI;
	view.n_devices = 1;
	view.epoch_ns = EPOCH;
	view.time_scale = 1;
	view.devices[0] = (struct amux_view_device){ .engines = 4, .rate_bps = 30000000000 };
	child = 0;
	policy_defaults(policy_find("shared"), values);
	ck_assert_int_eq(plan_init(&planner, policy_find("shared"), values, &stats), 0);
}

static void teardown(void)
{
	plan_fini(&planner);
	if (child) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		close(tie.pidfd);
	}
	munmap(page, bytes);
	close(memfd);
}

static void plugin_set(void)
{
	uint64_t values[AMUX_POLICY_PARAMS] = { 0 };

	plan_set(&planner, &described, values, NULL, &tie);
}

static const char *why(void)
{
	static char text[PLAN_WHY_LEN];
	char name[32];

	plan_describe(&planner, name, sizeof(name), text, sizeof(text));
	ck_assert_str_eq(name, text[0] ? "partitioned" : "good");
	return text;
}

static unsigned int answer(void)
{
	return plugin_host_round(page, SLOTS, &good, state);
}

/* ----------------------------------------------------------------------- tests */

START_TEST(ask_and_take)
{
	struct plugin_answer a;

	ck_assert_int_eq(plugin_take(&tie, &a), -EAGAIN);
	ck_assert_uint_eq(answer(), 0);
	view.n_tenants = AMUX_POLICY_TENANTS;
	view.tenants[AMUX_POLICY_TENANTS - 1].id = 99;
	ck_assert_int_eq(plugin_ask(&tie, &view), 0);
	ck_assert_uint_eq(page->kick, 1);
	ck_assert_uint_eq(page->slot[1].view.tenants[AMUX_POLICY_TENANTS - 1].id, 99);
	ck_assert_int_eq(plugin_take(&tie, &a), -EAGAIN);
	ck_assert_uint_eq(answer(), 1);
	ck_assert_uint_eq(states[0].calls, 0);
	ck_assert_uint_eq(states[1].calls, 1);
	ck_assert_int_eq(plugin_take(&tie, &a), 0);
	ck_assert_int_eq(a.ret, 0);
	ck_assert_uint_eq(a.plan.chunk_bytes, 4096);
	/* once */
	ck_assert_int_eq(plugin_take(&tie, &a), -EAGAIN);
	ck_assert_uint_eq(answer(), 0);
	/* An answer to another question is none; the end of the numbers is none either. */
	tie.seq = UINT32_MAX - 1;
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(plugin_ask(&tie, &view), 0);
		page->slot[1].answered = tie.seq - 1;
		ck_assert_int_eq(plugin_take(&tie, &a), -EAGAIN);
		ck_assert_uint_eq(answer(), 1);
		ck_assert_int_eq(plugin_take(&tie, &a), 0);
	}
}
END_TEST

/* What was in force stays until there is an answer, and is judged by the view of the moment. */
START_TEST(plans_are_late)
{
	struct amux_plan before, plan;

	plan_epoch(&planner, &view);
	plan_read(&planner, &before);
	ck_assert_uint_eq(before.chunk_bytes, 2u << 20); /* shared's */
	plugin_set();
	for (int i = 0; i < 3; i++) {
		plan_epoch(&planner, &view);
		plan_read(&planner, &plan);
		ck_assert_mem_eq(&plan, &before, sizeof(plan));
		ck_assert(plan_owed(&planner));
	}
	ck_assert_uint_eq(answer(), 1);
	plan_epoch(&planner, &view);
	plan_read(&planner, &plan);
	ck_assert_uint_eq(plan.chunk_bytes, 4096);
	ck_assert_uint_eq(plan.share[0][AMUX_CLASS_USER].engine_mask, 0xf);
	ck_assert_uint_eq(stats.plan_clamps, 1);
	ck_assert(plan_owed(&planner)); /* it was asked again */
	view.devices[0].flags = AMUX_DEVICE_DOWN;
	plan_epoch(&planner, &view);
	plan_read(&planner, &plan);
	ck_assert_uint_eq(plan.share[0][AMUX_CLASS_USER].engine_mask, 0);
	view.devices[0].flags = 0;
	plan_epoch(&planner, &view);
	plan_read(&planner, &plan);
	ck_assert_uint_eq(plan.share[0][AMUX_CLASS_USER].engine_mask, 0xf);
	/* A look takes the answer and asks nothing. */
	ck_assert_uint_eq(answer(), 1);
	plan_look(&planner, &view);
	ck_assert(!plan_owed(&planner));
	plan_read(&planner, &plan);
	ck_assert_uint_eq(plan.chunk_bytes, 8192);
	ck_assert_str_eq(why(), "");
}
END_TEST

START_TEST(patience)
{
	uint64_t now = 1000 * EPOCH;

	view.now_ns = now;
	ck_assert(!plugin_late(&tie, now, EPOCH));
	ck_assert_int_eq(plugin_ask(&tie, &view), 0);
	for (unsigned int i = 1; i < PATIENCE; i++) {
		/* Looks within an epoch are one; an hour's sleep is one, too. */
		ck_assert(!plugin_late(&tie, now + EPOCH - 1, EPOCH));
		now += i == 2 ? 3600000000000 : EPOCH;
		ck_assert(!plugin_late(&tie, now, EPOCH));
		ck_assert_uint_eq(tie.late, i);
	}
	ck_assert(plugin_late(&tie, now + EPOCH, EPOCH));
}
END_TEST

START_TEST(silence)
{
	host_start(NULL);
	plugin_set();
	view.epoch_ns = 1000;
	for (int i = 0; i < 2 * PATIENCE && !planner.reverted; i++) {
		view.now_ns = 0;
		plan_epoch(&planner, &view);
		usleep(20);
	}
	ck_assert_str_eq(why(),
			 "policy good gave no plan for 5 epochs in epoch 6; partitioned took "
			 "over");
	ck_assert_uint_eq(stats.policy_failures[POLICY_STALLED], 1);
	ck_assert_uint_eq(stats.policy_late, PATIENCE);
	ck_assert_uint_eq(plugin_given_up(&tie), POLICY_STALLED);
	ck_assert(host_dead(5000));
	ck_assert(!plan_owed(&planner));
}
END_TEST

START_TEST(errors)
{
	host_start(NULL);
	plugin_set();
	view.n_tenants = 77;
	plan_epoch(&planner, &view);
	answer();
	plan_epoch(&planner, &view);
	ck_assert_str_eq(why(),
			 "policy good returned -EDOM (-33) in epoch 2; partitioned took over");
	ck_assert_uint_eq(stats.policy_failures[POLICY_ERROR], 1);
	ck_assert(host_dead(5000));

	/* Set again, and of another version. */
	view.n_tenants = 0;
	plugin_set();
	tie.owed = false;
	plan_epoch(&planner, &view);
	answer();
	page->slot[1].answer.plan.abi = 7;
	plan_epoch(&planner, &view);
	ck_assert_str_eq(why(), "policy good returned a plan of abi 7, expected 1, in epoch 4; "
				"partitioned took over");
	ck_assert_uint_eq(stats.policy_failures[POLICY_ABI], 1);
}
END_TEST

/* What the control thread has seen. */
START_TEST(death)
{
	struct plugin_link other = tie;

	host_start(NULL);
	plan_fail(&planner, &tie, "good", POLICY_CRASHED, "was not meant");
	plugin_set();
	plan_fail(&planner, &other, "good", POLICY_CRASHED, "is another");
	plan_fail(&planner, NULL, "good", POLICY_LOAD, "was never there");
	plan_epoch(&planner, &view);
	ck_assert_str_eq(why(), "");
	plan_fail(&planner, &tie, "good", POLICY_CRASHED, "was killed by SIGSEGV");
	plan_fail(&planner, &tie, "good", POLICY_CRASHED, "was killed twice");
	plan_epoch(&planner, &view);
	ck_assert_str_eq(why(),
			 "policy good was killed by SIGSEGV in epoch 2; partitioned took over");
	ck_assert_uint_eq(stats.policy_reverts, 1);
}
END_TEST

START_TEST(memory_is_gone)
{
	struct plugin_answer a;

	host_start(NULL);
	plugin_set();
	plan_epoch(&planner, &view);
	ck_assert_int_eq(ftruncate(memfd, 0), 0); /* the real one is sealed against that */
	ck_assert_int_eq(plugin_take(&tie, &a), -EFAULT);
	plan_epoch(&planner, &view);
	ck_assert_str_eq(why(), "policy good took away the memory that it shares in epoch 2; "
				"partitioned took over");
	ck_assert_int_eq(plugin_ask(&tie, &view), -EFAULT);
	ck_assert(host_dead(5000));
}
END_TEST

static uint64_t next_random(uint64_t *x)
{
	uint64_t z = *x += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	return z ^ z >> 27;
}

static void plan_scribble(uint64_t *rng)
{
	volatile uint64_t *word = (volatile uint64_t *)(void *)&page->slot[1].answer.plan;

	for (size_t i = 0; i < sizeof(struct amux_plan) / sizeof(*word); i++)
		word[i] = next_random(rng) >> (next_random(rng) % 64);
}

/* Writes everywhere while the broker looks, answers with anything, and goes on writing while the
 * answer is read.  Only the question stays, without which there would be no next one. */
static void hostile(void)
{
	volatile uint64_t *word = (volatile uint64_t *)(void *)page;
	volatile uint32_t *asked = &page->slot[1].asked;
	size_t n = bytes / sizeof(*word);
	uint64_t rng = 4711;
	uint32_t last = 0;

	for (;;) {
		uint32_t now = *asked;

		if (now == last) {
			sched_yield();
			continue;
		}
		for (int i = 0; i < 200; i++)
			word[next_random(&rng) % n] = next_random(&rng);
		*asked = last = now;
		plan_scribble(&rng);
		amux_store_relaxed(&page->slot[1].answer.ret, 0);
		amux_store_relaxed(&page->slot[1].answer.plan.abi, AMUX_POLICY_ABI);
		amux_store_release(&page->slot[1].answered, now);
		/* At times, since that mostly makes it another version's. */
		for (int i = 0; i < 3 && !(now % 8); i++)
			plan_scribble(&rng);
	}
}

START_TEST(hostile_host)
{
	uint64_t end = clock_ns() + 40 * NSEC_PER_SEC;
	unsigned int taken = 0;
	struct amux_plan plan, again;
	struct amux_view seen;

	host_start(hostile);
	tie.patience = 1000000;
	plugin_set();
	while (taken < 500 && clock_ns() < end) {
		memcpy(&seen, &view, sizeof(seen));
		plan_epoch(&planner, &view);
		ck_assert_mem_eq(&seen, &view, sizeof(seen));
		taken += planner.fresh && !planner.reverted;
		if (!planner.fresh)
			sched_yield();
		plan_read(&planner, &plan);
		again = plan;
		ck_assert_uint_eq(plan_clamp(&again, &view), 0);
		ck_assert_mem_eq(&again, &plan, sizeof(plan));
		if (!planner.reverted)
			continue;
		/* killed for what it said: give it another life without one of its own */
		ck_assert_ptr_nonnull(strstr(why(), "policy good returned "));
		ck_assert(host_dead(5000));
		waitpid(child, NULL, 0);
		close(tie.pidfd);
		tie.owed = false;
		host_start(hostile);
		plugin_set();
	}
	ck_assert_uint_eq(taken, 500);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plugin_link");
	TCase *t = tcase_create("plugin_link");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, ask_and_take);
	tcase_add_test(t, plans_are_late);
	tcase_add_test(t, patience);
	tcase_add_test(t, silence);
	tcase_add_test(t, errors);
	tcase_add_test(t, death);
	tcase_add_test(t, memory_is_gone);
	tcase_add_test(t, hostile_host);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

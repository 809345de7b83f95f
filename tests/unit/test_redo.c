// SPDX-License-Identifier: MIT
/*
 * test_redo.c - the rule of redo.h against every way in which a broker could have gone.
 *
 * A world of a few bytes and a few requests, each a row of steps (read a byte, write a byte).
 * The broker takes steps of requests in any order that fences allow, answers some that are
 * done, and dies.  The rule decides; what may be done over is done over in order.  The memory
 * that results, and what the answered requests read, must also result from some run without a
 * death, in which the lost ones stop where they like and write what they like.
 *
 * Left out, and counted, are deaths where a request is done over that conflicts with an
 * *earlier* one, answered, and no fence between them: the rule takes what was answered and
 * submitted earlier to have ended before it began (docs/abi.md).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../client/redo.h"

#define BYTES 5u
#define REQS  3u
#define LEN   2u
#define CASES 30u
#define ANY   255u /* what a lost request wrote, and what was copied from there */

enum kind { COPY, FILL, READ };

struct req {
	enum kind kind;
	uint8_t src, dst, len;
	bool fence, backward;
};

struct world {
	uint8_t mem[BYTES];
	uint8_t seen[REQS][LEN]; /* what a READ found */
	uint8_t at[REQS];	 /* steps done */
};

struct game {
	struct req req[REQS];
	bool lost[REQS];     /* may stop anywhere */
	bool answered[REQS]; /* before the death */
	struct world legal[4096];
	unsigned int n_legal;
	unsigned int redone, losses, bad, deaths, left_out;
	char why[256];
};

static uint64_t rng;

static unsigned int pick(unsigned int n)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)((rng >> 33) % n);
}

static void step(const struct game *g, struct world *w, unsigned int i)
{
	const struct req *r = &g->req[i];
	unsigned int k = r->backward ? r->len - 1u - w->at[i] : w->at[i];

	switch (r->kind) {
	case COPY:
		w->mem[r->dst + k] = w->mem[r->src + k];
		break;
	case FILL:
		w->mem[r->dst + k] = (uint8_t)(100 + 10 * i + k);
		break;
	case READ:
		w->seen[i][k] = w->mem[r->src + k];
		break;
	}
	w->at[i]++;
}

static bool finished(const struct game *g, const struct world *w, unsigned int i)
{
	return w->at[i] == g->req[i].len;
}

/* ------------------------------------------------------------- runs without a death */

/* What is compared: memory, and what successful requests read.  @loose: ANY in @x fits all. */
static bool same(const struct game *g, const struct world *x, const struct world *y, bool loose)
{
	for (unsigned int i = 0; i < BYTES; i++)
		if (x->mem[i] != y->mem[i] && !(loose && x->mem[i] == ANY))
			return false;
	for (unsigned int i = 0; i < REQS; i++)
		for (unsigned int k = 0; !g->lost[i] && k < LEN; k++)
			if (x->seen[i][k] != y->seen[i][k] && !(loose && x->seen[i][k] == ANY))
				return false;
	return true;
}

static void legal_add(struct game *g, const struct world *w)
{
	for (unsigned int i = 0; i < g->n_legal; i++)
		if (same(g, &g->legal[i], w, false))
			return;
	ck_assert_uint_lt(g->n_legal, 4096);
	g->legal[g->n_legal++] = *w;
}

/* A lost one counts as answered for fences as soon as it stops for good: @gone. */
static void legal_runs(struct game *g, const struct world *w, unsigned int gone)
{
	bool end = true;

	for (unsigned int i = 0; i < REQS; i++) {
		bool open = true;

		if (finished(g, w, i) || gone & 1u << i)
			continue;
		end = false;
		for (unsigned int f = 0; f <= i; f++)
			for (unsigned int e = 0; g->req[f].fence && e < f; e++)
				open &= finished(g, w, e) || gone & 1u << e;
		if (open) {
			struct world next = *w;

			step(g, &next, i);
			if (g->lost[i] && g->req[i].kind != READ)
				next.mem[g->req[i].dst +
					 (g->req[i].backward ? g->req[i].len - 1u - w->at[i]
							     : w->at[i])] = ANY;
			legal_runs(g, &next, gone);
		}
		if (g->lost[i])
			legal_runs(g, w, gone | 1u << i);
	}
	if (end)
		legal_add(g, w);
}

/* ------------------------------------------------------------------------- deaths */

static void describe(const struct game *g, struct amux_redo *list)
{
	memset(list, 0, REQS * sizeof(*list));
	for (unsigned int i = 0; i < REQS; i++) {
		const struct req *r = &g->req[i];

		list[i].fence = r->fence;
		list[i].state = g->answered[i] ? AMUX_REDO_ANSWERED : AMUX_REDO_UNKNOWN;
		if (r->kind != FILL)
			list[i].read[list[i].n_read++] =
				(struct amux_span){ 1, 2, r->src, r->len };
		if (r->kind != READ)
			list[i].write[list[i].n_write++] =
				(struct amux_span){ 1, 2, r->dst, r->len };
	}
}

static const struct world *start_of(void)
{
	static const struct world start = { .mem = { 1, 2, 3, 4, 5 } };

	return &start;
}

static bool out_of_scope(const struct game *g, const struct amux_redo *list)
{
	for (unsigned int j = 1; j < REQS; j++)
		for (unsigned int i = j;
		     list[j].verdict == AMUX_REDO_DO && !list[i].fence && i--;)
			if (g->answered[i] && (amux_redo_conflict(&list[i], &list[j]) ||
					       amux_redo_conflict(&list[j], &list[i])))
				return true;
	return false;
}

static void death(struct game *g, const struct world *at)
{
	struct amux_redo list[REQS];
	struct world w = *at;
	bool ok = false;

	describe(g, list);
	amux_redo_judge(list, REQS);
	g->deaths++;
	if (out_of_scope(g, list)) {
		g->left_out++;
		return;
	}
	for (unsigned int i = 0; i < REQS; i++) {
		g->lost[i] = list[i].verdict == AMUX_REDO_LOSE;
		g->losses += g->lost[i];
		if (list[i].verdict != AMUX_REDO_DO)
			continue;
		g->redone++;
		w.at[i] = 0;
		while (!finished(g, &w, i))
			step(g, &w, i);
	}
	g->n_legal = 0;
	legal_runs(g, start_of(), 0);
	for (unsigned int i = 0; i < g->n_legal && !ok; i++)
		ok = same(g, &g->legal[i], &w, true);
	if (ok)
		return;
	if (!g->bad++) {
		size_t n = 0;

		for (unsigned int i = 0; i < REQS; i++) {
			const struct req *r = &g->req[i];

			n += (size_t)snprintf(
				g->why + n, sizeof(g->why) - n, "%s %u->%u+%u%s at %u%s%s; ",
				r->kind == COPY	  ? "COPY"
				: r->kind == FILL ? "FILL"
						  : "READ",
				r->src, r->dst, r->len, r->fence ? " FENCE" : "", at->at[i],
				g->answered[i] ? " answered" : "", g->lost[i] ? " lost" : "");
		}
	}
}

/* Every run of the broker, and after every step of each every choice of what was answered. */
static void broker_runs(struct game *g, const struct world *w)
{
	unsigned int can = 0;

	death(g, w);
	for (unsigned int i = 0; i < REQS; i++) {
		bool open = true;

		if (finished(g, w, i))
			can |= g->answered[i] ? 0 : 1u << i;
		for (unsigned int f = 0; f <= i; f++)
			for (unsigned int e = 0; g->req[f].fence && e < f; e++)
				open &= g->answered[e];
		if (!finished(g, w, i) && open) {
			struct world next = *w;

			step(g, &next, i);
			broker_runs(g, &next);
		}
	}
	for (unsigned int i = 0; i < REQS; i++) {
		if (!(can & 1u << i))
			continue;
		g->answered[i] = true;
		broker_runs(g, w);
		g->answered[i] = false;
	}
}

static void game_make(struct game *g)
{
	memset(g, 0, sizeof(*g));
	for (unsigned int i = 0; i < REQS; i++) {
		struct req *r = &g->req[i];

		r->kind = (enum kind)(pick(8) < 5 ? COPY : pick(2) ? FILL : READ);
		r->len = (uint8_t)(1 + pick(LEN));
		r->src = (uint8_t)pick(BYTES - r->len + 1u);
		r->dst = (uint8_t)pick(BYTES - r->len + 1u);
		r->fence = !pick(4);
		r->backward = r->dst > r->src;
	}
}

START_TEST(redone_is_as_good_as_done)
{
	unsigned int redone = 0, losses = 0, deaths = 0, left_out = 0;
	const char *given = getenv("SEED");
	struct game *g = calloc(1, sizeof(*g));
	uint64_t seed;

	ck_assert_ptr_nonnull(g);
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	rng = seed;
	for (unsigned int i = 0; i < (getenv("AMUX_TEST_LONG") ? 20 * CASES : CASES); i++) {
		game_make(g);
		broker_runs(g, start_of());
		ck_assert_msg(!g->bad, "SEED=%llu, case %u: %u outcomes that no run has: %s",
			      (unsigned long long)seed, i, g->bad, g->why);
		redone += g->redone;
		losses += g->losses;
		deaths += g->deaths;
		left_out += g->left_out;
	}
	printf("SEED=%llu: %u deaths (%u left out), %u redone, %u lost\n",
	       (unsigned long long)seed, deaths, left_out, redone, losses);
	ck_assert_uint_gt(deaths, 2 * left_out);
	ck_assert_uint_gt(redone, 0);
	ck_assert_uint_gt(losses, 0);
	free(g);
}
END_TEST

/* ------------------------------------------------------------------ clause by clause */

static struct amux_redo copy_of(uint64_t src, uint64_t dst, uint64_t len)
{
	struct amux_redo r = { .n_read = 1, .n_write = 1 };

	r.read[0] = (struct amux_span){ 7, 9, src, len };
	r.write[0] = (struct amux_span){ 7, 9, dst, len };
	return r;
}

static enum amux_redo_verdict first_of(struct amux_redo x, struct amux_redo y)
{
	struct amux_redo list[2] = { x, y };

	amux_redo_judge(list, 2);
	return list[0].verdict;
}

START_TEST(each_clause)
{
	struct amux_redo a = copy_of(0, 100, 10), b = copy_of(300, 400, 10), x;

	ck_assert_int_eq(first_of(a, b), AMUX_REDO_DO);
	ck_assert_int_eq(first_of(copy_of(0, 9, 10), b), AMUX_REDO_LOSE);
	ck_assert_int_eq(first_of(copy_of(0, 10, 10), b), AMUX_REDO_DO);
	ck_assert_int_eq(first_of(a, copy_of(300, 9, 10)), AMUX_REDO_LOSE);
	ck_assert_int_eq(first_of(a, copy_of(300, 10, 10)), AMUX_REDO_DO);
	ck_assert_int_eq(first_of(a, copy_of(109, 400, 1)), AMUX_REDO_LOSE);
	ck_assert_int_eq(first_of(a, copy_of(300, 91, 10)), AMUX_REDO_LOSE);
	ck_assert_int_eq(first_of(a, copy_of(0, 400, 10)), AMUX_REDO_DO); /* both read it */
	/* the same bytes of another file */
	x = copy_of(300, 0, 10);
	x.write[0].ino++;
	ck_assert_int_eq(first_of(a, x), AMUX_REDO_DO);
	/* what comes later: answered counts, not begun does not, nor what a fence holds back */
	x = copy_of(100, 0, 10);
	x.state = AMUX_REDO_ANSWERED;
	ck_assert_int_eq(first_of(a, x), AMUX_REDO_LOSE);
	x.state = AMUX_REDO_WITHHELD;
	ck_assert_int_eq(first_of(a, x), AMUX_REDO_DO);
	x.state = AMUX_REDO_UNKNOWN;
	x.fence = true;
	ck_assert_int_eq(first_of(a, x), AMUX_REDO_DO);
	/* what is not known */
	x = b;
	x.opaque = true;
	ck_assert_int_eq(first_of(a, x), AMUX_REDO_LOSE);
	x = a;
	x.spoiled = true;
	ck_assert_int_eq(first_of(x, b), AMUX_REDO_LOSE);
}
END_TEST

/* A fence behind an unanswered request has not run, whatever it would do to itself. */
START_TEST(behind_a_fence_nothing_has_run)
{
	struct amux_redo list[3] = { copy_of(0, 100, 10), copy_of(200, 205, 10),
				     copy_of(300, 305, 10) };

	list[1].fence = true;
	amux_redo_judge(list, 3);
	ck_assert_int_eq(list[0].verdict, AMUX_REDO_DO);
	ck_assert_int_eq(list[1].verdict, AMUX_REDO_DO);
	ck_assert_int_eq(list[2].verdict, AMUX_REDO_DO);
	list[0].state = AMUX_REDO_ANSWERED; /* then it may have */
	amux_redo_judge(list, 3);
	ck_assert_int_eq(list[0].verdict, AMUX_REDO_NONE);
	ck_assert_int_eq(list[1].verdict, AMUX_REDO_LOSE);
	ck_assert_int_eq(list[2].verdict, AMUX_REDO_LOSE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("redo");
	TCase *t = tcase_create("redo");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 1200);
	tcase_add_test(t, redone_is_as_good_as_done);
	tcase_add_test(t, each_clause);
	tcase_add_test(t, behind_a_fence_nothing_has_run);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

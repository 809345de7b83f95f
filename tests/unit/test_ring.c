// SPDX-License-Identifier: MIT
/*
 * test_ring.c - both ends of the rings: order, wrap-around, hostile indices, wake-ups.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../client/ring.h"

#define SMALL	  8u
#define NEAR_WRAP 0xfffffff0u /* the indices overflow early in every run */
#define LOST_MS	  10000	      /* a wake-up that takes so long was lost */

/* One queue with its two ends, as client and broker each see it. */
struct pair {
	void *map;
	struct amux_ring client, broker;
	int sq_efd, cq_efd;
};

static void pair_open(struct pair *p, uint32_t sq, uint32_t cq, uint32_t start)
{
	uint64_t bytes = amux_ring_bytes(sq, cq);
	struct amux_ring_hdr *h;

	p->map = aligned_alloc(4096, bytes);
	ck_assert_ptr_nonnull(p->map);
	memset(p->map, 0, bytes);
	amux_ring_init(p->map, sq, cq);
	ck_assert_int_eq(amux_ring_bind(&p->client, p->map, bytes), 0);
	ck_assert_int_eq(amux_ring_bind(&p->broker, p->map, bytes), 0);
	h = p->map;
	h->sq_tail = h->sq_head = h->cq_tail = h->cq_head = start;
	p->client.sq_tail = p->client.sq_head = p->client.cq_tail = p->client.cq_head = start;
	p->broker.sq_tail = p->broker.sq_head = p->broker.cq_tail = p->broker.cq_head = start;
	p->sq_efd = eventfd(0, EFD_CLOEXEC);
	p->cq_efd = eventfd(0, EFD_CLOEXEC);
}

static void pair_close(struct pair *p)
{
	close(p->sq_efd);
	close(p->cq_efd);
	free(p->map);
}

static void kick(int efd)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(efd, &one, sizeof(one)), sizeof(one));
}

/* Sleep on @efd; a time-out is a lost wake-up. */
static void doze(int efd)
{
	struct pollfd p = { .fd = efd, .events = POLLIN };
	uint64_t count;

	ck_assert_int_eq(poll(&p, 1, LOST_MS), 1);
	ck_assert_int_eq(read(efd, &count, sizeof(count)), sizeof(count));
}

START_TEST(bind_rejects_malformed_headers)
{
	struct amux_ring r;
	struct pair p;
	uint64_t bytes = amux_ring_bytes(SMALL, SMALL);
	struct amux_ring_hdr good, *h;

	pair_open(&p, SMALL, SMALL, 0);
	h = p.map;
	good = *h;
#define EXPECT_BAD(change)                                                   \
	do {                                                                 \
		*h = good;                                                   \
		change;                                                      \
		ck_assert_int_eq(amux_ring_bind(&r, p.map, bytes), -EPROTO); \
	} while (0)
	EXPECT_BAD(h->magic ^= 1);
	EXPECT_BAD(h->version++);
	EXPECT_BAD(h->sq_entries = 0);
	EXPECT_BAD(h->sq_entries = 7);
	EXPECT_BAD(h->sq_entries = 2 * AMUX_ENTRIES_MAX);
	EXPECT_BAD(h->cq_entries = SMALL / 2);
	EXPECT_BAD(h->cq_entries = 12);
	EXPECT_BAD(h->cq_entries = 4 * AMUX_ENTRIES_MAX);
	EXPECT_BAD(h->cq_entries = 1024); /* larger than the mapping */
	EXPECT_BAD(h->sq_offset = 0);
	EXPECT_BAD(h->cq_offset += 32);
#undef EXPECT_BAD
	*h = good;
	ck_assert_int_eq(amux_ring_bind(&r, p.map, 4096), -EPROTO);
	ck_assert_int_eq(amux_ring_bind(&r, p.map, bytes), 0);
	pair_close(&p);
}
END_TEST

START_TEST(hostile_indices_are_bounded)
{
	struct amux_cqe cqe = { 0 };
	struct pair p;
	struct amux_ring_hdr *h;

	pair_open(&p, SMALL, 2 * SMALL, NEAR_WRAP);
	h = p.map;

	/* A client whose tail is out of reach, either way. */
	h->sq_tail = NEAR_WRAP + SMALL + 1;
	ck_assert_int_eq(amux_sq_ready(&p.broker), -EPROTO);
	p.broker.sq_tail = NEAR_WRAP;
	h->sq_tail = NEAR_WRAP - 1;
	ck_assert_int_eq(amux_sq_sleep(&p.broker), -EPROTO);
	ck_assert_uint_eq(h->sq_flags, 0);
	p.broker.sq_tail = NEAR_WRAP;
	h->sq_tail = NEAR_WRAP + SMALL;
	ck_assert_int_eq(amux_sq_ready(&p.broker), (int)SMALL);

	/* A client that claims to have read answers that were never written. */
	for (uint32_t i = 0; i < 2 * SMALL; i++)
		amux_cq_put(&p.broker, &cqe);
	ck_assert_uint_eq(amux_cq_space(&p.broker), 0);
	h->cq_head = NEAR_WRAP + 2 * SMALL + 1;
	ck_assert_uint_eq(amux_cq_space(&p.broker), 0);
	h->cq_head = NEAR_WRAP + 3;
	ck_assert_uint_eq(amux_cq_space(&p.broker), 3);

	/* A broker that lies about both of its indices. */
	h->sq_head = NEAR_WRAP + 5;
	p.client.sq_tail = NEAR_WRAP + SMALL;
	ck_assert_uint_eq(amux_sq_space(&p.client), 5);
	h->sq_head = NEAR_WRAP + 2 * SMALL;
	p.client.sq_head = NEAR_WRAP;
	ck_assert_uint_eq(amux_sq_space(&p.client), 0);
	h->cq_tail = NEAR_WRAP + 1000;
	ck_assert_uint_eq(amux_cq_ready(&p.client), 2 * SMALL);
	pair_close(&p);
}
END_TEST

START_TEST(full_and_empty)
{
	struct amux_sqe out;
	struct pair p;

	pair_open(&p, SMALL, SMALL, NEAR_WRAP + 12);
	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < SMALL; i++) {
			struct amux_sqe *s = amux_sq_next(&p.client);

			ck_assert_ptr_nonnull(s);
			s->user_data = round * SMALL + i;
		}
		ck_assert_ptr_null(amux_sq_next(&p.client));
		ck_assert_int_eq(amux_sq_ready(&p.broker), 0);
		ck_assert_int_eq(amux_sq_publish(&p.client), 0);
		ck_assert_int_eq(amux_sq_ready(&p.broker), (int)SMALL);
		for (uint32_t i = 0; i < SMALL; i++) {
			amux_sq_take(&p.broker, &out);
			ck_assert_uint_eq(out.user_data, round * SMALL + i);
		}
		ck_assert_uint_eq(amux_sq_space(&p.client), 0);
		amux_sq_release(&p.broker);
		ck_assert_uint_eq(amux_sq_space(&p.client), SMALL);
	}
	pair_close(&p);
}
END_TEST

/* ------------------------------------------------------------------- two threads */

#define STREAM 30000u

static void *sq_producer(void *arg)
{
	struct pair *p = arg;

	for (uint64_t i = 0; i < STREAM;) {
		uint64_t batch = 1 + i % 5;
		struct amux_sqe *s;

		while (batch-- && i < STREAM && (s = amux_sq_next(&p->client))) {
			memset(s, 0, sizeof(*s));
			s->user_data = i;
			s->len = i * 7;
			s->offset[2] = ~i;
			i++;
		}
		if (amux_sq_publish(&p->client))
			kick(p->sq_efd);
		if (!amux_sq_space(&p->client))
			sched_yield();
	}
	return NULL;
}

START_TEST(sq_stream_keeps_order_and_wakes)
{
	struct amux_sqe s;
	struct pair p;
	pthread_t t;

	pair_open(&p, SMALL, SMALL, NEAR_WRAP);
	ck_assert_int_eq(pthread_create(&t, NULL, sq_producer, &p), 0);
	for (uint64_t i = 0; i < STREAM;) {
		int n = amux_sq_ready(&p.broker);

		ck_assert_int_ge(n, 0);
		if (!n && !amux_sq_sleep(&p.broker)) {
			doze(p.sq_efd);
			amux_sq_wake(&p.broker);
		}
		for (; n > 0; n--, i++) {
			amux_sq_take(&p.broker, &s);
			ck_assert(s.user_data == i && s.len == i * 7 && s.offset[2] == ~i);
		}
		amux_sq_release(&p.broker);
	}
	pthread_join(t, NULL);
	ck_assert_int_eq(amux_sq_ready(&p.broker), 0);
	pair_close(&p);
}
END_TEST

static void *cq_producer(void *arg)
{
	struct pair *p = arg;

	for (uint64_t i = 0; i < STREAM;) {
		uint32_t space = amux_cq_space(&p->broker);

		for (; space && i < STREAM; space--, i++) {
			struct amux_cqe c = { .user_data = i, .result = i * 3, .bytes = ~i };

			amux_cq_put(&p->broker, &c);
		}
		if (amux_cq_publish(&p->broker))
			kick(p->cq_efd);
		sched_yield();
	}
	return NULL;
}

START_TEST(cq_stream_keeps_order_and_wakes)
{
	struct pair p;
	pthread_t t;

	pair_open(&p, SMALL, 2 * SMALL, NEAR_WRAP);
	ck_assert_int_eq(pthread_create(&t, NULL, cq_producer, &p), 0);
	for (uint64_t i = 0; i < STREAM;) {
		uint32_t n = amux_cq_ready(&p.client);

		if (!n && !amux_cq_sleep(&p.client)) {
			doze(p.cq_efd);
			amux_cq_wake(&p.client);
		}
		for (; n; n--, i++) {
			const struct amux_cqe *c = amux_cq_take(&p.client);

			ck_assert(c->user_data == i && c->result == i * 3 && c->bytes == ~i);
		}
		amux_cq_release(&p.client);
	}
	pthread_join(t, NULL);
	ck_assert_uint_eq(amux_cq_ready(&p.client), 0);
	pair_close(&p);
}
END_TEST

#define ROUNDS 10000u

/* The broker's side of a game in which both sleep whenever they can. */
static void *echo(void *arg)
{
	struct pair *p = arg;
	struct amux_sqe s;

	for (uint32_t i = 0; i < ROUNDS;) {
		struct amux_cqe c = { 0 };

		if (!amux_sq_ready(&p->broker)) {
			if (!amux_sq_sleep(&p->broker)) {
				doze(p->sq_efd);
				amux_sq_wake(&p->broker);
			}
			continue;
		}
		amux_sq_take(&p->broker, &s);
		amux_sq_release(&p->broker);
		c.user_data = s.user_data + 1;
		amux_cq_put(&p->broker, &c);
		if (amux_cq_publish(&p->broker))
			kick(p->cq_efd);
		i++;
	}
	return NULL;
}

START_TEST(no_wakeup_is_lost_in_either_direction)
{
	struct pair p;
	pthread_t t;

	pair_open(&p, 2, 2, NEAR_WRAP);
	ck_assert_int_eq(pthread_create(&t, NULL, echo, &p), 0);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct amux_sqe *s = amux_sq_next(&p.client);

		ck_assert_ptr_nonnull(s);
		memset(s, 0, sizeof(*s));
		s->user_data = i;
		if (amux_sq_publish(&p.client))
			kick(p.sq_efd);
		while (!amux_cq_ready(&p.client)) {
			if (amux_cq_sleep(&p.client))
				break;
			doze(p.cq_efd);
			amux_cq_wake(&p.client);
		}
		ck_assert_uint_eq(amux_cq_take(&p.client)->user_data, i + 1);
		amux_cq_release(&p.client);
	}
	pthread_join(t, NULL);
	pair_close(&p);
}
END_TEST

#define DUELS 100000u

/* Two threads let go at the same moment, again and again. */
struct duel {
	struct pair p;
	uint32_t gate[2];
	bool cq;
	bool slept[DUELS], kicked[DUELS];
};

static void duel_meet(struct duel *d, unsigned int me, uint32_t round)
{
	amux_store_release(&d->gate[me], round + 1); /* pairs with the other's acquire */
	for (unsigned int i = 0; amux_load_acquire(&d->gate[!me]) <= round; i++) {
		if (i % 4096 == 4095)
			sched_yield(); /* it may want this very CPU */
	}
}

/* Let the sleeper go first, or on a busy host the producer may win every single time. */
static void duel_wait_asleep(struct duel *d)
{
	const uint32_t *flags = d->cq ? &d->p.client.hdr->cq_flags : &d->p.client.hdr->sq_flags;

	for (unsigned int i = 0; i < 1000000 && !amux_load_relaxed(flags); i++)
		sched_yield();
}

static void *duel_sleeper(void *arg)
{
	struct duel *d = arg;
	struct amux_sqe sqe;

	for (uint32_t i = 0; i < DUELS; i++) {
		duel_meet(d, 0, 2 * i);
		d->slept[i] =
			!(d->cq ? amux_cq_sleep(&d->p.client) : amux_sq_sleep(&d->p.broker));
		duel_meet(d, 0, 2 * i + 1);
		if (d->cq) {
			amux_cq_wake(&d->p.client);
			amux_cq_ready(&d->p.client);
			amux_cq_take(&d->p.client);
			amux_cq_release(&d->p.client);
		} else {
			amux_sq_wake(&d->p.broker);
			amux_sq_ready(&d->p.broker);
			amux_sq_take(&d->p.broker, &sqe);
			amux_sq_release(&d->p.broker);
		}
	}
	return NULL;
}

/*
 * The moment that matters is a few ns wide: the sleeper sets its flag while the producer
 * moves the tail.  If neither sees the other, the wake-up is lost.  Fails without the
 * barriers.
 */
START_TEST(publish_and_sleep_never_miss_each_other)
{
	struct duel *d = calloc(1, sizeof(*d));
	struct amux_cqe cqe = { 0 };
	unsigned int both = 0;
	pthread_t t;

	d->cq = _i;
	pair_open(&d->p, SMALL, SMALL, NEAR_WRAP);
	ck_assert_int_eq(pthread_create(&t, NULL, duel_sleeper, d), 0);
	for (uint32_t i = 0; i < DUELS; i++) {
		if (d->cq)
			amux_cq_put(&d->p.broker, &cqe);
		else
			amux_sq_next(&d->p.client)->user_data = i;
		duel_meet(d, 1, 2 * i);
		if (i % 64 == 0)
			duel_wait_asleep(d);
		d->kicked[i] =
			d->cq ? amux_cq_publish(&d->p.broker) : amux_sq_publish(&d->p.client);
		duel_meet(d, 1, 2 * i + 1);
	}
	pthread_join(t, NULL);
	for (uint32_t i = 0; i < DUELS; i++) {
		ck_assert_msg(!d->slept[i] || d->kicked[i], "wake-up %u was lost", i);
		both += d->slept[i];
	}
	ck_assert_uint_gt(both, 0);
	pair_close(&d->p);
	free(d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ring");
	TCase *t = tcase_create("ring");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, bind_rejects_malformed_headers);
	tcase_add_test(t, hostile_indices_are_bounded);
	tcase_add_test(t, full_and_empty);
	tcase_add_test(t, sq_stream_keeps_order_and_wakes);
	tcase_add_test(t, cq_stream_keeps_order_and_wakes);
	tcase_add_test(t, no_wakeup_is_lost_in_either_direction);
	tcase_add_loop_test(t, publish_and_sleep_never_miss_each_other, 0, 2);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

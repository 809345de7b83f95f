// SPDX-License-Identifier: MIT
/*
 * test_mailbox.c - order, the pending hint, and threads that post while one takes and sleeps
 * as a mux does.
 */
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "../../broker/mailbox.h"
#include "../../client/barrier.h"
#include "core_util.h"

#define POSTERS	   3
#define EACH	   20000
#define STALL_SECS 5

static unsigned int notified;

static void count_notify(void *arg)
{
	ck_assert_ptr_eq(arg, &notified);
	notified++;
}

START_TEST(fifo)
{
	struct mailbox mb;
	struct mail mail[100];

	mailbox_init(&mb, count_notify, &notified);
	ck_assert(!mailbox_pending(&mb));
	ck_assert_ptr_null(mailbox_take(&mb));
	for (unsigned int i = 0; i < 100; i++) {
		mailbox_post(&mb, &mail[i]);
		ck_assert(mailbox_pending(&mb));
	}
	ck_assert_uint_eq(notified, 100);
	for (unsigned int i = 0; i < 100; i++) {
		ck_assert(mailbox_pending(&mb));
		ck_assert_ptr_eq(mailbox_take(&mb), &mail[i]);
	}
	ck_assert(!mailbox_pending(&mb));
	ck_assert_ptr_null(mailbox_take(&mb));
	/* posted again, also one that was just taken */
	mailbox_post(&mb, &mail[7]);
	ck_assert_ptr_eq(mailbox_take(&mb), &mail[7]);
	ck_assert_ptr_null(mailbox_take(&mb));
	mailbox_fini(&mb);
}
END_TEST

struct numbered {
	struct mail mail;
	unsigned int poster, seq;
};

struct post_office {
	struct mailbox mb;
	uint32_t sleeping;
	sem_t kick;
	struct numbered *mails[POSTERS];
};

/* mux_ring()'s discipline: a kick only if the taker has announced that it sleeps. */
static void ring_sleeper(void *arg)
{
	struct post_office *po = arg;

	amux_full_barrier(); /* pairs with the one in take_or_sleep() */
	if (amux_load_relaxed(&po->sleeping))
		sem_post(&po->kick);
}

struct poster {
	struct post_office *po;
	unsigned int index;
};

static void *poster_main(void *arg)
{
	struct poster *p = arg;
	struct numbered *mails = p->po->mails[p->index];

	for (unsigned int i = 0; i < EACH; i++) {
		mails[i].poster = p->index;
		mails[i].seq = i;
		mailbox_post(&p->po->mb, &mails[i].mail);
	}
	return NULL;
}

/* The next mail; sleeps as mux_sleep() does, and fails if a wake-up was lost. */
static struct numbered *take_or_sleep(struct post_office *po)
{
	struct timespec ts;
	struct mail *mail;

	while (!(mail = mailbox_take(&po->mb))) {
		amux_store_relaxed(&po->sleeping, 1u);
		amux_full_barrier(); /* pairs with the one in ring_sleeper() */
		if (!mailbox_pending(&po->mb)) {
			clock_gettime(CLOCK_REALTIME, &ts);
			ts.tv_sec += STALL_SECS;
			ck_assert_msg(!sem_timedwait(&po->kick, &ts), "a wake-up was lost");
		}
		amux_store_relaxed(&po->sleeping, 0u);
	}
	return container_of(mail, struct numbered, mail);
}

START_TEST(many_posters)
{
	struct post_office po = { .sleeping = 0 };
	unsigned int next[POSTERS] = { 0 };
	struct poster posters[POSTERS];
	pthread_t thread[POSTERS];

	sem_init(&po.kick, 0, 0);
	mailbox_init(&po.mb, ring_sleeper, &po);
	for (unsigned int i = 0; i < POSTERS; i++) {
		po.mails[i] = calloc(EACH, sizeof(*po.mails[i]));
		ck_assert_ptr_nonnull(po.mails[i]);
		posters[i] = (struct poster){ &po, i };
		ck_assert_int_eq(pthread_create(&thread[i], NULL, poster_main, &posters[i]), 0);
	}
	for (unsigned int i = 0; i < POSTERS * EACH; i++) {
		struct numbered *n = take_or_sleep(&po);

		ck_assert_uint_lt(n->poster, POSTERS);
		ck_assert_uint_eq(n->seq, next[n->poster]); /* each poster's in order, once */
		next[n->poster]++;
	}
	for (unsigned int i = 0; i < POSTERS; i++) {
		pthread_join(thread[i], NULL);
		ck_assert_uint_eq(next[i], EACH);
		free(po.mails[i]);
	}
	ck_assert_ptr_null(mailbox_take(&po.mb));
	ck_assert(!mailbox_pending(&po.mb));
	mailbox_fini(&po.mb);
	sem_destroy(&po.kick);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("mailbox");

	tcase_add_test(t, fifo);
	tcase_add_test(t, many_posters);
	return run_case(t, "mailbox", 30);
}

/* SPDX-License-Identifier: MIT */
/*
 * grant.pml - the grant page (kmod/uapi/accelmux.h): written by broker/grant.c under a sequence
 * counter, read by the kernel module (kmod/grant.c) or the broker's own reader (broker/grant.c).
 *
 * PART 1  the sequence: a grant that was accepted, within three tries, is one that was written,
 *	   whole.  READER 1: broker/grant.c:grant_copy(), 2: kmod/grant.c:grant_read().  TSO has
 *	   two writers, muxes of two nodes, who take turns by the page's lock.
 * PART 2  the first broker's initialisation: who sees the magic sees the rest.
 * PART 3  the idle grant of the whole device: withdrawn before the first user chunk, so that
 *	   a kernel that sees the chunk no more reads that grant, and at most one block of a
 *	   batch is submitted on it afterwards.
 * PART 4  demand: an honest kernel side never seems to have finished more than arrived.
 */
#ifndef PART
#define PART 1
#endif
#ifndef READER
#define READER 1
#endif
#ifndef WEAK
#define WEAK 1
#endif

/* broker/grant.c:page_publish: amux_store_relaxed(&page->seq, seq + 1) */
#ifndef SEQ_ODD
#define SEQ_ODD 1
#endif
/* broker/grant.c:page_publish: amux_store_release(&page->flags, next->flags) */
#ifndef FLAGS_RELEASE
#define FLAGS_RELEASE 1
#endif
/* broker/grant.c:page_publish: amux_store_release(&dst[i], src[i]) */
#ifndef BODY_RELEASE
#define BODY_RELEASE 1
#endif
/* broker/grant.c:page_publish: amux_store_release(&page->seq, seq + 2) */
#ifndef SEQ_RELEASE
#define SEQ_RELEASE 1
#endif
/* broker/grant.c:grant_publish: pthread_mutex_lock(&p->lock) */
#ifndef PAGE_LOCK
#define PAGE_LOCK 1
#endif
/* broker/grant.c:grant_copy: amux_load_acquire(&page->seq) */
/* kmod/grant.c:grant_read: smp_load_acquire(&g->seq) */
#ifndef SEQ_ACQUIRE
#define SEQ_ACQUIRE 1
#endif
/* broker/grant.c:grant_copy: amux_load_acquire(&page->flags) */
#ifndef FLAGS_ACQUIRE
#define FLAGS_ACQUIRE 1
#endif
/* broker/grant.c:grant_copy: amux_load_acquire(&src[i]) */
#ifndef BODY_ACQUIRE
#define BODY_ACQUIRE 1
#endif
/* kmod/grant.c:grant_read: smp_rmb() */
#ifndef READ_BARRIER
#define READ_BARRIER 1
#endif
/* broker/grant.c:grant_copy: amux_load_relaxed(&page->seq) == seq */
/* kmod/grant.c:grant_read: READ_ONCE(g->seq) != seq */
#ifndef SEQ_RECHECK
#define SEQ_RECHECK 1
#endif
/* broker/grant.c:grant_init: amux_store_release(&p->grant->magic */
#ifndef MAGIC_RELEASE
#define MAGIC_RELEASE 1
#endif
/* broker/grant.c:grant_read: amux_load_acquire(&g->magic) */
#ifndef MAGIC_ACQUIRE
#define MAGIC_ACQUIRE 1
#endif
/* broker/mux.c:mux_loop: the loan is withdrawn before the first user chunk */
#ifndef WITHDRAW_FIRST
#define WITHDRAW_FIRST 1
#endif
/* broker/soft_wq.h:wq_push: amux_store_release(&q->tail */
/* broker/dsa_portal.c:put_mapped: amux_nt_fence() */
#ifndef ISSUE_RELEASE
#define ISSUE_RELEASE 1
#endif
/* kmod/grant.c:grant_offer: grant_now(&g) */
#ifndef REREAD
#define REREAD 1
#endif
/* kmod/stats.c:demand_batch: smp_mb__before_atomic() */
/* kmod/stats.c:stats_answered: smp_mb__before_atomic() */
#ifndef DEMAND_RELEASE
#define DEMAND_RELEASE 1
#endif
/* broker/grant.c:grant_demand_read: amux_load_acquire(&d->finished_bytes) */
/* broker/grant.c:grant_demand_read: amux_load_acquire(&dev->completed_bytes) */
#ifndef DEMAND_ACQUIRE
#define DEMAND_ACQUIRE 1
#endif

#define TRIES  3 /* AMUX_GRANT_TRIES */
#define WRITES 2 /* of one writer; the other has one less */
#define CHUNKS 3

#define THREADS 3
#define MUX	0
#define OTHER	1 /* the second node's mux */
#define READS	2 /* kernel side */
#if PART == 3
#define SB	7 /* what follows the grant can be on its way with all of it */
#else
#define SB	3
#endif

#define SEQ	 0
#define FLAGS	 1
#define BODY1	 2
#define BODY2	 3
#define LAST	 4 /* grant_page.last.seq, under the lock */
#define LOCK	 5
#define VERSION	 6
#define MAGIC	 7
#define USER	 8 /* the engine has a user chunk */
#define ARRIVED	 9
#define FINISHED 10
#define ADDRS	 11

#define reads(t, a)                                                                          \
	((t == READS && ((a) < 4 || (a) == VERSION || (a) == MAGIC || (a) == USER)) ||       \
	 (t != READS && ((a) == LAST || (a) == ARRIVED || (a) == FINISHED)))

#include "memory.pml"

/* page_publish(): the grant @v; its fields are all the same here */
inline page_publish(me, v, seq)
{
	load(me, LAST, seq, 0);
#if SEQ_ODD
	store(me, SEQ, seq + 1, 0);
#endif
	store(me, FLAGS, v, FLAGS_RELEASE);
	store(me, BODY1, v, BODY_RELEASE);
	store(me, BODY2, v, BODY_RELEASE);
	store(me, SEQ, seq + 2, SEQ_RELEASE);
	store(me, LAST, seq + 2, 0);
	seq = 0
}

/* Sets @tries to TRIES when there is no grant. */
inline grant_read(seq, flags, one, two, tries)
{
	tries = 0;
	do
	:: tries == TRIES -> break
	:: else ->
		load(READS, SEQ, seq, SEQ_ACQUIRE);
		if
		:: seq & 1 -> tries++
		:: else ->
#if READER == 1
			load(READS, FLAGS, flags, FLAGS_ACQUIRE);
			load(READS, BODY1, one, BODY_ACQUIRE);
			load(READS, BODY2, two, BODY_ACQUIRE);
#else
			load(READS, FLAGS, flags, 0);
			load(READS, BODY1, one, 0);
			load(READS, BODY2, two, 0);
			read_barrier(READS, READ_BARRIER);
#endif
#if SEQ_RECHECK
			load(READS, SEQ, again, 0);
#else
			again = seq;
#endif
			if
			:: again == seq -> break
			:: else -> tries++
			fi
		fi
	od;
	again = 0
}

proctype writer(byte me)
{
	byte seq, n;

	do
	:: n == WRITES - me -> break
	:: else ->
		n++;
#if PAGE_LOCK
		lock(me, LOCK);
#endif
		page_publish(me, 2 * n + me, seq);
#if PAGE_LOCK
		unlock(me, LOCK)
#endif
	od
}

proctype reader()
{
	byte seq, flags, one, two, again, tries, calls;

	do
	:: calls == 2 -> break
	:: else ->
		calls++;
		grant_read(seq, flags, one, two, tries);
		assert(tries == TRIES || (flags == one && one == two));
		/* With one writer it is known which. */
		assert(tries == TRIES || !WEAK || flags == seq)
	od
}

/* grant_init() on a new page, whose seq is 0 */
proctype initialiser()
{
	byte seq;

	page_publish(MUX, 7, seq);
	store(MUX, VERSION, 1, 0);
	store(MUX, MAGIC, 1, MAGIC_RELEASE)
}

proctype newcomer()
{
	byte seq, flags, one, two, again, tries, x;

	load(READS, MAGIC, x, MAGIC_ACQUIRE);
	if
	:: x ->
		load(READS, VERSION, x, 0);
		assert(x == 1);
		grant_read(seq, flags, one, two, tries);
		assert(tries < TRIES && flags == 7 && one == 7 && two == 7)
	:: else
	fi
}

/* mux_loop(): the idle grant stands (2), work has been pulled */
proctype lender()
{
	byte seq;

#if !WITHDRAW_FIRST
	store(MUX, USER, 1, ISSUE_RELEASE);
#endif
	page_publish(MUX, 1, seq);
	/* sched_issue() */
#if WITHDRAW_FIRST
	store(MUX, USER, 1, ISSUE_RELEASE)
#endif
}

proctype borrower()
{
	byte seq, flags, one, two, again, tries, chunks, late;
	bit user;

	do
	:: chunks == CHUNKS -> break
	:: else ->
		chunks++;
#if REREAD
		load(READS, USER, user, 1);
		grant_read(seq, flags, one, two, tries);
		assert(!user || tries == TRIES || flags != 2);
#else
		if
		:: chunks == 1 -> grant_read(seq, flags, one, two, tries)
		:: else
		fi;
#endif
		/* dmaengine: a block of at most a chunk */
		late = late + (tries < TRIES && flags == 2 && mem[USER]);
		assert(late <= 1)
	od
}

/* kmod/stats.c: two batches */
proctype demand()
{
	byte n;

	do
	:: n == 2 -> break
	:: else ->
		n++;
		store(READS, ARRIVED, n, 0);
		store(READS, FINISHED, n, DEMAND_RELEASE)
	od
}

proctype poller()
{
	byte arrived, finished;

	load(MUX, FINISHED, finished, DEMAND_ACQUIRE);
	load(MUX, ARRIVED, arrived, 0);
	assert(finished <= arrived)
}

init
{
	atomic {
#if PART == 1
		run writer(MUX);
		if
		:: !WEAK -> run writer(OTHER)
		:: else
		fi;
		run reader();
#elif PART == 2
		run initialiser();
		run newcomer();
#elif PART == 3
		mem[SEQ] = 2;
		mem[LAST] = 2;
		mem[FLAGS] = 2;
		mem[BODY1] = 2;
		mem[BODY2] = 2;
		run lender();
		run borrower();
#else
		run demand();
		run poller();
#endif
		run memory()
	}
}

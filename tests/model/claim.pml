/* SPDX-License-Identifier: MIT */
/*
 * claim.pml - requests recalled from a broker that was stopped, at any point of its pull
 * (docs/abi.md, Recalling): client/ring.h, broker/session.c, client/recall.c.
 *
 * Checked: no request is begun by the broker and done by the client as well, however late the
 * broker goes on; each is done once; each is answered once, also those submitted after the
 * recall has ended.
 *
 * Each process may pause anywhere: that is all that SIGSTOP is.  Two requests are in the ring
 * when the client recalls them; a third one follows when all has been answered.
 */

/* client/ring.h:amux_sq_recall: amux_full_barrier() */
#ifndef RECALL_BARRIER
#define RECALL_BARRIER 1
#endif
/* client/ring.h:amux_sq_claim: amux_full_barrier() */
#ifndef CLAIM_BARRIER
#define CLAIM_BARRIER 1
#endif
/* client/ring.h:amux_sq_recall: amux_load_acquire(&r->hdr->sq_claimed) */
#ifndef CLAIMED_ACQUIRE
#define CLAIMED_ACQUIRE 1
#endif
/* broker/session.c:queue_pull: amux_sq_recalled(&q->ring, q->recall) */
#ifndef HEED_RECALL
#define HEED_RECALL 1
#endif
/* broker/session.c:queue_pull: queue_claim(q, budget < room ? budget : room) */
#ifndef CLAIM_FIRST
#define CLAIM_FIRST 1
#endif
/* client/recall.c:recall_check: q->ghosts || q->contested */
#ifndef END_LATE
#define END_LATE 1
#endif

#define RECALLED_ONES 2
#define REQUESTS      3

#define THREADS 2
#define CLIENT	0
#define BROKER	1
#define SB	3

#define TAIL	  0
#define CLAIMED	  1
#define RECALL	  2 /* 0: none, else the index behind the last; it begins at 0 */
#define ANSWER(i) (3 + (i))
#define ADDRS	  6

#define reads(t, a)                                                                          \
	((t == CLIENT && ((a) == CLAIMED || (a) >= 3)) ||                                    \
	 (t == BROKER && ((a) == TAIL || (a) == RECALL)))

#include "memory.pml"

#define BEGUN	 1
#define RECALLED 2

byte begun[REQUESTS], mine[REQUESTS], answered;

/* The client does it: the application has its buffer back afterwards. */
#define do_mine(i)                                                                           \
	atomic {                                                                             \
		mine[i] = mine[i] + 1;                                                       \
		assert(mine[i] == 1 && !begun[i])                                            \
	}

inline collect(upto)
{
	do
	:: answered == upto -> break
	:: else ->
		mem[ANSWER(answered)] != 0; /* it looks now and then */
		load(CLIENT, ANSWER(answered), x, 1);
		if
		:: x == RECALLED && !mine[answered] -> do_mine(answered)
		:: x != RECALLED && x != 0 -> assert(!mine[answered])
		:: else
		fi;
		if
		:: x -> answered++
		:: else
		fi;
		x = 0
	od
}

proctype client()
{
	byte claimed, i, x;

	/* amux_sq_recall() */
	store(CLIENT, RECALL, RECALLED_ONES, 0);
	barrier(CLIENT, RECALL_BARRIER);
	load(CLIENT, CLAIMED, claimed, CLAIMED_ACQUIRE);
	i = claimed;
	do
	:: i < RECALLED_ONES ->
		do_mine(i);
		i++
	:: else -> break
	od;
#if !END_LATE
	store(CLIENT, RECALL, 0, 0);
#endif
	collect(RECALLED_ONES);
#if END_LATE
	store(CLIENT, RECALL, 0, 0);
#endif
	store(CLIENT, TAIL, REQUESTS, 1);
	collect(REQUESTS)
}

proctype broker()
{
	byte head, tail, claimed, recall;

	do
	:: head == REQUESTS -> break
	:: else ->
		if
		:: head == tail ->
			mem[TAIL] != head;
			load(BROKER, TAIL, tail, 1)
		:: head != tail && head == claimed ->
			/* queue_claim(): all of them, or what the budget allows */
			if
			:: claimed = tail
			:: claimed = head + 1
			fi;
#if CLAIM_FIRST
			store(BROKER, CLAIMED, claimed, 0);
#endif
			barrier(BROKER, CLAIM_BARRIER);
			load(BROKER, RECALL, recall, 0)
#if !CLAIM_FIRST
			;
			store(BROKER, CLAIMED, claimed, 0)
#endif
		:: head < claimed ->
			if
			:: HEED_RECALL && head < recall ->
				store(BROKER, ANSWER(head), RECALLED, 1)
			:: else ->
				atomic {
					begun[head] = begun[head] + 1;
					assert(!mine[head])
				};
				store(BROKER, ANSWER(head), BEGUN, 1)
			fi;
			head++
		fi
	od
}

init
{
	bit each_once;

	atomic {
		mem[TAIL] = RECALLED_ONES;
		run client();
		run broker();
		run memory()
	};
	timeout ->
	each_once = answered == REQUESTS && begun[0] + mine[0] == 1 &&
		    begun[1] + mine[1] == 1 && begun[2] + mine[2] == 1;
	assert(each_once)
}

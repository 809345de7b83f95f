/* SPDX-License-Identifier: MIT */
/*
 * ring.pml - one queue between a client and a broker that both sleep: client/ring.h.
 *
 * Checked: every request is taken once, whole and in order, and answered once, whole and in
 * order; no slot is overwritten before it was copied; and nobody sleeps for ever: when nothing
 * moves any more, everything was answered.
 *
 * BOUND=1        the library's client: never more in flight than the rings have entries
 *		  (client/queue.h)
 * BOUND=0        a client by hand that knows no bound but the SQ's: the broker waits for places
 *		  in the CQ, and the client kicks it after making room (docs/abi.md, Queue)
 * BOUND=0 RAW=1  the same without answers, with entries of two words
 *
 * Every ordering below can be deleted by -DNAME=0; model.sh does, and expects a counterexample.
 */
#ifndef BOUND
#define BOUND 1
#endif
#ifndef RAW
#define RAW 0
#endif

/* client/ring.h:amux_sq_publish: amux_store_release(&r->hdr->sq_tail */
#ifndef SQ_TAIL_RELEASE
#define SQ_TAIL_RELEASE 1
#endif
/* client/ring.h:amux_sq_publish: amux_full_barrier() */
#ifndef SQ_PUBLISH_BARRIER
#define SQ_PUBLISH_BARRIER 1
#endif
/* client/ring.h:amux_sq_ready: amux_load_acquire(&r->hdr->sq_tail) */
#ifndef SQ_TAIL_ACQUIRE
#define SQ_TAIL_ACQUIRE 1
#endif
/* client/ring.h:amux_sq_release: amux_store_release(&r->hdr->sq_head */
#ifndef SQ_HEAD_RELEASE
#define SQ_HEAD_RELEASE 1
#endif
/* client/ring.h:amux_sq_space: amux_load_acquire(&r->hdr->sq_head) */
#ifndef SQ_HEAD_ACQUIRE
#define SQ_HEAD_ACQUIRE 1
#endif
/* client/ring.h:amux_sq_sleep: amux_full_barrier() */
#ifndef SQ_SLEEP_BARRIER
#define SQ_SLEEP_BARRIER 1
#endif
/* client/ring.h:amux_cq_publish: amux_store_release(&r->hdr->cq_tail */
#ifndef CQ_TAIL_RELEASE
#define CQ_TAIL_RELEASE 1
#endif
/* client/ring.h:amux_cq_publish: amux_full_barrier() */
#ifndef CQ_PUBLISH_BARRIER
#define CQ_PUBLISH_BARRIER 1
#endif
/* client/ring.h:amux_cq_ready: amux_load_acquire(&r->hdr->cq_tail) */
#ifndef CQ_TAIL_ACQUIRE
#define CQ_TAIL_ACQUIRE 1
#endif
/* client/ring.h:amux_cq_release: amux_store_release(&r->hdr->cq_head */
#ifndef CQ_HEAD_RELEASE
#define CQ_HEAD_RELEASE 1
#endif
/* client/ring.h:amux_cq_space: amux_load_acquire(&r->hdr->cq_head) */
#ifndef CQ_HEAD_ACQUIRE
#define CQ_HEAD_ACQUIRE 1
#endif
/* client/ring.h:amux_cq_sleep: amux_full_barrier() */
#ifndef CQ_SLEEP_BARRIER
#define CQ_SLEEP_BARRIER 1
#endif

#define ENTRIES 2
#define REQUESTS 3 /* one more than there are slots: the first is used again */

#define THREADS 2
#define CLIENT	0
#define BROKER	1
#define SB	4

#define SQ_TAIL	 0
#define SQ_HEAD	 1
#define SQ_FLAGS 2
#define CQ_TAIL	 3
#define CQ_HEAD	 4
#define CQ_FLAGS 5
#define SQE(i)	 (6 + (i) % ENTRIES)
#define CQE(i)	 (8 + (i) % ENTRIES)
#define SQE2(i)	 (8 + (i) % ENTRIES) /* RAW: the second word */
#define ADDRS	 10

/* Who loads what another writes. */
#define client_reads(a) ((a) == SQ_HEAD || (a) == SQ_FLAGS || (!RAW && ((a) == CQ_TAIL || (a) >= 8)))
#define broker_reads(a)                                                                      \
	((a) == SQ_TAIL || (a) == CQ_HEAD || (a) == CQ_FLAGS || (a) == 6 || (a) == 7 ||      \
	 (RAW && (a) >= 8))
#define reads(t, a) ((t == CLIENT && client_reads(a)) || (t == BROKER && broker_reads(a)))

#include "memory.pml"

bit sq_kick, cq_kick; /* sq eventfd and cq socket: system calls, but counted as no barrier */
byte taken;	      /* requests that the broker has copied */
byte answered;	      /* that the client has seen answered */

proctype client()
{
	byte tail, head, cq_head, cq_tail, next = 1, inflight, x;
	bit did;

	do
	:: next > REQUESTS && (RAW || answered == REQUESTS) -> break
	:: else ->
		did = 0;
		/* amux_sq_next() until full, or until this one stops */
		do
		:: next <= REQUESTS && (!BOUND || inflight < ENTRIES) ->
			if
			:: tail - head == ENTRIES -> load(CLIENT, SQ_HEAD, head, SQ_HEAD_ACQUIRE)
			:: else
			fi;
			if
			:: tail - head == ENTRIES && did -> break
			:: tail - head == ENTRIES && !did && RAW ->
				mem[SQ_HEAD] != head; /* it looks again now and then */
			:: tail - head == ENTRIES && !did && !RAW -> break
			:: else ->
				store(CLIENT, SQE(tail), next, 0);
#if RAW
				store(CLIENT, SQE2(tail), next, 0);
#endif
				atomic {
					tail++;
					next++;
					inflight++;
					did = 1
				}
			fi
		:: did -> break
		:: next > REQUESTS || (BOUND && inflight == ENTRIES) -> break
		od;
		if
		:: did ->
			/* amux_sq_publish() */
			store(CLIENT, SQ_TAIL, tail, SQ_TAIL_RELEASE);
			barrier(CLIENT, SQ_PUBLISH_BARRIER);
			load(CLIENT, SQ_FLAGS, x, 0);
			if
			:: x -> sq_kick = 1
			:: else
			fi
		:: else
		fi;
#if !RAW
		/* amux_cq_ready(), amux_cq_take(), amux_cq_release() */
		load(CLIENT, CQ_TAIL, cq_tail, CQ_TAIL_ACQUIRE);
		if
		:: cq_tail != cq_head ->
#if !CQ_HEAD_RELEASE
			/* Without the release the last look may be as late as the head's store. */
			if
			:: WEAK -> store(CLIENT, CQ_HEAD, cq_tail, 0)
			:: skip
			fi;
#endif
			do
			:: cq_tail != cq_head ->
				load(CLIENT, CQE(cq_head), x, 0);
				atomic {
					answered++;
					assert(x == answered); /* whole, in order, once */
					cq_head++;
					inflight--
				}
			:: else -> break
			od;
			store(CLIENT, CQ_HEAD, cq_head, CQ_HEAD_RELEASE)
#if !BOUND
			;
			barrier(CLIENT, 1);
			load(CLIENT, SQ_FLAGS, x, 0);
			if
			:: x -> sq_kick = 1
			:: else
			fi
#endif
		:: else ->
			if
			:: did || !inflight
			:: else ->
				/* amux_cq_sleep(), amux_cq_wake() */
				store(CLIENT, CQ_FLAGS, 1, 0);
				barrier(CLIENT, CQ_SLEEP_BARRIER);
				load(CLIENT, CQ_TAIL, cq_tail, CQ_TAIL_ACQUIRE);
				if
				:: cq_tail == cq_head -> atomic { cq_kick -> cq_kick = 0 }
				:: else
				fi;
				store(CLIENT, CQ_FLAGS, 0, 0)
			fi
		fi
#endif
	od
}

proctype broker()
{
	byte head, tail, cq_tail, cq_head, x, y, got[ENTRIES], n, i;

	do
	:: atomic { taken == REQUESTS -> break }
	:: else ->
		/* amux_sq_ready(): the cached tail first */
		if
		:: tail == head -> load(BROKER, SQ_TAIL, tail, SQ_TAIL_ACQUIRE)
		:: else
		fi;
		n = 0;
#if !RAW
		/* queue_room(): a place for every answer */
		load(BROKER, CQ_HEAD, cq_head, CQ_HEAD_ACQUIRE);
#endif
		/* amux_sq_take() */
		do
		:: tail != head && (RAW || cq_tail + n - cq_head < ENTRIES) ->
#if RAW && !SQ_HEAD_RELEASE
			/* Without the release the copy may be as late as the head's store. */
			if
			:: WEAK -> store(BROKER, SQ_HEAD, head + 1, 0)
			:: skip
			fi;
#endif
			load(BROKER, SQE(head), x, 0);
			y = x;
#if RAW
			load(BROKER, SQE2(head), y, 0);
#endif
			atomic {
				taken++;
				assert(x == taken && y == taken); /* whole, in order, once */
				got[n] = x;
				n++;
				head++
			}
		:: else -> break
		od;
		if
		:: n ->
			/* amux_sq_release() */
			store(BROKER, SQ_HEAD, head, SQ_HEAD_RELEASE);
#if !RAW
			i = 0;
			do
			:: i < n ->
				store(BROKER, CQE(cq_tail), got[i], 0);
				atomic {
					cq_tail++;
					i++
				}
			:: else -> break
			od;
			atomic {
				got[0] = 0;
				got[1] = 0;
				i = 0
			};
			/* amux_cq_publish() */
			store(BROKER, CQ_TAIL, cq_tail, CQ_TAIL_RELEASE);
			barrier(BROKER, CQ_PUBLISH_BARRIER);
			load(BROKER, CQ_FLAGS, x, 0);
			if
			:: x -> cq_kick = 1
			:: else
			fi
#else
			atomic {
				got[0] = 0;
				got[1] = 0
			}
#endif
		:: else ->
			/* amux_sq_sleep(), then epoll, amux_sq_wake() */
			store(BROKER, SQ_FLAGS, 1, 0);
			barrier(BROKER, SQ_SLEEP_BARRIER);
			if
			:: tail == head -> load(BROKER, SQ_TAIL, tail, SQ_TAIL_ACQUIRE)
			:: else
			fi;
#if !RAW
			load(BROKER, CQ_HEAD, cq_head, CQ_HEAD_ACQUIRE);
#endif
			if
			:: tail == head || (!RAW && cq_tail - cq_head == ENTRIES) ->
				atomic { sq_kick -> sq_kick = 0 }
			:: else
			fi;
			store(BROKER, SQ_FLAGS, 0, 0)
		fi;
		atomic {
			x = 0;
			y = 0
		}
	od
}

init
{
	bit nothing_is_left;

	atomic {
		run client();
		run broker();
		run memory()
	};
	timeout ->
	nothing_is_left = taken == REQUESTS && (RAW || answered == REQUESTS);
	assert(nothing_is_left)
}

/* SPDX-License-Identifier: MIT */
/*
 * mux.pml - the one sleep of a mux thread over everything that can wake it: two queues, hot or
 * cold (broker/mux.c), its mailbox (broker/mailbox.c), and an engine thread's doorbell.
 *
 * Checked: nothing is left lying while the mux sleeps: when nothing moves any more, every
 * request was pulled, every mail taken, every completion reaped.  That the entries behind a
 * tail are right is ring.pml's; here a tail is all there is of a queue.
 *
 * Epoll watches the queues' eventfds by edges: a kick is used up when epoll tells of it, also
 * where that tells the mux nothing new.
 */

/* broker/mux.c:mux_sleep: amux_full_barrier() */
#ifndef MUX_SLEEP_BARRIER
#define MUX_SLEEP_BARRIER 1
#endif
/* broker/mux.c:mux_ring: amux_full_barrier() */
#ifndef MUX_RING_BARRIER
#define MUX_RING_BARRIER 1
#endif
/* client/ring.h:amux_sq_publish: amux_full_barrier() */
#ifndef SQ_PUBLISH_BARRIER
#define SQ_PUBLISH_BARRIER 1
#endif
/* client/ring.h:amux_sq_sleep: amux_full_barrier() */
#ifndef COLD_BARRIER
#define COLD_BARRIER 1
#endif
/* broker/mailbox.c:mailbox_post: __atomic_store_n(&mb->pending, 1u, __ATOMIC_RELEASE) */
#ifndef PENDING_RELEASE
#define PENDING_RELEASE 1
#endif
/* broker/mailbox.h:mailbox_pending: __atomic_load_n(&mb->pending, __ATOMIC_ACQUIRE) */
#ifndef PENDING_ACQUIRE
#define PENDING_ACQUIRE 1
#endif
/* broker/mailbox.c:mailbox_take: pthread_mutex_lock(&mb->lock) */
#ifndef TAKE_LOCK
#define TAKE_LOCK 1
#endif
/* broker/mux.c:mux_sleep: work |= mailbox_pending(&m->inbox) */
#ifndef RECHECK_MAIL
#define RECHECK_MAIL 1
#endif
/* broker/mux.c:mux_events: list_add_tail(&m->queues.hot, &q->hot) */
#ifndef REHEAT
#define REHEAT 1
#endif

/*
 * PART 1: one queue, and mail by one poster; 2: two queues; 3: mail by two producers, one of
 * which rings for a completion first (WEAK: and does no more).  PART 1 is for TSO alone: with
 * WEAK it has too many states, and 2 and 3 have all of its pairs of barriers.
 */
#ifndef PART
#define PART 1
#endif
#define HAS_SECOND (PART == 3)
#ifndef WEAK
#define WEAK 1
#endif
#if PART == 1
#define QUEUES	 1
#define MAILS	 2
#elif PART == 2
#define QUEUES	 2
#define MAILS	 0
#else
#define QUEUES	 0
#define MAILS	 1
#endif
#define requests(q) (WEAK -> 1 : 2 - (q)) /* the weak machine has states enough */
#define ALL_REQUESTS ((QUEUES > 0) * requests(0) + (QUEUES > 1) * requests(1))
#define BELLS	 1

#define THREADS 4
#define MUX	0
#define TENANT	1 /* both queues' client */
#define POSTER	2
#define ENGINE	3 /* PART 3: also posts, as the second producer of mail */
#define SB	2

#define TAIL(q)	 (0 + (q))
#define FLAGS(q) (2 + (q))
#define SLEEPING 4
#define PENDING	 5
#define LIST	 6 /* mails in the list */
#define LOCK	 7
#define RECORDS	 8 /* completions published */
#define ADDRS	 9

#define reads(t, a)                                                                          \
	((t == MUX && ((a) < 2 || (a) == PENDING || (a) == LIST || (a) == RECORDS)) ||       \
	 (t == TENANT && ((a) == FLAGS(0) || (a) == FLAGS(1))) ||                            \
	 ((t == POSTER || t == ENGINE) && ((a) == SLEEPING || (a) == LIST)))

#include "memory.pml"

bit kick[2], bell; /* the queues' eventfds, the mux's own */
bit hot[2], woken[2];
byte pulled[2], mails, reaped;

#define done                                                                                 \
	(pulled[0] + pulled[1] == ALL_REQUESTS && mails == MAILS * (1 + (HAS_SECOND && !WEAK)) && \
	 reaped == HAS_SECOND * BELLS)

inline mux_ring(t, x)
{
	barrier(t, MUX_RING_BARRIER);
	load(t, SLEEPING, x, 0);
	atomic {
		bell = bell || x;
		x = 0
	}
}

inline mailbox_post(t, x)
{
	lock(t, LOCK);
	load(t, LIST, x, 0);
	store(t, LIST, x + 1, 0);
	store(t, PENDING, 1, PENDING_RELEASE);
	unlock(t, LOCK);
	x = 0;
	mux_ring(t, x)
}

proctype tenant()
{
	byte tail[2], x, q;

	do
	:: tail[0] + tail[1] == ALL_REQUESTS -> break
	:: else ->
		if
		:: tail[0] < requests(0) -> q = 0
		:: QUEUES == 2 && tail[1] < requests(1) -> q = 1
		fi;
		tail[q] = tail[q] + 1;
		store(TENANT, TAIL(q), tail[q], 1);
		barrier(TENANT, SQ_PUBLISH_BARRIER);
		load(TENANT, FLAGS(q), x, 0);
		atomic {
			kick[q] = kick[q] || x;
			x = 0;
			q = 0
		}
	od
}

proctype poster(byte me)
{
	byte x, n;

	do
	:: n == MAILS -> break
	:: else ->
		mailbox_post(me, x);
		n++
	od
}

/* Completion records, each followed by the doorbell; then it posts as well (not WEAK). */
proctype engine()
{
	byte x, n;

	do
	:: n == BELLS -> break
	:: else ->
		n++;
		store(ENGINE, RECORDS, n, 1);
		mux_ring(ENGINE, x)
	od;
	if
	:: !WEAK -> run poster(ENGINE)
	:: else
	fi
}

/* A flag of every hot queue. */
inline flag_hot(v)
{
	if
	:: hot[0] -> store(MUX, FLAGS(0), v, 0)
	:: else
	fi;
	if
	:: hot[1] -> store(MUX, FLAGS(1), v, 0)
	:: else
	fi
}

/* Is a tail of a hot queue beyond what was pulled? */
inline look_hot(q)
{
	if
	:: hot[q] ->
		load(MUX, TAIL(q), x, 1);
		atomic {
			work = work || x != pulled[q];
			x = 0
		}
	:: else
	fi
}

#define take_kick(q)                                                                         \
	if                                                                                   \
	:: kick[q] ->                                                                        \
		kick[q] = 0;                                                                 \
		woken[q] = !hot[q] && REHEAT                                                 \
	:: else                                                                              \
	fi

#define heat(q)                                                                              \
	if                                                                                   \
	:: woken[q] ->                                                                       \
		store(MUX, FLAGS(q), 0, 0); /* amux_sq_wake() */                             \
		atomic {                                                                     \
			woken[q] = 0;                                                        \
			hot[q] = 1                                                           \
		}                                                                            \
	:: else                                                                              \
	fi

/* mux_events(): everything that epoll has, at once */
inline events()
{
	atomic {
		kick[0] || kick[1] || bell ->
		bell = 0;
		take_kick(0);
		take_kick(1)
	};
	heat(0);
	heat(1)
}

/* queue_pull(), and after a while of quiet amux_sq_sleep(): the queue goes cold */
inline pull(q)
{
	if
	:: hot[q] ->
		load(MUX, TAIL(q), x, 1);
		if
		:: atomic {
			x != pulled[q] ->
			pulled[q] = x;
			work = 1
		   }
		:: x == pulled[q]
		:: x == pulled[q] ->
			store(MUX, FLAGS(q), 1, 0);
			barrier(MUX, COLD_BARRIER);
			load(MUX, TAIL(q), x, 1);
			if
			:: x == pulled[q] -> hot[q] = 0
			:: else -> store(MUX, FLAGS(q), 0, 0)
			fi
		fi;
		x = 0
	:: else
	fi
}

/* mailbox_pending(), mailbox_take() until there is none */
inline mail()
{
	do
	:: load(MUX, PENDING, x, PENDING_ACQUIRE);
		if
		:: !x -> break
		:: else ->
			x = 0;
			if
			:: TAKE_LOCK -> lock(MUX, LOCK)
			:: else
			fi;
			load(MUX, LIST, y, 0);
			if
			:: y ->
				y--;
				store(MUX, LIST, y, 0);
				atomic {
					mails++;
					work = 1
				}
			:: else
			fi;
			store(MUX, PENDING, (y != 0), 1);
			if
			:: TAKE_LOCK -> unlock(MUX, LOCK)
			:: else
			fi;
			y = 0
		fi
	od
}

/* sched_reap() */
inline reap()
{
	load(MUX, RECORDS, x, 1);
	atomic {
		work = work || x != reaped;
		reaped = x;
		x = 0
	}
}

proctype mux()
{
	bit work;
	byte x, y;

	do
	:: atomic { done -> break }
	:: else ->
		work = 0;
#if PART != 2
		mail();
#endif
#if HAS_SECOND
		reap();
#endif
#if QUEUES
		pull(0);
		pull(1);
#endif
		if
		:: work
		:: !work && (kick[0] || kick[1] || bell) -> events() /* now and then */
		:: !work ->
			/* mux_sleep() */
			store(MUX, SLEEPING, 1, 0);
			flag_hot(1);
			barrier(MUX, MUX_SLEEP_BARRIER);
			look_hot(0);
			look_hot(1);
#if PART != 2 && RECHECK_MAIL
			load(MUX, PENDING, x, PENDING_ACQUIRE);
			atomic {
				work = work || x;
				x = 0
			};
#endif
#if HAS_SECOND
			reap();
#endif
			if
			:: !work -> events() /* epoll_pwait2() */
			:: else
			fi;
			store(MUX, SLEEPING, 0, 0);
			flag_hot(0) /* mux_wake_flags() */
		fi
	od
}

init
{
	bit nothing_is_left;

	atomic {
		hot[0] = QUEUES > 0;
		hot[1] = QUEUES > 1;
		run mux();
		if
		:: QUEUES -> run tenant()
		:: else
		fi;
		if
		:: MAILS -> run poster(POSTER)
		:: else
		fi;
		if
		:: HAS_SECOND -> run engine()
		:: else
		fi;
		run memory()
	};
	timeout ->
	nothing_is_left = done;
	assert(nothing_is_left)
}

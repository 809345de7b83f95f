/* SPDX-License-Identifier: MIT */
/*
 * memory.pml - shared memory as two kinds of machines have it; included by every model.
 *
 * Each thread has a store buffer.  A store goes in at the end, the thread's own loads look
 * there first (forwarding), and the process memory() moves entries to memory whenever it likes.
 *
 *	TSO (WEAK=0, x86)  the buffer is a FIFO: the only thing that may be overtaken is a
 *			   store, by a later load.
 *	WEAK=1		   an entry may overtake older ones of other addresses, unless it is a
 *			   release.  And a load may be satisfied early: when a store reaches
 *			   memory, any thread that reads that address may keep the old value
 *			   and use it for a later load, until it has done an acquire load or a
 *			   full barrier after that store.
 *
 * WEAK allows more than any machine the code runs on (values speculated through address
 * dependencies, readers that see stores in different orders), so what holds there holds on
 * them; TSO is what x86 does.  Not allowed in either: a plain load satisfied after a later
 * store of its thread; where a release has to prevent that the model says so itself
 * (ring.pml, where SQ_HEAD_RELEASE and CQ_HEAD_RELEASE are missing).
 *
 * The includer defines before: THREADS (2 .. 4), ADDRS, SB (entries of a store buffer, 2 .. 4 or
 * 7), and reads(t, a): may thread t load address a, which others write?
 */
#ifndef WEAK
#define WEAK 1
#endif

typedef store_buffer {
	byte addr[SB];
	byte val[SB];
	bit rel[SB];
	byte n
};
typedef old_values {
	bit has[ADDRS];
	byte val[ADDRS]
};

byte mem[ADDRS];
store_buffer sb[THREADS];
#if WEAK
old_values old[THREADS];
#endif
byte m_i, m_u, m_t, m_e; /* scratch inside of atomic sequences, zero outside */

inline forget(t)
{
#if WEAK
	d_step {
		m_u = 0;
		do
		:: m_u < ADDRS ->
			old[t].has[m_u] = 0;
			old[t].val[m_u] = 0;
			m_u++
		:: else -> break
		od;
		m_u = 0
	}
#else
	skip
#endif
}

inline store(t, a, v, release)
{
	d_step {
		sb[t].n < SB ->
		sb[t].addr[sb[t].n] = a;
		sb[t].val[sb[t].n] = v;
		sb[t].rel[sb[t].n] = release;
		sb[t].n = sb[t].n + 1;
#if WEAK
		old[t].has[a] = 0;
		old[t].val[a] = 0
#endif
	}
}

inline load(t, a, x, acquire)
{
	atomic {
		d_step {
			m_i = sb[t].n;
			do
			:: m_i > 0 && sb[t].addr[m_i - 1] != a -> m_i--
			:: else -> break
			od
		};
		if
		:: m_i > 0 -> x = sb[t].val[m_i - 1]
#if WEAK
		:: m_i == 0 && old[t].has[a] -> x = old[t].val[a]
		:: m_i == 0 ->
			x = mem[a];
			old[t].has[a] = 0;
			old[t].val[a] = 0
#else
		:: else -> x = mem[a]
#endif
		fi;
		m_i = 0;
		if
		:: acquire -> forget(t)
		:: else
		fi
	}
}

/* A full barrier, or nothing where @on is 0. */
inline barrier(t, on)
{
	if
	:: on -> atomic { sb[t].n == 0 -> forget(t) }
	:: else
	fi
}

/* Orders earlier loads before later ones: smp_rmb(). */
inline read_barrier(t, on)
{
	if
	:: on -> atomic { forget(t) }
	:: else
	fi
}

/*
 * A mutex is a word: taken by an atomic exchange with acquire (which on x86 also empties the
 * store buffer), given back by a release store.
 */
inline lock(t, a)
{
	atomic {
		mem[a] == 0 && (WEAK || sb[t].n == 0) ->
		m_i = 0;
		do
		:: m_i < sb[t].n && sb[t].addr[m_i] != a -> m_i++
		:: else -> break
		od;
		m_i == sb[t].n; /* our own unlock is still on its way otherwise */
		m_i = 0;
		mem[a] = 1;
		forget(t)
	}
}

inline unlock(t, a)
{
	store(t, a, 0, 1)
}

/* Move entry m_e of thread m_t's buffer to memory. */
inline drain()
{
#if WEAK
	do
	:: m_u < THREADS ->
		if
		:: m_u != m_t && reads(m_u, sb[m_t].addr[m_e]) &&
		   mem[sb[m_t].addr[m_e]] != sb[m_t].val[m_e] ->
			if
			:: old[m_u].has[sb[m_t].addr[m_e]] = 1;
			   old[m_u].val[sb[m_t].addr[m_e]] = mem[sb[m_t].addr[m_e]]
			:: skip /* keeps an older one, or none */
			fi
		:: else
		fi;
		m_u++
	:: else -> break
	od;
#endif
	d_step {
		mem[sb[m_t].addr[m_e]] = sb[m_t].val[m_e];
		do
		:: m_e + 1 < sb[m_t].n ->
			sb[m_t].addr[m_e] = sb[m_t].addr[m_e + 1];
			sb[m_t].val[m_e] = sb[m_t].val[m_e + 1];
			sb[m_t].rel[m_e] = sb[m_t].rel[m_e + 1];
			m_e++
		:: else -> break
		od;
		sb[m_t].addr[m_e] = 0;
		sb[m_t].val[m_e] = 0;
		sb[m_t].rel[m_e] = 0;
		sb[m_t].n = sb[m_t].n - 1;
		m_t = 0;
		m_e = 0;
		m_u = 0
	}
}

/* Which entries of thread @t's buffer may go to memory now: the first; WEAK: later ones, if they
 * are no release, and nothing in front of them has the same address. */
#define other(t, i, j) (sb[t].addr[i] != sb[t].addr[j])
#define over1(t) (other(t, 1, 0))
#define over2(t) (other(t, 2, 0) && other(t, 2, 1))
#define over3(t) (other(t, 3, 0) && other(t, 3, 1) && other(t, 3, 2))
#define over4(t) (other(t, 4, 0) && other(t, 4, 1) && other(t, 4, 2) && other(t, 4, 3))
#define over5(t)                                                                             \
	(other(t, 5, 0) && other(t, 5, 1) && other(t, 5, 2) && other(t, 5, 3) &&             \
	 other(t, 5, 4))
#define over6(t)                                                                             \
	(other(t, 6, 0) && other(t, 6, 1) && other(t, 6, 2) && other(t, 6, 3) &&             \
	 other(t, 6, 4) && other(t, 6, 5))
#define overtakes(t, i, over)                                                                \
	:: sb[t].n > i && !sb[t].rel[i] && over ->                                           \
		m_t = t;                                                                     \
		m_e = i
#if WEAK
#define drains1(t) overtakes(t, 1, over1(t))
#else
#define drains1(t)
#endif
#if WEAK && SB > 2
#define drains2(t) overtakes(t, 2, over2(t))
#else
#define drains2(t)
#endif
#if WEAK && SB > 3
#define drains3(t) overtakes(t, 3, over3(t))
#else
#define drains3(t)
#endif
#if WEAK && SB == 7
#define drains456(t)                                                                         \
	overtakes(t, 4, over4(t)) overtakes(t, 5, over5(t)) overtakes(t, 6, over6(t))
#else
#define drains456(t)
#endif
#define drains(t)                                                                            \
	:: sb[t].n > 0 -> m_t = t                                                            \
	drains1(t) drains2(t) drains3(t) drains456(t)

proctype memory()
{
end:	do
	:: atomic {
		if
		drains(0)
		drains(1)
#if THREADS > 2
		drains(2)
#endif
#if THREADS > 3
		drains(3)
#endif
		fi;
		drain()
	   }
	od
}

// SPDX-License-Identifier: MIT
#include <pthread.h>
#include <stdbool.h>

#include "tally.h"

_Thread_local uint32_t amux_tally_mine __attribute__((tls_model("initial-exec")));

static uint64_t tally_taken = 1ull << AMUX_TALLY_SHARED; /* a bit for each index */
static pthread_once_t tally_once = PTHREAD_ONCE_INIT;
static pthread_key_t tally_key; /* its destructor gives the index back */
static int tally_keyless;

/* The release pairs with the acquire in amux_tally_choose(): the next owner adds to what this
 * one left. */
static void tally_leave(void *mine)
{
	__atomic_fetch_and(&tally_taken, ~(1ull << ((uintptr_t)mine - 1)), __ATOMIC_RELEASE);
	amux_tally_mine = 1 + AMUX_TALLY_SHARED; /* for the destructors that come after */
}

static void tally_make_key(void)
{
	tally_keyless = pthread_key_create(&tally_key, tally_leave);
}

uint32_t amux_tally_choose(void)
{
	uint64_t taken = amux_load_relaxed(&tally_taken);
	uint32_t i = AMUX_TALLY_SHARED;

	pthread_once(&tally_once, tally_make_key);
	while (!tally_keyless && ~taken) {
		i = (uint32_t)__builtin_ctzll(~taken);
		if (__atomic_compare_exchange_n(&tally_taken, &taken, taken | 1ull << i, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			break;
		i = AMUX_TALLY_SHARED;
	}
	if (i != AMUX_TALLY_SHARED && pthread_setspecific(tally_key, (void *)(1ul + i))) {
		tally_leave((void *)(1ul + i));
		i = AMUX_TALLY_SHARED;
	}
	amux_tally_mine = 1 + i;
	return 1 + i;
}

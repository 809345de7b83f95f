// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault_fixup.c - a handler that jumps out of guarded accesses.
 */
#include "fault_fixup.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

#define ERR_WRITE 2 /* bit of the page fault error code */

struct guard {
	sigjmp_buf env;
	struct fixup_fault fault;
};

/* initial-exec: the handler must not end up in a lazy TLS allocation */
static __thread struct guard *volatile armed __attribute__((tls_model("initial-exec")));

static struct sigaction before_bus, before_ill;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int init_error;

static bool was_write(const ucontext_t *uc)
{
#if defined(__x86_64__)
	return uc->uc_mcontext.gregs[REG_ERR] & ERR_WRITE;
#else
	(void)uc;
	return false;
#endif
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	struct guard *g = armed;

	/* Only faults of the access itself: BUS_MCEERR_AO and kill() come from elsewhere. */
	if (g &&
	    (sig == SIGILL || info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR)) {
		g->fault.addr = (uintptr_t)info->si_addr;
		g->fault.write = was_write(uc);
		g->fault.illegal = sig == SIGILL;
		armed = NULL;
		/* sigsetjmp() saves no mask, which would cost a system call per guarded
		 * access: what the signal blocked is restored here, where it is rare. */
		pthread_sigmask(SIG_SETMASK, &uc->uc_sigmask, NULL);
		siglongjmp(g->env, 1);
	}
	/* Not ours: as if this handler had never been; a true fault recurs on return. */
	sigaction(sig, sig == SIGILL ? &before_ill : &before_bus, NULL);
	if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO)
		raise(sig);
}

static void install(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGBUS, &sa, &before_bus) || sigaction(SIGILL, &sa, &before_ill))
		init_error = -errno;
}

int fixup_init(void)
{
	pthread_once(&once, install);
	return init_error;
}

int fixup_run(void (*fn)(void *arg), void *arg, struct fixup_fault *fault)
{
	struct guard g;

	if (sigsetjmp(g.env, 0)) {
		*fault = g.fault;
		return -EFAULT;
	}
	armed = &g;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	fn(arg);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	armed = NULL;
	return 0;
}

struct touch {
	uint8_t *byte;
	bool write;
};

static void do_touch(void *arg)
{
	const struct touch *t = arg;
	uint8_t v = *(volatile uint8_t *)t->byte;

	/* Replacing the byte by itself if unchanged is a write access that loses nobody's
	 * store, whether it succeeds or not. */
	if (t->write)
		__atomic_compare_exchange_n(t->byte, &v, v, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
}

int fixup_touch(const void *addr, bool write)
{
	struct touch t = { .byte = (uint8_t *)(uintptr_t)addr, .write = write };
	struct fixup_fault fault;

	return fixup_run(do_touch, &t, &fault);
}

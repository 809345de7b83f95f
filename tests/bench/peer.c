// SPDX-License-Identifier: MIT
/*
 * peer.c - see peer.h.
 */
#include "peer.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../client/barrier.h"
#include "machine.h"

#define READY_NS 10000000000ull

static void *thread_main(void *arg)
{
	struct peer *p = arg;

	machine_pin(CORE_PEER);
	p->fn(p->arg);
	return NULL;
}

void peer_thread(struct peer *p, peer_fn *fn, void *arg)
{
	int err;

	p->fn = fn;
	p->arg = arg;
	err = pthread_create(&p->thread, NULL, thread_main, p);
	if (err)
		bench_fail("a thread: %s", strerror(err));
}

void peer_join(struct peer *p)
{
	pthread_join(p->thread, NULL);
}

/* release: pairs with the acquire in peer_process() */
void peer_ready(struct peer *p)
{
	amux_store_release(p->ready, 1u);
}

void peer_process(struct peer *p, peer_fn *fn, void *arg)
{
	struct timespec pause = { .tv_nsec = 200000 };
	pid_t parent = getpid();
	uint64_t end;

	p->ready = mmap(NULL, sizeof(*p->ready), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->ready == MAP_FAILED)
		bench_fail("mmap: %s", strerror(errno));
	p->pid = fork();
	if (p->pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		machine_pin(CORE_PEER);
		fn(arg);
		_exit(0);
	}
	end = machine_ns() + READY_NS;
	while (!amux_load_acquire(p->ready)) {
		if (machine_ns() > end || waitpid(p->pid, NULL, WNOHANG))
			bench_fail("a peer's process did not come up");
		nanosleep(&pause, NULL);
	}
}

void peer_kill(struct peer *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	munmap(p->ready, sizeof(*p->ready));
}

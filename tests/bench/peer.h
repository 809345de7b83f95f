/* SPDX-License-Identifier: MIT */
/*
 * peer.h - who answers on CORE_PEER: a thread or a process for the length of one measurement.
 *
 * Owner: the probe that starts it, which must stop it.  Thread: the main thread; a peer's
 * function runs in the peer.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <pthread.h>
#include <sys/types.h>

#include "bench.h"

typedef void peer_fn(void *arg);

struct peer {
	peer_fn *fn;
	void *arg;
	pthread_t thread;
	pid_t pid;
	uint32_t *ready; /* writer: the peer */
};

/* A thread runs @fn(@arg) on CORE_PEER; @fn returns when the probe tells it by @arg. */
void peer_thread(struct peer *p, peer_fn *fn, void *arg);
void peer_join(struct peer *p);

/* A process does.  It has what was mapped before, and dies with this one. */
void peer_process(struct peer *p, peer_fn *fn, void *arg);
void peer_kill(struct peer *p);

/* In a peer's process, once it is set up: the call above returns now, not before. */
void peer_ready(struct peer *p);

#endif /* BENCH_PEER_H */

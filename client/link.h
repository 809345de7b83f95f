/* SPDX-License-Identifier: MIT */
/*
 * link.h - one connection to one broker process: its socket and the broker's pidfd.
 *
 *	UP --hang-up--> HUNG --pidfd readable--> DEAD
 *	UP ------------ pidfd readable --------> DEAD
 *
 * HUNG alone proves nothing: a dying broker's descriptors are closed one by one, and its
 * engines may still write.  Of a queue it means the end if the broker also wrote
 * AMUX_BROKER_GONE into its header, which it does when nothing of the queue is in flight.
 *
 * Owner: shared by struct amux and the queues made through it, by reference.  Threads: any;
 * @down and @dead are set once, everything else is constant but @cookie (see talk.h).
 */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "barrier.h"

struct amux;

struct amux_link {
	int sock, pidfd;
	uint32_t refs;
	uint32_t down;	 /* HUNG or DEAD; set with release, acquire in amux_link_up() */
	uint32_t dead;	 /* DEAD; set with release, acquire in amux_link_dead() */
	uint32_t serial; /* of the links of one handle: 1, 2, ... */
	uint64_t cookie; /* of the last message */
};

/* A socket connected to @path; without @wait never blocks.  -errno. */
int amux_link_connect(const char *path, bool wait);

/* Takes @sock over.  One reference; NULL: out of memory. */
struct amux_link *amux_link_new(int sock, uint32_t serial);
void amux_link_put(struct amux_link *l); /* may be NULL */

/* The handle's link, with a reference. */
struct amux_link *amux_link_get(struct amux *a);

/* Note a hang-up, or with @dead the broker's death. */
void amux_link_fail(struct amux *a, struct amux_link *l, bool dead);

/* Ask the kernel how @l is, and note it.  Costs a system call. */
void amux_link_probe(struct amux *a, struct amux_link *l);

/* The acquires pair with amux_link_fail(): whoever sees it also sees every CQE that was
 * published before. */
static inline bool amux_link_dead(const struct amux_link *l)
{
	return amux_load_acquire(&l->dead);
}

static inline bool amux_link_up(const struct amux_link *l)
{
	return !amux_load_acquire(&l->down);
}

#endif /* CLIENT_LINK_H */

/* SPDX-License-Identifier: MIT */
/*
 * load.h - a client that submits random requests and knows what each must have done.
 *
 * Shared memory is cut into lanes, at most one request is outstanding in each.  A private
 * copy of every lane is kept up to date by plain C; when a request is answered its whole lane
 * must equal that copy, so that a stray write is seen as well as a wrong one.
 *
 *	small lanes: 32 KiB	every eighth lane: 1 MiB
 *
 * The memory is registered twice (an alias), and once more read-only.
 *
 * Owner: whoever opened it.  Thread: one.
 */
#ifndef TESTS_LOAD_H
#define TESTS_LOAD_H

#include <accelmux/accelmux.h>

#include "tap.h"

#define LOAD_DEPTH_MAX 64

struct load_options {
	unsigned int depth; /* lanes, 1 .. LOAD_DEPTH_MAX */
	uint16_t flags_all; /* AMUX_SQE_* on every request */
	uint16_t flags_any; /* AMUX_SQE_* that come and go */
	bool copies_only;   /* COPY alone, else every operation */
	bool may_refuse;    /* -ENODEV is right for ENGINE_ONLY */
	bool may_lose; /* -EIO and -ECANCELED are right: the broker may die, or cut us off */
	uint64_t big_span; /* bytes of the larger lanes; 0: 1 MiB */
};

struct load_lane {
	uint64_t base, span; /* in the memory */
	bool busy;
	uint64_t seq; /* user_data */
	uint8_t op;
	uint16_t flags;
	uint64_t off[3]; /* of the operands, in the lane */
	uint64_t len, param;
};

struct load {
	struct amux *a;
	struct amux_queue *q;
	struct load_options opt;
	uint64_t rng, seed;
	uint8_t *mem, *alias, *shadow;
	const uint8_t *readonly;
	uint64_t bytes; /* of each of them */
	int fd, ro_fd;
	unsigned int n_busy;
	uint64_t seq; /* requests submitted so far */
	struct load_lane lanes[LOAD_DEPTH_MAX];
	uint64_t answered, copied, refused, lost; /* requests, bytes */
	char why[256];				  /* what went wrong */
};

/* Register memory and make a queue on @a, which stays the caller's.  0 or -1 and why. */
int load_open(struct load *l, struct amux *a, const struct load_options *opt, uint64_t seed);

/* Fill the idle lanes, then wait for at least one answer and check it.  0 or -1 and why. */
int load_step(struct load *l);

/* Wait for all that is outstanding.  0 or -1 and why. */
int load_drain(struct load *l);

/* Steps until @requests were answered, then drains. */
int load_run(struct load *l, uint64_t requests);

/* Unregister and free; what is outstanding is waited for. */
void load_close(struct load *l);

/* A worker: connect as @name and load until asked to stop. */
struct load_worker {
	char socket[96];
	const char *name;
	struct load_options opt;
	uint64_t seed;
};
int load_worker(struct worker_report *report, void *arg); /* struct load_worker */

/* ----------------------------------------------------------------- in plain C */

uint32_t plain_crc32c(uint32_t crc, const void *p, uint64_t len);
void plain_fill(uint8_t *dst, uint64_t pattern, uint64_t len);
/* Lowest offset at which they differ, or @len. */
uint64_t plain_compare(const uint8_t *x, const uint8_t *y, uint64_t len);
/* Random bytes. */
void plain_random(uint8_t *dst, uint64_t len, uint64_t seed);

const char *op_name(uint8_t op);

#endif /* TESTS_LOAD_H */

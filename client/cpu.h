/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - do requests with this CPU: what was declined, and everything without a broker.
 *
 * Owner: the caller owns its job.  Threads: any; a job belongs to one at a time.
 */
#ifndef CLIENT_CPU_H
#define CLIENT_CPU_H

#include <stdbool.h>

#include <accelmux/accelmux.h>

/* One request on its way, done in slices. */
struct amux_job {
	struct amux_sqe sqe;
	struct amux_cqe cqe; /* the answer, valid when finished; user_data is the SQE's */
	uint64_t done;	     /* bytes */
	uint64_t cpu_ns;     /* spent copying, pacing excluded */
	bool finished;
};

void amux_job_start(struct amux_job *job, const struct amux_sqe *sqe);

/* It is not done at all: the answer is -ECANCELED. */
void amux_job_withdraw(struct amux_job *job);

/*
 * Do up to @budget more bytes of @job (a multiple of 8 unless it finishes) and sleep for the
 * pacing that they owe.  Returns how many.  A wrong request finishes with the error that the
 * broker would give.
 */
uint64_t amux_job_step(struct amux *a, struct amux_job *job, uint64_t budget);

/* memmove() at the modelled rate, if there is one; returns the ns spent without pacing. */
uint64_t amux_cpu_move(struct amux *a, void *dst, const void *src, size_t len);

#endif /* CLIENT_CPU_H */

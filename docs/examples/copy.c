// SPDX-License-Identifier: MIT
/*
 * copy.c - asynchronous copies: keep a queue full, collect answers as they come, verify.
 *
 * Shows amux_alloc(), amux_get_sqe(), amux_prep_copy(), amux_submit() and amux_wait(): the
 * engine copies while this thread prepares the next request.
 */
#include <accelmux/accelmux.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BLOCK  65536u
#define BLOCKS 512u
#define DEPTH  32u

static int fail(const char *what, int err)
{
	fprintf(stderr, "copy: %s: %s (%s)\n", what, strerror(-err), amux_error());
	return err;
}

/* Copy all blocks.  Answers may come in any order: user_data says whose they are. */
static int copy_all(struct amux *a, struct amux_queue *q, char *dst, const char *src)
{
	struct amux_cqe cqes[DEPTH];
	unsigned int put = 0, got = 0;
	struct amux_sqe *sqe;
	int n, err;

	while (got < BLOCKS) {
		while (put < BLOCKS && (sqe = amux_get_sqe(q))) {
			err = amux_prep_copy(a, sqe, dst + (size_t)put * BLOCK,
					     src + (size_t)put * BLOCK, BLOCK);
			if (err)
				return fail("amux_prep_copy", err);
			sqe->user_data = put++;
		}
		n = amux_submit(q);
		if (n < 0)
			return fail("amux_submit", n);
		n = amux_wait(q, cqes, DEPTH, 1, NULL);
		if (n < 0)
			return fail("amux_wait", n);
		for (int i = 0; i < n; i++) {
			if (cqes[i].status) {
				fprintf(stderr, "copy: block %llu\n",
					(unsigned long long)cqes[i].user_data);
				return fail("copying", cqes[i].status);
			}
		}
		got += (unsigned int)n;
	}
	return 0;
}

int main(void)
{
	struct amux_stats stats;
	struct amux_queue *q;
	void *src, *dst;
	struct amux *a;
	int err;

	err = amux_connect(&a, NULL);
	if (err == -ENOENT || err == -ECONNREFUSED) {
		fprintf(stderr, "copy: skipped: %s\n", amux_error());
		return 77;
	}
	if (err) {
		fail("amux_connect", err);
		return 1;
	}
	/* Only memory shared with the broker can be copied by an engine. */
	err = amux_alloc(a, (size_t)BLOCKS * BLOCK, 0, &src);
	if (!err)
		err = amux_alloc(a, (size_t)BLOCKS * BLOCK, 0, &dst);
	if (!err)
		err = amux_queue_create(a, DEPTH, &q);
	if (err) {
		fail("setting up", err);
		goto close;
	}
	for (size_t i = 0; i < (size_t)BLOCKS * BLOCK; i++)
		((unsigned char *)src)[i] = (unsigned char)(i * 2654435761u >> 13);

	err = copy_all(a, q, dst, src);
	if (!err && memcmp(src, dst, (size_t)BLOCKS * BLOCK)) {
		fprintf(stderr, "copy: the copy differs from its source\n");
		err = -EIO;
	}
	if (!err) {
		amux_get_stats(a, &stats);
		printf("copy: %u blocks of %u bytes verified: %llu by the broker, %llu "
		       "declined "
		       "and copied by this CPU\n",
		       BLOCKS, BLOCK, (unsigned long long)stats.engine_done,
		       (unsigned long long)stats.declined);
	}
close:
	amux_close(a);
	return err != 0;
}

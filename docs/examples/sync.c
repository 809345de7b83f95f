// SPDX-License-Identifier: MIT
/*
 * sync.c - amux_copy(), a memmove() that uses an engine where that is predicted to be faster.
 *
 * Shows that it takes any memory and any length, overlapping ranges included, and that the
 * statistics tell which path the copies took.
 */
#include <accelmux/accelmux.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES (8u << 20)

static unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 2654435761u >> 11);
}

/* Does @p hold the pattern from its byte @from on? */
static int verify(const unsigned char *p, size_t from, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != pattern(from + i)) {
			fprintf(stderr, "sync: byte %zu of %zu is wrong\n", i, len);
			return -EIO;
		}
	}
	return 0;
}

static int run(struct amux *a, unsigned char *shared, unsigned char *private)
{
	int err;

	for (size_t i = 0; i < BYTES; i++)
		shared[i] = pattern(i);

	/* Within shared memory, of every size: the library chooses. */
	for (size_t len = 64; len <= BYTES; len *= 2) {
		err = amux_copy(a, shared + BYTES, shared, len);
		if (!err)
			err = verify(shared + BYTES, 0, len);
		if (err)
			return err;
	}
	/* To memory the broker does not know: always this CPU. */
	err = amux_copy(a, private, shared, BYTES);
	if (!err)
		err = verify(private, 0, BYTES);
	/* Overlapping, as memmove(). */
	if (!err)
		err = amux_copy(a, shared + 4096, shared, BYTES);
	if (!err)
		err = verify(shared + 4096, 0, BYTES);
	return err;
}

int main(void)
{
	struct amux_stats stats;
	unsigned char *private;
	void *shared;
	struct amux *a;
	int err;

	err = amux_connect(&a, NULL);
	if (err == -ENOENT || err == -ECONNREFUSED) {
		fprintf(stderr, "sync: skipped: %s\n", amux_error());
		return 77;
	}
	if (err) {
		fprintf(stderr, "sync: amux_connect: %s (%s)\n", strerror(-err), amux_error());
		return 1;
	}
	private = malloc(BYTES);
	err = private ? amux_alloc(a, 2 * (size_t)BYTES, 0, &shared) : -ENOMEM;
	if (!err)
		err = run(a, shared, private);
	if (err) {
		fprintf(stderr, "sync: %s\n", strerror(-err));
	} else {
		amux_get_stats(a, &stats);
		printf("sync: verified: %llu copies by engine, %llu by this CPU\n",
		       (unsigned long long)stats.sync_engine,
		       (unsigned long long)stats.sync_cpu);
	}
	amux_close(a);
	free(private);
	return err != 0;
}

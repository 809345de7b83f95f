// SPDX-License-Identifier: MIT
/*
 * tenant.c - one application of the tour: copies the contents of real files from one shared
 * region to another through libaccelmux, keeps several MiB outstanding, and compares every
 * byte of every copy with a private copy that the broker cannot reach.
 *
 *	tenant SOCKET NAME PART		PART 0 or 1: every other file, so that two differ
 *
 * Commands are lines on standard input, each answered by one line of JSON with the totals
 * so far: run, pause (answered when nothing is outstanding), report.  End of input: finish
 * what is outstanding and exit, 0 only if every byte of every copy was right.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../../broker/clock.h"
#include "../../broker/hist.h"

#define FILES_ROOT  "/usr/lib"
#define DATA_BYTES  (32u << 20) /* of file contents */
#define SLOT_BYTES  (2u << 20)	/* the largest copy */
#define SMALL_BYTES (64u << 10)
#define SIZES	    6 /* 64 KiB, 128 KiB ... 2 MiB */
#define SLOTS	    24
#define OUTSTANDING (8u << 20) /* bytes submitted and not answered, to be reached */
#define ENTRIES	    32
#define ANSWERS	    16
#define LOOK_NS	    20000000 /* at commands at least this often */
#define POISON	    0xa5

struct slot {
	bool busy;
	uint64_t seq;
	uint64_t start_ns;
	size_t from, len; /* bytes of the data it copies */
};

struct tenant {
	const char *name;
	struct amux *a;
	struct amux_queue *q;
	uint8_t *truth; /* private */
	uint8_t *src;	/* shared: the same contents */
	uint8_t *dst;	/* shared: SLOTS pieces of SLOT_BYTES */
	size_t data;	/* bytes in @truth and @src */
	unsigned int files;
	struct slot slots[SLOTS];
	bool running, quit;
	uint64_t random;
	uint64_t seq, inflight, inflight_bytes;
	uint64_t copies, bytes;	 /* verified */
	uint64_t bad, bad_bytes; /* copies and bytes that differed */
	uint64_t errors;	 /* answers with an error, or with too few bytes */
	uint64_t stray;		 /* answers to nothing that was asked */
	struct hist latency;	 /* submission to answer */
};

static int fail(const struct tenant *t, const char *what, int err)
{
	fprintf(stderr, "tenant %s: %s: %s\n", t->name, what, strerror(-err));
	return err;
}

/* ---------------------------------------------------------------------- files */

static void load_file(struct tenant *t, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t before = t->data;
	ssize_t n;

	if (fd < 0)
		return; /* not for us; there are others */
	while (t->data < DATA_BYTES) {
		n = read(fd, t->truth + t->data, DATA_BYTES - t->data);
		if (n <= 0)
			break;
		t->data += (size_t)n;
	}
	close(fd);
	t->files += t->data > before;
}

/* Fill @truth and @src with the contents of every other file. */
static int load(struct tenant *t, unsigned int part)
{
	char root[] = FILES_ROOT, *roots[] = { root, NULL };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	unsigned int n = 0;
	FTSENT *e;

	if (!tree)
		return fail(t, FILES_ROOT, -errno);
	while (t->data < DATA_BYTES && (e = fts_read(tree)))
		if (e->fts_info == FTS_F && e->fts_statp->st_size && n++ % 2 == part)
			load_file(t, e->fts_accpath);
	fts_close(tree);
	if (t->data < SLOT_BYTES)
		return fail(t, FILES_ROOT " holds less than 2 MiB of readable files", -ENODATA);
	memcpy(t->src, t->truth, t->data);
	return 0;
}

/* --------------------------------------------------------------------- copies */

static uint64_t next_random(struct tenant *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random;
}

static uint8_t *slot_dst(const struct tenant *t, unsigned int i)
{
	return t->dst + (size_t)i * SLOT_BYTES;
}

/* A piece of the data of about 64 KiB to 2 MiB, aligned to nothing. */
static void choose_piece(struct tenant *t, struct slot *s)
{
	s->len = ((size_t)SMALL_BYTES << next_random(t) % SIZES) - next_random(t) % 64;
	s->from = next_random(t) % (t->data - s->len + 1);
}

static int submit_copies(struct tenant *t)
{
	for (unsigned int i = 0; i < SLOTS && t->inflight_bytes < OUTSTANDING; i++) {
		struct slot *s = &t->slots[i];
		struct amux_sqe *sqe;
		int err;

		if (s->busy)
			continue;
		choose_piece(t, s);
		memset(slot_dst(t, i), POISON, s->len);
		sqe = amux_get_sqe(t->q);
		if (!sqe)
			return fail(t, "a queue with free entries is full", -EAGAIN);
		err = amux_prep_copy(t->a, sqe, slot_dst(t, i), t->src + s->from, s->len);
		if (err)
			return fail(t, "amux_prep_copy", err);
		s->seq = t->seq++;
		s->busy = true;
		s->start_ns = clock_ns();
		sqe->user_data = s->seq * SLOTS + i;
		t->inflight++;
		t->inflight_bytes += s->len;
	}
	amux_submit(t->q);
	return 0;
}

static void verify(struct tenant *t, const uint8_t *got, const struct slot *s)
{
	const uint8_t *want = t->truth + s->from;
	uint64_t differ = 0;

	if (memcmp(got, want, s->len)) {
		for (size_t i = 0; i < s->len; i++)
			differ += got[i] != want[i];
		t->bad++;
		t->bad_bytes += differ;
		return;
	}
	t->copies++;
	t->bytes += s->len;
}

static void take_answer(struct tenant *t, const struct amux_cqe *cqe, uint64_t now)
{
	struct slot *s = &t->slots[cqe->user_data % SLOTS];

	if (!s->busy || s->seq != cqe->user_data / SLOTS) {
		t->stray++;
		return;
	}
	hist_add(&t->latency, now - s->start_ns);
	if (cqe->status || cqe->bytes != s->len)
		t->errors++;
	else
		verify(t, slot_dst(t, (unsigned int)(cqe->user_data % SLOTS)), s);
	s->busy = false;
	t->inflight--;
	t->inflight_bytes -= s->len;
}

static int collect(struct tenant *t)
{
	static const struct timespec look = { .tv_nsec = LOOK_NS };
	struct amux_cqe cqes[ANSWERS];
	int n = amux_wait(t->q, cqes, ANSWERS, 1, &look);
	uint64_t now = clock_ns();

	if (n == -ETIME)
		return 0;
	if (n < 0)
		return fail(t, "amux_wait", n);
	for (int i = 0; i < n; i++)
		take_answer(t, &cqes[i], now);
	return 0;
}

/* ------------------------------------------------------------------- commands */

static int report(struct tenant *t)
{
	struct amux_stats st;
	const char *comma = "";
	int err = amux_get_stats(t->a, &st);

	if (err)
		return fail(t, "amux_get_stats", err);
	printf("{\"name\": \"%s\", \"t_ns\": %" PRIu64 ", \"alive\": %d, \"files\": %u",
	       t->name, clock_ns(), amux_alive(t->a), t->files);
	printf(", \"copies\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"bad\": %" PRIu64
	       ", \"bad_bytes\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"stray\": %" PRIu64
	       ", \"inflight\": %" PRIu64,
	       t->copies, t->bytes, t->bad, t->bad_bytes, t->errors, t->stray, t->inflight);
	printf(", \"requests\": %" PRIu64 ", \"declined\": %" PRIu64
	       ", \"engine_bytes\": %" PRIu64 ", \"cpu_bytes\": %" PRIu64 ", \"buckets\": [",
	       t->seq, st.declined, st.engine_bytes, st.declined_bytes);
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		if (!t->latency.bucket[i])
			continue;
		printf("%s[%" PRIu64 ", %" PRIu64 "]", comma, hist_edge(i + 1),
		       t->latency.bucket[i]);
		comma = ", ";
	}
	puts("]}");
	return fflush(stdout) ? fail(t, "standard output", -errno) : 0;
}

static int command(struct tenant *t, const char *line)
{
	int err = 0;

	if (!strcmp(line, "run"))
		t->running = true;
	else if (!strcmp(line, "pause"))
		t->running = false;
	else if (strcmp(line, "report"))
		return fail(t, line, -EINVAL);
	while (!t->running && t->inflight && !err)
		err = collect(t);
	return err ? err : report(t);
}

/* Read what has arrived, at most waiting @ms; the tour sends one command at a time. */
static int listen_for(struct tenant *t, int ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char line[64];
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return 0;
	n = read(STDIN_FILENO, line, sizeof(line) - 1);
	if (n <= 0) {
		t->quit = true;
		return 0;
	}
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return command(t, line);
}

static int work(struct tenant *t)
{
	int err = 0;

	while (!err && !t->quit) {
		err = listen_for(t, t->running ? 0 : -1);
		if (!err && t->running)
			err = submit_copies(t);
		if (!err && t->inflight)
			err = collect(t);
	}
	while (!err && t->inflight)
		err = collect(t);
	if (!err && (t->bad || t->errors || t->stray)) {
		fprintf(stderr,
			"tenant %s: %" PRIu64 " copies differ in %" PRIu64 " bytes, %" PRIu64
			" failed, %" PRIu64 " stray answers\n",
			t->name, t->bad, t->bad_bytes, t->errors, t->stray);
		err = -EIO;
	}
	return err;
}

static int prepare(struct tenant *t, const char *socket, unsigned int part)
{
	struct amux_options opt = { .socket = socket, .name = t->name, .node = AMUX_NODE_ANY };
	void *src = NULL, *dst = NULL;
	int err = amux_connect(&t->a, &opt);

	if (err)
		return fail(t, amux_error(), err);
	err = amux_alloc(t->a, DATA_BYTES, 0, &src);
	if (!err)
		err = amux_alloc(t->a, (size_t)SLOTS * SLOT_BYTES, 0, &dst);
	if (!err)
		err = amux_queue_create(t->a, ENTRIES, &t->q);
	if (err)
		return fail(t, amux_error(), err);
	t->src = src;
	t->dst = dst;
	t->truth = malloc(DATA_BYTES);
	if (!t->truth)
		return fail(t, "file contents", -ENOMEM);
	return load(t, part);
}

int main(int argc, char **argv)
{
	static struct tenant t;
	unsigned int part;
	int err;

	if (argc != 4 || (strcmp(argv[3], "0") && strcmp(argv[3], "1"))) {
		fputs("usage: tenant SOCKET NAME 0|1\n", stderr);
		return 2;
	}
	t.name = argv[2];
	part = argv[3][0] == '1';
	t.random = 0x9e3779b97f4a7c15ull + part;
	err = prepare(&t, argv[1], part);
	if (!err)
		err = work(&t);
	amux_close(t.a);
	free(t.truth);
	return err ? 1 : 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_bench.c - keep a queue full of one kind of request for a while, through libaccelmux
 * like any application, and say how fast that went.
 *
 * Latency is from submission to the answer in this process, the library's own copying of
 * what was declined included.
 */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <accelmux/accelmux.h>

#include "clock.h"
#include "hist.h"

#define STALL_S	  30 /* give up when nothing is answered for so long */
#define BATCH	  64
#define DATA_MAX  (1ull << 40)
#define GOLDEN	  0x9e3779b97f4a7c15ull
#define NOT_FOUND -1

enum { OP_COPY, OP_NOOP, OP_FILL, OP_COMPARE, OP_CRC32C, OPS };

static const char *const op_names[OPS] = { "copy", "noop", "fill", "compare", "crc32c" };

struct slot {
	uint64_t seq; /* of the request it holds */
	uint64_t start_ns;
	uint64_t expect;  /* result, where the op has one */
	uint64_t planted; /* COMPARE: this byte of dst differs, or size */
};

struct bench {
	/* options */
	int op;
	uint64_t size, depth, time_ns;
	const char *name;
	bool verify, engine_only;

	struct amux *a;
	struct amux_queue *q;
	uint8_t *src, *dst; /* depth pieces of size bytes each; NULL if the op needs none */
	struct slot *slots;
	unsigned int *idle; /* stack of slots without a request */
	unsigned int n_idle;

	uint64_t seq, done, errors, mismatches;
	int first_error;
	struct hist latency;
	uint64_t start_ns, end_ns;
};

/* ------------------------------------------------------------------- options */

static int find_op(const char *name)
{
	for (int i = 0; i < OPS; i++)
		if (!strcmp(op_names[i], name))
			return i;
	return NOT_FOUND;
}

/* One option with its value.  CLI_OK, or CLI_USAGE and a line. */
static int set_option(struct bench *b, const char *key, const char *value)
{
	if (!strcmp(key, "--op")) {
		b->op = find_op(value);
		if (b->op == NOT_FOUND)
			return cli_fail(CLI_USAGE,
					"bench: --op '%s': expected one of: copy, noop, fill, "
					"compare, crc32c",
					value);
	} else if (!strcmp(key, "--size")) {
		if (!cli_parse_bytes(value, &b->size) || !b->size || b->size > 1u << 30)
			return cli_fail(
				CLI_USAGE,
				"bench: --size '%s': expected 1 to 1G bytes, such as 64K",
				value);
	} else if (!strcmp(key, "--depth")) {
		if (!cli_parse_bytes(value, &b->depth) || !b->depth ||
		    b->depth > AMUX_ENTRIES_MAX)
			return cli_fail(CLI_USAGE, "bench: --depth '%s': expected 1 to %d",
					value, AMUX_ENTRIES_MAX);
	} else if (!strcmp(key, "--time")) {
		if (!cli_parse_time(value, &b->time_ns) || !b->time_ns ||
		    b->time_ns > 3600 * NSEC_PER_SEC)
			return cli_fail(
				CLI_USAGE,
				"bench: --time '%s': expected up to 3600s, such as 500ms "
				"or 2s",
				value);
	} else if (!strcmp(key, "--name")) {
		size_t len = strlen(value);

		if (!len || len >= AMUX_NAME_LEN)
			return cli_fail(CLI_USAGE,
					"bench: --name '%s': expected 1 to %d characters",
					value, AMUX_NAME_LEN - 1);
		b->name = value;
	} else {
		return cli_fail(CLI_USAGE,
				"bench: '%s': expected one of: --op, --size, --depth, --time, "
				"--name, --verify, --engine-only",
				key);
	}
	return CLI_OK;
}

static int options(struct bench *b, const struct cli *cli)
{
	for (int i = 1; i < cli->argc; i++) {
		char *arg = cli->argv[i], *eq = strchr(arg, '=');
		const char *value;
		int code;

		if (!strcmp(arg, "--verify")) {
			b->verify = true;
			continue;
		}
		if (!strcmp(arg, "--engine-only")) {
			b->engine_only = true;
			continue;
		}
		if (eq) {
			*eq = '\0';
			value = eq + 1;
		} else if (i + 1 < cli->argc && !strncmp(arg, "--", 2)) {
			value = cli->argv[i + 1];
			i++;
		} else if (!strncmp(arg, "--", 2)) {
			value = ""; /* what is expected says set_option() */
		} else {
			return cli_fail(CLI_USAGE, "bench: '%s': expected an option", arg);
		}
		code = set_option(b, arg, value);
		if (code)
			return code;
	}
	if (b->size * b->depth > DATA_MAX)
		return cli_fail(CLI_USAGE,
				"bench: --size times --depth: expected at most 1T bytes");
	return CLI_OK;
}

/* ------------------------------------------------------------------ requests */

static uint8_t *piece(const struct bench *b, uint8_t *base, unsigned int slot)
{
	return base + slot * b->size;
}

/* A byte pattern that no other request has, a word every 64 bytes. */
static void stamp(uint8_t *p, uint64_t size, uint64_t seq)
{
	uint64_t word;

	for (uint64_t off = 0; off < size; off += 64) {
		word = (seq + 1) * GOLDEN ^ off;
		memcpy(p + off, &word, size - off < 8 ? size - off : 8);
	}
}

static uint32_t crc32c(const uint8_t *p, uint64_t size)
{
	static uint32_t table[256];
	uint32_t crc = ~0u;

	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			table[i] = i;
			for (int bit = 0; bit < 8; bit++)
				table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78u : 0);
		}
	}
	while (size--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return ~crc;
}

/* Make the data of the next request different from the last one's. */
static void prepare_data(struct bench *b, unsigned int i)
{
	struct slot *s = &b->slots[i];

	if (b->op == OP_COPY || b->op == OP_CRC32C)
		stamp(piece(b, b->src, i), b->size, s->seq);
	if (b->op == OP_CRC32C)
		s->expect = crc32c(piece(b, b->src, i), b->size);
	if (b->op == OP_COMPARE) {
		uint8_t *dst = piece(b, b->dst, i);

		if (s->planted < b->size)
			dst[s->planted] ^= 0xff;
		/* Every other one is equal. */
		s->planted = s->seq & 1 ? s->seq * GOLDEN % b->size : b->size;
		if (s->planted < b->size)
			dst[s->planted] ^= 0xff;
		s->expect = s->planted;
	}
}

static bool data_right(const struct bench *b, unsigned int i, const struct amux_cqe *cqe)
{
	const struct slot *s = &b->slots[i];
	const uint8_t *dst;
	uint64_t word;

	switch (b->op) {
	case OP_COPY:
		return !memcmp(piece(b, b->dst, i), piece(b, b->src, i), b->size);
	case OP_FILL:
		dst = piece(b, b->dst, i);
		word = (s->seq + 1) * GOLDEN;
		for (uint64_t off = 0; off < b->size; off += 8)
			if (memcmp(dst + off, &word, b->size - off < 8 ? b->size - off : 8))
				return false;
		return true;
	case OP_COMPARE:
	case OP_CRC32C:
		return cqe->result == s->expect;
	default:
		return true;
	}
}

static int prepare(struct bench *b, struct amux_sqe *sqe, unsigned int i)
{
	uint8_t *src = b->src ? piece(b, b->src, i) : NULL;
	uint8_t *dst = b->dst ? piece(b, b->dst, i) : NULL;

	switch (b->op) {
	case OP_COPY:
		return amux_prep_copy(b->a, sqe, dst, src, b->size);
	case OP_FILL:
		return amux_prep_fill(b->a, sqe, dst, (b->slots[i].seq + 1) * GOLDEN, b->size);
	case OP_COMPARE:
		return amux_prep_compare(b->a, sqe, src, dst, b->size);
	case OP_CRC32C:
		return amux_prep_crc32c(b->a, sqe, src, 0, b->size);
	default:
		return amux_prep_noop(sqe);
	}
}

/* Fill the queue and submit.  CLI_OK or CLI_FAILED. */
static int submit(struct bench *b)
{
	unsigned int first = b->n_idle;
	struct amux_sqe *sqe;
	uint64_t now;
	int rc;

	while (b->n_idle && (sqe = amux_get_sqe(b->q))) {
		unsigned int i = b->idle[--b->n_idle];

		b->slots[i].seq = b->seq++;
		if (b->verify)
			prepare_data(b, i);
		rc = prepare(b, sqe, i);
		if (rc)
			return cli_fail(CLI_FAILED, "bench: %s: %s", op_names[b->op],
					strerror(-rc));
		sqe->user_data = i;
		sqe->flags = b->engine_only ? AMUX_SQE_ENGINE_ONLY : 0;
	}
	if (first == b->n_idle)
		return CLI_OK;
	now = clock_ns();
	for (unsigned int k = b->n_idle; k < first; k++)
		b->slots[b->idle[k]].start_ns = now;
	rc = amux_submit(b->q);
	return rc < 0 ? cli_fail(CLI_FAILED, "bench: submit: %s", strerror(-rc)) : CLI_OK;
}

/* Wait for answers and judge them.  CLI_OK or CLI_FAILED. */
static int collect(struct bench *b)
{
	const struct timespec stall = { .tv_sec = STALL_S };
	struct amux_cqe cqes[BATCH];
	uint64_t now;
	int n;

	n = amux_wait(b->q, cqes, BATCH, 1, &stall);
	if (n == -ETIME)
		return cli_fail(CLI_FAILED, "bench: no answer within %d s", STALL_S);
	if (n < 0)
		return cli_fail(CLI_FAILED, "bench: wait: %s", strerror(-n));
	now = clock_ns();
	for (int k = 0; k < n; k++) {
		unsigned int i = (unsigned int)cqes[k].user_data;

		hist_add(&b->latency, now - b->slots[i].start_ns);
		b->idle[b->n_idle++] = i;
		if (cqes[k].status) {
			if (!b->errors++)
				b->first_error = cqes[k].status;
			continue;
		}
		b->done++;
		if (b->verify && !data_right(b, i, &cqes[k]))
			b->mismatches++;
	}
	return CLI_OK;
}

/* ----------------------------------------------------------------------- run */

/* The session socket of the broker that --socket points at, else NULL: the library's own. */
static int session_path(const struct cli *cli, json_t **status, const char **path)
{
	int code;

	*path = NULL;
	if (!cli->socket && !getenv("ACCELMUX_CONTROL"))
		return CLI_OK;
	if (!cli->socket && getenv("ACCELMUX_SOCKET"))
		return CLI_OK;
	code = cli_call(cli, "status", NULL, status);
	if (!code)
		*path = cli_string(*status, "socket");
	return code;
}

static int open_session(struct bench *b, const char *path)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	int rc;

	opt.socket = path;
	opt.name = b->name;
	rc = amux_connect(&b->a, &opt);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return cli_fail(CLI_NO_BROKER, "bench: no broker: %s", amux_error());
	if (rc)
		return cli_fail(CLI_FAILED, "bench: cannot connect: %s (%s)", amux_error(),
				strerror(-rc));
	rc = amux_queue_create(b->a, b->depth < 2 ? 2 : (unsigned int)b->depth, &b->q);
	if (rc)
		return cli_fail(CLI_FAILED, "bench: queue of %llu: %s (%s)",
				(unsigned long long)b->depth, amux_error(), strerror(-rc));
	return CLI_OK;
}

static int allocate(struct bench *b)
{
	size_t len = b->size * b->depth;
	bool src = b->op != OP_NOOP && b->op != OP_FILL,
	     dst = b->op != OP_NOOP && b->op != OP_CRC32C;
	void *p;
	int rc = 0;

	b->slots = calloc(b->depth, sizeof(*b->slots));
	b->idle = calloc(b->depth, sizeof(*b->idle));
	if (!b->slots || !b->idle)
		return cli_fail(CLI_FAILED, "bench: out of memory");
	if (src) {
		rc = amux_alloc(b->a, len, 0, &p);
		b->src = rc ? NULL : p;
	}
	if (!rc && dst) {
		rc = amux_alloc(b->a, len, 0, &p);
		b->dst = rc ? NULL : p;
	}
	if (rc)
		return cli_fail(CLI_FAILED, "bench: %zu bytes: %s (%s)", len, amux_error(),
				strerror(-rc));
	for (unsigned int i = 0; i < b->depth; i++) {
		b->idle[b->n_idle++] = i;
		b->slots[i].planted = b->size;
	}
	/* Both are written once, so that no page is missing when time counts. */
	for (size_t off = 0; src && off < len; off++)
		b->src[off] = (uint8_t)(off * GOLDEN >> 56);
	if (dst && src)
		memcpy(b->dst, b->src, len);
	else if (dst)
		memset(b->dst, 0xff, len);
	return CLI_OK;
}

static int measure(struct bench *b)
{
	int code = CLI_OK;

	b->start_ns = clock_ns();
	while (!code && clock_ns() - b->start_ns < b->time_ns) {
		code = submit(b);
		if (!code)
			code = collect(b);
	}
	while (!code && b->n_idle < b->depth)
		code = collect(b);
	b->end_ns = clock_ns();
	return code;
}

static json_t *result_json(const struct bench *b, const struct amux_stats *st)
{
	double s = (double)(b->end_ns - b->start_ns) / 1e9;
	uint64_t bytes = b->op == OP_NOOP ? 0 : b->done * b->size;

	return json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:f, s:b,"
		" s:I}",
		"op", op_names[b->op], "tenant", amux_tenant(b->a), "size_bytes",
		(json_int_t)b->size, "depth", (json_int_t)b->depth, "duration_ns",
		(json_int_t)(b->end_ns - b->start_ns), "completed", (json_int_t)b->done,
		"errors", (json_int_t)b->errors, "bytes", (json_int_t)bytes, "bytes_per_second",
		(double)bytes / s, "ops_per_second", (double)b->done / s, "latency_p50_ns",
		(json_int_t)hist_quantile(b->latency.bucket, NULL, 500), "latency_p99_ns",
		(json_int_t)hist_quantile(b->latency.bucket, NULL, 990), "declined_ratio",
		st->submitted ? (double)st->declined / (double)st->submitted : 0.0, "verified",
		(int)b->verify, "mismatches", (json_int_t)b->mismatches);
}

static void print_human(const struct bench *b, const json_t *r)
{
	char size[CLI_CELL], p50[CLI_CELL], p99[CLI_CELL];

	printf("%s, %s each, %llu in flight, %.2f s, tenant %s\n", op_names[b->op],
	       b->op == OP_NOOP ? "nothing" : cli_bytes(size, b->size),
	       (unsigned long long)b->depth, (double)cli_int(r, "duration_ns") / 1e9,
	       cli_string(r, "tenant"));
	if (b->op != OP_NOOP)
		printf("throughput  %.1f MB/s\n", cli_real(r, "bytes_per_second") / 1e6);
	printf("rate        %.0f ops/s\n", cli_real(r, "ops_per_second"));
	printf("latency     p50 %s, p99 %s\n", cli_time(p50, cli_int(r, "latency_p50_ns")),
	       cli_time(p99, cli_int(r, "latency_p99_ns")));
	printf("declined    %.1f%% (done by this process's CPU)\n",
	       100 * cli_real(r, "declined_ratio"));
	if (b->verify)
		printf("verified    %llu, %llu mismatches\n", (unsigned long long)b->done,
		       (unsigned long long)b->mismatches);
	if (b->errors)
		printf("errors      %llu\n", (unsigned long long)b->errors);
}

static int report(const struct bench *b, const struct cli *cli)
{
	struct amux_stats st;
	int code = CLI_OK, rc = amux_get_stats(b->a, &st);
	json_t *r;

	if (rc)
		return cli_fail(CLI_FAILED, "bench: statistics: %s", strerror(-rc));
	r = result_json(b, &st);
	if (!r)
		return cli_fail(CLI_FAILED, "bench: out of memory");
	if (cli->json)
		code = cli_print_json(r);
	else
		print_human(b, r);
	json_decref(r);
	if (b->mismatches)
		return cli_fail(CLI_FAILED, "bench: %llu of %llu answers were wrong",
				(unsigned long long)b->mismatches, (unsigned long long)b->done);
	if (b->errors)
		return cli_fail(CLI_FAILED, "bench: %llu requests failed, the first with: %s",
				(unsigned long long)b->errors, strerror(-b->first_error));
	return code;
}

int cli_bench(const struct cli *cli)
{
	struct bench b = { .op = OP_COPY,
			   .size = 64 << 10,
			   .depth = 32,
			   .time_ns = 2 * NSEC_PER_SEC,
			   .name = "accelmux-bench" };
	json_t *status = NULL;
	const char *path;
	int code;

	code = options(&b, cli);
	if (code)
		return code;
	code = session_path(cli, &status, &path);
	if (!code)
		code = open_session(&b, path);
	if (!code)
		code = allocate(&b);
	if (!code)
		code = measure(&b);
	if (!code)
		code = report(&b, cli);
	amux_close(b.a); /* with its queue and memory */
	free(b.slots);
	free(b.idle);
	json_decref(status);
	return code;
}

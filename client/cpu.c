// SPDX-License-Identifier: MIT
/*
 * cpu.c - execute one request with this thread's CPU, in slices, at the modelled rate.
 */
#include <errno.h>
#include <string.h>

#include "handle.h"
#include "cpu.h"
#include "crc.h"

#define CPU_BOUNCE 4096u /* on the stack; also keeps what a CRC reads again in L1 */

/* Which parameters an op has; the others must be zero. */
enum {
	USE_0 = 1 << 0, /* region[0], offset[0] ... */
	USE_1 = 1 << 1,
	USE_2 = 1 << 2,
	USE_WORD = 1 << 3, /* offset[2] is 8 bytes of data */
	USE_SEED = 1 << 4, /* offset[2] is 4 bytes of data */
	NO_OVERLAP = 1 << 5,
};

static const uint8_t op_traits[AMUX_OP_CANCEL] = {
	[AMUX_OP_NOOP] = 0,
	[AMUX_OP_COPY] = USE_0 | USE_1,
	[AMUX_OP_FILL] = USE_1 | USE_WORD,
	[AMUX_OP_COMPARE] = USE_0 | USE_1,
	[AMUX_OP_DUALCAST] = USE_0 | USE_1 | USE_2 | NO_OVERLAP,
	[AMUX_OP_CRC32C] = USE_0 | USE_SEED,
	[AMUX_OP_COPY_CRC] = USE_0 | USE_1 | USE_SEED | NO_OVERLAP,
};

struct operands {
	struct amux_region *reg[3];
	char *ptr[3]; /* of the request's first byte */
};

/* This thread's copies are accounted for until then, CLOCK_MONOTONIC ns. */
static _Thread_local uint64_t cpu_busy_until;

static uint64_t cpu_cost_ns(uint64_t bytes, uint64_t bps)
{
	return (uint64_t)((double)bytes * 1e9 / (double)bps);
}

/* Sleep until @bytes begun at @start have taken what they take at the modelled rate. */
static void cpu_pace(const struct amux *a, uint64_t start, uint64_t bytes)
{
	uint64_t bps = amux_load_relaxed(&a->cpu_bps);
	struct timespec ts;

	if (!bps || !bytes)
		return;
	if (cpu_busy_until < start)
		cpu_busy_until = start;
	cpu_busy_until += cpu_cost_ns(bytes, bps);
	ts.tv_sec = (time_t)(cpu_busy_until / AMUX_NSEC_PER_SEC);
	ts.tv_nsec = (long)(cpu_busy_until % AMUX_NSEC_PER_SEC);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

uint64_t amux_cpu_move(struct amux *a, void *dst, const void *src, size_t len)
{
	uint64_t start = amux_now(), spent;

	memmove(dst, src, len);
	spent = amux_now() - start;
	cpu_pace(a, start, len);
	return spent;
}

/* ------------------------------------------------------------------ checking */

static int wrong(struct amux_cqe *cqe, int err, enum amux_field field)
{
	cqe->field = (uint16_t)field;
	return err;
}

static int check_fields(const struct amux_sqe *s, struct amux_cqe *cqe)
{
	unsigned int traits;

	if (s->op >= AMUX_OP_CANCEL) /* a CANCEL is none of the CPU's work */
		return wrong(cqe, -EOPNOTSUPP, AMUX_FIELD_OP);
	if (s->flags & ~AMUX_SQE_FLAGS ||
	    (s->flags & AMUX_SQE_ENGINE_ONLY && s->flags & AMUX_SQE_CPU_ONLY))
		return wrong(cqe, -EINVAL, AMUX_FIELD_FLAGS);
	if (s->rsvd0 || s->rsvd1 || s->rsvd2)
		return wrong(cqe, -EINVAL, AMUX_FIELD_RSVD);
	traits = op_traits[s->op];
	for (unsigned int i = 0; i < 3; i++) {
		if (traits & 1u << i)
			continue;
		if (s->region[i])
			return wrong(cqe, -EINVAL, AMUX_FIELD_REGION0 + i);
		if (s->offset[i] && !(i == 2 && traits & (USE_WORD | USE_SEED)))
			return wrong(cqe, -EINVAL, AMUX_FIELD_OFFSET0 + i);
	}
	if (traits & USE_SEED && s->offset[2] > UINT32_MAX)
		return wrong(cqe, -EINVAL, AMUX_FIELD_OFFSET2);
	if (!s->len != (s->op == AMUX_OP_NOOP))
		return wrong(cqe, -EINVAL, AMUX_FIELD_LEN);
	return 0;
}

/* Find and judge the operands, with the regions' lock held. */
static int check_operands(struct amux *a, const struct amux_sqe *s, struct operands *o,
			  struct amux_cqe *cqe)
{
	unsigned int traits = op_traits[s->op];

	for (unsigned int i = 0; i < 3; i++) {
		struct amux_region *reg;

		if (!(traits & 1u << i))
			continue;
		reg = amux_region_by_id(&a->regions, s->region[i]);
		if (!reg)
			return wrong(cqe, -EBADF, AMUX_FIELD_REGION0 + i);
		if (i && reg->flags & AMUX_REGION_READONLY && s->op != AMUX_OP_COMPARE)
			return wrong(cqe, -EACCES, AMUX_FIELD_REGION0 + i);
		if (s->offset[i] >= reg->len)
			return wrong(cqe, -ERANGE, AMUX_FIELD_OFFSET0 + i);
		if (s->len > reg->len - s->offset[i])
			return wrong(cqe, -ERANGE, AMUX_FIELD_LEN);
		o->reg[i] = reg;
		o->ptr[i] = reg->addr + s->offset[i];
	}
	if (!(traits & NO_OVERLAP))
		return 0;
	for (unsigned int j = 2; j; j--)
		for (unsigned int i = 0; i < j; i++)
			if (traits & 1u << i && traits & 1u << j &&
			    amux_region_overlap(o->reg[i], s->offset[i], o->reg[j],
						s->offset[j], s->len))
				return wrong(cqe, -EINVAL, AMUX_FIELD_OFFSET0 + j);
	return 0;
}

/* ----------------------------------------------------------------- operations */

/*
 * memmove() between two mappings of the same file memory: addresses say nothing about the
 * overlap there, so every piece is read as a whole before it is written.
 */
static void bounce_move(char *dst, const char *src, uint64_t len, bool backward)
{
	char buf[CPU_BOUNCE];

	for (uint64_t done = 0, n; done < len; done += n) {
		uint64_t at;

		n = len - done < sizeof(buf) ? len - done : sizeof(buf);
		at = backward ? len - done - n : done;
		memcpy(buf, src + at, n);
		/* The compiler may not make one memmove() of the two: it trusts addresses. */
		__asm__ __volatile__("" : : "r"(buf) : "memory");
		memcpy(dst + at, buf, n);
	}
}

/* The next @n bytes of a copy: from the end where the destination lies behind the source. */
static void slice_copy(const struct amux_job *job, const struct operands *o, uint64_t n)
{
	const struct amux_sqe *s = &job->sqe;
	bool backward, overlap;
	uint64_t at;

	overlap = amux_region_overlap(o->reg[0], s->offset[0], o->reg[1], s->offset[1], s->len);
	backward = overlap && s->offset[1] > s->offset[0];
	at = backward ? s->len - job->done - n : job->done;
	if (overlap && o->reg[0] != o->reg[1])
		bounce_move(o->ptr[1] + at, o->ptr[0] + at, n, backward);
	else
		memmove(o->ptr[1] + at, o->ptr[0] + at, n);
}

static void slice_fill(char *dst, uint64_t pattern, uint64_t n)
{
	uint64_t i = 0;

	for (; n - i >= sizeof(pattern); i += sizeof(pattern))
		memcpy(dst + i, &pattern, sizeof(pattern));
	memcpy(dst + i, &pattern, n - i);
}

/* Lowest offset at which @x and @y differ, or @n. */
static uint64_t slice_compare(const char *x, const char *y, uint64_t n)
{
	uint64_t i = 0;

	while (i < n) {
		uint64_t piece = n - i < CPU_BOUNCE ? n - i : CPU_BOUNCE;

		if (memcmp(x + i, y + i, piece))
			break;
		i += piece;
	}
	while (i < n && x[i] == y[i])
		i++;
	return i;
}

static uint32_t slice_copy_crc(char *dst, const char *src, uint32_t crc, uint64_t n)
{
	for (uint64_t i = 0, piece; i < n; i += piece) {
		piece = n - i < CPU_BOUNCE ? n - i : CPU_BOUNCE;
		memcpy(dst + i, src + i, piece);
		crc = amux_crc32c(crc, dst + i, piece);
	}
	return crc;
}

/* Do the next @n bytes.  Returns true when nothing more needs to be looked at. */
static bool slice_run(struct amux_job *job, const struct operands *o, uint64_t n)
{
	char *at[3]; /* where an op that ascends goes on; an operand it lacks stays NULL */
	struct amux_cqe *cqe = &job->cqe;
	uint64_t same;

	for (unsigned int i = 0; i < 3; i++)
		at[i] = o->ptr[i] ? o->ptr[i] + job->done : NULL;
	switch ((enum amux_op)job->sqe.op) {
	case AMUX_OP_COPY:
		slice_copy(job, o, n);
		break;
	case AMUX_OP_FILL:
		slice_fill(at[1], job->sqe.offset[2], n);
		break;
	case AMUX_OP_COMPARE:
		same = slice_compare(at[0], at[1], n);
		cqe->result = job->done + same;
		return same < n;
	case AMUX_OP_DUALCAST:
		memcpy(at[1], at[0], n);
		memcpy(at[2], at[0], n);
		break;
	case AMUX_OP_CRC32C:
		cqe->result = amux_crc32c((uint32_t)cqe->result, at[0], n);
		break;
	case AMUX_OP_COPY_CRC:
		cqe->result = slice_copy_crc(at[1], at[0], (uint32_t)cqe->result, n);
		break;
	case AMUX_OP_NOOP:
	case AMUX_OP_CANCEL:
	case AMUX_OP_COUNT:
		break;
	}
	return false;
}

/* ------------------------------------------------------------------------ jobs */

static void job_finish(struct amux_job *job, int status)
{
	job->finished = true;
	job->cqe.status = status;
	job->cqe.bytes = status ? job->done : job->sqe.len;
	if (status)
		job->cqe.result = 0;
}

void amux_job_start(struct amux_job *job, const struct amux_sqe *sqe)
{
	int err;

	memset(job, 0, sizeof(*job));
	job->sqe = *sqe;
	job->cqe.user_data = sqe->user_data;
	err = check_fields(sqe, &job->cqe);
	if (err || sqe->op == AMUX_OP_NOOP)
		job_finish(job, err);
	else if (op_traits[sqe->op] & USE_SEED)
		job->cqe.result = sqe->offset[2];
}

void amux_job_withdraw(struct amux_job *job)
{
	job->cqe.field = AMUX_FIELD_NONE;
	job_finish(job, -ECANCELED);
}

uint64_t amux_job_step(struct amux *a, struct amux_job *job, uint64_t budget)
{
	uint64_t n = job->sqe.len - job->done, start;
	struct operands o = { 0 };
	int err;

	if (job->finished)
		return 0;
	if (n > budget)
		n = budget & ~7ull;
	if (!n)
		return 0;
	start = amux_now();
	/* Looked up for every slice: the region may have gone since the last one. */
	pthread_rwlock_rdlock(&a->regions.lock);
	err = check_operands(a, &job->sqe, &o, &job->cqe);
	if (!err) {
		bool stop = slice_run(job, &o, n);

		job->done += n;
		if (stop || job->done == job->sqe.len)
			job_finish(job, 0);
	} else {
		job_finish(job, err);
		n = 0;
	}
	pthread_rwlock_unlock(&a->regions.lock);
	job->cpu_ns += amux_now() - start;
	cpu_pace(a, start, n);
	return n;
}

// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <time.h>

#include "cpu.h"
#include "handle.h"
#include "split.h"

#define PIECE_MIN (64u << 10)
#define PIECE_MAX (256u << 10)
#define SLICE	  (64u << 10) /* the CPU copies so much between two looks at the engine */
#define CANCEL_ID UINT64_MAX  /* pieces are called by their number */

struct split {
	struct amux_queue *q;
	const struct amux_sqe *want;
	char *dst;
	const char *src;
	const struct amux_forecast *f;
	struct amux_split_result *r;
	uint64_t piece;	      /* bytes of one, but perhaps of the last */
	uint64_t front, tail; /* see split.h */
	unsigned int inflight, window;
	uint64_t inflight_bytes;
	uint64_t last;	 /* no piece after this one is the engine's */
	uint64_t start;	 /* ns */
	bool cancelling; /* a CANCEL is under way */
	bool settled;	 /* the last piece has begun: so have all before it */
	bool off;	 /* the engine gets no more */
	int err;
};

uint64_t amux_split_share(const struct amux_forecast *f, size_t len)
{
	double engine = (double)f->engine_bps / 1e9, cpu = (double)f->cpu_bps / 1e9; /* B/ns */
	double both = ((double)len + (double)f->wait_ns * engine) / (engine + cpu);
	double share = (both - (double)f->wait_ns) * engine;

	return share < (double)PIECE_MIN ? 0 : (uint64_t)share;
}

bool amux_split_redo(int status)
{
	return status == -EIO || status == -ENODEV || status == -EAGAIN;
}

static uint64_t piece_len(const struct split *s, uint64_t k)
{
	uint64_t end = s->front < (k + 1) * s->piece ? s->front : (k + 1) * s->piece;

	return end - k * s->piece;
}

static void split_move(struct split *s, uint64_t from, uint64_t n)
{
	s->r->cpu_ns += amux_cpu_move(s->q->a, s->dst + from, s->src + from, n);
	s->r->cpu_bytes += n;
}

/* Give the engine pieces from the front. */
static void split_feed(struct split *s)
{
	bool any = false;

	while (!s->off && s->front < s->tail && s->inflight < s->window) {
		uint64_t n = s->tail - s->front < s->piece ? s->tail - s->front : s->piece;
		struct amux_sqe *sqe = amux_get_sqe(s->q);

		if (!sqe)
			break;
		*sqe = *s->want;
		sqe->flags = AMUX_SQE_ENGINE_ONLY; /* declining is done here, by CANCEL */
		sqe->offset[0] += s->front;
		sqe->offset[1] += s->front;
		sqe->len = n;
		sqe->user_data = s->last = s->front / s->piece;
		s->front += n;
		s->inflight++;
		s->inflight_bytes += n;
		any = true;
	}
	if (any)
		amux_submit(s->q);
}

static void split_failed(struct split *s, uint64_t k, const struct amux_cqe *cqe)
{
	if (cqe->status != -ECANCELED)
		s->off = true;
	else if (k == s->last && k)
		s->last--;
	if (cqe->status == -ECANCELED || amux_split_redo(cqe->status)) {
		split_move(s, k * s->piece, piece_len(s, k));
	} else if (!s->err) {
		s->err = cqe->status;
		s->tail = s->front; /* of no use any more */
	}
}

static void split_take(struct split *s, const struct amux_cqe *cqe)
{
	uint64_t k = cqe->user_data, n;

	if (k == CANCEL_ID) {
		s->cancelling = false;
		s->settled = !cqe->result;
		return;
	}
	n = piece_len(s, k);
	s->inflight--;
	s->inflight_bytes -= n;
	if (cqe->status)
		split_failed(s, k, cqe);
	else
		s->r->engine_bytes += n;
}

/* Would this CPU copy the engine's last piece before the engine comes to its end? */
static bool split_worth_it(const struct split *s)
{
	double spent = (double)(amux_now() - s->start);
	double left = (double)s->inflight_bytes;

	/* left / (engine's rate so far) > piece / (CPU's rate) */
	return left * spent * (double)s->f->cpu_bps >
	       (double)piece_len(s, s->last) * (double)s->r->engine_bytes * 1e9;
}

static void split_cancel(struct split *s)
{
	struct amux_sqe *sqe;

	if (s->cancelling || s->settled || !s->inflight || !split_worth_it(s))
		return;
	sqe = amux_get_sqe(s->q);
	if (!sqe)
		return;
	amux_prep_cancel(sqe, s->err ? 0 : s->last, 0);
	sqe->user_data = CANCEL_ID;
	s->cancelling = true;
	amux_submit(s->q);
}

/* Wait for an answer; while pieces can be taken back, not for longer than the CPU takes for one:
 * the engine may have slowed down. */
static int split_wait(struct split *s, struct amux_cqe *cqes, unsigned int max)
{
	double ns = (double)s->piece * 1e9 / (double)s->f->cpu_bps;
	const struct timespec limit = { (time_t)(ns / 1e9), (long)ns % 1000000000 };
	const struct timespec pause = { 0, 1000000 };
	int n = amux_wait(s->q, cqes, max, 1, s->cancelling || s->settled ? NULL : &limit);

	/* The engine may still write: whatever keeps us from waiting, there is no way back. */
	if (n < 0 && n != -ETIME)
		nanosleep(&pause, NULL);
	return n;
}

/* Take what answers there are; with @wait at least one, or some time has passed. */
static void split_reap(struct split *s, bool wait)
{
	struct amux_cqe cqes[AMUX_SPLIT_WINDOW + 2];
	unsigned int max = AMUX_SPLIT_WINDOW + 2;
	int n = wait ? split_wait(s, cqes, max) : amux_peek(s->q, cqes, max);

	for (int i = 0; i < n; i++)
		split_take(s, &cqes[i]);
}

/* In flight: what the engine does while the CPU copies a slice, twice; at least two pieces. */
static unsigned int split_window(const struct split *s)
{
	double pieces = 2 + 2.0 * SLICE * (double)s->f->engine_bps /
				    ((double)s->f->cpu_bps * (double)s->piece);

	return pieces < AMUX_SPLIT_WINDOW ? (unsigned int)pieces : AMUX_SPLIT_WINDOW;
}

int amux_split_copy(struct amux_queue *q, const struct amux_sqe *want, void *dst,
		    const void *src, const struct amux_forecast *f, struct amux_split_result *r)
{
	struct split s = {
		.q = q,
		.want = want,
		.dst = dst,
		.src = src,
		.f = f,
		.r = r,
		.tail = want->len,
		.start = amux_now(),
	};

	memset(r, 0, sizeof(*r));
	s.piece = amux_split_share(f, want->len) / 8 / PIECE_MIN * PIECE_MIN;
	s.piece = s.piece < PIECE_MIN ? PIECE_MIN : s.piece > PIECE_MAX ? PIECE_MAX : s.piece;
	s.window = split_window(&s);
	while (s.front < s.tail || s.inflight || s.cancelling) {
		split_feed(&s);
		if (s.front < s.tail) {
			uint64_t n = s.tail - s.front < SLICE ? s.tail - s.front : SLICE;

			s.tail -= n;
			split_move(&s, s.tail, n);
		} else {
			split_cancel(&s);
		}
		split_reap(&s, s.front >= s.tail && (s.inflight || s.cancelling));
	}
	return s.err;
}

/* SPDX-License-Identifier: MIT */
/*
 * redo.h - which requests of a dead broker may be done over: a pure rule over a list.
 *
 * A request that the broker took and never answered was done, half done or not begun.  Doing
 * it over comes to the same as having done it once, if
 *  - it does not write what it reads: half done, its source would be gone; and
 *  - nothing later that may have run writes its source or touches its destination: it would
 *    read what was not there at its time, or undo what another has done, or change what
 *    another has read.
 * A FENCE, and everything behind it, starts only after all earlier requests were answered:
 * behind an unanswered one it has not run.
 *
 * Owner: none, pure functions.  Any thread.
 */
#ifndef CLIENT_REDO_H
#define CLIENT_REDO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes of a file: regions may alias each other, addresses and ids say nothing. */
struct amux_span {
	dev_t dev;
	ino_t ino;
	uint64_t start, len;
};

enum amux_redo_state {
	AMUX_REDO_UNKNOWN, /* taken by the broker, not answered */
	AMUX_REDO_ANSWERED,
	AMUX_REDO_WITHHELD, /* certainly not begun */
};

enum amux_redo_verdict {
	AMUX_REDO_NONE, /* not the broker's any more: nothing to decide */
	AMUX_REDO_DO,	/* do it, in order */
	AMUX_REDO_LOSE, /* -EIO */
};

struct amux_redo {
	struct amux_span read[2], write[2];
	uint8_t n_read, n_write;
	bool fence;
	bool opaque;  /* what it touches is not known: taken to touch everything */
	bool spoiled; /* something outside the list stands in its way */
	enum amux_redo_state state;
	enum amux_redo_verdict verdict; /* set by amux_redo_judge() */
};

/* Does @later, run before @r is done over, change what that comes to? */
bool amux_redo_conflict(const struct amux_redo *r, const struct amux_redo *later);

/* Judge @n requests of one queue in the order of their submission. */
void amux_redo_judge(struct amux_redo *r, uint32_t n);

#endif /* CLIENT_REDO_H */

// SPDX-License-Identifier: MIT
/*
 * redo.c - see redo.h.
 */
#include "redo.h"

static bool spans_meet(const struct amux_span *x, unsigned int nx, const struct amux_span *y,
		       unsigned int ny)
{
	for (unsigned int i = 0; i < nx; i++)
		for (unsigned int j = 0; j < ny; j++) {
			if (x[i].ino != y[j].ino || x[i].dev != y[j].dev)
				continue;
			if (x[i].start < y[j].start ? y[j].start - x[i].start < x[i].len
						    : x[i].start - y[j].start < y[j].len)
				return true;
		}
	return false;
}

bool amux_redo_conflict(const struct amux_redo *r, const struct amux_redo *later)
{
	if (r->opaque || later->opaque)
		return true;
	return spans_meet(r->read, r->n_read, later->write, later->n_write) ||
	       spans_meet(r->write, r->n_write, later->write, later->n_write) ||
	       spans_meet(r->write, r->n_write, later->read, later->n_read);
}

/* May the @i-th, which has perhaps begun, be done over? */
static bool redo_safe(const struct amux_redo *r, uint32_t i, uint32_t n)
{
	if (r[i].spoiled || r[i].opaque ||
	    spans_meet(r[i].read, r[i].n_read, r[i].write, r[i].n_write))
		return false;
	for (uint32_t j = i + 1; j < n && !r[j].fence; j++)
		if (r[j].state != AMUX_REDO_WITHHELD && amux_redo_conflict(&r[i], &r[j]))
			return false;
	return true;
}

void amux_redo_judge(struct amux_redo *r, uint32_t n)
{
	bool waiting = false, behind = false;

	for (uint32_t i = 0; i < n; i++) {
		behind |= waiting && r[i].fence;
		r[i].verdict = AMUX_REDO_NONE;
		if (r[i].state == AMUX_REDO_ANSWERED)
			continue;
		waiting = true;
		if (behind || r[i].state == AMUX_REDO_WITHHELD || redo_safe(r, i, n))
			r[i].verdict = AMUX_REDO_DO;
		else
			r[i].verdict = AMUX_REDO_LOSE;
	}
}

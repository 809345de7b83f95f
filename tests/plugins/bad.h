/* SPDX-License-Identifier: MIT */
/*
 * bad.h - what tests/plugins/bad.c can do: values of its parameters init and plan, and of -DLOAD.
 */
#ifndef TESTS_BAD_H
#define TESTS_BAD_H

#define BAD_STRAY "amux-stray" /* name of a process that it has left behind */

enum {
	BAD_NOTHING,
	BAD_SEGV,
	BAD_ABORT,
	BAD_EXIT,
	BAD_LOOP,
	BAD_STOP,
	BAD_ERROR,
	BAD_FORK,
	BAD_EXEC,
	BAD_KILL,
	BAD_MEMORY,
	BAD_CHECK,
	/* in plan() alone */
	BAD_GARBAGE,
	BAD_SCRIBBLE,
	BAD_HOLE,
	BAD_MEAN,
	BAD_VERSION,
};

#endif /* TESTS_BAD_H */

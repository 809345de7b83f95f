/* SPDX-License-Identifier: MIT */
/*
 * fuzz_util.h - memory and descriptors for the targets that play a client or a broker.
 * Included once, by the target.
 */
#ifndef TESTS_FUZZ_UTIL_H
#define TESTS_FUZZ_UTIL_H

#include <fcntl.h>
#include <linux/falloc.h>

#include "input.h"

/* A memfd of @bytes with @seals; the caller closes it. */
static inline int sealed(uint64_t bytes, int seals)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && !ftruncate(fd, (off_t)bytes));
	must(!seals || !fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static inline void punch(int fd, uint64_t at, uint64_t bytes)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)bytes))
		return; /* it is no memory, or not for writing */
}

#endif /* TESTS_FUZZ_UTIL_H */

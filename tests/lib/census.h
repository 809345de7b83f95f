/* SPDX-License-Identifier: MIT */
/*
 * census.h - what a process holds: descriptors, mappings, resident memory.  Two of them tell a
 * leak.
 *
 * Owner: the caller.  Any thread.
 */
#ifndef TESTS_CENSUS_H
#define TESTS_CENSUS_H

#include "tap.h"

struct census {
	unsigned int fds;
	unsigned int memfds; /* mappings of memfds */
	unsigned int maps;   /* mappings of any kind */
	uint64_t anon_kib, shmem_kib;
};

/* Of @pid; 0: the caller.  false: it is gone. */
bool census_take(pid_t pid, struct census *out);

#endif /* TESTS_CENSUS_H */

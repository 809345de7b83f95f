/* SPDX-License-Identifier: MIT */
/*
 * core_util.h - what the tests of the broker's core share: repeatable random numbers, sealed
 * memfds, and a Check suite's main().  Included once, by the test.
 */
#ifndef TESTS_CORE_UTIL_H
#define TESTS_CORE_UTIL_H

#include <check.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* As ck_assert(), for loops: Check reports every assertion that holds to its parent. */
#define must(cond)                                 \
	do {                                       \
		if (!(cond))                       \
			ck_abort_msg("%s", #cond); \
	} while (0)

/* splitmix64: every test seeds its own, so that a failure repeats. */
static inline uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 .. n-1 */
static inline uint64_t rnd_below(uint64_t *state, uint64_t n)
{
	return rnd(state) % n;
}

/* A memfd of @bytes with @seals; the caller closes it. */
static inline int sealed_memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	if (seals)
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* Run @t as the only case of a suite; the exit status of the program. */
static inline int run_case(TCase *t, const char *name, double timeout)
{
	Suite *s = suite_create(name);
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, timeout);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif /* TESTS_CORE_UTIL_H */

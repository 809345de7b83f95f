/* SPDX-License-Identifier: MIT */
/*
 * failing.h - allocations of the product that fail on demand: memory, mappings, descriptors,
 * threads.  The linker sends the product's calls here (--wrap, see FAILING in the Makefile);
 * libuv and jansson have their own way to be given an allocator.  Included once, by the test.
 *
 * From failing_arm() to failing_disarm() the calls of the chosen threads are counted, and the
 * @at-th fails, alone or with all that come after it.
 *
 * Not failed, because the library that asks ends the process by itself:
 *   libuv's realloc()       maybe_resize() of its table of descriptors aborts
 *   libuv's first pipe      uv__signal_global_reinit(), once a process, aborts
 *   libnuma                 numa_bitmask_alloc() prints and exits
 * libmicrohttpd's own memory, and what the C library allocates behind open_memstream(), printf()
 * and NSS, cannot be reached from here, and to fail accept() for ever is to wait for a client's
 * time-out; they fail in the runs that are short of descriptors.
 */
#ifndef TESTS_FAILING_H
#define TESTS_FAILING_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

/* Whose calls count. */
enum failing_who { FAILING_BROKER = 1, FAILING_CLIENT = 2, FAILING_ALL = 3 };

/* A thread is the broker's unless it says otherwise. */
static _Thread_local enum failing_who failing_me = FAILING_BROKER;

static struct {
	uint32_t armed; /* enum failing_who, a mask; 0: nobody */
	uint32_t count, at, hits;
	bool after;	  /* all later ones, too */
	const char *what; /* the first that failed */
} failing;

static int64_t live_maps; /* the product's mappings */

static inline void failing_arm(enum failing_who who, uint32_t at, bool after)
{
	failing.count = failing.hits = 0;
	failing.at = at;
	failing.after = after;
	failing.what = "";
	__atomic_store_n(&failing.armed, who, __ATOMIC_SEQ_CST);
}

/* How many calls failed. */
static inline uint32_t failing_disarm(void)
{
	__atomic_store_n(&failing.armed, 0, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&failing.hits, __ATOMIC_SEQ_CST);
}

static bool fails(const char *what)
{
	uint32_t n;

	if (!(__atomic_load_n(&failing.armed, __ATOMIC_SEQ_CST) & failing_me))
		return false;
	n = __atomic_add_fetch(&failing.count, 1, __ATOMIC_SEQ_CST);
	if (n != failing.at && !(failing.after && n > failing.at))
		return false;
	if (!__atomic_fetch_add(&failing.hits, 1, __ATOMIC_SEQ_CST))
		failing.what = what;
	return true;
}

/*
 * WRAP(type, name, failure, errno, parameters, arguments): name() with failures.  The linker
 * calls the original __real_name(), and whoever called it now calls __wrap_name().
 */
#define WRAP(type, name, failure, error, params, args) \
	type __real_##name params;                     \
	type __wrap_##name params;                     \
	type __wrap_##name params                      \
	{                                              \
		if (fails(#name)) {                    \
			errno = error;                 \
			return failure;                \
		}                                      \
		return __real_##name args;             \
	}

WRAP(void *, malloc, NULL, ENOMEM, (size_t size), (size))
WRAP(void *, calloc, NULL, ENOMEM, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, NULL, ENOMEM, (void *p, size_t size), (p, size))
WRAP(void *, reallocarray, NULL, ENOMEM, (void *p, size_t n, size_t size), (p, n, size))
WRAP(void *, aligned_alloc, NULL, ENOMEM, (size_t align, size_t size), (align, size))
WRAP(int, posix_memalign, ENOMEM, ENOMEM, (void **p, size_t align, size_t size),
     (p, align, size))
WRAP(char *, strdup, NULL, ENOMEM, (const char *s), (s))
WRAP(char *, strndup, NULL, ENOMEM, (const char *s, size_t n), (s, n))
WRAP(FILE *, open_memstream, NULL, ENOMEM, (char **p, size_t *n), (p, n))
WRAP(FILE *, fopen, NULL, EMFILE, (const char *path, const char *mode), (path, mode))
WRAP(FILE *, fdopen, NULL, ENOMEM, (int fd, const char *mode), (fd, mode))
WRAP(DIR *, opendir, NULL, EMFILE, (const char *path), (path))
WRAP(int, memfd_create, -1, EMFILE, (const char *name, unsigned int flags), (name, flags))
WRAP(int, eventfd, -1, EMFILE, (unsigned int count, int flags), (count, flags))
WRAP(int, epoll_create1, -1, EMFILE, (int flags), (flags))
WRAP(int, socket, -1, EMFILE, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, socketpair, -1, EMFILE, (int domain, int type, int protocol, int *pair),
     (domain, type, protocol, pair))
WRAP(int, pthread_create, EAGAIN, EAGAIN,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg),
     (thread, attr, start, arg))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if (fails("open")) {
		errno = EMFILE;
		return -1;
	}
	return __real_open(path, flags, mode);
}

/* To watch one more descriptor takes kernel memory; to forget one does not. */
int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	if (op == EPOLL_CTL_ADD && fails("epoll_ctl")) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epfd, op, fd, ev);
}

void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *p = MAP_FAILED;

	if (fails("mmap"))
		errno = ENOMEM;
	else
		p = __real_mmap(addr, len, prot, flags, fd, offset);
	if (p != MAP_FAILED)
		__atomic_fetch_add(&live_maps, 1, __ATOMIC_SEQ_CST);
	return p;
}

int __real_munmap(void *addr, size_t len);
int __wrap_munmap(void *addr, size_t len);
int __wrap_munmap(void *addr, size_t len)
{
	int ret = __real_munmap(addr, len);

	if (!ret)
		__atomic_fetch_sub(&live_maps, 1, __ATOMIC_SEQ_CST);
	return ret;
}

/* The allocators of the libraries that take one. */
static void *library_malloc(size_t size)
{
	return fails("malloc() of a library") ? NULL : __real_malloc(size);
}

static void *library_calloc(size_t n, size_t size)
{
	return fails("calloc() of libuv") ? NULL : __real_calloc(n, size);
}

static void *library_realloc(void *p, size_t size)
{
	return __real_realloc(p, size);
}

static void *do_nothing(void *arg)
{
	return arg;
}

/* Before the first use of either library.  A sanitizer's own thread comes with the first one. */
static inline void failing_init(void)
{
	pthread_t thread;
	uv_loop_t loop;

	if (!pthread_create(&thread, NULL, do_nothing, NULL))
		pthread_join(thread, NULL);
	uv_replace_allocator(library_malloc, library_realloc, library_calloc, free);
	json_set_alloc_funcs(library_malloc, free);
	uv_loop_init(&loop);
	uv_loop_close(&loop);
}

/* --------------------------------------------------------------- what is left behind */

static unsigned int entries_of(const char *path)
{
	DIR *dir = __real_opendir(path);
	unsigned int n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

struct holdings {
	unsigned int fds, threads;
	int64_t maps;
};

static struct holdings holdings(void)
{
	return (struct holdings){ entries_of("/proc/self/fd"), entries_of("/proc/self/task"),
				  __atomic_load_n(&live_maps, __ATOMIC_SEQ_CST) };
}

/* Is it @before again, now or soon? */
static inline bool holdings_back(const struct holdings *before)
{
	time_t end = time(NULL) + 5;

	/* Many looks: on a busy host this process may not run for seconds. */
	for (unsigned int looks = 0; looks < 1000 || time(NULL) <= end; looks++) {
		struct holdings now = holdings();

		if (now.fds == before->fds && now.threads == before->threads &&
		    now.maps == before->maps)
			return true;
		usleep(1000);
	}
	return false;
}

#endif /* TESTS_FAILING_H */

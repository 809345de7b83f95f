// SPDX-License-Identifier: MIT
/*
 * test_cdev.c - /dev/accelmux from the broker's side, with this test as the broker: wrong use
 * gets its error; what the grant says is what happens; a broker that is killed, stopped, or
 * leaves the sequence odd costs the kernel nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../../kmod/uapi/accelmux.h"
#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define BYTES	(4ul << 20)
#define DEVICE	"/dev/accelmux"
#define FOREVER (~0ull)
#define PLENTY	10000000000ull
#define LOAN_MS 3000

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

struct link {
	int fd;
	struct amux_grant *g;
};

static int link_open(struct link *l)
{
	struct amux_hello hello = { .version = AMUX_GRANT_VERSION };
	struct amux_acquire a = { .dev = 0, .node = -1, .max_channels = 4 };

	l->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (l->fd < 0)
		return -errno;
	if (ioctl(l->fd, AMUX_IOC_HELLO, &hello) || ioctl(l->fd, AMUX_IOC_ACQUIRE, &a))
		return -errno;
	l->g = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
	return l->g == MAP_FAILED ? -errno : 0;
}

static void link_close(struct link *l)
{
	munmap(l->g, PAGE);
	close(l->fd);
}

/* A grant of everything, as a reserve or as a loan. */
static void grant_all(struct amux_grant *g, uint64_t reserve, uint64_t loan, uint64_t expiry)
{
	g->seq++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	g->magic = AMUX_GRANT_MAGIC;
	g->version = AMUX_GRANT_VERSION;
	g->flags = AMUX_GRANT_ENABLED;
	g->n_devs = 1;
	g->min_pages = 32;
	g->chunk_bytes = 256 << 10;
	g->reason_mask = ~0u;
	g->dev[0] = (struct amux_grant_dev){ .reserve_bps = reserve,
					     .loan_bps = loan,
					     .loan_expiry_ns = expiry,
					     .device_bps = PLENTY,
					     .engine_mask = 0xf,
					     .cap_bytes = 4 << 20 };
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	g->seq++;
}

/* Pages that go by engine when all are moved to and fro; ns it took. */
static uint64_t engine_pages(uint64_t *ns)
{
	uint64_t before = dma_stat("engine_pages"), start;
	struct pages p = { 0 };
	struct memory m;

	if (memory_make(&m, KIND_ANON, BYTES, 0) || pages_init(&p, m.base, BYTES / PAGE))
		tap_bail("no memory");
	start = now_ns();
	move_to_node(m.base, BYTES, 1);
	if (ns)
		*ns = now_ns() - start;
	pages_check(&p);
	if (p.bad)
		tap_ok(false, "the content is right: %lu bad", (unsigned long)p.bad);
	pages_free(&p);
	memory_free(&m);
	return dma_stat("engine_pages") - before;
}

static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? errno : 0;
}

static void wrong_use(void)
{
	struct amux_hello hello = { .version = 99 };
	struct amux_acquire a = { .dev = 0, .node = -1, .max_channels = 4 };
	struct amux_release r = { .dev = AMUX_GRANT_DEVS };
	struct amux_info info = { .dev = AMUX_GRANT_DEVS };
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC), second;
	void *p;

	tap_ok(fd >= 0, "it opens");
	second = open(DEVICE, O_RDWR | O_CLOEXEC);
	tap_ok(second < 0 && errno == EBUSY, "a second opener: EBUSY");
	tap_ok(call(fd, AMUX_IOC_ACQUIRE, &a) == ENOTCONN, "before HELLO: ENOTCONN");
	tap_ok(call(fd, AMUX_IOC_HELLO, &hello) == EPROTONOSUPPORT,
	       "another version: EPROTONOSUPPORT");
	hello = (struct amux_hello){ .version = AMUX_GRANT_VERSION, .rsvd = { 1 } };
	tap_ok(call(fd, AMUX_IOC_HELLO, &hello) == EINVAL, "a reserved field set: EINVAL");
	hello.rsvd[0] = 0;
	tap_ok(!call(fd, AMUX_IOC_HELLO, &hello) && hello.map_bytes == AMUX_GRANT_MAP_BYTES,
	       "HELLO");
	tap_ok(call(fd, AMUX_IOC_ATTACH, NULL) == EPROTO, "ATTACH without a grant: EPROTO");
	a.dev = AMUX_GRANT_DEVS;
	tap_ok(call(fd, AMUX_IOC_ACQUIRE, &a) == EINVAL, "a device index too high: EINVAL");
	a = (struct amux_acquire){ .node = -1, .max_channels = 33 };
	tap_ok(call(fd, AMUX_IOC_ACQUIRE, &a) == EINVAL, "33 channels: EINVAL");
	a = (struct amux_acquire){ .node = -1, .max_channels = 4, .name = "no such device" };
	tap_ok(call(fd, AMUX_IOC_ACQUIRE, &a) == ENODEV, "a name that nobody has: ENODEV");
	memset(a.name, 'x', sizeof(a.name));
	tap_ok(call(fd, AMUX_IOC_ACQUIRE, &a) == EINVAL, "a name without an end: EINVAL");
	tap_ok(call(fd, AMUX_IOC_RELEASE, &r) == EINVAL, "RELEASE of no device: EINVAL");
	tap_ok(call(fd, AMUX_IOC_INFO, &info) == EINVAL, "INFO of no device: EINVAL");
	tap_ok(call(fd, AMUX_IOC_INFO, NULL) == EFAULT, "no memory: EFAULT");
	tap_ok(call(fd, _IO('A', 0xbf), NULL) == ENOTTY, "an unknown ioctl: ENOTTY");
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
	tap_ok(p == MAP_FAILED && errno == EACCES, "the demand page for writing: EACCES");
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	tap_ok(p != MAP_FAILED && mprotect(p, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES,
	       "nor by mprotect()");
	munmap(p, PAGE);
	p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	tap_ok(p == MAP_FAILED && errno == EINVAL, "two pages at once: EINVAL");
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE);
	tap_ok(p == MAP_FAILED && errno == EINVAL, "a third page: EINVAL");
	close(fd);
}

/* What the kernel tells the broker adds up. */
static void demanded(const struct link *l)
{
	const struct amux_demand *d = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, l->fd, PAGE);
	uint64_t declined = 0, waits = 0, submitted;

	if (d == MAP_FAILED)
		tap_bail("the demand page: %s", strerror(errno));
	submitted = d->dev[0].submitted_bytes;
	for (int i = 0; i < AMUX_DECLINE_COUNT; i++)
		declined += d->declined_pages[i];
	for (int i = 0; i < AMUX_GRANT_HIST; i++)
		waits += d->wait_hist[i];
	tap_ok(d->arrived_bytes && d->arrived_bytes == d->finished_bytes &&
		       d->arrived_bytes == d->engine_bytes + d->cpu_bytes,
	       "demand: %lu KiB arrived, %lu finished, %lu by engine, %lu by CPU",
	       (unsigned long)(d->arrived_bytes >> 10),
	       (unsigned long)(d->finished_bytes >> 10), (unsigned long)(d->engine_bytes >> 10),
	       (unsigned long)(d->cpu_bytes >> 10));
	tap_ok(submitted == d->dev[0].completed_bytes && submitted == d->engine_bytes,
	       "demand: all that was submitted is completed");
	tap_ok(declined && declined * PAGE <= d->cpu_bytes, "demand: %lu pages declined",
	       (unsigned long)declined);
	tap_ok(d->batch_ns && d->cpu_ns && d->alone_ns && d->cpu_time_ns && waits &&
		       waits <= d->batches,
	       "demand: batches took %lu us, predicted %lu alone, %lu by CPU; %lu us of CPU "
	       "time",
	       (unsigned long)(d->batch_ns / 1000), (unsigned long)(d->alone_ns / 1000),
	       (unsigned long)(d->cpu_ns / 1000), (unsigned long)(d->cpu_time_ns / 1000));
	munmap((void *)(uintptr_t)d, PAGE);
}

static void grants(void)
{
	uint64_t engine, ns, alone;
	struct link l;

	engine_pages(&alone); /* by CPU: no broker */
	if (link_open(&l))
		tap_bail("no link");
	grant_all(l.g, PLENTY, 0, 0);
	tap_ok(!engine_pages(NULL), "before ATTACH nothing goes by engine");
	tap_ok(!call(l.fd, AMUX_IOC_ATTACH, NULL), "ATTACH");
	engine = engine_pages(NULL);
	tap_ok(engine == BYTES / PAGE, "a reserve: %lu pages by engine", (unsigned long)engine);
	l.g->flags = 0;
	tap_ok(!engine_pages(NULL), "disabled: none");
	grant_all(l.g, PLENTY, 0, 0);
	l.g->min_pages = 513;
	tap_ok(!engine_pages(NULL), "a threshold above every batch: none");
	grant_all(l.g, PLENTY, 0, 0);
	l.g->reason_mask = ~(1u << AMUX_REASON_SYSCALL);
	tap_ok(!engine_pages(NULL), "a reason that is not granted: none");
	grant_all(l.g, PLENTY, 0, 0);
	l.g->dev[0].engine_mask = 0;
	tap_ok(!engine_pages(NULL), "no engine: none");
	grant_all(l.g, 0, PLENTY, now_ns() + LOAN_MS * 1000000ull);
	engine = engine_pages(NULL);
	sleep_ms(LOAN_MS);
	tap_ok(engine && !engine_pages(NULL), "a loan: %lu pages, none when it has expired",
	       (unsigned long)engine);
	grant_all(l.g, 0, PLENTY, FOREVER);
	tap_ok(engine_pages(NULL) > 0, "a loan until it is withdrawn");
	grant_all(l.g, PLENTY, 0, 0);
	l.g->flags |= AMUX_GRANT_COCOPY;
	l.g->chunk_bytes = 64 << 10;
	engine = engine_pages(NULL);
	tap_ok(engine && engine < BYTES / PAGE,
	       "with the CPU from the tail: %lu of %lu by engine", (unsigned long)engine,
	       BYTES / PAGE);
	grant_all(l.g, PLENTY, 0, 0);
	l.g->seq |= 1;
	engine = engine_pages(&ns);
	tap_ok(!engine && ns < 3 * alone + 100000000ull,
	       "the sequence left odd: none by engine, %lu us against %lu us without a broker",
	       (unsigned long)(ns / 1000), (unsigned long)(alone / 1000));
	l.g->seq++;
	tap_ok(engine_pages(NULL) > 0, "and when it is even again");
	demanded(&l);
	link_close(&l);
	tap_ok(!dma_stat("attached") && !engine_pages(NULL), "closed: back to the CPU");
}

/* A broker in a process of its own, that then is sent @sig. */
static pid_t broker_fork(uint64_t reserve, uint64_t loan, uint64_t expiry)
{
	pid_t pid = fork();

	if (!pid) {
		struct link l;

		if (link_open(&l))
			_exit(1);
		grant_all(l.g, reserve, loan, expiry);
		if (ioctl(l.fd, AMUX_IOC_ATTACH))
			_exit(1);
		for (;;)
			pause();
	}
	if (!dma_stat_becomes("attached", 1, 5000))
		tap_bail("the broker process does not attach");
	return pid;
}

static void death(void)
{
	pid_t pid = broker_fork(PLENTY, 0, 0);
	uint64_t engine = engine_pages(NULL);

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	tap_ok(engine && dma_stat_becomes("attached", 0, 5000) && !engine_pages(NULL),
	       "a broker killed with -9: %lu pages before, none after", (unsigned long)engine);

	pid = broker_fork(PLENTY, 0, 0);
	kill(pid, SIGSTOP);
	sleep_ms(LOAN_MS);
	tap_ok(engine_pages(NULL) > 0, "stopped: the reserve stands");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	dma_stat_becomes("attached", 0, 5000);

	pid = broker_fork(0, PLENTY, now_ns() + LOAN_MS * 1000000ull);
	kill(pid, SIGSTOP);
	sleep_ms(LOAN_MS);
	tap_ok(!engine_pages(NULL), "stopped: loans expire");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	dma_stat_becomes("attached", 0, 5000);
}

/* Random bytes in the grant, random ioctls, while pages move. */
static void fuzz(void)
{
	const char *given = getenv("AMUX_LAB_SECONDS");
	unsigned int seconds = given			 ? (unsigned int)atoi(given)
			       : getenv("AMUX_LAB_FULL") ? 600
							 : 10;
	struct pages p = { 0 };
	struct memory m;
	unsigned long rounds = 0;
	uint64_t end;
	pid_t pid;

	if (memory_make(&m, KIND_ANON, BYTES, 0) || pages_init(&p, m.base, BYTES / PAGE))
		tap_bail("no memory");
	pages_start(&p);
	pid = fork();
	if (!pid) {
		static const unsigned long cmd[] = { AMUX_IOC_HELLO, AMUX_IOC_ACQUIRE,
						     AMUX_IOC_ATTACH, AMUX_IOC_RELEASE,
						     AMUX_IOC_INFO };
		uint64_t x = tap_seed() | 1;
		unsigned char arg[256];

		for (struct link l = { .fd = -1 };;) {
			if (l.fd < 0 && link_open(&l))
				continue;
			for (int i = 0; i < 2000; i++) {
				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				if (i % 16) {
					((uint64_t *)(void *)l.g)[x % (sizeof(*l.g) / 8)] =
						x & 32 ? x >> (x & 31) : x & 0xff;
					if (x & 64)
						l.g->seq &= ~1u;
					if (x & 128) {
						l.g->magic = AMUX_GRANT_MAGIC;
						l.g->version = AMUX_GRANT_VERSION;
						l.g->flags |= 1;
					}
					continue;
				}
				for (size_t k = 0; k < sizeof(arg); k++)
					arg[k] = (unsigned char)(k < 16 && x & 256
									 ? 0
									 : x >> (k % 56));
				ioctl(l.fd, cmd[(x >> 20) % 5], arg);
			}
			if (x & 1024) {
				link_close(&l);
				l.fd = -1;
			}
		}
	}
	for (end = now_ns() + seconds * 1000000000ull; now_ns() < end; rounds++)
		move_to_node(m.base, BYTES, rounds % 2 ? 0 : 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pages_finish(&p);
	tap_ok(!p.bad, "random grants and ioctls for %u s: %lu moves of %lu pages, %lu bad",
	       seconds, rounds, BYTES / PAGE, (unsigned long)p.bad);
	pages_free(&p);
	memory_free(&m);
}

int main(int argc, char **argv)
{
	int ret;

	tap_init(argc, argv, 900);
	ret = dma_load("/m/amux_testdma.ko", "");
	if (!ret)
		ret = dma_load("/m/accelmux.ko", "timeout_ms=10000");
	if (ret)
		tap_bail("the modules do not load: %s", strerror(-ret));
	tap_ok(dma_load("/m/accelmux.ko", "default=all") == -EEXIST, "loaded once");
	wrong_use();
	grants();
	death();
	fuzz();
	dma_stat_becomes("attached", 0, 5000);
	ret = dma_unload("accelmux");
	tap_ok(!ret, "it unloads: %s", ret ? strerror(-ret) : "yes");
	ret = dma_load("/m/accelmux.ko", "default=all");
	tap_ok(ret == -EINVAL, "a bad parameter is refused: %s", strerror(-ret));
	dma_unload("amux_testdma");
	return tap_done();
}

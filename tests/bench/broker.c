// SPDX-License-Identifier: MIT
/*
 * broker.c - see broker.h.
 */
#include "broker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"

#define CROWD_MAX 255

struct broker broker;

/* A memfd, mapped and present; registered rather than allocated by the library, so that the
 * processes that other probes fork have it, too. */
static uint8_t *broker_buffer(size_t set, int pattern)
{
	int fd = memfd_create("bench-peers", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	void *p;

	if (fd < 0 || ftruncate(fd, (off_t)set) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		bench_fail("a memfd of %zu bytes: %s", set, strerror(errno));
	p = mmap(NULL, set, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		bench_fail("a mapping of %zu bytes: %s", set, strerror(errno));
	memset(p, pattern, set);
	err = amux_register(broker.a, fd, p, set);
	if (err)
		bench_fail("a region of %zu bytes: %s (%s)", set, amux_error(), strerror(-err));
	close(fd);
	return p;
}

void broker_open(size_t set, const char *spin)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	char text[48];
	int err;

	snprintf(text, sizeof(text), "broker.spin=%s", spin);
	machine_pin(CORE_PEER); /* inherited */
	daemon_start(&broker.daemon, "broker.own_core=on", text, NULL);
	machine_pin(CORE_CLIENT);
	opt.socket = broker.daemon.socket;
	opt.name = "bench-peers";
	err = amux_connect(&broker.a, &opt);
	if (err)
		bench_fail("connect: %s (%s)", amux_error(), strerror(-err));
	broker.set = set;
	broker.src = set ? broker_buffer(set, 0x5a) : NULL;
	broker.dst = set ? broker_buffer(set, 0xa5) : NULL;
}

void broker_close(void)
{
	int status;

	amux_close(broker.a);
	broker.a = NULL;
	if (broker.set) {
		munmap(broker.src, broker.set);
		munmap(broker.dst, broker.set);
	}
	status = daemon_terminate(&broker.daemon, 10);
	daemon_clean(&broker.daemon);
	if (status)
		bench_fail("the broker ended with status %d, expected 0", status);
}

void broker_abandon(void)
{
	daemon_kill(&broker.daemon);
	daemon_clean(&broker.daemon);
}

/* --------------------------------------------------------------------------- others */

static struct amux *crowd[CROWD_MAX];

void broker_crowd(unsigned int n)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux_queue *q;
	int err;

	for (unsigned int i = 0; i < CROWD_MAX && crowd[i]; i++) {
		amux_close(crowd[i]);
		crowd[i] = NULL;
	}
	opt.socket = broker.daemon.socket;
	opt.name = "bench-crowd";
	for (unsigned int i = 0; i < n && i < CROWD_MAX; i++) {
		err = amux_connect(&crowd[i], &opt);
		if (!err)
			err = amux_queue_create(crowd[i], 32, &q);
		if (err)
			bench_fail("session %u of %u: %s (%s)", i, n, amux_error(),
				   strerror(-err));
	}
}

/* ------------------------------------------------------------------------- counters */

static uint64_t tenant_sum(const json_t *tenants, const char *key)
{
	uint64_t sum = 0;
	size_t i;
	json_t *t;

	json_array_foreach(tenants, i, t) sum += json_count(t, key);
	return sum;
}

void broker_count(struct broker_count *c)
{
	json_t *doc = daemon_ask(&broker.daemon, "tenants");
	const json_t *tenants = json_at(doc, "tenants");

	c->requests = tenant_sum(tenants, "requests");
	c->completed = tenant_sum(tenants, "completed");
	c->failed = tenant_sum(tenants, "failed");
	c->bytes = tenant_sum(tenants, "engine_bytes");
	c->declined = tenant_sum(tenants, "declined");
	json_decref(doc);
}

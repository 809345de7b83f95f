// SPDX-License-Identifier: MIT
/*
 * broker.c - see broker.h.
 */
#include "broker.h"

#include <stdio.h>
#include <string.h>

#include "machine.h"

struct broker broker;

static void broker_buffers(size_t set)
{
	void *src = NULL, *dst = NULL;
	int err;

	broker.set = set;
	broker.src = NULL;
	broker.dst = NULL;
	if (!set)
		return;
	err = amux_alloc(broker.a, set, 0, &src);
	if (!err)
		err = amux_alloc(broker.a, set, 0, &dst);
	if (err)
		bench_fail("two buffers of %zu bytes: %s (%s)", set, amux_error(),
			   strerror(-err));
	broker.src = src;
	broker.dst = dst;
	memset(src, 0x5a, set);
	memset(dst, 0xa5, set);
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
	broker_buffers(set);
}

void broker_close(void)
{
	int status;

	amux_close(broker.a);
	broker.a = NULL;
	status = daemon_terminate(&broker.daemon, 10);
	daemon_clean(&broker.daemon);
	if (status)
		bench_fail("the broker ended with status %d, expected 0", status);
}

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

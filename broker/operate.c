// SPDX-License-Identifier: GPL-2.0-only
/*
 * operate.c - what an operator changes while the broker runs, beyond the policy: a tenant's
 * limits, who is connected, which engines are in use.  Declared in status.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker_state.h"
#include "status.h"

static void change_done(struct mail *mail)
{
	free(mail->arg);
}

/* --------------------------------------------------------------------- tenants */

static struct tenant *tenant_named(struct broker *b, const char *name, char *err, size_t errlen)
{
	struct tenant *t = tenant_find(&b->host.tenants, name);

	if (!t)
		snprintf(err, errlen,
			 "tenant '%.64s': expected one that has connected since the start, see "
			 "accelmux tenants",
			 name);
	return t;
}

int broker_tenant_set(struct broker *b, const char *name, const struct operate_limits *to,
		      char *err, size_t errlen)
{
	const char *const values[] = { to->weight, to->reserve, to->limit };
	static const char *const keys[] = { "weight", "reserve", "limit" };
	struct tenant *t = tenant_named(b, name, err, errlen);
	struct tenant_change *tc[TENANT_NODES] = { NULL };
	struct config_tenant ct = { 0 };
	unsigned int i;
	int ret = 0;

	if (!t)
		return -ENOENT;
	snprintf(ct.name, sizeof(ct.name), "%s", t->name);
	ct.weight = t->weight;
	ct.reserve_bps = t->reserve_bps;
	ct.limit_bps = t->limit_bps;
	for (i = 0; i < 3 && !ret; i++)
		if (values[i])
			ret = config_tenant_set(&ct, keys[i], values[i], err, errlen);
	if (!ret)
		ret = config_tenant_judge(&ct, err, errlen);
	if (ret)
		return ret;
	/* All memory first: either every node knows the new limits or none does. */
	for (i = 0; i < b->n_nodes; i++) {
		tc[i] = calloc(1, sizeof(*tc[i]));
		if (!tc[i])
			goto err_free;
	}
	t->weight = ct.weight;
	t->reserve_bps = ct.reserve_bps;
	t->limit_bps = ct.limit_bps;
	for (i = 0; i < b->n_nodes; i++) {
		*tc[i] = (struct tenant_change){
			.mail = { .type = MAIL_TENANT_SET, .arg = tc[i], .done = change_done },
			.tenant = &t->node[i],
			.weight = t->weight,
			.reserve_bps = t->reserve_bps,
			.limit_bps = t->limit_bps,
		};
		mux_post(&b->mux[i], &tc[i]->mail);
	}
	return 0;

err_free:
	while (i)
		free(tc[--i]);
	snprintf(err, errlen, "tenant %s: out of memory", name);
	return -ENOMEM;
}

int broker_tenant_evict(struct broker *b, const char *name, const char *reason, unsigned int *n,
			char *err, size_t errlen)
{
	struct tenant *t = tenant_named(b, name, err, errlen);
	struct list *pos, *tmp;
	char why[256];

	*n = 0;
	if (!t)
		return -ENOENT;
	snprintf(why, sizeof(why), "evicted by an operator%s%s", reason ? ": " : "",
		 reason ? reason : "");
	/* It ends up in a log, a line each. */
	for (char *p = why; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	list_for_each_safe(pos, tmp, &b->host.conns) {
		struct conn *c = container_of(pos, struct conn, link);

		if (c->tenant != t || c->state != CONN_READY)
			continue;
		conn_close(c, why);
		t->evictions++;
		(*n)++;
	}
	return 0;
}

/* --------------------------------------------------------------------- engines */

/* The mux and the index there of device @name; false: there is none. */
static bool device_named(struct broker *b, const char *name, struct mux **mux, unsigned int *d)
{
	for (unsigned int i = 0; i < b->n_nodes; i++) {
		*mux = &b->mux[i];
		for (*d = 0; *d < (*mux)->n_devices; (*d)++)
			if (!strcmp((*mux)->device[*d]->name, name))
				return true;
	}
	return false;
}

int broker_drain(struct broker *b, const char *name, int engine, bool drain, char *err,
		 size_t errlen)
{
	struct engines_change *ec;
	struct mux *mux;
	unsigned int d, engines;
	uint64_t mask;

	if (!device_named(b, name, &mux, &d)) {
		snprintf(err, errlen,
			 "device '%.64s': expected one that accelmux devices shows", name);
		return -ENOENT;
	}
	engines = mux->device[d]->engines;
	if (engine >= (int)engines) {
		snprintf(err, errlen, "%s: engine '%d': expected 0 to %u", name, engine,
			 engines - 1);
		return -ENOENT;
	}
	ec = calloc(1, sizeof(*ec));
	if (!ec) {
		snprintf(err, errlen, "%s: out of memory", name);
		return -ENOMEM;
	}
	mask = engine < 0 ? (1ull << engines) - 1 : 1ull << engine;
	if (drain)
		b->drained[mux - b->mux][d] |= mask;
	else
		b->drained[mux - b->mux][d] &= ~mask;
	ec->mail.type = MAIL_ENGINES;
	ec->mail.arg = ec;
	ec->mail.done = change_done;
	ec->device = d;
	ec->drained = b->drained[mux - b->mux][d];
	mux_post(mux, &ec->mail);
	return 0;
}

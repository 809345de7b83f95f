// SPDX-License-Identifier: GPL-2.0-only
/*
 * reload.c - change a running broker: policy, tenants, tuning, the config file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "broker_state.h"
#include "status.h"

static void change_done(struct mail *mail)
{
	free(mail->arg);
}

int broker_set_policy(struct broker *b, const struct amux_policy_ops *ops,
		      const uint64_t *values)
{
	struct policy_change *pc[TENANT_NODES] = { NULL };
	unsigned int i;

	/* All memory first: either every node switches or none does. */
	for (i = 0; i < b->n_nodes; i++) {
		pc[i] = calloc(1, sizeof(*pc[i]));
		if (!pc[i])
			goto err;
		pc[i]->state = ops->state_size ? calloc(1, ops->state_size) : NULL;
		if (ops->state_size && !pc[i]->state)
			goto err;
		pc[i]->ops = ops;
		memcpy(pc[i]->values, values, sizeof(pc[i]->values));
		pc[i]->mail.type = MAIL_POLICY;
		pc[i]->mail.arg = pc[i];
		pc[i]->mail.done = change_done;
	}
	for (i = 0; i < b->n_nodes; i++)
		mux_post(&b->mux[i], &pc[i]->mail);
	for (i = 0; amux_policies[i]; i++)
		if (amux_policies[i] == ops)
			b->policy = i;
	memcpy(b->values, values, sizeof(b->values));
	return 0;

err:
	for (i = 0; i < b->n_nodes; i++) {
		if (pc[i])
			free(pc[i]->state);
		free(pc[i]);
	}
	return -ENOMEM;
}

/* Best effort: without memory a tenant or mux keeps its old values until the next reload. */
static void broker_apply_tenants(struct broker *b)
{
	struct list *pos;

	list_for_each(pos, &b->host.tenants) {
		struct tenant *t = container_of(pos, struct tenant, link);

		tenant_limits(&b->cfg, t->name, &t->weight, &t->reserve_bps, &t->limit_bps);
		for (unsigned int i = 0; i < b->n_nodes; i++) {
			struct tenant_change *tc = calloc(1, sizeof(*tc));

			if (!tc)
				return;
			*tc = (struct tenant_change){
				.mail = { .type = MAIL_TENANT_SET,
					  .arg = tc,
					  .done = change_done },
				.tenant = &t->node[i],
				.weight = t->weight,
				.reserve_bps = t->reserve_bps,
				.limit_bps = t->limit_bps,
			};
			mux_post(&b->mux[i], &tc->mail);
		}
	}
}

static void broker_apply_tuning(struct broker *b)
{
	for (unsigned int i = 0; i < b->n_nodes; i++) {
		struct mux_tuning *mt = calloc(1, sizeof(*mt));

		if (!mt)
			return;
		mt->mail.type = MAIL_TUNE;
		mt->mail.arg = mt;
		mt->mail.done = change_done;
		mt->spin_ns = b->cfg.spin_ns;
		mt->epoch_ns = b->cfg.epoch_ns * config_time_scale(&b->cfg);
		mux_post(&b->mux[i], &mt->mail);
	}
}

void broker_overrides(struct broker *b, const char *const *set, unsigned int n)
{
	b->set = set;
	b->n_set = n;
}

int broker_reload(struct broker *b, char *err, size_t errlen)
{
	struct config *cfg;
	int ret, policy;
	bool same;

	if (!b->path[0]) {
		snprintf(err, errlen, "reload: no config file was given (--config)");
		return -ENOENT;
	}
	cfg = malloc(sizeof(*cfg));
	if (!cfg) {
		snprintf(err, errlen, "%s: out of memory", b->path);
		return -ENOMEM;
	}
	config_default(cfg);
	ret = config_load(cfg, b->path, err, errlen);
	for (unsigned int i = 0; i < b->n_set && !ret; i++)
		ret = config_override(cfg, b->set[i], err, errlen);
	if (!ret)
		ret = config_check(cfg, err, errlen);
	if (!ret)
		ret = config_reloadable(&b->cfg, cfg, err, errlen);
	if (ret)
		goto out;
	/* What was switched by hand stands unless the file's own words on it changed. */
	policy = config_policy_index(cfg->policy);
	same = !strcmp(cfg->policy, b->cfg.policy) &&
	       !memcmp(cfg->policy_values[policy], b->cfg.policy_values[policy],
		       sizeof(cfg->policy_values[policy]));
	b->cfg = *cfg;
	broker_apply_tenants(b);
	broker_apply_tuning(b);
	if (!same)
		ret = broker_set_policy(b, amux_policies[policy], cfg->policy_values[policy]);
	if (ret)
		snprintf(err, errlen, "out of memory");
out:
	free(cfg);
	return ret;
}

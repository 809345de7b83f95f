// SPDX-License-Identifier: GPL-2.0-only
/*
 * reload.c - change a running broker: tenants, tuning, the config file.
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

/* Best effort: without memory a tenant or mux keeps its old values until the next reload. */
static void broker_apply_tenants(struct broker *b)
{
	struct list *pos;

	list_for_each(pos, &b->host.tenants) {
		struct tenant *t = container_of(pos, struct tenant, link);

		tenant_limits(&b->cfg, t->name, &t->weight, &t->reserve_bps, &t->limit_bps);
		tenant_caps(&b->cfg, t->name, &t->caps);
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
				.fault_ns = tenant_fault_ns(&t->caps),
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

/* Is it the same one, with the same parameters? */
static bool same_policy(const struct config *x, const struct config *y)
{
	int i = config_policy_index(x->policy);

	if (strcmp(x->policy, y->policy))
		return false;
	if (i >= 0)
		return !memcmp(x->policy_values[i], y->policy_values[i],
			       sizeof(x->policy_values[i]));
	if (x->n_plugin_settings != y->n_plugin_settings)
		return false;
	for (unsigned int s = 0; s < x->n_plugin_settings; s++)
		if (strcmp(x->plugin_settings[s].key, y->plugin_settings[s].key) ||
		    strcmp(x->plugin_settings[s].value, y->plugin_settings[s].value))
			return false;
	return true;
}

int broker_reload(struct broker *b, char *err, size_t errlen)
{
	struct config *cfg;
	bool same;
	int ret;

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
	if (b->cfg.system)
		config_system(cfg);
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
	same = same_policy(cfg, &b->cfg);
	b->cfg = *cfg;
	broker_apply_tenants(b);
	broker_apply_tuning(b);
	if (!same)
		ret = switch_configured(b, err, errlen);
out:
	free(cfg);
	return ret;
}

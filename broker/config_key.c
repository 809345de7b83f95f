// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_key.c - one table of keys drives parsing, ranges, and what a reload may change.
 */
#include "config_key.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config_policy.h"
#include "config_value.h"

#define GIB (1ull << 30)
#define TIB (1ull << 40)

enum key_kind {
	KEY_U32, /* with unit and range, into a u32 or unsigned int */
	KEY_U64,
	KEY_MAX,   /* like KEY_U64, and "none" for UINT64_MAX */
	KEY_BOOL,  /* on, off */
	KEY_PATH,  /* an absolute path */
	KEY_OTHER, /* key_other() knows */
};

struct key {
	const char *section;
	const char *name;
	enum key_kind kind;
	size_t offset, size;
	bool reload; /* may change without a restart */
	enum amux_unit unit;
	uint64_t min, max;
};

#define FIELD(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)

static const struct key keys[] = {
	{ "broker", "socket", KEY_PATH, FIELD(socket), false, 0, 0, 0 },
	{ "broker", "control", KEY_PATH, FIELD(control), false, 0, 0, 0 },
	{ "broker", "clients", KEY_OTHER, FIELD(clients), false, 0, 0, 0 },
	{ "broker", "metrics", KEY_OTHER, FIELD(metrics_addr), false, 0, 0, 0 },
	{ "broker", "policy", KEY_OTHER, FIELD(policy), true, 0, 0, 0 },
	{ "broker", "policy_dir", KEY_PATH, FIELD(policy_dir), true, 0, 0, 0 },
	{ "broker", "policy_patience", KEY_U32, FIELD(policy_patience), true, AMUX_UNIT_COUNT,
	  3, 100000 },
	{ "broker", "policy_load", KEY_U64, FIELD(policy_load_ns), true, AMUX_UNIT_NS, 10000000,
	  60000000000 },
	{ "broker", "engine", KEY_OTHER, FIELD(engine), false, 0, 0, 0 },
	{ "broker", "kernel", KEY_OTHER, FIELD(kernel), false, 0, 0, 0 },
	{ "broker", "replay_loop", KEY_BOOL, FIELD(replay_loop), false, 0, 0, 0 },
	{ "broker", "replay_verify", KEY_BOOL, FIELD(replay_verify), false, 0, 0, 0 },
	{ "broker", "epoch", KEY_U64, FIELD(epoch_ns), true, AMUX_UNIT_NS, 100000, 100000000 },
	{ "broker", "spin", KEY_U64, FIELD(spin_ns), true, AMUX_UNIT_NS, 0, 1000000000 },
	{ "broker", "cpu_rate", KEY_U64, FIELD(cpu_bps), false, AMUX_UNIT_BPS, 1000000,
	  1000000000000 },
	{ "broker", "own_core", KEY_BOOL, FIELD(own_core), false, 0, 0, 0 },
	{ "broker", "max_connections", KEY_U32, FIELD(max_connections), true, AMUX_UNIT_COUNT,
	  1, 65536 },
	{ "broker", "max_regions", KEY_U32, FIELD(max_regions), true, AMUX_UNIT_COUNT, 1,
	  65536 },
	{ "broker", "max_queues", KEY_U32, FIELD(max_queues), true, AMUX_UNIT_COUNT, 1, 1024 },
	{ "broker", "max_entries", KEY_U32, FIELD(max_entries), true, AMUX_UNIT_COUNT, 2,
	  32768 },
	{ "broker", "max_region_size", KEY_U64, FIELD(max_region_bytes), true, AMUX_UNIT_BYTES,
	  4096, 64 * TIB },
	{ "broker", "connect_rate", KEY_MAX, FIELD(connect_rate), true, AMUX_UNIT_COUNT, 1,
	  1000000 },
	{ "broker", "max_tenant_connections", KEY_U32, FIELD(caps.connections), true,
	  AMUX_UNIT_COUNT, 1, 65536 },
	{ "broker", "max_tenant_regions", KEY_U32, FIELD(caps.regions), true, AMUX_UNIT_COUNT,
	  1, 65536 },
	{ "broker", "max_tenant_memory", KEY_MAX, FIELD(caps.region_bytes), true,
	  AMUX_UNIT_BYTES, 4096, 64 * TIB },
	{ "broker", "max_tenant_queues", KEY_U32, FIELD(caps.queues), true, AMUX_UNIT_COUNT, 1,
	  65536 },
	{ "broker", "max_tenant_queue_memory", KEY_MAX, FIELD(caps.queue_bytes), true,
	  AMUX_UNIT_BYTES, 65536, TIB },
	{ "broker", "max_tenant_faults", KEY_MAX, FIELD(caps.faults), true, AMUX_UNIT_COUNT, 1,
	  1000000000 },
	{ "broker", "max_tenant_requests", KEY_MAX, FIELD(caps.requests), true, AMUX_UNIT_COUNT,
	  1, 1000000000 },
	{ "soft", "devices", KEY_U32, FIELD(devices), false, AMUX_UNIT_COUNT, 1,
	  AMUX_POLICY_DEVS },
	{ "soft", "engines", KEY_U32, FIELD(soft.engines), false, AMUX_UNIT_COUNT, 1,
	  ENGINE_MAX },
	{ "soft", "threads", KEY_U32, FIELD(soft.threads), false, AMUX_UNIT_COUNT, 0,
	  ENGINE_MAX },
	{ "soft", "kernel_wq_size", KEY_U32, FIELD(soft.wq_size[ENGINE_WQ_KERNEL]), false,
	  AMUX_UNIT_COUNT, 1, 128 },
	{ "soft", "user_wq_size", KEY_U32, FIELD(soft.wq_size[ENGINE_WQ_USER]), false,
	  AMUX_UNIT_COUNT, 1, 128 },
	{ "soft", "kernel_priority", KEY_U32, FIELD(soft.wq_priority[ENGINE_WQ_KERNEL]), false,
	  AMUX_UNIT_COUNT, 1, 15 },
	{ "soft", "user_priority", KEY_U32, FIELD(soft.wq_priority[ENGINE_WQ_USER]), false,
	  AMUX_UNIT_COUNT, 1, 15 },
	{ "soft", "max_xfer", KEY_U64, FIELD(soft.max_xfer), false, AMUX_UNIT_BYTES, 4096,
	  2 * GIB },
	{ "soft", "model", KEY_BOOL, FIELD(soft.model), false, 0, 0, 0 },
	{ "soft", "time_scale", KEY_U64, FIELD(time_scale_given), false, AMUX_UNIT_COUNT, 1,
	  100000 },
	{ "soft", "desc_time", KEY_U64, FIELD(soft.desc_ns), false, AMUX_UNIT_NS, 0, 1000000 },
	{ "soft", "engine_rate", KEY_U64, FIELD(soft.engine_bps), false, AMUX_UNIT_BPS, 1000000,
	  1000000000000 },
	{ "soft", "fabric_rate", KEY_U64, FIELD(soft.fabric_bps), false, AMUX_UNIT_BPS, 1000000,
	  1000000000000 },
	{ "dsa", "submit", KEY_OTHER, FIELD(dsa.submit), false, 0, 0, 0 },
	{ "dsa", "prefault", KEY_BOOL, FIELD(dsa.prefault), true, 0, 0, 0 },
	{ "dsa", "timeout", KEY_U64, FIELD(dsa.timeout_ns), false, AMUX_UNIT_NS, 1000000,
	  3600 * 1000000000ull },
	{ "dsa", "time_scale", KEY_U64, FIELD(dsa.time_scale), false, AMUX_UNIT_COUNT, 1,
	  100000 },
	{ "dsa", "desc_time", KEY_U64, FIELD(dsa.desc_ns), false, AMUX_UNIT_NS, 0, 1000000 },
	{ "dsa", "engine_rate", KEY_U64, FIELD(dsa.engine_bps), false, AMUX_UNIT_BPS, 1000000,
	  1000000000000 },
	{ "dsa", "fabric_rate", KEY_U64, FIELD(dsa.fabric_bps), false, AMUX_UNIT_BPS, 1000000,
	  1000000000000 },
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

/* Keys of a [tenant NAME] section; offsets are into struct config_tenant. */
#define TENANT(member) \
	offsetof(struct config_tenant, member), sizeof(((struct config_tenant *)0)->member)

static const struct key tenant_keys[] = {
	{ "tenant", "uid", KEY_OTHER, TENANT(uid), false, 0, 0, 0 },
	{ "tenant", "gid", KEY_OTHER, TENANT(gid), false, 0, 0, 0 },
	{ "tenant", "cgroup", KEY_PATH, TENANT(cgroup), false, 0, 0, 0 },
	{ "tenant", "name", KEY_OTHER, TENANT(client), false, 0, 0, 0 },
	{ "tenant", "weight", KEY_U32, TENANT(weight), true, AMUX_UNIT_COUNT, 1, 100 },
	{ "tenant", "reserve", KEY_U64, TENANT(reserve_bps), true, AMUX_UNIT_BPS, 0,
	  1000000000000 },
	{ "tenant", "limit", KEY_MAX, TENANT(limit_bps), true, AMUX_UNIT_BPS, 1000,
	  1000000000000 },
	{ "tenant", "max_connections", KEY_U32, TENANT(caps.connections), true, AMUX_UNIT_COUNT,
	  1, 65536 },
	{ "tenant", "max_regions", KEY_U32, TENANT(caps.regions), true, AMUX_UNIT_COUNT, 1,
	  65536 },
	{ "tenant", "max_memory", KEY_MAX, TENANT(caps.region_bytes), true, AMUX_UNIT_BYTES,
	  4096, 64 * TIB },
	{ "tenant", "max_queues", KEY_U32, TENANT(caps.queues), true, AMUX_UNIT_COUNT, 1,
	  65536 },
	{ "tenant", "max_queue_memory", KEY_MAX, TENANT(caps.queue_bytes), true,
	  AMUX_UNIT_BYTES, 65536, TIB },
	{ "tenant", "max_faults", KEY_MAX, TENANT(caps.faults), true, AMUX_UNIT_COUNT, 1,
	  1000000000 },
	{ "tenant", "max_requests", KEY_MAX, TENANT(caps.requests), true, AMUX_UNIT_COUNT, 1,
	  1000000000 },
};

#define N_TENANT_KEYS (sizeof(tenant_keys) / sizeof(tenant_keys[0]))

/* --------------------------------------------------------------- plain kinds */

static int parse_number(const struct key *k, const char *value, uint64_t *out, char *err,
			size_t errlen)
{
	char min[32], max[32];
	int rc;

	if (k->kind == KEY_MAX && !strcmp(value, "none")) {
		*out = UINT64_MAX;
		return 0;
	}
	rc = param_parse(value, k->unit, out, err, errlen);
	if (rc)
		return rc;
	if (*out >= k->min && *out <= k->max)
		return 0;
	param_format(k->min, k->unit, min, sizeof(min));
	param_format(k->max, k->unit, max, sizeof(max));
	return config_fail(err, errlen, "'%s': expected %s to %s%s", value, min, max,
			   k->kind == KEY_MAX ? ", or none" : "");
}

/* The part of a key's work that its kind says: everything but KEY_OTHER. */
static int key_plain(const struct key *k, void *base, const char *value, char *err,
		     size_t errlen)
{
	char *field = (char *)base + k->offset;
	uint64_t v;
	uint32_t v32;
	int rc;

	switch (k->kind) {
	case KEY_BOOL:
		return config_value_bool(value, (bool *)(void *)field, err, errlen);
	case KEY_PATH:
		if (value[0] != '/')
			return config_fail(err, errlen, "'%s': expected an absolute path",
					   value);
		return config_value_string(value, field, k->size, "a path", err, errlen);
	case KEY_U32:
		rc = parse_number(k, value, &v, err, errlen);
		v32 = (uint32_t)v;
		if (!rc)
			memcpy(field, &v32, sizeof(v32));
		return rc;
	default:
		rc = parse_number(k, value, &v, err, errlen);
		if (!rc)
			memcpy(field, &v, sizeof(v));
		return rc;
	}
}

/* --------------------------------------------------------------- other kinds */

static int set_kernel(struct config *cfg, const char *value, const char *dir, char *err,
		      size_t errlen)
{
	const char *file;
	int n;

	if (!strcmp(value, "none"))
		return config_value_string(value, cfg->kernel, sizeof(cfg->kernel), "a source",
					   err, errlen);
	if (!strncmp(value, "device:", 7) && value[7] != '/')
		return config_fail(err, errlen,
				   "'%s': expected device:/dev/accelmux, a whole path", value);
	if ((strncmp(value, "replay:", 7) && strncmp(value, "device:", 7)) || !value[7])
		return config_fail(err, errlen,
				   "'%s': expected none, device:/dev/accelmux or replay:FILE",
				   value);
	file = value + 7;
	memset(cfg->kernel, 0, sizeof(cfg->kernel));
	if (*file == '/' || !dir)
		n = snprintf(cfg->kernel, sizeof(cfg->kernel), "%s", value);
	else
		n = snprintf(cfg->kernel, sizeof(cfg->kernel), "replay:%s/%s", dir, file);
	if (n < 0 || (size_t)n >= sizeof(cfg->kernel))
		return config_fail(err, errlen,
				   "'%s': expected a path of at most %zu characters", value,
				   sizeof(cfg->kernel) - sizeof("replay:"));
	return 0;
}

static int set_policy(struct config *cfg, const char *value, const char *dir, char *err,
		      size_t errlen)
{
	char path[PLUGIN_PATH_LEN], why[400];
	int i = config_policy_find(cfg, value, dir, path, sizeof(path), why, sizeof(why));

	if (i < 0)
		return config_fail(err, errlen, "'%s': %s", value, why);
	if (i != CONFIG_PLUGIN)
		snprintf(path, sizeof(path), "%s", value);
	/* Parameters are those of the file that was named before. */
	if (strcmp(path, cfg->policy))
		cfg->n_plugin_settings = 0;
	return config_value_string(path, cfg->policy, sizeof(cfg->policy), "a policy", err,
				   errlen);
}

static int set_metrics(struct config *cfg, const char *value, char *err, size_t errlen)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (!strcmp(value, "off")) {
		memset(cfg->metrics_addr, 0, sizeof(cfg->metrics_addr));
		return 0;
	}
	if (strlen(value) >= sizeof(cfg->metrics_addr) || config_address(value, &ss, &len))
		return config_fail(
			err, errlen,
			"'%s': expected off or a numeric ADDR:PORT, such as 127.0.0.1:9437 "
			"or [::1]:9437",
			value);
	return config_value_string(value, cfg->metrics_addr, sizeof(cfg->metrics_addr),
				   "an address", err, errlen);
}

static int set_engine(struct config *cfg, const char *value, char *err, size_t errlen)
{
	static const char *const engines[] = { "soft", "dsa", "fault:SPEC" };
	char why[400];
	int rc;

	memset(&cfg->fault, 0, sizeof(cfg->fault));
	if (strncmp(value, "fault:", 6))
		return config_value_choice(!strcmp(value, engines[2]) ? "" : value, engines, 3,
					   &cfg->engine, err, errlen);
	cfg->engine = CONFIG_FAULT;
	rc = fault_spec_parse(&cfg->fault, value + 6, why, sizeof(why));
	return rc ? config_fail(err, errlen, "'%s': %s", value, why) : 0;
}

static int key_other(const struct key *k, struct config *cfg, const char *value,
		     const char *dir, char *err, size_t errlen)
{
	static const char *const clients[] = { "owner", "group", "all" };

	if (!strcmp(k->name, "clients"))
		return config_value_choice(value, clients, CONFIG_ALL + 1, &cfg->clients, err,
					   errlen);
	if (!strcmp(k->name, "engine"))
		return set_engine(cfg, value, err, errlen);
	if (!strcmp(k->name, "submit"))
		return config_value_choice(value, dsa_submit_names, DSA_WRITE + 1,
					   &cfg->dsa.submit, err, errlen);
	if (!strcmp(k->name, "kernel"))
		return set_kernel(cfg, value, dir, err, errlen);
	if (!strcmp(k->name, "policy"))
		return set_policy(cfg, value, dir, err, errlen);
	return set_metrics(cfg, value, err, errlen);
}

/* ------------------------------------------------------------------- tenants */

static int tenant_other(const struct key *k, struct config_tenant *t, const char *value,
			char *err, size_t errlen)
{
	int rc;

	if (!strcmp(k->name, "uid")) {
		rc = config_value_user(value, &t->uid, err, errlen);
		t->match_uid |= !rc;
	} else if (!strcmp(k->name, "gid")) {
		rc = config_value_group(value, &t->gid, err, errlen);
		t->match_gid |= !rc;
	} else {
		rc = config_value_string(value, t->client, sizeof(t->client), "a client's name",
					 err, errlen);
		t->match_name |= !rc;
	}
	return rc;
}

/* The tenant called @name, made if there is none; NULL and @err if it cannot be. */
static struct config_tenant *tenant_get(struct config *cfg, const char *name, char *err,
					size_t errlen)
{
	size_t len = strlen(name);
	struct config_tenant *t;

	for (unsigned int i = 0; i < cfg->n_tenants; i++)
		if (!strcmp(cfg->tenants[i].name, name))
			return &cfg->tenants[i];
	if (!len || len >= CONFIG_NAME_LEN ||
	    name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			      "0123456789_.-")]) {
		config_fail(err, errlen,
			    "[tenant %s]: expected a name of 1 to %d letters, digits, '_', '.' "
			    "or '-'",
			    name, CONFIG_NAME_LEN - 1);
		return NULL;
	}
	if (cfg->n_tenants == CONFIG_TENANTS_MAX) {
		config_fail(err, errlen, "[tenant %s]: expected at most %d tenants", name,
			    CONFIG_TENANTS_MAX);
		return NULL;
	}
	t = &cfg->tenants[cfg->n_tenants++];
	strcpy(t->name, name);
	t->weight = 1;
	t->limit_bps = UINT64_MAX;
	return t;
}

/* ------------------------------------------------------------------ sections */

static void list_keys(const struct key *table, size_t n, const char *section, char *buf,
		      size_t len)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && used < len; i++)
		if (!strcmp(table[i].section, section))
			used += (size_t)snprintf(buf + used, len - used, "%s%s",
						 used ? ", " : "", table[i].name);
}

static const struct key *find_key(const struct key *table, size_t n, const char *section,
				  const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(table[i].section, section) && !strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

/* Judge a section's header; makes the tenant it names. */
int config_section_enter(struct config *cfg, const char *section, char *err, size_t errlen)
{
	if (!strcmp(section, "broker") || !strcmp(section, "soft") || !strcmp(section, "dsa"))
		return 0;
	if (!strncmp(section, "tenant ", 7))
		return tenant_get(cfg, section + 7, err, errlen) ? 0 : -EINVAL;
	if (!strncmp(section, "policy ", 7)) {
		if (config_policy_index(section + 7) >= 0 || config_is_plugin(cfg, section + 7))
			return 0;
		return config_fail(err, errlen,
				   "[%s]: expected [policy NAME], where NAME is a built-in "
				   "policy, or that of NAME.so which [broker] policy named "
				   "before",
				   section);
	}
	return config_fail(
		err, errlen,
		"[%s]: expected one of: [broker], [soft], [dsa], [policy NAME], [tenant NAME]",
		section);
}

/* Set one key.  @dir: what a relative path is relative to, NULL for the working directory. */
int config_key_set(struct config *cfg, const char *section, const char *name, const char *value,
		   const char *dir, char *err, size_t errlen)
{
	const struct key *table = keys, *k;
	const char *family = section;
	size_t n = N_KEYS;
	void *base = cfg;
	char why[512];
	int rc;

	rc = config_section_enter(cfg, section, err, errlen);
	if (rc)
		return rc;
	if (!strncmp(section, "policy ", 7)) {
		int i = config_policy_index(section + 7);

		if (i < 0) {
			rc = config_plugin_set(cfg, name, value, why, sizeof(why));
			return rc ? config_fail(err, errlen, "[%s] %s", section, why) : 0;
		}
		rc = policy_set_param(amux_policies[i], cfg->policy_values[i], name, value, why,
				      sizeof(why));
		return rc ? config_fail(err, errlen, "%s", why) : 0;
	}
	if (!strncmp(section, "tenant ", 7)) {
		table = tenant_keys;
		n = N_TENANT_KEYS;
		family = "tenant";
		base = tenant_get(cfg, section + 7, err, errlen);
	}
	k = find_key(table, n, family, name);
	if (!k) {
		list_keys(table, n, family, why, sizeof(why));
		return config_fail(err, errlen, "[%s] %s: unknown key, expected one of: %s",
				   section, name, why);
	}
	if (k->kind != KEY_OTHER)
		rc = key_plain(k, base, value, why, sizeof(why));
	else if (table == keys)
		rc = key_other(k, cfg, value, dir, why, sizeof(why));
	else
		rc = tenant_other(k, base, value, why, sizeof(why));
	if (rc)
		return config_fail(err, errlen, "[%s] %s = %s", section, name, why);
	/* What is given wins over the model's default whichever comes first. */
	cfg->soft.time_scale = !cfg->soft.model	       ? 1
			       : cfg->time_scale_given ? cfg->time_scale_given
						       : CONFIG_MODEL_TIME_SCALE;
	return 0;
}

int config_tenant_set(struct config_tenant *t, const char *key, const char *value, char *err,
		      size_t errlen)
{
	const struct key *k = find_key(tenant_keys, N_TENANT_KEYS, "tenant", key);
	char why[512];
	int rc;

	if (!k || !k->reload)
		return config_fail(err, errlen, "[tenant %s] %s: not a key that can change",
				   t->name, key);
	rc = key_plain(k, t, value, why, sizeof(why));
	return rc ? config_fail(err, errlen, "[tenant %s] %s = %s", t->name, key, why) : 0;
}

/* -------------------------------------------------------------------- reload */

static int same_keys(const struct key *table, size_t n, const void *a, const void *b,
		     const char *label, char *err, size_t errlen)
{
	for (size_t i = 0; i < n; i++) {
		const struct key *k = &table[i];

		if (!k->reload &&
		    memcmp((const char *)a + k->offset, (const char *)b + k->offset, k->size))
			return config_fail(err, errlen, "[%s] %s: a change needs a restart",
					   label ? label : k->section, k->name);
	}
	return 0;
}

int config_reloadable(const struct config *a, const struct config *b, char *err, size_t errlen)
{
	char label[CONFIG_NAME_LEN + 8];
	int rc;

	rc = same_keys(keys, N_KEYS, a, b, NULL, err, errlen);
	if (rc)
		return rc;
	if (memcmp(&a->fault, &b->fault, sizeof(a->fault)))
		return config_fail(err, errlen, "[broker] engine: a change needs a restart");
	for (unsigned int i = 0; i < a->n_tenants || i < b->n_tenants; i++) {
		const struct config_tenant *x = &a->tenants[i], *y = &b->tenants[i];

		if (i >= a->n_tenants || i >= b->n_tenants || strcmp(x->name, y->name))
			return config_fail(
				err, errlen,
				"[tenant %s]: adding, removing or moving a tenant needs a "
				"restart",
				i < b->n_tenants ? y->name : x->name);
		snprintf(label, sizeof(label), "tenant %s", x->name);
		rc = same_keys(tenant_keys, N_TENANT_KEYS, x, y, label, err, errlen);
		if (rc)
			return rc;
		if (x->match_uid != y->match_uid || x->match_gid != y->match_gid)
			return config_fail(err, errlen,
					   "[%s] uid, gid: a change needs a restart", label);
	}
	return 0;
}

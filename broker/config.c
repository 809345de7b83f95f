// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.c - one table of keys drives parsing, ranges, and what a reload may change.
 *
 * libinih splits lines; the reader below counts them (Debian's build has no line numbers in
 * its handler), refuses what libinih would cut off silently, and takes away its continuation
 * lines, which would turn an indented key into a second value of the key above.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <netdb.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	{ "broker", "metrics", KEY_OTHER, FIELD(metrics_addr), false, 0, 0, 0 },
	{ "broker", "policy", KEY_OTHER, FIELD(policy), true, 0, 0, 0 },
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
	{ "broker", "max_tenant_memory", KEY_MAX, FIELD(max_tenant_bytes), true,
	  AMUX_UNIT_BYTES, 4096, 64 * TIB },
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
};

#define N_TENANT_KEYS (sizeof(tenant_keys) / sizeof(tenant_keys[0]))

__attribute__((format(printf, 3, 4))) static int fail(char *err, size_t errlen, const char *fmt,
						      ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	/* It quotes what was given, which a log must not take for more lines. */
	for (char *p = err; errlen && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return -EINVAL;
}

/* ------------------------------------------------------------------ defaults */

static void default_paths(struct config *cfg)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	unsigned int uid = geteuid();
	char dir[93];
	int n = -1;

	if (!uid)
		n = snprintf(dir, sizeof(dir), "/run/accelmux");
	else if (run && *run == '/')
		n = snprintf(dir, sizeof(dir), "%s/accelmux", run);
	/* A socket's path is short: one that does not fit is no directory to use. */
	if (n < 0 || (size_t)n + sizeof("/accelmux.sock") > sizeof(dir))
		snprintf(dir, sizeof(dir), "/tmp/accelmux-%u", uid);
	snprintf(cfg->socket, sizeof(cfg->socket), "%s/accelmux.sock", dir);
	snprintf(cfg->control, sizeof(cfg->control), "%s/control.sock", dir);
}

void config_default(struct config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	default_paths(cfg);
	strcpy(cfg->metrics_addr, "127.0.0.1:9437");
	strcpy(cfg->policy, "dynamic");
	strcpy(cfg->kernel, "none");
	cfg->epoch_ns = 1000000;
	cfg->spin_ns = 20000;
	cfg->cpu_bps = 10000000000ull;
	cfg->max_connections = 1024;
	cfg->max_regions = 256;
	cfg->max_queues = 64;
	cfg->max_entries = 32768;
	cfg->max_region_bytes = 64 * GIB;
	cfg->max_tenant_bytes = UINT64_MAX;
	cfg->devices = 1;
	soft_config_default(&cfg->soft);
	dsa_config_default(&cfg->dsa);
	for (unsigned int i = 0; i < CONFIG_POLICIES && amux_policies[i]; i++)
		policy_defaults(amux_policies[i], cfg->policy_values[i]);
}

bool config_modelled(const struct config *cfg)
{
	return cfg->engine == CONFIG_DSA ? cfg->dsa.time_scale > 1 : cfg->soft.model;
}

uint64_t config_time_scale(const struct config *cfg)
{
	if (!config_modelled(cfg))
		return 1;
	return cfg->engine == CONFIG_DSA ? cfg->dsa.time_scale : cfg->soft.time_scale;
}

int config_policy_index(const char *name)
{
	for (int i = 0; i < CONFIG_POLICIES && amux_policies[i]; i++)
		if (!strcmp(amux_policies[i]->name, name))
			return i;
	return -ENOENT;
}

/* -------------------------------------------------------------------- values */

int config_address(const char *text, struct sockaddr_storage *ss, socklen_t *len)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	struct addrinfo *ai;
	char host[64];
	size_t n;

	if (!colon || colon == text || !colon[1] || strspn(colon + 1, "0123456789") > 5 ||
	    colon[1 + strspn(colon + 1, "0123456789")] || atoi(colon + 1) > 65535)
		return -EINVAL;
	n = (size_t)(colon - text);
	if (text[0] == '[' && colon[-1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return -EINVAL; /* IPv6 needs its brackets: which colon is the port's? */
	}
	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	if (!n || getaddrinfo(host, colon + 1, &hints, &ai))
		return -EINVAL;
	memset(ss, 0, sizeof(*ss));
	memcpy(ss, ai->ai_addr, ai->ai_addrlen);
	*len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 0;
}

static int parse_bool(const char *value, bool *out, char *err, size_t errlen)
{
	static const char *const words[2][4] = { { "off", "no", "false", "0" },
						 { "on", "yes", "true", "1" } };

	for (unsigned int v = 0; v < 2; v++) {
		for (unsigned int i = 0; i < 4; i++) {
			if (!strcmp(value, words[v][i])) {
				*out = v;
				return 0;
			}
		}
	}
	return fail(err, errlen, "'%s': expected on or off", value);
}

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
	return fail(err, errlen, "'%s': expected %s to %s%s", value, min, max,
		    k->kind == KEY_MAX ? ", or none" : "");
}

static int parse_string(const char *value, char *out, size_t size, const char *what, char *err,
			size_t errlen)
{
	size_t len = strlen(value);

	if (!len || len >= size)
		return fail(err, errlen, "'%s': expected %s of 1 to %zu characters", value,
			    what, size - 1);
	memset(out, 0, size); /* config_reloadable() compares the whole field */
	memcpy(out, value, len);
	return 0;
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
		return parse_bool(value, (bool *)(void *)field, err, errlen);
	case KEY_PATH:
		if (value[0] != '/')
			return fail(err, errlen, "'%s': expected an absolute path", value);
		return parse_string(value, field, k->size, "a path", err, errlen);
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

static int set_kernel(struct config *cfg, const char *value, const char *dir, char *err,
		      size_t errlen)
{
	const char *file;
	int n;

	if (!strcmp(value, "none"))
		return parse_string(value, cfg->kernel, sizeof(cfg->kernel), "a source", err,
				    errlen);
	if (!strncmp(value, "device:", 7) && value[7] != '/')
		return fail(err, errlen, "'%s': expected device:/dev/accelmux, a whole path",
			    value);
	if ((strncmp(value, "replay:", 7) && strncmp(value, "device:", 7)) || !value[7])
		return fail(err, errlen,
			    "'%s': expected none, device:/dev/accelmux or replay:FILE", value);
	file = value + 7;
	memset(cfg->kernel, 0, sizeof(cfg->kernel));
	if (*file == '/' || !dir)
		n = snprintf(cfg->kernel, sizeof(cfg->kernel), "%s", value);
	else
		n = snprintf(cfg->kernel, sizeof(cfg->kernel), "replay:%s/%s", dir, file);
	if (n < 0 || (size_t)n >= sizeof(cfg->kernel))
		return fail(err, errlen, "'%s': expected a path of at most %zu characters",
			    value, sizeof(cfg->kernel) - sizeof("replay:"));
	return 0;
}

/* One of @n words, as its number. */
static int set_choice(const char *value, const char *const *words, uint32_t n, uint32_t *out,
		      char *err, size_t errlen)
{
	char known[80] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!strcmp(value, words[i])) {
			*out = i;
			return 0;
		}
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 i ? ", " : "", words[i]);
	}
	return fail(err, errlen, "'%s': expected one of: %s", value, known);
}

static int set_policy(struct config *cfg, const char *value, char *err, size_t errlen)
{
	char known[160] = "";
	size_t n = 0;

	if (config_policy_index(value) >= 0)
		return parse_string(value, cfg->policy, sizeof(cfg->policy), "a policy", err,
				    errlen);
	for (unsigned int i = 0; i < CONFIG_POLICIES && amux_policies[i]; i++) {
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "",
				      amux_policies[i]->name);
		if (n >= sizeof(known))
			break;
	}
	return fail(err, errlen, "'%s': expected one of: %s", value, known);
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
		return fail(err, errlen,
			    "'%s': expected off or a numeric ADDR:PORT, such as 127.0.0.1:9437 "
			    "or [::1]:9437",
			    value);
	return parse_string(value, cfg->metrics_addr, sizeof(cfg->metrics_addr), "an address",
			    err, errlen);
}

static int key_other(const struct key *k, struct config *cfg, const char *value,
		     const char *dir, char *err, size_t errlen)
{
	static const char *const engines[] = { "soft", "dsa" };

	if (!strcmp(k->name, "engine"))
		return set_choice(value, engines, 2, &cfg->engine, err, errlen);
	if (!strcmp(k->name, "submit"))
		return set_choice(value, dsa_submit_names, DSA_WRITE + 1, &cfg->dsa.submit, err,
				  errlen);
	if (!strcmp(k->name, "kernel"))
		return set_kernel(cfg, value, dir, err, errlen);
	if (!strcmp(k->name, "policy"))
		return set_policy(cfg, value, err, errlen);
	return set_metrics(cfg, value, err, errlen);
}

/* ------------------------------------------------------------------- tenants */

/* A number, or a name that @lookup knows. */
static int parse_id(const char *value, const char *what,
		    int (*lookup)(const char *, uint32_t *), uint32_t *out, char *err,
		    size_t errlen)
{
	char *end;
	unsigned long long v;

	if (*value >= '0' && *value <= '9') {
		errno = 0;
		v = strtoull(value, &end, 10);
		if (!errno && !*end && v < UINT32_MAX) {
			*out = (uint32_t)v;
			return 0;
		}
	} else if (*value && !lookup(value, out)) {
		return 0;
	}
	return fail(err, errlen, "'%s': expected the number or name of a %s of this host",
		    value, what);
}

static int lookup_user(const char *name, uint32_t *out)
{
	const struct passwd *pw = getpwnam(name);

	if (!pw)
		return -ENOENT;
	*out = pw->pw_uid;
	return 0;
}

static int lookup_group(const char *name, uint32_t *out)
{
	const struct group *gr = getgrnam(name);

	if (!gr)
		return -ENOENT;
	*out = gr->gr_gid;
	return 0;
}

static int tenant_other(const struct key *k, struct config_tenant *t, const char *value,
			char *err, size_t errlen)
{
	int rc;

	if (!strcmp(k->name, "uid")) {
		rc = parse_id(value, "user", lookup_user, &t->uid, err, errlen);
		t->match_uid |= !rc;
	} else if (!strcmp(k->name, "gid")) {
		rc = parse_id(value, "group", lookup_group, &t->gid, err, errlen);
		t->match_gid |= !rc;
	} else {
		rc = parse_string(value, t->client, sizeof(t->client), "a client's name", err,
				  errlen);
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
		fail(err, errlen,
		     "[tenant %s]: expected a name of 1 to %d letters, digits, '_', '.' or '-'",
		     name, CONFIG_NAME_LEN - 1);
		return NULL;
	}
	if (cfg->n_tenants == CONFIG_TENANTS_MAX) {
		fail(err, errlen, "[tenant %s]: expected at most %d tenants", name,
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
static int enter_section(struct config *cfg, const char *section, char *err, size_t errlen)
{
	if (!strcmp(section, "broker") || !strcmp(section, "soft") || !strcmp(section, "dsa"))
		return 0;
	if (!strncmp(section, "tenant ", 7))
		return tenant_get(cfg, section + 7, err, errlen) ? 0 : -EINVAL;
	if (!strncmp(section, "policy ", 7)) {
		if (config_policy_index(section + 7) >= 0)
			return 0;
		/* The same words as for an unknown policy anywhere else. */
		char why[256];

		set_policy(cfg, section + 7, why, sizeof(why));
		return fail(err, errlen, "[%s]: %s", section, why);
	}
	return fail(
		err, errlen,
		"[%s]: expected one of: [broker], [soft], [dsa], [policy NAME], [tenant NAME]",
		section);
}

/* Set one key.  @dir: what a relative path is relative to, NULL for the working directory. */
static int set_key(struct config *cfg, const char *section, const char *name, const char *value,
		   const char *dir, char *err, size_t errlen)
{
	const struct key *table = keys, *k;
	const char *family = section;
	size_t n = N_KEYS;
	void *base = cfg;
	char why[512];
	int rc;

	rc = enter_section(cfg, section, err, errlen);
	if (rc)
		return rc;
	if (!strncmp(section, "policy ", 7)) {
		int i = config_policy_index(section + 7);

		rc = policy_set_param(amux_policies[i], cfg->policy_values[i], name, value, why,
				      sizeof(why));
		return rc ? fail(err, errlen, "%s", why) : 0;
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
		return fail(err, errlen, "[%s] %s: unknown key, expected one of: %s", section,
			    name, why);
	}
	if (k->kind != KEY_OTHER)
		rc = key_plain(k, base, value, why, sizeof(why));
	else if (table == keys)
		rc = key_other(k, cfg, value, dir, why, sizeof(why));
	else
		rc = tenant_other(k, base, value, why, sizeof(why));
	if (rc)
		return fail(err, errlen, "[%s] %s = %s", section, name, why);
	/* What is given wins over the model's default whichever comes first. */
	cfg->soft.time_scale = !cfg->soft.model	       ? 1
			       : cfg->time_scale_given ? cfg->time_scale_given
						       : CONFIG_MODEL_TIME_SCALE;
	return 0;
}

/* ---------------------------------------------------------------------- load */

#define SEEN_NAME 64

struct seen {
	char section[SEEN_NAME], name[SEEN_NAME];
	unsigned int line;
};

struct loader {
	struct config *cfg;
	FILE *file;
	const char *path;
	char *dir;
	char section[SEEN_NAME];
	unsigned int line; /* the one being parsed */
	int failed;	   /* -errno of the first error, whose text is in @err */
	struct seen *seen;
	unsigned int n_seen, max_seen;
	char *err;
	size_t errlen;
};

static void load_fail(struct loader *l, unsigned int line, int rc, const char *why)
{
	l->failed = rc;
	snprintf(l->err, l->errlen, "%s:%u: %s", l->path, line, why);
}

/* libinih's fgets(): returning NULL ends the parse. */
static char *read_line(char *buf, int size, void *arg)
{
	struct loader *l = arg;
	char why[512], *start, *end;
	size_t len;
	int rc;

	if (l->failed || !fgets(buf, size, l->file))
		return NULL;
	l->line++;
	len = strlen(buf);
	if (!len || (buf[len - 1] != '\n' && !feof(l->file))) {
		snprintf(why, sizeof(why), "expected lines of text of at most %d characters",
			 size - 3);
		load_fail(l, l->line, -EINVAL, why);
		return NULL;
	}
	start = buf;
	if (l->line == 1 && !strncmp(buf, "\xef\xbb\xbf", 3))
		start += 3;
	start += strspn(start, " \t");
	memmove(buf, start, strlen(start) + 1);
	if (buf[0] != '[')
		return buf;
	end = strchr(buf, ']');
	if (!end)
		return buf; /* libinih complains */
	len = (size_t)(end - buf - 1);
	if (end[1 + strspn(end + 1, " \t\r\n")] && end[1 + strspn(end + 1, " \t")] != ';') {
		load_fail(l, l->line, -EINVAL, "expected nothing after ']'");
		return NULL;
	}
	if (len >= sizeof(l->section)) {
		load_fail(l, l->line, -EINVAL, "expected a shorter [section] name");
		return NULL;
	}
	memcpy(l->section, buf + 1, len);
	l->section[len] = '\0';
	rc = enter_section(l->cfg, l->section, why, sizeof(why));
	if (rc) {
		load_fail(l, l->line, rc, why);
		return NULL;
	}
	return buf;
}

/* Note that a key was given; -EINVAL and the text if it was before. */
static int note_seen(struct loader *l, const char *name, char *why, size_t whylen)
{
	struct seen *s;

	for (unsigned int i = 0; i < l->n_seen; i++) {
		s = &l->seen[i];
		if (!strcmp(s->section, l->section) && !strcmp(s->name, name)) {
			snprintf(why, whylen, "[%s] %s: given already on line %u", s->section,
				 name, s->line);
			return -EINVAL;
		}
	}
	if (l->n_seen == l->max_seen) {
		unsigned int max = l->max_seen ? 2 * l->max_seen : 64;

		s = realloc(l->seen, max * sizeof(*s));
		if (!s) {
			snprintf(why, whylen, "out of memory");
			return -ENOMEM;
		}
		l->seen = s;
		l->max_seen = max;
	}
	s = &l->seen[l->n_seen++];
	memcpy(s->section, l->section, sizeof(s->section));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->line = l->line;
	return 0;
}

static int handle_key(void *arg, const char *ini_section, const char *name, const char *value)
{
	struct loader *l = arg;
	char why[512];
	int rc;

	(void)ini_section; /* cut at 49 characters; l->section is not */
	if (!l->section[0]) {
		snprintf(why, sizeof(why), "%s: expected a [section] before the first key",
			 name);
		rc = -EINVAL;
	} else {
		rc = set_key(l->cfg, l->section, name, value, l->dir, why, sizeof(why));
		if (!rc)
			rc = note_seen(l, name, why, sizeof(why));
	}
	if (rc)
		load_fail(l, l->line, rc, why);
	return !rc;
}

int config_load(struct config *cfg, const char *path, char *err, size_t errlen)
{
	struct loader l = { .cfg = cfg, .path = path, .err = err, .errlen = errlen };
	const char *slash = strrchr(path, '/');
	int rc;

	/* "" would make "/FILE" of "FILE": a file of this directory has dir "." */
	l.dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	if (!l.dir) {
		snprintf(err, errlen, "%s: out of memory", path);
		return -ENOMEM;
	}
	l.file = fopen(path, "re");
	if (!l.file) {
		rc = -errno;
		snprintf(err, errlen, "%s: cannot open: %s", path, strerror(-rc));
		goto out_dir;
	}
	errno = 0;
	rc = ini_parse_stream(read_line, &l, handle_key, &l);
	if (ferror(l.file)) {
		rc = errno ? -errno : -EIO;
		snprintf(err, errlen, "%s: cannot read: %s", path, strerror(-rc));
		goto out_file;
	}
	/* libinih goes on after a line it cannot split and returns the first such line. */
	if (rc > 0 && (!l.failed || (unsigned int)rc < l.line))
		load_fail(&l, (unsigned int)rc, -EINVAL, "expected [section] or key = value");
	rc = l.failed;
out_file:
	free(l.seen); /* note_seen() */
	fclose(l.file);
out_dir:
	free(l.dir);
	return rc;
}

int config_override(struct config *cfg, const char *assignment, char *err, size_t errlen)
{
	const char *eq = strchr(assignment, '='), *dot = NULL;
	char section[SEEN_NAME], name[SEEN_NAME], why[512];
	int rc;

	for (const char *p = assignment; eq && p < eq; p++)
		if (*p == '.')
			dot = p;
	if (!dot || (size_t)(dot - assignment) >= sizeof(section) ||
	    (size_t)(eq - dot - 1) >= sizeof(name))
		return fail(err, errlen, "'%s': expected SECTION.KEY=VALUE", assignment);
	memcpy(section, assignment, (size_t)(dot - assignment));
	section[dot - assignment] = '\0';
	memcpy(name, dot + 1, (size_t)(eq - dot - 1));
	name[eq - dot - 1] = '\0';
	if (!strncmp(section, "policy.", 7) || !strncmp(section, "tenant.", 7))
		section[6] = ' ';
	rc = set_key(cfg, section, name, eq + 1, NULL, why, sizeof(why));
	if (rc)
		fail(err, errlen, "'%s': %s", assignment, why);
	return rc;
}

/* --------------------------------------------------------------------- check */

static int check_tenant(const struct config_tenant *t, char *err, size_t errlen)
{
	char reserve[32], limit[32];

	if (!t->match_uid && !t->match_gid && !t->match_name && !t->cgroup[0])
		return fail(err, errlen,
			    "[tenant %s]: expected at least one of uid, gid, cgroup, name: "
			    "nobody is known by it",
			    t->name);
	if (t->reserve_bps <= t->limit_bps)
		return 0;
	param_format(t->reserve_bps, AMUX_UNIT_BPS, reserve, sizeof(reserve));
	param_format(t->limit_bps, AMUX_UNIT_BPS, limit, sizeof(limit));
	return fail(err, errlen, "[tenant %s] reserve = %s: expected at most limit = %s",
		    t->name, reserve, limit);
}

int config_check(const struct config *cfg, char *err, size_t errlen)
{
	char why[256];
	int rc;

	if (!strcmp(cfg->socket, cfg->control))
		return fail(err, errlen,
			    "[broker] control = '%s': expected another path than socket's",
			    cfg->control);
	if (!cfg->soft.model && cfg->time_scale_given)
		return fail(err, errlen,
			    "[soft] time_scale = '%llu' with [soft] model = off: expected "
			    "model = on, or no time_scale",
			    (unsigned long long)cfg->time_scale_given);
	if (cfg->soft.model && cfg->own_core)
		return fail(
			err, errlen,
			"[broker] own_core = on with [soft] model = on: expected one of them "
			"off (a modelled device is no CPU)");
	if (cfg->engine == CONFIG_DSA && cfg->soft.model)
		return fail(
			err, errlen,
			"[soft] model = on with [broker] engine = dsa: expected one of them "
			"otherwise");
	if (cfg->engine == CONFIG_DSA && !strncmp(cfg->kernel, "replay:", 7))
		return fail(err, errlen,
			    "[broker] kernel = '%s' with engine = dsa: expected none or "
			    "device:/dev/accelmux (the kernel WQs are the kernel's)",
			    cfg->kernel);
	for (unsigned int i = 0; i < CONFIG_POLICIES && amux_policies[i]; i++) {
		rc = policy_check(amux_policies[i], cfg->policy_values[i], why, sizeof(why));
		if (rc)
			return fail(err, errlen, "%s", why);
	}
	for (unsigned int i = 0; i < cfg->n_tenants; i++) {
		rc = check_tenant(&cfg->tenants[i], err, errlen);
		if (rc)
			return rc;
	}
	return 0;
}

/* -------------------------------------------------------------------- reload */

static int same_keys(const struct key *table, size_t n, const void *a, const void *b,
		     const char *label, char *err, size_t errlen)
{
	for (size_t i = 0; i < n; i++) {
		const struct key *k = &table[i];

		if (!k->reload &&
		    memcmp((const char *)a + k->offset, (const char *)b + k->offset, k->size))
			return fail(err, errlen, "[%s] %s: a change needs a restart",
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
	for (unsigned int i = 0; i < a->n_tenants || i < b->n_tenants; i++) {
		const struct config_tenant *x = &a->tenants[i], *y = &b->tenants[i];

		if (i >= a->n_tenants || i >= b->n_tenants || strcmp(x->name, y->name))
			return fail(err, errlen,
				    "[tenant %s]: adding, removing or moving a tenant needs a "
				    "restart",
				    i < b->n_tenants ? y->name : x->name);
		snprintf(label, sizeof(label), "tenant %s", x->name);
		rc = same_keys(tenant_keys, N_TENANT_KEYS, x, y, label, err, errlen);
		if (rc)
			return rc;
		if (x->match_uid != y->match_uid || x->match_gid != y->match_gid)
			return fail(err, errlen, "[%s] uid, gid: a change needs a restart",
				    label);
	}
	return 0;
}

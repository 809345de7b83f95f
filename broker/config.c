// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.c - the configuration as a whole: its defaults, the file, the command line, whether it
 * makes sense.
 *
 * libinih splits lines; the reader below counts them (Debian's build has no line numbers in
 * its handler), refuses what libinih would cut off silently, and takes away its continuation
 * lines, which would turn an indented key into a second value of the key above.
 */
#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_key.h"
#include "config_value.h"

#define GIB (1ull << 30)

#define SYSTEM_DIR "/run/accelmux"

/* ------------------------------------------------------------------ defaults */

static void set_paths(struct config *cfg, const char *dir)
{
	snprintf(cfg->socket, sizeof(cfg->socket), "%s/accelmux.sock", dir);
	snprintf(cfg->control, sizeof(cfg->control), "%s/control.sock", dir);
}

void config_system(struct config *cfg)
{
	set_paths(cfg, SYSTEM_DIR);
	cfg->clients = CONFIG_ALL;
	cfg->system = true;
}

static void default_paths(struct config *cfg)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	unsigned int uid = geteuid();
	char dir[93];
	int n = -1;

	if (!uid)
		n = snprintf(dir, sizeof(dir), SYSTEM_DIR);
	else if (run && *run == '/')
		n = snprintf(dir, sizeof(dir), "%s/accelmux", run);
	/* A socket's path is short: one that does not fit is no directory to use. */
	if (n < 0 || (size_t)n + sizeof("/accelmux.sock") > sizeof(dir))
		snprintf(dir, sizeof(dir), "/tmp/accelmux-%u", uid);
	set_paths(cfg, dir);
}

void config_default(struct config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	default_paths(cfg);
	cfg->clients = geteuid() ? CONFIG_OWNER : CONFIG_ALL;
	strcpy(cfg->metrics_addr, "127.0.0.1:9437");
	strcpy(cfg->policy, "dynamic");
	plugin_file_dir(cfg->policy_dir, sizeof(cfg->policy_dir));
	cfg->policy_patience = 250;
	cfg->policy_load_ns = 5000000000ull;
	strcpy(cfg->kernel, "none");
	cfg->epoch_ns = 1000000;
	cfg->spin_ns = 20000;
	cfg->cpu_bps = 10000000000ull;
	cfg->max_connections = 1024;
	cfg->max_regions = 256;
	cfg->max_queues = 64;
	cfg->max_entries = 32768;
	cfg->max_region_bytes = 64 * GIB;
	cfg->connect_rate = 500;
	cfg->caps = (struct config_caps){
		.connections = 512,
		.regions = 8192,
		.queues = 1024,
		.region_bytes = 1024 * GIB,
		.queue_bytes = GIB / 2,
		.faults = 10000,
		.requests = 2000,
	};
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
	rc = config_section_enter(l->cfg, l->section, why, sizeof(why));
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
		rc = config_key_set(l->cfg, l->section, name, value, l->dir, why, sizeof(why));
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
		return config_fail(err, errlen, "'%s': expected SECTION.KEY=VALUE", assignment);
	memcpy(section, assignment, (size_t)(dot - assignment));
	section[dot - assignment] = '\0';
	memcpy(name, dot + 1, (size_t)(eq - dot - 1));
	name[eq - dot - 1] = '\0';
	if (!strncmp(section, "policy.", 7) || !strncmp(section, "tenant.", 7))
		section[6] = ' ';
	rc = config_key_set(cfg, section, name, eq + 1, NULL, why, sizeof(why));
	if (rc)
		config_fail(err, errlen, "'%s': %s", assignment, why);
	return rc;
}

/* --------------------------------------------------------------------- check */

static int check_tenant(const struct config_tenant *t, char *err, size_t errlen)
{
	if (!t->match_uid && !t->match_gid && !t->match_name && !t->cgroup[0])
		return config_fail(
			err, errlen,
			"[tenant %s]: expected at least one of uid, gid, cgroup, name: "
			"nobody is known by it",
			t->name);
	return config_tenant_judge(t, err, errlen);
}

int config_tenant_judge(const struct config_tenant *t, char *err, size_t errlen)
{
	char reserve[32], limit[32];

	if (t->reserve_bps <= t->limit_bps)
		return 0;
	param_format(t->reserve_bps, AMUX_UNIT_BPS, reserve, sizeof(reserve));
	param_format(t->limit_bps, AMUX_UNIT_BPS, limit, sizeof(limit));
	return config_fail(err, errlen, "[tenant %s] reserve = %s: expected at most limit = %s",
			   t->name, reserve, limit);
}

int config_check(const struct config *cfg, char *err, size_t errlen)
{
	char why[512];
	int rc;

	if (!strcmp(cfg->socket, cfg->control))
		return config_fail(
			err, errlen,
			"[broker] control = '%s': expected another path than socket's",
			cfg->control);
	if (!cfg->soft.model && cfg->time_scale_given)
		return config_fail(
			err, errlen,
			"[soft] time_scale = '%llu' with [soft] model = off: expected "
			"model = on, or no time_scale",
			(unsigned long long)cfg->time_scale_given);
	if (cfg->soft.model && cfg->own_core)
		return config_fail(
			err, errlen,
			"[broker] own_core = on with [soft] model = on: expected one of them "
			"off (a modelled device is no CPU)");
	if (cfg->engine == CONFIG_DSA && cfg->soft.model)
		return config_fail(
			err, errlen,
			"[soft] model = on with [broker] engine = dsa: expected one of them "
			"otherwise");
	if (cfg->engine == CONFIG_DSA && !strncmp(cfg->kernel, "replay:", 7))
		return config_fail(err, errlen,
				   "[broker] kernel = '%s' with engine = dsa: expected none or "
				   "device:/dev/accelmux (the kernel WQs are the kernel's)",
				   cfg->kernel);
	if (cfg->policy[0] == '/') {
		int fd = plugin_file_open(cfg->policy, why, sizeof(why));

		if (fd < 0)
			return config_fail(err, errlen, "[broker] policy: %s", why);
		close(fd);
	}
	if (cfg->engine == CONFIG_FAULT && !strncmp(cfg->kernel, "replay:", 7))
		return config_fail(err, errlen,
				   "[broker] kernel = '%s' with engine = fault: expected none "
				   "or device:/dev/accelmux (faults are for users' copies)",
				   cfg->kernel);
	for (unsigned int i = 0; i < CONFIG_POLICIES && amux_policies[i]; i++) {
		rc = policy_check(amux_policies[i], cfg->policy_values[i], why, sizeof(why));
		if (rc)
			return config_fail(err, errlen, "%s", why);
	}
	for (unsigned int i = 0; i < cfg->n_tenants; i++) {
		rc = check_tenant(&cfg->tenants[i], err, errlen);
		if (rc)
			return rc;
	}
	return 0;
}

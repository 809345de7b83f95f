// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_setup.c - setup: plan the static layout of the DSA devices, show it, apply it, undo it.
 *
 * Everything that can be refused is refused before a device is touched.  A device with which a
 * step fails is put back; those before it stay laid out, and in the record.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli.h"
#include "cli_setup.h"
#include "layout_apply.h"
#include "layout_json.h"
#include "layout_use.h"

#define ERR_LEN	      512
#define DEFAULT_GROUP "accelmux"

struct setup {
	const struct cli *cli;
	bool dry_run, undo, save, replace;
	const char *load, *group;
	struct layout_options layout;
	gid_t gid;
	bool permit; /* to @gid */
	struct idxd_host host, plan;
	struct layout_record record;
	json_t *done; /* for --json: [{ device, changed }] */
};

/* ------------------------------------------------------------------------ options */

static int user_mode(const char *value, enum layout_user *mode)
{
	if (!strcmp(value, "dedicated"))
		*mode = LAYOUT_USER_DEDICATED;
	else if (!strcmp(value, "shared"))
		*mode = LAYOUT_USER_SHARED;
	else
		return cli_fail(CLI_USAGE, "--user-mode '%s': expected dedicated or shared",
				value);
	return CLI_OK;
}

static int option_value(struct setup *s, const char *name, const char *value)
{
	if (!value || !*value)
		return cli_fail(CLI_USAGE, "setup %s: expected a value", name);
	if (!strcmp(name, "--devices"))
		s->layout.devices = value;
	else if (!strcmp(name, "--load"))
		s->load = value;
	else if (!strcmp(name, "--group"))
		s->group = value;
	else
		return user_mode(value, &s->layout.user);
	return CLI_OK;
}

static bool takes_value(const char *name)
{
	static const char *const names[] = { "--devices", "--load", "--group", "--user-mode" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static int options(struct setup *s)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{ "--dry-run", &s->dry_run },
		{ "--undo", &s->undo },
		{ "--save", &s->save },
		{ "--replace", &s->replace },
		{ "--kernel-only", &s->layout.kernel_only },
	};
	int code;

	for (int i = 1; i < s->cli->argc; i++) {
		char *arg = s->cli->argv[i], *eq = strchr(arg, '=');
		bool found = false;

		for (size_t k = 0; k < sizeof(flags) / sizeof(flags[0]); k++)
			if (!strcmp(arg, flags[k].name))
				found = *flags[k].flag = true;
		if (found)
			continue;
		if (eq)
			*eq = '\0';
		if (!takes_value(arg))
			return cli_fail(CLI_USAGE,
					"setup: '%s': expected --dry-run, --devices, "
					"--kernel-only, --user-mode, --replace, --group, "
					"--save, --load or --undo",
					arg);
		code = option_value(s, arg,
				    eq			   ? eq + 1
				    : i + 1 < s->cli->argc ? s->cli->argv[++i]
							   : NULL);
		if (code)
			return code;
	}
	if (s->undo &&
	    (s->dry_run || s->load || s->layout.kernel_only || s->layout.user || s->group))
		return cli_fail(
			CLI_USAGE,
			"setup --undo: expected at most --devices, --replace and --save "
			"beside it");
	if (s->load &&
	    (s->save || s->layout.devices || s->layout.kernel_only || s->layout.user))
		return cli_fail(CLI_USAGE, "setup --load: expected at most --dry-run, "
					   "--replace and --group beside it");
	return CLI_OK;
}

/* Whose the nodes of user WQs are: --group, else the group called accelmux if there is one. */
static int group_find(struct setup *s)
{
	const struct group *g = getgrnam(s->group ? s->group : DEFAULT_GROUP);

	if (!g && s->group)
		return cli_fail(CLI_USAGE, "--group '%s': expected a group of this host",
				s->group);
	s->permit = g;
	s->gid = g ? g->gr_gid : 0;
	return CLI_OK;
}

/* ----------------------------------------------------------------------- the plan */

static int plan_load(struct setup *s, char *err, size_t errlen)
{
	json_error_t error;
	char why[ERR_LEN];
	json_t *json;
	int rc;

	json = json_load_file(s->load, 0, &error);
	if (!json) {
		/* With no line: the file itself. */
		if (error.line < 0)
			snprintf(err, errlen, "%s", error.text);
		else
			snprintf(err, errlen, "%s:%d: %s", s->load, error.line, error.text);
		return -EINVAL;
	}
	rc = layout_from_json(json, &s->plan, why, sizeof(why));
	rc = rc ?: layout_check(&s->host, &s->plan, why, sizeof(why));
	json_decref(json);
	if (rc)
		snprintf(err, errlen, "%s: %s", s->load, why);
	return rc;
}

static int plan_make(struct setup *s)
{
	char err[2 * ERR_LEN];
	int rc = idxd_scan(&s->host, err, sizeof(err));

	if (!rc && s->load)
		rc = plan_load(s, err, sizeof(err));
	else if (!rc)
		rc = layout_plan(&s->host, &s->layout, &s->plan, err, sizeof(err));
	return rc ? cli_fail(rc == -EINVAL && !s->load ? CLI_USAGE : CLI_FAILED, "setup: %s",
			     err)
		  : CLI_OK;
}

static int dry_run(const struct setup *s)
{
	json_t *json = layout_to_json(&s->plan, false);
	int code;

	if (!json)
		return cli_fail(CLI_FAILED, "setup: %s", strerror(ENOMEM));
	code = cli_print_json(json);
	json_decref(json);
	return code;
}

/* ---------------------------------------------------------------------- applying */

static const struct idxd_device *recorded(const struct layout_record *rec, const char *name)
{
	return idxd_find(&rec->plan, name);
}

/* Is each channel of the device in the record still the one that was recorded? */
static bool channels_stand(const struct layout_record *rec, const char *device)
{
	uint64_t inode;

	for (unsigned int i = 0; i < rec->n_channels; i++)
		if (!strcmp(rec->channel[i].device, device) &&
		    (layout_channel_inode(rec->channel[i].name, &inode) ||
		     inode != rec->channel[i].inode))
			return false;
	return true;
}

static bool already(const struct setup *s, const struct idxd_device *plan)
{
	const struct idxd_device *dev = idxd_find(&s->host, plan->name);
	const struct idxd_device *of = recorded(&s->record, plan->name);
	char why[200];

	return of && layout_same(dev, plan, why, sizeof(why)) &&
	       layout_same(dev, of, why, sizeof(why)) && channels_stand(&s->record, plan->name);
}

static void count(const struct idxd_device *dev, enum idxd_type type, unsigned int *n,
		  const struct idxd_wq **one)
{
	*n = 0;
	for (unsigned int i = 0; i < dev->n_wqs; i++)
		if (dev->wq[i].enabled && dev->wq[i].type == type) {
			*one = &dev->wq[i];
			++*n;
		}
}

/* One line of what was done, or of what there is no need to do. */
static void say(struct setup *s, const struct idxd_device *plan, bool changed)
{
	const struct idxd_wq *wq = NULL;
	unsigned int n;

	json_array_append_new(s->done, json_pack("{s:s, s:b}", "device", plan->name, "changed",
						 (int)changed));
	if (s->cli->json)
		return;
	printf("%s: ", plan->name);
	if (!changed) {
		printf("already laid out like that\n");
		return;
	}
	printf("%u engines", plan->n_engines);
	count(plan, IDXD_TYPE_KERNEL, &n, &wq);
	if (n)
		printf(", %u kernel WQs of %u entries, priority %u", n, wq->size, wq->priority);
	count(plan, IDXD_TYPE_USER, &n, &wq);
	if (n)
		printf(", %u user WQs of %u entries, priority %u, %s", n, wq->size,
		       wq->priority, wq->shared ? "shared" : "dedicated");
	else
		printf(", no user WQs%s", plan->pasid ? "" : " (no translation by PASID)");
	printf("\n");
}

/* A step failed, as @err says: the device as it was a moment ago, if that can be had. */
static void restore(struct setup *s, const char *name, char *err, size_t errlen)
{
	const struct idxd_device *now = idxd_find(&s->host, name);
	const struct idxd_device *of = recorded(&s->record, name);
	struct layout_channel channel[IDXD_WQS];
	struct idxd_device before;
	char why[ERR_LEN];
	unsigned int n;
	bool good = !layout_apply(now, channel, &n, why, sizeof(why));
	size_t used = strlen(err);

	snprintf(err + used, errlen - used, "; %s",
		 good ? "it is as it was before" : "it is left disabled");
	if (!good || !of || !layout_same(now, of, why, sizeof(why)))
		return;
	/* Its channels are others now. */
	before = s->record.before.device[of - s->record.plan.device];
	layout_record_add(&s->record, now, &before, channel, n);
	layout_record_write(LAYOUT_RECORD, &s->record, why, sizeof(why));
}

/* Lay out one device and note it. */
static int device_apply(struct setup *s, const struct idxd_device *plan, char *err,
			size_t errlen)
{
	const struct idxd_device *of = recorded(&s->record, plan->name);
	struct layout_channel channel[IDXD_WQS];
	struct idxd_device before;
	unsigned int n;
	int rc;

	/* Laid out before: what was there before that is what --undo is about. */
	before = of ? s->record.before.device[of - s->record.plan.device]
		    : *idxd_find(&s->host, plan->name);
	rc = layout_apply(plan, channel, &n, err, errlen);
	if (rc) {
		restore(s, plan->name, err, errlen);
		return rc;
	}
	layout_record_add(&s->record, plan, &before, channel, n);
	rc = layout_record_write(LAYOUT_RECORD, &s->record, err, errlen);
	if (!rc && s->permit)
		rc = layout_permit(plan, s->gid, err, errlen);
	if (!rc)
		say(s, plan, true);
	return rc;
}

/* Two at a time would take each other's devices apart. */
static int lock_take(char *err, size_t errlen)
{
	char dir[] = LAYOUT_RECORD;
	int fd, rc = layout_directory_make(dir);

	*strrchr(dir, '/') = '\0';
	if (rc) {
		snprintf(err, errlen, "%s: %s", dir, strerror(-rc));
		return rc;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		snprintf(err, errlen, "%s: %s", dir,
			 fd >= 0 && errno == EWOULDBLOCK ? "another accelmux setup is at work"
							 : strerror(errno));
		if (fd >= 0)
			close(fd);
		return -EBUSY;
	}
	return fd;
}

static int record_load(struct setup *s, char *err, size_t errlen)
{
	int rc = layout_record_read(LAYOUT_RECORD, &s->record, err, errlen);

	return rc == -ENOENT ? 0 : rc;
}

static int apply(struct setup *s)
{
	const struct idxd_device *dev, *plan;
	char err[2 * ERR_LEN];
	int rc = record_load(s, err, sizeof(err));

	for (unsigned int i = 0; i < s->plan.n_devices && !rc; i++) {
		plan = &s->plan.device[i];
		dev = idxd_find(&s->host, plan->name);
		if (!already(s, plan))
			rc = layout_use_check(dev,
					      (const struct idxd_device *const[]){
						      plan, recorded(&s->record, plan->name) },
					      2, s->replace, err, sizeof(err));
	}
	for (unsigned int i = 0; i < s->plan.n_devices && !rc; i++) {
		plan = &s->plan.device[i];
		if (!already(s, plan))
			rc = device_apply(s, plan, err, sizeof(err));
		else
			say(s, plan, false);
		/* Already laid out, but whose the nodes are may be new. */
		if (!rc && s->group)
			rc = layout_permit(plan, s->gid, err, sizeof(err));
	}
	return rc ? cli_fail(CLI_FAILED, "setup: %s", err) : CLI_OK;
}

/* ------------------------------------------------------------------------- undo */

static bool selected(const struct setup *s, const char *name)
{
	const char *at = s->layout.devices;
	size_t n = strlen(name);

	while (at && *at) {
		if (!strncmp(at, name, n) && (!at[n] || at[n] == ','))
			return true;
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
	return !s->layout.devices;
}

static int undo_check(struct setup *s, char *err, size_t errlen)
{
	const struct idxd_device *plan, *dev;
	unsigned int n = 0;
	int rc;

	for (unsigned int i = 0; i < s->record.plan.n_devices; i++) {
		plan = &s->record.plan.device[i];
		dev = idxd_find(&s->host, plan->name);
		if (!dev || !selected(s, plan->name))
			continue;
		n++;
		rc = layout_use_check(dev, &plan, 1, s->replace, err, errlen);
		if (rc)
			return rc;
	}
	if (n)
		return 0;
	snprintf(err, errlen, "nothing to undo: %s%s%s", LAYOUT_RECORD,
		 s->layout.devices ? " names no device of " : ": no device was laid out",
		 s->layout.devices ? s->layout.devices : "");
	return -ENOENT;
}

/* Without a device in it there is no record. */
static int record_store(struct setup *s, char *err, size_t errlen)
{
	int rc;

	if (s->record.plan.n_devices)
		return layout_record_write(LAYOUT_RECORD, &s->record, err, errlen);
	if (!unlink(LAYOUT_RECORD))
		return 0;
	rc = -errno;
	snprintf(err, errlen, "%s: cannot remove: %s", LAYOUT_RECORD, strerror(-rc));
	return rc;
}

static int undo(struct setup *s)
{
	struct layout_channel channel[IDXD_WQS];
	struct idxd_device before;
	char err[2 * ERR_LEN];
	unsigned int i = 0, n;
	int rc = idxd_scan(&s->host, err, sizeof(err));

	rc = rc ?: record_load(s, err, sizeof(err));
	rc = rc ?: undo_check(s, err, sizeof(err));
	while (!rc && i < s->record.plan.n_devices) {
		before = s->record.before.device[i];
		if (!selected(s, before.name)) {
			i++;
			continue;
		}
		/* A device that has left took its configuration with it. */
		if (idxd_find(&s->host, before.name))
			rc = layout_apply(&before, channel, &n, err, sizeof(err));
		if (rc)
			break;
		layout_record_drop(&s->record, before.name);
		rc = record_store(s, err, sizeof(err));
		if (!s->cli->json)
			printf("%s: back to how it was (%s)\n", before.name,
			       before.enabled ? "enabled" : "disabled");
		json_array_append_new(
			s->done, json_pack("{s:s, s:b}", "device", before.name, "changed", 1));
	}
	return rc ? cli_fail(CLI_FAILED, "setup --undo: %s", err) : CLI_OK;
}

/* ---------------------------------------------------------------------- command */

/* What changes something: as root, alone. */
static int change(struct setup *s)
{
	char err[ERR_LEN];
	int fd, code;

	if (geteuid())
		return cli_fail(CLI_FAILED,
				"setup: uid %u: expected root, whose the devices' settings are",
				(unsigned int)geteuid());
	code = group_find(s);
	if (code)
		return code;
	fd = lock_take(err, sizeof(err));
	if (fd < 0)
		return cli_fail(CLI_FAILED, "setup: %s", err);
	if (s->undo) {
		code = undo(s);
		/* The saved file may be all that is left of a former boot. */
		if (s->save) {
			int other = setup_forget(s->cli);

			code = code ? code : other;
		}
	} else {
		code = apply(s);
		if (!code && s->save)
			code = setup_save(s->cli, &s->plan, s->group);
	}
	close(fd);
	return code;
}

int cli_setup(const struct cli *cli)
{
	struct setup *s = calloc(1, sizeof(*s));
	int code;

	if (!s)
		return cli_fail(CLI_FAILED, "setup: %s", strerror(ENOMEM));
	s->cli = cli;
	s->done = json_array();
	code = options(s);
	if (!code && !s->undo)
		code = plan_make(s);
	if (!code)
		code = s->dry_run ? dry_run(s) : change(s);
	if (!code && cli->json && !s->dry_run)
		code = cli_print_json(s->done);
	json_decref(s->done);
	free(s);
	return code;
}

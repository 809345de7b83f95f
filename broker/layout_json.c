// SPDX-License-Identifier: GPL-2.0-only
/*
 * layout_json.c - see layout_json.h.  The order of keys matters: accel-config writes them to
 * the driver one by one, and a WQ's name is lost when its type changes.
 */
#include "layout_json.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ----------------------------------------------------------------------- writing */

static const char *type_text(enum idxd_type type)
{
	return type == IDXD_TYPE_KERNEL ? "kernel" : type == IDXD_TYPE_USER ? "user" : "none";
}

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

static void set_state(json_t *o, bool enabled)
{
	set(o, "state", json_string(enabled ? "enabled" : "disabled"));
}

static json_t *wq_to_json(const struct idxd_device *dev, const struct idxd_wq *wq, bool state)
{
	json_t *o = json_object();

	set(o, "dev", json_sprintf("wq%u.%u", dev->id, wq->id));
	set(o, "mode", json_string(wq->shared ? "shared" : "dedicated"));
	set(o, "size", json_integer(wq->size));
	set(o, "group_id", json_integer(wq->group));
	set(o, "priority", json_integer(wq->priority));
	/* Refused by devices without that ability, even for 0. */
	if (wq->block_on_fault)
		set(o, "block_on_fault", json_integer(1));
	set(o, "max_batch_size", json_integer(wq->max_batch));
	set(o, "max_transfer_size", json_integer((json_int_t)wq->max_xfer));
	set(o, "type", json_string(type_text(wq->type)));
	if (wq->name[0])
		set(o, "name", json_string(wq->name));
	if (wq->driver[0])
		set(o, "driver_name", json_string(wq->driver));
	if (wq->shared && wq->threshold)
		set(o, "threshold", json_integer(wq->threshold));
	if (state)
		set_state(o, wq->enabled);
	return o;
}

static json_t *wqs_to_json(const struct idxd_device *dev, int group, bool state)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < dev->n_wqs; i++)
		if (dev->wq[i].group == group && (group >= 0 || layout_used(&dev->wq[i])))
			json_array_append_new(list, wq_to_json(dev, &dev->wq[i], state));
	return list;
}

static json_t *engines_to_json(const struct idxd_device *dev, int group)
{
	json_t *list = json_array(), *o;

	for (unsigned int i = 0; i < dev->n_engines; i++) {
		if (dev->engine_group[i] != group)
			continue;
		o = json_object();
		set(o, "dev", json_sprintf("engine%u.%u", dev->id, i));
		set(o, "group_id", json_integer(group));
		json_array_append_new(list, o);
	}
	return list;
}

/* accel-config takes no empty list. */
static void set_list(json_t *o, const char *key, json_t *list)
{
	if (json_array_size(list))
		set(o, key, list);
	else
		json_decref(list);
}

static json_t *device_to_json(const struct idxd_device *dev, bool state)
{
	json_t *o = json_object(), *groups = json_array(), *g;

	set(o, "dev", json_string(dev->name));
	if (state)
		set_state(o, dev->enabled);
	for (int i = 0; i < IDXD_GROUPS; i++) {
		g = json_object();
		set(g, "dev", json_sprintf("group%u.%d", dev->id, i));
		set_list(g, "grouped_workqueues", wqs_to_json(dev, i, state));
		set_list(g, "grouped_engines", engines_to_json(dev, i));
		if (json_object_size(g) > 1)
			json_array_append_new(groups, g);
		else
			json_decref(g);
	}
	set_list(o, "groups", groups);
	set_list(o, "ungrouped_workqueues", wqs_to_json(dev, -1, state));
	return o;
}

json_t *layout_to_json(const struct idxd_host *plan, bool state)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < plan->n_devices; i++)
		if (json_array_append_new(list, device_to_json(&plan->device[i], state))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

/* ----------------------------------------------------------------------- reading */

struct place {
	char *err;
	size_t errlen;
	char at[IDXD_NAME];
};

__attribute__((format(printf, 2, 3))) static int fail(struct place *p, const char *fmt, ...)
{
	va_list ap;
	int n;

	n = snprintf(p->err, p->errlen, "%s%s", p->at, p->at[0] ? ": " : "");
	if (n < 0 || (size_t)n >= p->errlen)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(p->err + n, p->errlen - (size_t)n, fmt, ap);
	va_end(ap);
	/* It quotes a file, which must not make more lines of it. */
	for (char *c = p->err; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return -EINVAL;
}

/* @key of @o into @to if it is there. */
static int get_int(struct place *p, const json_t *o, const char *key, json_int_t min,
		   json_int_t max, json_int_t *to)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return fail(p, "%s: expected an integer of %lld to %lld", key, (long long)min,
			    (long long)max);
	*to = json_integer_value(v);
	return 0;
}

static int get_uint(struct place *p, const json_t *o, const char *key, unsigned int *to)
{
	json_int_t v = *to;
	int rc = get_int(p, o, key, 0, INT_MAX, &v);

	*to = (unsigned int)v;
	return rc;
}

/* One of two words: *@second says which. */
static int get_word(struct place *p, const json_t *o, const char *key, const char *first,
		    const char *other, bool *second)
{
	const json_t *v = json_object_get(o, key);
	const char *s = json_string_value(v);

	if (!v)
		return 0;
	if (!s || (strcmp(s, first) && strcmp(s, other)))
		return fail(p, "%s '%.32s': expected %s or %s", key, s ? s : "", first, other);
	*second = !strcmp(s, other);
	return 0;
}

/* What reaches the driver's files: printable, without blanks. */
static int get_name(struct place *p, const json_t *o, const char *key, char *to)
{
	const json_t *v = json_object_get(o, key);
	const char *s = json_string_value(v);

	if (!v)
		return 0;
	if (!s || strlen(s) >= IDXD_NAME)
		return fail(p, "%s: expected a name of at most %d characters", key,
			    IDXD_NAME - 1);
	for (const char *c = s; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '/')
			return fail(p, "%s '%s': expected letters, digits and signs but '/'",
				    key, s);
	strcpy(to, s);
	return 0;
}

static int get_type(struct place *p, const json_t *o, struct idxd_wq *wq)
{
	const json_t *v = json_object_get(o, "type");
	const char *s = json_string_value(v);

	if (s && !strcmp(s, "kernel"))
		wq->type = IDXD_TYPE_KERNEL;
	else if (s && !strcmp(s, "user"))
		wq->type = IDXD_TYPE_USER;
	else if (v && (!s || strcmp(s, "none")))
		return fail(p, "type '%.32s': expected kernel, user or none", s ? s : "");
	return 0;
}

/* "wq0.3" of device 0 is 3, below @max. */
static int get_id(struct place *p, const json_t *o, const char *kind, unsigned int device,
		  unsigned int max, unsigned int *id)
{
	const char *s = json_string_value(json_object_get(o, "dev"));
	size_t n = strlen(kind);
	unsigned int of;
	int end = 0;

	if (!s || strncmp(s, kind, n) || sscanf(s + n, "%u.%u%n", &of, id, &end) != 2 ||
	    s[n + (size_t)end] || of != device || *id >= max)
		return fail(p, "dev '%.32s': expected %s%u.0 to %s%u.%u", s ? s : "", kind,
			    device, kind, device, max - 1);
	snprintf(p->at, sizeof(p->at), "%s%u.%u", kind, of, *id);
	return 0;
}

static int wq_from_json(struct place *p, const json_t *o, struct idxd_device *dev, int group)
{
	bool dedicated = false, disabled = false;
	json_int_t group_id = group, xfer;
	struct idxd_wq *wq;
	unsigned int id, bof = 0;
	int rc;

	rc = get_id(p, o, "wq", dev->id, IDXD_WQS, &id);
	if (rc)
		return rc;
	wq = &dev->wq[id];
	if (wq->path[0])
		return fail(p, "given twice");
	strcpy(wq->path, "seen");
	xfer = (json_int_t)wq->max_xfer;
	rc = get_word(p, o, "mode", "shared", "dedicated", &dedicated);
	rc = rc ?: get_uint(p, o, "size", &wq->size);
	rc = rc ?: get_int(p, o, "group_id", -1, IDXD_GROUPS - 1, &group_id);
	rc = rc ?: get_uint(p, o, "priority", &wq->priority);
	rc = rc ?: get_uint(p, o, "block_on_fault", &bof);
	rc = rc ?: get_uint(p, o, "max_batch_size", &wq->max_batch);
	rc = rc ?: get_int(p, o, "max_transfer_size", 0, LLONG_MAX, &xfer);
	rc = rc ?: get_type(p, o, wq);
	rc = rc ?: get_name(p, o, "name", wq->name);
	rc = rc ?: get_name(p, o, "driver_name", wq->driver);
	rc = rc ?: get_uint(p, o, "threshold", &wq->threshold);
	rc = rc ?: get_word(p, o, "state", "enabled", "disabled", &disabled);
	if (rc)
		return rc;
	wq->shared = !dedicated;
	wq->group = (int)group_id;
	wq->block_on_fault = bof;
	wq->max_xfer = (uint64_t)xfer;
	wq->enabled = !disabled && layout_used(wq);
	return 0;
}

static int engine_from_json(struct place *p, const json_t *o, struct idxd_device *dev,
			    int group)
{
	json_int_t group_id = group;
	unsigned int id;
	int rc;

	rc = get_id(p, o, "engine", dev->id, IDXD_ENGINES, &id);
	rc = rc ?: get_int(p, o, "group_id", -1, IDXD_GROUPS - 1, &group_id);
	if (rc)
		return rc;
	dev->engine_group[id] = (int)group_id;
	if (id >= dev->n_engines)
		dev->n_engines = id + 1;
	return 0;
}

/* The list @name of @o, if there is one, item by item; they are of @group. */
static int list_from_json(struct place *p, const json_t *o, const char *name,
			  int (*item)(struct place *p, const json_t *o, struct idxd_device *dev,
				      int group),
			  struct idxd_device *dev, int group)
{
	const json_t *list = json_object_get(o, name), *v;
	char at[IDXD_NAME];
	size_t i;
	int rc;

	strcpy(at, p->at);
	if (list && !json_is_array(list))
		return fail(p, "%s: expected a list", name);
	json_array_foreach(list, i, v)
	{
		rc = item(p, v, dev, group);
		if (rc)
			return rc;
		strcpy(p->at, at);
	}
	return 0;
}

/* Both lists of @o, which are of @group. */
static int lists_from_json(struct place *p, const json_t *o, const char *wqs,
			   const char *engines, struct idxd_device *dev, int group)
{
	int rc = list_from_json(p, o, wqs, wq_from_json, dev, group);

	return rc ? rc : list_from_json(p, o, engines, engine_from_json, dev, group);
}

static int device_from_json(struct place *p, const json_t *o, struct idxd_host *out)
{
	const char *name = json_string_value(json_object_get(o, "dev"));
	struct idxd_device *dev = &out->device[out->n_devices];
	const json_t *groups = json_object_get(o, "groups"), *v;
	bool disabled = false;
	unsigned int id;
	int end = 0, rc;
	size_t i;

	if (!name || sscanf(name, "dsa%u%n", &dev->id, &end) != 1 || name[end] ||
	    (size_t)end >= sizeof(dev->name))
		return fail(p, "dev '%.32s': expected a DSA device, like dsa0",
			    name ? name : "");
	if (idxd_find(out, name))
		return fail(p, "dev '%s': given twice", name);
	strcpy(dev->name, name);
	strcpy(p->at, name);
	dev->n_wqs = IDXD_WQS;
	for (i = 0; i < IDXD_WQS; i++)
		dev->wq[i] = (struct idxd_wq){ .id = (unsigned int)i,
					       .group = -1,
					       .priority = 1,
					       .max_batch = LAYOUT_MAX_BATCH,
					       .max_xfer = LAYOUT_MAX_XFER };
	for (i = 0; i < IDXD_ENGINES; i++)
		dev->engine_group[i] = -1;
	rc = get_word(p, o, "state", "enabled", "disabled", &disabled);
	if (rc)
		return rc;
	dev->enabled = !disabled;
	if (groups && !json_is_array(groups))
		return fail(p, "groups: expected a list");
	json_array_foreach(groups, i, v)
	{
		rc = get_id(p, v, "group", dev->id, IDXD_GROUPS, &id);
		rc = rc
			     ?: lists_from_json(p, v, "grouped_workqueues", "grouped_engines",
						dev, (int)id);
		if (rc)
			return rc;
		strcpy(p->at, name);
	}
	rc = lists_from_json(p, o, "ungrouped_workqueues", "ungrouped_engines", dev, -1);
	if (rc)
		return rc;
	/* Those that are named, as far as the last one of them: it may have fewer than we know. */
	while (dev->n_wqs && !dev->wq[dev->n_wqs - 1].path[0])
		dev->n_wqs--;
	for (i = 0; i < IDXD_WQS; i++)
		dev->wq[i].path[0] = '\0';
	out->n_devices++;
	return 0;
}

int layout_from_json(const json_t *json, struct idxd_host *out, char *err, size_t errlen)
{
	struct place p = { .err = err, .errlen = errlen };
	const json_t *v;
	size_t i;
	int rc;

	memset(out, 0, sizeof(*out));
	if (!json_is_array(json) || !json_array_size(json))
		return fail(&p,
			    "expected a list of devices, as accel-config save-config writes");
	if (json_array_size(json) > IDXD_DEVICES)
		return fail(&p, "%zu devices: expected at most %d", json_array_size(json),
			    IDXD_DEVICES);
	json_array_foreach(json, i, v)
	{
		rc = device_from_json(&p, v, out);
		if (rc)
			return rc;
		p.at[0] = '\0';
	}
	return 0;
}

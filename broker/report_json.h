/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * report_json.h - pieces of JSON that the files of the report are made of.  Not for others.
 *
 * Owner: each returns a new reference, or NULL if memory is out.  Thread: the control thread.
 */
#ifndef BROKER_REPORT_JSON_H
#define BROKER_REPORT_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "status.h"

static inline json_int_t num(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (json_int_t)v;
}

static inline json_t *ratio(uint64_t a, uint64_t b)
{
	return b ? json_real((double)a / (double)b) : json_null();
}

/* Append to an array, which is consumed if that fails. */
static inline json_t *append(json_t *array, json_t *item)
{
	if (array && !json_array_append_new(array, item))
		return array;
	if (!array)
		json_decref(item);
	json_decref(array);
	return NULL;
}

/* report_device.c: every device of every node, @uptime ns after the start. */
json_t *report_device_list(struct broker *b, uint64_t uptime);

#endif /* BROKER_REPORT_JSON_H */

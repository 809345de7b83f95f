// SPDX-License-Identifier: GPL-2.0-only
/*
 * rpc.c - the methods of the control socket, and the rules of JSON-RPC 2.0 around them.
 */
#include "rpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "list.h"
#include "report.h"
#include "rpc_method.h"

json_t *rpc_refuse(struct rpc_error *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	e->code = code;
	return NULL;
}

/* ------------------------------------------------------------------- methods */

static json_t *do_version(struct broker *b, const json_t *params, struct rpc_error *e)
{
	(void)b;
	(void)params;
	(void)e;
	return report_version();
}

static json_t *do_status(struct broker *b, const json_t *params, struct rpc_error *e)
{
	(void)params;
	(void)e;
	return report_status(b);
}

static json_t *do_tenants(struct broker *b, const json_t *params, struct rpc_error *e)
{
	(void)params;
	(void)e;
	return report_tenants(b);
}

static json_t *do_devices(struct broker *b, const json_t *params, struct rpc_error *e)
{
	(void)params;
	(void)e;
	return report_devices(b);
}

static json_t *do_policy_list(struct broker *b, const json_t *params, struct rpc_error *e)
{
	(void)params;
	(void)e;
	return report_policies(b);
}

static json_t *do_policy_get(struct broker *b, const json_t *params, struct rpc_error *e)
{
	(void)params;
	(void)e;
	return report_policy(b);
}

/* Overlay {"key": "value" or integer, ...} on @values. */
static int overlay(const struct amux_policy_ops *ops, uint64_t *values, json_t *params,
		   struct rpc_error *e)
{
	char number[32], why[400];
	const char *key, *text;
	json_t *value;

	json_object_foreach(params, key, value)
	{
		text = json_string_value(value);
		if (json_is_integer(value)) {
			snprintf(number, sizeof(number), "%lld",
				 (long long)json_integer_value(value));
			text = number;
		}
		if (!text) {
			rpc_refuse(e, RPC_INVALID_PARAMS,
				   "policy %s: %.64s: expected a string or an integer",
				   ops->name, key);
			return -1;
		}
		if (policy_set_param(ops, values, key, text, why, sizeof(why))) {
			rpc_refuse(e, RPC_INVALID_PARAMS, "%s", why);
			return -1;
		}
	}
	return 0;
}

/* A plug-in: the answer comes when it is loaded, or is not. */
static json_t *policy_load(struct broker *b, const char *path, json_t *given,
			   struct rpc_error *e)
{
	struct policy_setting settings[AMUX_POLICY_PARAMS];
	const struct policy_setting *configured;
	unsigned int n, i;
	const char *key, *text;
	json_t *value;
	char why[400];

	if (!e->later)
		return rpc_refuse(
			e, RPC_INVALID_PARAMS,
			"policy.set of a plug-in: expected a request of its own, with an "
			"id, not part of a batch");
	configured = config_plugin_settings(broker_config(b), path, &n);
	memcpy(settings, configured, n * sizeof(settings[0]));
	json_object_foreach(given, key, value)
	{
		for (i = 0; i < n && strcmp(settings[i].key, key); i++)
			;
		if (i == AMUX_POLICY_PARAMS)
			return rpc_refuse(e, RPC_INVALID_PARAMS,
					  "policy.set: expected at most %d parameters",
					  AMUX_POLICY_PARAMS);
		text = json_string_value(value);
		if (json_is_integer(value))
			snprintf(settings[i].value, sizeof(settings[i].value), "%lld",
				 (long long)json_integer_value(value));
		else if (text && strlen(text) < sizeof(settings[i].value))
			strcpy(settings[i].value, text);
		else
			text = NULL;
		if ((!text && !json_is_integer(value)) ||
		    strlen(key) >= sizeof(settings[i].key))
			return rpc_refuse(
				e, RPC_INVALID_PARAMS,
				"policy.set: %.64s: expected an integer or a string of at "
				"most %zu characters",
				key, sizeof(settings[i].value) - 1);
		strcpy(settings[i].key, key);
		n += i == n;
	}
	if (broker_load_policy(b, path, settings, n, &e->later->wait, why, sizeof(why)))
		return rpc_refuse(e, RPC_INVALID_PARAMS, "%s", why);
	e->deferred = true;
	return NULL;
}

static json_t *do_policy_set(struct broker *b, const json_t *params, struct rpc_error *e)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	json_t *given = json_object_get(params, "params");
	const struct amux_policy_ops *ops;
	uint64_t values[AMUX_POLICY_PARAMS];
	char why[400], path[PLUGIN_PATH_LEN];
	int i;

	if (!name)
		return rpc_refuse(e, RPC_INVALID_PARAMS,
				  "policy.set: expected \"name\", a string");
	if (given && !json_is_object(given))
		return rpc_refuse(e, RPC_INVALID_PARAMS,
				  "policy.set: expected \"params\" to be an object");
	i = config_policy_find(broker_config(b), name, NULL, path, sizeof(path), why,
			       sizeof(why));
	if (i < 0)
		return rpc_refuse(e, RPC_INVALID_PARAMS, "policy '%.64s': %s", name, why);
	if (i == CONFIG_PLUGIN)
		return policy_load(b, path, given, e);
	ops = amux_policies[i];
	/* What is not given is as configured, not as last set: a command says it all. */
	memcpy(values, broker_config(b)->policy_values[i], sizeof(values));
	if (given && overlay(ops, values, given, e))
		return NULL;
	if (policy_check(ops, values, why, sizeof(why)))
		return rpc_refuse(e, RPC_INVALID_PARAMS, "%s", why);
	if (broker_set_policy(b, ops, values))
		return rpc_refuse(e, RPC_INTERNAL_ERROR, "policy %s: out of memory", ops->name);
	return report_policy(b);
}

static const struct {
	const char *name;
	rpc_method call;
	const char *params[5]; /* known ones */
} methods[] = {
	{ "version", do_version, { NULL } },
	{ "status", do_status, { NULL } },
	{ "tenants", do_tenants, { NULL } },
	{ "tenants.set", rpc_tenants_set, { "name", "weight", "reserve", "limit", NULL } },
	{ "tenants.evict", rpc_tenants_evict, { "name", "reason", NULL } },
	{ "devices", do_devices, { NULL } },
	{ "devices.drain", rpc_devices_drain, { "device", "engine", NULL } },
	{ "devices.resume", rpc_devices_resume, { "device", "engine", NULL } },
	{ "policy.list", do_policy_list, { NULL } },
	{ "policy.get", do_policy_get, { NULL } },
	{ "policy.set", do_policy_set, { "name", "params", NULL } },
};

#define N_METHODS (sizeof(methods) / sizeof(methods[0]))

/* ------------------------------------------------------------------ protocol */

static json_t *answer_error(json_t *id, int code, const char *text)
{
	char line[512];

	/* It quotes what was sent, perhaps cut inside a character; one printable line. */
	snprintf(line, sizeof(line), "%s", text);
	for (char *p = line; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return json_pack("{s:s, s:{s:i, s:s}, s:O}", "jsonrpc", "2.0", "error", "code", code,
			 "message", line, "id", id ? id : json_null());
}

static json_t *call(struct broker *b, const char *name, json_t *params, struct rpc_error *e)
{
	const char *key;
	json_t *value;
	size_t m, p;

	for (m = 0; m < N_METHODS && strcmp(methods[m].name, name); m++)
		;
	if (m == N_METHODS)
		return rpc_refuse(e, RPC_METHOD_NOT_FOUND, "method '%.64s': not known", name);
	if (params && json_array_size(params))
		return rpc_refuse(e, RPC_INVALID_PARAMS, "%s: expected parameters by name",
				  name);
	json_object_foreach(params, key, value)
	{
		for (p = 0; methods[m].params[p] && strcmp(methods[m].params[p], key); p++)
			;
		if (!methods[m].params[p])
			return rpc_refuse(e, RPC_INVALID_PARAMS,
					  "%s: unknown parameter '%.64s'", name, key);
	}
	return methods[m].call(b, json_is_object(params) ? params : NULL, e);
}

/* Consumes @result, whose place @e takes if it is NULL; NULL: memory is out. */
static json_t *answer_with(json_t *id, json_t *result, const struct rpc_error *e)
{
	if (result)
		return json_pack("{s:s, s:o, s:O}", "jsonrpc", "2.0", "result", result, "id",
				 id);
	if (e->code)
		return answer_error(id, e->code, e->text);
	return answer_error(id, RPC_INTERNAL_ERROR, "out of memory");
}

/* Answer one request object; NULL for a notification, and for what @later will answer.
 * *@lost: memory is out. */
static json_t *answer_one(struct broker *b, const json_t *req, struct rpc_later *later,
			  int *lost)
{
	json_t *id = json_object_get(req, "id"), *params = json_object_get(req, "params");
	const char *version = json_string_value(json_object_get(req, "jsonrpc"));
	const char *name = json_string_value(json_object_get(req, "method"));
	struct rpc_error e = { .later = later };
	json_t *result, *answer;

	if (!json_is_object(req) || !version || strcmp(version, "2.0") || !name ||
	    (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id)) ||
	    (params && !json_is_object(params) && !json_is_array(params))) {
		/* Nobody can tell whether this was meant as a notification. */
		if (!json_is_string(id) && !json_is_number(id))
			id = NULL;
		answer = answer_error(id, RPC_INVALID_REQUEST,
				      "expected {\"jsonrpc\": \"2.0\", \"id\": ..., "
				      "\"method\": NAME, \"params\": {...}}");
		*lost |= !answer;
		return answer;
	}
	result = call(b, name, params, &e);
	if (e.deferred) {
		later->pending = true;
		later->b = b;
		later->id = json_incref(id);
		return NULL;
	}
	if (!id) {
		json_decref(result);
		return NULL;
	}
	answer = answer_with(id, result, &e);
	*lost |= !answer;
	return answer;
}

static json_t *answer_batch(struct broker *b, const json_t *batch, int *lost)
{
	size_t n = json_array_size(batch);
	json_t *answers, *one;

	if (!n || n > RPC_BATCH_MAX) {
		one = answer_error(NULL, RPC_INVALID_REQUEST, "expected a batch of 1 to 32");
		*lost |= !one;
		return one;
	}
	answers = json_array();
	*lost |= !answers;
	for (size_t i = 0; answers && i < n; i++) {
		one = answer_one(b, json_array_get(batch, i), NULL, lost);
		if (one)
			*lost |= json_array_append_new(answers, one) != 0;
	}
	if (answers && json_array_size(answers))
		return answers;
	json_decref(answers);
	return NULL;
}

/*
 * Consumes @answer.  Measured first and then written into memory of that size: a json_dumps()
 * whose buffer could not grow may leave out a piece and go on.
 */
static char *to_line(json_t *answer)
{
	size_t len = json_dumpb(answer, NULL, 0, JSON_COMPACT);
	char *line = len ? malloc(len + 2) : NULL;

	if (line && json_dumpb(answer, line, len, JSON_COMPACT) == len) {
		memcpy(line + len, "\n", 2);
	} else {
		free(line);
		line = NULL;
	}
	json_decref(answer);
	return line;
}

static void later_done(struct policy_wait *w, const char *err)
{
	struct rpc_later *later = container_of(w, struct rpc_later, wait);
	struct rpc_error e = { .code = 0 };
	json_t *id = later->id, *answer = NULL;

	later->pending = false;
	later->id = NULL;
	if (err)
		rpc_refuse(&e, RPC_INVALID_PARAMS, "%s", err);
	if (id)
		answer = answer_with(id, err ? NULL : report_policy(later->b), &e);
	json_decref(id);
	later->done(later, answer ? to_line(answer) : NULL);
}

void rpc_forget(struct rpc_later *later)
{
	if (!later->pending)
		return;
	later->pending = false;
	broker_wait_forget(later->b, &later->wait);
	json_decref(later->id);
	later->id = NULL;
}

char *rpc_answer(struct broker *b, const char *text, size_t len, struct rpc_later *later)
{
	json_error_t error;
	json_t *req = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	int lost = 0;
	json_t *answer;

	_Static_assert(RPC_BATCH_MAX == 32, "answer_batch() tells the limit");
	if (!req) {
		answer = answer_error(NULL, RPC_PARSE_ERROR, error.text);
		return answer ? to_line(answer) : NULL;
	}
	if (later)
		later->wait.done = later_done;
	answer = json_is_array(req) ? answer_batch(b, req, &lost)
				    : answer_one(b, req, later, &lost);
	json_decref(req);
	if (answer && lost) {
		/* Half a batch's answers would look like a whole one's. */
		json_decref(answer);
		answer = answer_error(NULL, RPC_INTERNAL_ERROR, "out of memory");
	}
	return answer ? to_line(answer) : NULL;
}

char *rpc_too_long(void)
{
	json_t *answer = answer_error(NULL, RPC_INVALID_REQUEST,
				      "expected a request of at most 65536 bytes");

	_Static_assert(RPC_REQUEST_MAX == 65536, "the text above tells the limit");
	return answer ? to_line(answer) : NULL;
}

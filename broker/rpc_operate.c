// SPDX-License-Identifier: GPL-2.0-only
/*
 * rpc_operate.c - the methods by which an operator changes tenants and engines.
 */
#include <errno.h>

#include "report.h"
#include "rpc_method.h"

/* The text of member @key; NULL: there is none.  One that is neither text nor a number is an
 * error in @e.  @number: where to put a number's text, 32 bytes. */
static const char *member(const json_t *params, const char *method, const char *key,
			  char *number, struct rpc_error *e)
{
	const json_t *value = json_object_get(params, key);

	if (json_is_integer(value)) {
		snprintf(number, 32, "%lld", (long long)json_integer_value(value));
		return number;
	}
	if (value && !json_is_string(value) && !e->code)
		rpc_refuse(e, RPC_INVALID_PARAMS, "%s: %s: expected a string or an integer",
			   method, key);
	return json_string_value(value);
}

/* What broker_*() said is the caller's fault, unless it is memory that is out. */
static json_t *refused(struct rpc_error *e, int ret, const char *err)
{
	return rpc_refuse(e, ret == -ENOMEM ? RPC_INTERNAL_ERROR : RPC_INVALID_PARAMS, "%s",
			  err);
}

json_t *rpc_tenants_set(struct broker *b, const json_t *params, struct rpc_error *e)
{
	char numbers[3][32], err[400];
	const char *name = json_string_value(json_object_get(params, "name"));
	struct operate_limits to = {
		.weight = member(params, "tenants.set", "weight", numbers[0], e),
		.reserve = member(params, "tenants.set", "reserve", numbers[1], e),
		.limit = member(params, "tenants.set", "limit", numbers[2], e),
	};
	int ret;

	if (e->code)
		return NULL;
	if (!name || (!to.weight && !to.reserve && !to.limit))
		return rpc_refuse(
			e, RPC_INVALID_PARAMS,
			"tenants.set: expected \"name\", a string, and at least one of "
			"\"weight\", \"reserve\", \"limit\"");
	ret = broker_tenant_set(b, name, &to, err, sizeof(err));
	return ret ? refused(e, ret, err) : report_tenants(b);
}

json_t *rpc_tenants_evict(struct broker *b, const json_t *params, struct rpc_error *e)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	const json_t *reason = json_object_get(params, "reason");
	unsigned int n;
	char err[400];
	int ret;

	if (!name || (reason && !json_is_string(reason)))
		return rpc_refuse(e, RPC_INVALID_PARAMS,
				  "tenants.evict: expected \"name\" and perhaps \"reason\", "
				  "strings");
	ret = broker_tenant_evict(b, name, json_string_value(reason), &n, err, sizeof(err));
	return ret ? refused(e, ret, err) : json_pack("{s:I}", "evicted", (json_int_t)n);
}

static json_t *drain(struct broker *b, const json_t *params, bool on, struct rpc_error *e)
{
	const char *method = on ? "devices.drain" : "devices.resume";
	const char *name = json_string_value(json_object_get(params, "device"));
	const json_t *engine = json_object_get(params, "engine");
	json_int_t i = engine ? json_integer_value(engine) : -1;
	char err[400];
	int ret;

	if (!name || (engine && (!json_is_integer(engine) || i < 0 || i > INT32_MAX)))
		return rpc_refuse(
			e, RPC_INVALID_PARAMS,
			"%s: expected \"device\", a string, and perhaps \"engine\", a "
			"number from 0",
			method);
	ret = broker_drain(b, name, (int)i, on, err, sizeof(err));
	return ret ? refused(e, ret, err) : report_devices(b);
}

json_t *rpc_devices_drain(struct broker *b, const json_t *params, struct rpc_error *e)
{
	return drain(b, params, true, e);
}

json_t *rpc_devices_resume(struct broker *b, const json_t *params, struct rpc_error *e)
{
	return drain(b, params, false, e);
}

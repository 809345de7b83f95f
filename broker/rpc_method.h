/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rpc_method.h - inside the control socket: what its methods (rpc.c, rpc_operate.c) share.  Not
 * for others.
 *
 * Owner: a result is a new reference, the caller's.  Thread: the control thread.
 */
#ifndef BROKER_RPC_METHOD_H
#define BROKER_RPC_METHOD_H

#include <jansson.h>
#include <stdbool.h>

/* What the JSON-RPC 2.0 specification calls these. */
#define RPC_PARSE_ERROR	     -32700
#define RPC_INVALID_REQUEST  -32600
#define RPC_METHOD_NOT_FOUND -32601
#define RPC_INVALID_PARAMS   -32602
#define RPC_INTERNAL_ERROR   -32603

struct broker;
struct rpc_later;

struct rpc_error {
	int code;
	char text[512];
	struct rpc_later *later; /* NULL: the answer cannot wait */
	bool deferred;		 /* @later gives it */
};

/* @params: an object, or NULL if there were none.  The result is a new reference, or NULL
 * with @e set; NULL, not deferred, and e->code 0 mean out of memory. */
typedef json_t *(*rpc_method)(struct broker *b, const json_t *params, struct rpc_error *e);

/* Set @e; returns NULL. */
json_t *rpc_refuse(struct rpc_error *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* rpc_operate.c */
json_t *rpc_tenants_set(struct broker *b, const json_t *params, struct rpc_error *e);
json_t *rpc_tenants_evict(struct broker *b, const json_t *params, struct rpc_error *e);
json_t *rpc_devices_drain(struct broker *b, const json_t *params, struct rpc_error *e);
json_t *rpc_devices_resume(struct broker *b, const json_t *params, struct rpc_error *e);

#endif /* BROKER_RPC_METHOD_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rpc.h - JSON-RPC 2.0: one request (or batch) as text in, one answer as text out.
 * docs/config.md, "The control socket", lists the methods.
 *
 * Thread: the control thread.
 */
#ifndef BROKER_RPC_H
#define BROKER_RPC_H

#include <jansson.h>
#include <stddef.h>

#include "status.h"

#define RPC_REQUEST_MAX 65536 /* bytes of one request or batch, newline not counted */
#define RPC_BATCH_MAX	32    /* requests of one batch */

/* A request that takes its time: loading a plug-in policy. */
struct rpc_later {
	/* The caller's: @line as rpc_answer() would have returned it. */
	void (*done)(struct rpc_later *l, char *line);
	/* rpc.c's, from here on. */
	bool pending;
	struct broker *b;
	json_t *id; /* NULL: a notification */
	struct policy_wait wait;
};

/*
 * Answer @len bytes of anything at all.  Returns one line of JSON that ends in a newline, the
 * caller's to free(), or NULL if nothing is to be answered (notifications) or memory is out;
 * or NULL with @later->pending, and then @later->done() is called once, if not rpc_forget().
 * @later must not be pending; NULL: the caller cannot wait.
 */
char *rpc_answer(struct broker *b, const char *text, size_t len, struct rpc_later *later);

/* The caller is gone.  Also if nothing is pending. */
void rpc_forget(struct rpc_later *later);

/* The answer to a request of more than RPC_REQUEST_MAX bytes; as above. */
char *rpc_too_long(void);

#endif /* BROKER_RPC_H */

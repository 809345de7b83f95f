/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rpc.h - JSON-RPC 2.0: one request (or batch) as text in, one answer as text out.
 * docs/config.md, "The control socket", lists the methods.
 *
 * Thread: the control thread.
 */
#ifndef BROKER_RPC_H
#define BROKER_RPC_H

#include <stddef.h>

#define RPC_REQUEST_MAX 65536 /* bytes of one request or batch, newline not counted */
#define RPC_BATCH_MAX	32    /* requests of one batch */

struct broker;

/*
 * Answer @len bytes of anything at all.  Returns one line of JSON that ends in a newline, the
 * caller's to free(), or NULL if nothing is to be answered (notifications) or memory is out.
 */
char *rpc_answer(struct broker *b, const char *text, size_t len);

/* The answer to a request of more than RPC_REQUEST_MAX bytes; as above. */
char *rpc_too_long(void);

#endif /* BROKER_RPC_H */

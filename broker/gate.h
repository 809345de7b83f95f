/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gate.h - who may come in: how often a user may connect, and how many of its connections may
 * stand there without having said who they are.  What a tenant may have is tenant.h's.
 *
 * Users are told apart by what the kernel says of the peer, before a word is exchanged.  At most
 * GATE_USERS are remembered, those longest unused forgotten first: a user that is forgotten has
 * its full rate again.
 *
 * Owner: the host of connections.  Thread: the control thread.
 */
#ifndef BROKER_GATE_H
#define BROKER_GATE_H

#include <stddef.h>
#include <sys/types.h>

#include "bucket.h"
#include "refusal.h"

#define GATE_USERS	512
#define GATE_SILENT	64 /* connections of one user without a HELLO */
#define GATE_SILENT_ALL 256

struct gate_user {
	uid_t uid;
	bool used;
	uint32_t silent;
	uint64_t seen_ns;
	struct bucket connects;
};

struct gate {
	struct gate_user user[GATE_USERS];
	uint32_t silent;
	struct bucket lines; /* of log */
	uint64_t unsaid;
};

/*
 * May @uid open a connection?  -1: yes, and it counts as silent until gate_spoken().  Else the
 * reason, with a line in @why.  @each_ns: of the rate; 0: none.
 */
int gate_admit(struct gate *g, uid_t uid, uint64_t now, uint64_t each_ns, char *why,
	       size_t len);

/* A connection of @uid has said HELLO, or is gone before. */
void gate_spoken(struct gate *g, uid_t uid);

/*
 * May a line be logged that strangers can cause?  Writes into *@unsaid how many were not since the
 * last one.
 */
bool gate_may_log(struct gate *g, uint64_t now, uint64_t *unsaid);

#endif /* BROKER_GATE_H */

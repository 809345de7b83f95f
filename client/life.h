/* SPDX-License-Identifier: MIT */
/*
 * life.h - how a handle whose broker is gone finds the next one.
 *
 *	IDLE --due: connect, HELLO--> HELLO --WELCOME--> REGIONS --all answered--> published
 *	  ^---- back-off: refused, hung up, too late ----------'
 *
 * There is no thread for it: whoever submits, collects or copies goes one step on when it is
 * due, and no step waits.  Published is a link with all regions known to its broker; each
 * queue then asks for a new ring when it is next used (queue_life.c).
 *
 * Owner: struct amux embeds it.  Threads: any, under @lock, which is only ever tried by
 * amux_reconnect(); adding and dropping regions holds it, so that no region is missed.
 */
#ifndef CLIENT_LIFE_H
#define CLIENT_LIFE_H

#include <pthread.h>
#include <stdint.h>

#include <accelmux/accelmux.h>

#define AMUX_LIFE_BACKOFF_NS 10000000ull /* the first pause; doubles to a second */

struct amux_answer;
struct amux_link;

enum amux_life_step { AMUX_LIFE_IDLE, AMUX_LIFE_HELLO, AMUX_LIFE_REGIONS };

/* Names of tenants, kept until amux_close(): an application may hold one. */
struct amux_tenant_name {
	struct amux_tenant_name *next;
	char text[AMUX_NAME_LEN];
};

struct amux_life {
	pthread_mutex_t lock;
	uint64_t next_ns; /* not before then; 0: not yet decided.  Atomic */
	uint64_t backoff_ns, born_ns, rng;
	uint64_t reconnects; /* atomic */
	uint32_t serial;     /* of the latest link made */

	/* constant after amux_connect() */
	char path[108];
	struct amux_msg_hello hello;

	struct amux_tenant_name *tenant; /* the current one first; stored with release */

	/* the attempt in progress */
	enum amux_life_step step;
	struct amux_link *link; /* NULL when IDLE */
	uint64_t deadline_ns;
	unsigned int asked; /* regions asked for and not answered */
	struct amux_msg_welcome welcome;
};

/* Check a WELCOME and take its pidfd into @l.  0 or -EPROTO with amux_error(). */
int amux_life_welcome(struct amux_link *l, const struct amux_answer *ans);

/* Make @l, of which @w tells, the handle's link: takes its reference over.  0 or -ENOMEM. */
int amux_life_publish(struct amux *a, struct amux_link *l, const struct amux_msg_welcome *w);

/* If there is no broker and it is time, go one step on.  Never waits. */
void amux_reconnect(struct amux *a);

/* With life.lock held: a region that the attempt in progress knows is dropped. */
void amux_life_restart(struct amux *a);

/* Forget the attempt and the names: nobody else uses @a any more. */
void amux_life_fini(struct amux *a);

#endif /* CLIENT_LIFE_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mailbox.h - where the control thread and a mux thread meet: a FIFO of messages that their
 * senders allocate, so that posting cannot fail.
 *
 *	control ── mail ──> mux->inbox ──> acted upon, perhaps later ──> broker->outbox ── mail->done()
 *
 * Owner: each mailbox belongs to its reader.  A mail belongs to the mux from mailbox_post()
 * until done() is called on the control thread.
 * Threads: post by any thread; take by the owner.
 */
#ifndef BROKER_MAILBOX_H
#define BROKER_MAILBOX_H

#include <pthread.h>
#include <stdint.h>

#include "list.h"

enum mail_type {
	MAIL_QUEUE_ADD,	     /* arg: struct queue */
	MAIL_QUEUE_REMOVE,   /* arg: struct queue; done when nothing of it is in flight */
	MAIL_REGION_ADD,     /* arg: struct region; session */
	MAIL_REGION_REMOVE,  /* arg: struct region; session; done when no request uses it */
	MAIL_SESSION_REMOVE, /* session, with all its queues and regions */
	MAIL_SESSION_BROKEN, /* mux to control: the client broke the ABI */
	MAIL_TENANT_SET,     /* arg: struct tenant_change */
	MAIL_POLICY,	     /* arg: struct policy_change */
	MAIL_POLICY_FAILED,  /* arg: struct policy_failed */
	MAIL_REVERTED,	     /* mux to control: a policy was replaced */
	MAIL_TUNE,	     /* arg: struct mux_tuning */
	MAIL_ENGINES,	     /* arg: struct engines_change */
	MAIL_DRAIN,	     /* finish what has begun, pull no more; done when all is quiet */
	MAIL_STOP,	     /* leave the thread */
};

struct session;

struct mail {
	struct list link;
	enum mail_type type;
	struct session *session;
	void *arg;
	void (*done)(struct mail *mail); /* on the control thread; may free the mail */
};

struct mailbox {
	pthread_mutex_t lock;
	struct list mails;
	uint32_t pending;	   /* hint, read without the lock */
	void (*notify)(void *arg); /* called after a post, on the poster's thread */
	void *arg;
};

void mailbox_init(struct mailbox *mb, void (*notify)(void *arg), void *arg);
void mailbox_fini(struct mailbox *mb);
void mailbox_post(struct mailbox *mb, struct mail *mail);
/* The oldest mail, or NULL. */
struct mail *mailbox_take(struct mailbox *mb);

/* Cheap: may be called in a polling loop.  The acquire pairs with mailbox_post(). */
static inline bool mailbox_pending(const struct mailbox *mb)
{
	return __atomic_load_n(&mb->pending, __ATOMIC_ACQUIRE) != 0;
}

#endif /* BROKER_MAILBOX_H */

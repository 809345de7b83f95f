// SPDX-License-Identifier: GPL-2.0-only
#include "mailbox.h"

void mailbox_init(struct mailbox *mb, void (*notify)(void *arg), void *arg)
{
	pthread_mutex_init(&mb->lock, NULL);
	list_init(&mb->mails);
	mb->pending = 0;
	mb->notify = notify;
	mb->arg = arg;
}

void mailbox_fini(struct mailbox *mb)
{
	pthread_mutex_destroy(&mb->lock);
}

void mailbox_post(struct mailbox *mb, struct mail *mail)
{
	pthread_mutex_lock(&mb->lock);
	list_add_tail(&mb->mails, &mail->link);
	/* The release pairs with mailbox_pending(). */
	__atomic_store_n(&mb->pending, 1u, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&mb->lock);
	mb->notify(mb->arg);
}

struct mail *mailbox_take(struct mailbox *mb)
{
	struct mail *mail = NULL;

	pthread_mutex_lock(&mb->lock);
	if (!list_empty(&mb->mails)) {
		mail = container_of(mb->mails.next, struct mail, link);
		list_del(&mail->link);
	}
	__atomic_store_n(&mb->pending, list_empty(&mb->mails) ? 0u : 1u, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&mb->lock);
	return mail;
}

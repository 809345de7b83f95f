// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin_link.c - see plugin_link.h.  The page is touched under the fix-up alone: the host can
 * punch holes into it, and memory for them may be missing.
 */
#include "plugin_link.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../client/barrier.h"
#include "fault_fixup.h"
#include "futex.h"

struct ask {
	struct plugin_link *l;
	const struct amux_view *view;
};

static void ask(void *arg)
{
	const struct ask *a = arg;
	struct plugin_slot *slot = a->l->slot;
	uint32_t n = a->view->n_tenants;

	if (n > AMUX_POLICY_TENANTS)
		n = AMUX_POLICY_TENANTS;
	memcpy(&slot->view, a->view,
	       offsetof(struct amux_view, tenants) + n * sizeof(a->view->tenants[0]));
	amux_store_release(&slot->asked, a->l->seq); /* pairs with the acquire in the host */
	__atomic_fetch_add(&a->l->page->kick, 1, __ATOMIC_RELEASE); /* same */
}

int plugin_ask(struct plugin_link *l, const struct amux_view *view)
{
	struct ask a = { .l = l, .view = view };
	struct fixup_fault fault;

	l->seq++;
	l->owed = true;
	l->late = 0;
	l->counted_ns = view->now_ns;
	if (fixup_run(ask, &a, &fault))
		return -EFAULT;
	futex_wake_shared(&l->page->kick);
	return 0;
}

struct take {
	struct plugin_link *l;
	struct plugin_answer *out;
	volatile bool found;
};

static void take(void *arg)
{
	struct take *t = arg;
	struct plugin_slot *slot = t->l->slot;

	/* Pairs with the release in the host. */
	if (amux_load_acquire(&slot->answered) != t->l->seq)
		return;
	memcpy(t->out, &slot->answer, sizeof(*t->out));
	t->found = true;
}

int plugin_take(struct plugin_link *l, struct plugin_answer *out)
{
	struct take t = { .l = l, .out = out };
	struct fixup_fault fault;

	if (!l->owed)
		return -EAGAIN;
	if (fixup_run(take, &t, &fault))
		return -EFAULT;
	if (!t.found)
		return -EAGAIN;
	l->owed = false;
	return 0;
}

bool plugin_late(struct plugin_link *l, uint64_t now, uint64_t epoch_ns)
{
	if (!l->owed || now - l->counted_ns < epoch_ns)
		return false;
	l->counted_ns = now;
	return ++l->late >= l->patience;
}

void plugin_kill(const struct plugin_link *l)
{
	/* One that is gone already is what was wanted. */
	syscall(SYS_pidfd_send_signal, l->pidfd, SIGKILL, NULL, 0);
}

void plugin_give_up(struct plugin_link *l, uint32_t failure)
{
	amux_store_release(&l->given_up, failure); /* pairs with plugin_given_up() */
	plugin_kill(l);
}

uint32_t plugin_given_up(const struct plugin_link *l)
{
	return amux_load_acquire(&l->given_up); /* pairs with plugin_give_up() */
}

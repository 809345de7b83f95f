// SPDX-License-Identifier: MIT
/*
 * life.c - see life.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handle.h"
#include "talk.h"

#define LIFE_BACKOFF_MAX_NS 1000000000ull
#define LIFE_LASTED_NS	    100000000ull
#define LIFE_LOOK_NS	    100000u	  /* how often an answer is looked for */
#define LIFE_ANSWER_NS	    5000000000ull /* a broker that is silent so long is given up */
#define LIFE_ASKED_MAX	    32u		  /* half of what a broker lets be unanswered */

static void life_at(struct amux *a, uint64_t ns)
{
	amux_store_relaxed(&a->life.next_ns, ns);
}

/* Half to one and a half times the back-off from @now, which then doubles: clients of one
 * broker do not come back all at once. */
static void life_back_off(struct amux *a, uint64_t now)
{
	struct amux_life *f = &a->life;

	f->rng = f->rng * 6364136223846793005ull + 1442695040888963407ull;
	life_at(a, now + f->backoff_ns / 2 + (f->rng >> 33) % f->backoff_ns);
	f->backoff_ns *= 2;
	if (f->backoff_ns > LIFE_BACKOFF_MAX_NS)
		f->backoff_ns = LIFE_BACKOFF_MAX_NS;
}

static void life_drop(struct amux *a)
{
	struct amux_life *f = &a->life;

	amux_link_put(f->link);
	f->link = NULL;
	f->step = AMUX_LIFE_IDLE;
	f->asked = 0;
	amux_regions_unask(&a->regions);
}

static void life_fail(struct amux *a, uint64_t now)
{
	life_drop(a);
	life_back_off(a, now);
}

void amux_life_restart(struct amux *a)
{
	if (a->life.step != AMUX_LIFE_REGIONS)
		return;
	life_drop(a);
	life_at(a, amux_now());
}

/* Keep @name as the current one.  0 or -ENOMEM. */
static int life_tenant(struct amux *a, const char *name)
{
	struct amux_tenant_name *t = a->life.tenant;

	if (t && !strncmp(t->text, name, sizeof(t->text) - 1))
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	memcpy(t->text, name, sizeof(t->text) - 1);
	t->next = a->life.tenant;
	amux_store_release(&a->life.tenant, t); /* pairs with amux_tenant() */
	return 0;
}

int amux_life_welcome(struct amux_link *l, const struct amux_answer *ans)
{
	const struct amux_msg_welcome *w = &ans->welcome;

	l->pidfd = ans->fds[0];
	if (w->version == AMUX_ABI_VERSION && !w->features && w->max_entries >= 2)
		return 0;
	amux_fail("the broker speaks version %u, features %#llx, %u entries; expected version "
		  "%u, none, 2 or more",
		  w->version, (unsigned long long)w->features, w->max_entries,
		  AMUX_ABI_VERSION);
	return -EPROTO;
}

int amux_life_publish(struct amux *a, struct amux_link *l, const struct amux_msg_welcome *w)
{
	struct amux_life *f = &a->life;
	struct amux_link *old;
	int err = life_tenant(a, w->tenant);

	if (err)
		return err;
	amux_regions_renew(&a->regions, l->serial);
	f->born_ns = amux_now();
	life_at(a, 0);
	pthread_mutex_lock(&a->lock);
	old = a->link;
	a->link = l;
	amux_store_relaxed(&a->cpu_bps, w->cpu_bps);
	amux_store_relaxed(&a->max_entries, w->max_entries < AMUX_ENTRIES_MAX
						    ? w->max_entries
						    : AMUX_ENTRIES_MAX);
	amux_store_relaxed(&a->sync_off, 0);
	amux_store_relaxed(&a->sync_renew, 1);
	amux_store_release(&a->dead, !amux_link_up(l)); /* pairs with amux_is_dead() */
	pthread_mutex_unlock(&a->lock);
	amux_link_put(old);
	return 0;
}

static void life_connect(struct amux *a, uint64_t now)
{
	struct amux_life *f = &a->life;
	struct amux_msg_hello hello = f->hello;
	int sock = amux_link_connect(f->path, false);

	if (sock < 0) {
		life_back_off(a, now);
		return;
	}
	f->link = amux_link_new(sock, ++f->serial);
	if (!f->link) {
		close(sock);
		life_back_off(a, now);
		return;
	}
	if (amux_talk_post(f->link, &hello.hdr, -1)) {
		life_fail(a, now);
		return;
	}
	f->step = AMUX_LIFE_HELLO;
	f->deadline_ns = now + LIFE_ANSWER_NS;
}

/* One answer.  1: taken, 0: none there, -errno: give it up. */
static int life_answer(struct amux *a, uint64_t now)
{
	struct amux_life *f = &a->life;
	struct amux_answer ans;
	unsigned int nfds;
	ssize_t n = amux_talk_take(f->link, &ans, &nfds);
	int err;

	if (n == -EAGAIN || n == -EINTR)
		return now < f->deadline_ns ? 0 : -ETIMEDOUT;
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	f->deadline_ns = now + LIFE_ANSWER_NS;
	if (f->step == AMUX_LIFE_HELLO) {
		err = amux_talk_judge(&ans, n, nfds, AMUX_MSG_WELCOME);
		if (err)
			return err;
		err = amux_life_welcome(f->link, &ans);
		if (err)
			return err;
		f->welcome = ans.welcome;
		f->welcome.tenant[AMUX_NAME_LEN - 1] = '\0';
		f->step = AMUX_LIFE_REGIONS;
		return 1;
	}
	err = amux_talk_judge(&ans, n, nfds, AMUX_MSG_REGISTERED);
	if (err == -EPROTO || !amux_regions_answered(&a->regions, ans.hdr.cookie,
						     err ? 0 : ans.registered.region))
		return -EPROTO;
	f->asked--;
	return 1;
}

/* Ask for regions.  1: all are answered. */
static int life_ask(struct amux *a)
{
	struct amux_life *f = &a->life;
	struct amux_region *reg;
	int err;

	while (f->asked < LIFE_ASKED_MAX && (reg = amux_regions_unasked(&a->regions))) {
		struct amux_msg_register msg = {
			.hdr = { .type = AMUX_MSG_REGISTER, .len = sizeof(msg) },
			.flags = reg->flags,
			.size = reg->len,
		};

		err = amux_talk_post(f->link, &msg.hdr, reg->fd);
		if (err == -EAGAIN)
			return 0;
		if (err)
			return err;
		reg->asked = msg.hdr.cookie;
		f->asked++;
	}
	return !f->asked;
}

static void life_step(struct amux *a, uint64_t now)
{
	struct amux_life *f = &a->life;
	int more = 1;

	if (f->step == AMUX_LIFE_IDLE) {
		/* A broker that lasted was a good one: the next is looked for soon. */
		if (!f->next_ns && now - f->born_ns > LIFE_LASTED_NS)
			f->backoff_ns = AMUX_LIFE_BACKOFF_NS;
		if (!f->next_ns)
			life_back_off(a, now);
		else
			life_connect(a, now);
		return;
	}
	while (more > 0) {
		int done = f->step == AMUX_LIFE_REGIONS ? life_ask(a) : 0;

		if (done > 0) {
			done = amux_life_publish(a, f->link, &f->welcome);
			if (!done) {
				f->link = NULL;
				f->step = AMUX_LIFE_IDLE;
				__atomic_fetch_add(&f->reconnects, 1, __ATOMIC_RELAXED);
				return;
			}
		}
		more = done < 0 ? done : life_answer(a, now);
	}
	if (more < 0)
		life_fail(a, now);
	else
		life_at(a, now + LIFE_LOOK_NS);
}

void amux_reconnect(struct amux *a)
{
	struct amux_life *f = &a->life;
	uint64_t now = amux_now();

	if (!amux_is_dead(a) || now < amux_load_relaxed(&f->next_ns) ||
	    pthread_mutex_trylock(&f->lock))
		return;
	if (amux_is_dead(a) && now >= f->next_ns)
		life_step(a, now);
	pthread_mutex_unlock(&f->lock);
}

void amux_life_fini(struct amux *a)
{
	struct amux_tenant_name *t;

	amux_link_put(a->life.link);
	while ((t = a->life.tenant)) {
		a->life.tenant = t->next;
		free(t);
	}
	pthread_mutex_destroy(&a->life.lock);
}

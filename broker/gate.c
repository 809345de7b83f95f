// SPDX-License-Identifier: GPL-2.0-only
/*
 * gate.c - see gate.h.
 */
#include "gate.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"

#define CONNECT_BURST_NS (2 * NSEC_PER_SEC)
#define LINE_NS		 NSEC_PER_SEC	     /* one line a second, */
#define LINE_BURST_NS	 (20 * NSEC_PER_SEC) /* and twenty at once */

/* The user's entry, a new one if need be; NULL: all are held by silent connections. */
static struct gate_user *user_get(struct gate *g, uid_t uid, uint64_t now)
{
	struct gate_user *oldest = NULL;

	for (unsigned int i = 0; i < GATE_USERS; i++) {
		struct gate_user *u = &g->user[i];

		if (u->used && u->uid == uid) {
			u->seen_ns = now;
			return u;
		}
		if (u->silent)
			continue;
		if (!oldest || !u->used || (oldest->used && u->seen_ns < oldest->seen_ns))
			oldest = u;
	}
	if (oldest)
		*oldest = (struct gate_user){ .uid = uid, .used = true, .seen_ns = now };
	return oldest;
}

int gate_admit(struct gate *g, uid_t uid, uint64_t now, uint64_t each_ns, char *why, size_t len)
{
	struct gate_user *u = user_get(g, uid, now);

	if (u && !bucket_take(&u->connects, now, each_ns, CONNECT_BURST_NS)) {
		snprintf(why, len,
			 "uid %u connects too often: expected at most %llu a second "
			 "(connect_rate)",
			 (unsigned int)uid, (unsigned long long)(NSEC_PER_SEC / each_ns));
		return REFUSED_CONNECT_RATE;
	}
	if (!u || u->silent >= GATE_SILENT || g->silent >= GATE_SILENT_ALL) {
		snprintf(why, len,
			 "%u connections of uid %u, %u of all have not said HELLO: expected at "
			 "most %d, %d",
			 u ? u->silent : 0, (unsigned int)uid, g->silent, GATE_SILENT,
			 GATE_SILENT_ALL);
		return REFUSED_SILENT;
	}
	u->silent++;
	g->silent++;
	return -1;
}

void gate_spoken(struct gate *g, uid_t uid)
{
	for (unsigned int i = 0; i < GATE_USERS; i++) {
		if (!g->user[i].used || g->user[i].uid != uid)
			continue;
		g->user[i].silent--;
		g->silent--;
		return;
	}
}

bool gate_may_log(struct gate *g, uint64_t now, uint64_t *unsaid)
{
	if (!bucket_take(&g->lines, now, LINE_NS, LINE_BURST_NS)) {
		g->unsaid++;
		return false;
	}
	*unsaid = g->unsaid;
	g->unsaid = 0;
	return true;
}
